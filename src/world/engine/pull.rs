//! Images from registries into the engine's store.
//!
//! Sent by our own client: bollard encodes a login in the alphabet that Podman does not decode, and
//! knows no registry without TLS.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::Engine;
use super::error::{EngineError, EngineResult, Fault};
use super::image::sum;
use crate::world::registry_login::Login;

/// Longest silence before the first word of a pull: Podman gives up on a registry that takes the
/// connection and then says nothing after about 80 s, but only where TLS does; and it waits that
/// long for one that has no more for now (429).
const FIRST_WORD: Duration = Duration::from_secs(100);

/// Longest silence of a pull that has begun: Podman reports while bytes flow, not while it unpacks.
const PULL_SILENCE: Duration = Duration::from_secs(180);

/// What it means when the engine says nothing; known to those who look for the cause.
pub const SILENT: &str = "the registry does not answer";

/// Longest text that is kept while its line has not ended.
const LINE_MAX: usize = 4 << 20;

/// Docker's tree on the same socket; it reports bytes, which Podman's own does not.
const COMPAT: &str = "http://podman/v1.41/images/create";

/// What to pull.
#[derive(Clone, Debug)]
pub struct Pull<'a> {
    /// Fully qualified, with tag or digest.
    pub name: &'a str,
    /// Sent along.
    pub login: Option<&'a Login>,
    /// The registry has no TLS.
    pub plain: bool,
}

/// How far a pull is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// What the engine last said.
    pub status: String,
    /// Bytes of all layers seen so far that have arrived.
    pub done: u64,
    /// Bytes of all layers seen so far.
    pub total: u64,
}

/// A line of either tree's answer.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Line {
    id: Option<String>,
    status: String,
    stream: String,
    error: String,
    progress_detail: Option<Detail>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: i64,
    total: i64,
}

impl Engine {
    /// Pulls an image and says how far it is.
    pub async fn pull(
        &self,
        pull: &Pull<'_>,
        mut on_progress: impl FnMut(&PullProgress) + Send,
    ) -> EngineResult<()> {
        let action = format!("pull image {}", pull.name);
        let header = pull.login.map(|login| ("X-Registry-Auth", login.header()));
        let plain = [("reference", pull.name), ("tlsVerify", "false")];
        let query = [("fromImage", pull.name)];
        let answer = async {
            match pull.plain {
                true => self.libpod.post_stream(&action, "images/pull", &plain, header).await,
                false => self.libpod.post_stream(&action, COMPAT, &query, header).await,
            }
        };
        let silent = |longest: Duration| {
            let message = format!("the engine said nothing for {longest:?}: {SILENT}");
            EngineError::new(Fault::TimedOut, &action, message)
        };
        let mut longest = FIRST_WORD;
        let answer = tokio::time::timeout(longest, answer).await;
        let mut answer = answer.map_err(|_| silent(longest))??;
        let (mut layers, mut pending) = (Layers::default(), Vec::new());
        loop {
            let chunk = tokio::time::timeout(longest, answer.chunk()).await;
            let chunk = chunk.map_err(|_| silent(longest))?;
            let chunk = chunk.map_err(|error| EngineError::from_http(&action, &error))?;
            let ended = chunk.is_none();
            pending.extend_from_slice(&chunk.unwrap_or_default());
            if pending.len() > LINE_MAX {
                let message =
                    format!("the engine's answer has a line of more than {LINE_MAX} bytes");
                return Err(EngineError::new(Fault::Malformed, &action, message));
            }
            if ended {
                pending.push(b'\n');
            }
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let line: Line = serde_json::from_slice(&line)
                    .map_err(|error| EngineError::new(Fault::Malformed, &action, error))?;
                if !line.error.is_empty() {
                    return Err(EngineError::new(Fault::Stream, &action, line.error));
                }
                let progress = layers.update(line);
                // "Trying to pull" comes before the registry is asked.
                if !progress.status.starts_with("Trying") {
                    longest = PULL_SILENCE;
                }
                on_progress(&progress);
            }
            if ended {
                return Ok(());
            }
        }
    }
}

/// Progress by layer.
#[derive(Default)]
struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    fn update(&mut self, line: Line) -> PullProgress {
        let bytes = |count: i64| u64::try_from(count).unwrap_or_default();
        if let (Some(layer), Some(detail)) = (line.id, line.progress_detail) {
            self.0.insert(layer, (bytes(detail.current), bytes(detail.total)));
        }
        let said = if line.status.is_empty() { line.stream.trim().to_owned() } else { line.status };
        PullProgress {
            status: said,
            done: sum(self.0.values().map(|(done, _)| *done)),
            total: sum(self.0.values().map(|(_, total)| *total)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_numbers_do_not_overflow() {
        let mut layers = Layers::default();
        let mut progress = PullProgress::default();
        for layer in ["a", "b", "c"] {
            let detail = format!(r#"{{"current":{0},"total":{0}}}"#, i64::MAX);
            let line = format!(r#"{{"id":"{layer}","progressDetail":{detail}}}"#);
            progress = layers.update(serde_json::from_str(&line).unwrap());
        }
        assert_eq!((progress.done, progress.total), (u64::MAX, u64::MAX));
    }
}
