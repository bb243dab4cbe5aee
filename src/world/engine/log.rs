//! What the first process of a container wrote.

use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt as _;

use super::Engine;

/// Lines that are read; a boot that fails says why near its end.
const LINES: &str = "400";

/// Most bytes that are kept.
const BYTES_MAX: usize = 256 * 1024;

impl Engine {
    /// The end of what a container wrote, running or not; what cannot be read is left out.
    pub async fn last_words(&self, name: &str) -> String {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LINES).build();
        let mut chunks = self.docker.logs(name, Some(options));
        let mut said = Vec::new();
        while let Some(Ok(chunk)) = chunks.next().await {
            said.extend_from_slice(&chunk.into_bytes());
            if said.len() > BYTES_MAX {
                break;
            }
        }
        String::from_utf8_lossy(&said).into_owned()
    }
}
