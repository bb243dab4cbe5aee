//! Reaching a server that must be there: shared by the drivers.

use std::time::Duration;

use tokio::time::{Instant, interval};

/// Between attempts to reach it.
pub(super) const REACH_INTERVAL: Duration = Duration::from_millis(250);

/// Asks until the server that is meant answers, whatever it says; what was last met instead if it
/// does not. Somebody else may answer for a while: after a node's start its ports still lead to
/// where pods were before, and what is there now may be anything, even outside of the cluster.
pub(super) async fn reach<T, F>(within: Duration, attempt: impl Fn() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + within;
    let mut tick = interval(REACH_INTERVAL);
    loop {
        tick.tick().await;
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(why) if Instant::now() > deadline => {
                let waited = within.as_secs();
                return Err(format!("no server within {waited} s; last: {why}"));
            }
            Err(_not_yet) => {}
        }
    }
}

/// Whether `server` is `component` and an ordinal: a StatefulSet's pod, which names its server.
pub(crate) fn is_pod_of(component: &str, server: &str) -> bool {
    server
        .strip_prefix(component)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|ordinal| !ordinal.is_empty() && ordinal.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_the_component_is_known_by_its_name() {
        assert!(is_pod_of("nats", "nats-0"));
        assert!(is_pod_of("nats-2", "nats-2-10"));
        for other in ["nats", "nats-", "nats-x", "NATS-0", "nats2-0", "my-nats-0", ""] {
            assert!(!is_pod_of("nats", other), "{other}");
        }
    }
}
