//! The kubelet of a node that is not Ready: started where it was stopped, given up where it ends as
//! often as systemd starts it. Waiting for either would only end in a deadline.

use std::time::{Duration, Instant};

use super::context::Context;
use super::wait::Seen;
use crate::Error;
use crate::world::engine::{Engine, Exec};

/// Time for systemd to answer, or to start a unit.
const ANSWER: Duration = Duration::from_secs(10);

/// How often systemd is asked: a node that comes up well is not Ready for a few seconds, and a command
/// in it costs more than a look at the API.
const EVERY: Duration = Duration::from_secs(4);

/// Starts after which nothing else is to be expected; systemd makes one a second, and kubeadm's own
/// changes of its configuration make two at most.
const HOPELESS: u32 = 6;

/// What systemd says of the unit.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    /// `active`, `activating`, `inactive`, `failed`.
    state: String,
    /// Starts that systemd made by itself since the last one that was asked for.
    restarts: u32,
}

impl Unit {
    /// From the lines of `systemctl show`.
    fn parse(text: &str) -> Unit {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        Unit {
            state: value("ActiveState=").unwrap_or_default().to_owned(),
            restarts: value("NRestarts=").and_then(|count| count.parse().ok()).unwrap_or_default(),
        }
    }
}

/// Watches one kubelet during one wait.
pub(super) struct Watch {
    /// Starts that systemd had made when the watch began.
    before: Option<u32>,
    /// When systemd is asked next.
    next: Instant,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch { before: None, next: Instant::now() + EVERY }
    }

    /// What to make of a node that is not Ready: `otherwise`, unless its kubelet says more.
    pub(super) async fn look(
        &mut self,
        context: &Context,
        host: &str,
        otherwise: String,
    ) -> Seen<()> {
        if Instant::now() < self.next {
            return Seen::NotYet(otherwise);
        }
        self.next = Instant::now() + EVERY;
        let engine = &context.world.engine;
        let show = ["systemctl", "show", "kubelet", "--property=ActiveState,NRestarts"];
        let Some(text) = run(engine, host, &show).await else { return Seen::NotYet(otherwise) };
        let unit = Unit::parse(&text);
        if ["inactive", "failed"].contains(&unit.state.as_str()) {
            self.before = None;
            let started = run(engine, host, &["systemctl", "restart", "kubelet"]).await;
            let what = if started.is_some() { "it is started" } else { "it cannot be started" };
            return Seen::NotYet(format!("kubelet was stopped; {what}"));
        }
        let before = *self.before.get_or_insert(unit.restarts);
        if unit.restarts.saturating_sub(before) < HOPELESS {
            return Seen::NotYet(otherwise);
        }
        let journal = ["journalctl", "-u", "kubelet", "--output=cat", "--no-pager", "-n", "40"];
        let said = run(engine, host, &journal).await.unwrap_or_default();
        Seen::Never(
            Error::failed(
                "kubelet-fails",
                format!("kubelet of node {host} ends as soon as it starts"),
            )
            .because(last_error(&said)),
        )
    }
}

/// Output of a command that succeeded in time.
async fn run(engine: &Engine, host: &str, command: &[&str]) -> Option<String> {
    let exec = Exec::new(command.iter().copied()).within(ANSWER);
    engine.exec(host, exec).await.ok()?.checked().ok().map(|output| output.text())
}

/// The last line of a journal with which kubelet itself gave up; systemd's own come after it.
fn last_error(journal: &str) -> &str {
    let gave_up = |line: &&str| line.starts_with(['E', 'F']) && line.contains("err=");
    journal.lines().rev().find(gave_up).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemds_answer() {
        let unit = Unit::parse("NRestarts=12\nActiveState=activating\n");
        assert_eq!(unit, Unit { state: "activating".to_owned(), restarts: 12 });
        assert_eq!(Unit::parse("Failed to connect to bus"), Unit::default());
    }

    #[test]
    fn kubelets_own_line_is_the_evidence() {
        let journal = "Started kubelet\n\
            E1121 16:00:00.0 1 run.go:72] \"command failed\" err=\"failed to load kubelet config file\"\n\
            kubelet.service: Main process exited, code=exited, status=1/FAILURE\n";
        assert!(last_error(journal).starts_with("E1121") && last_error(journal).contains("config"));
        assert_eq!(last_error("nothing"), "");
    }
}
