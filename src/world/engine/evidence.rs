//! What a failure leaves in the engine: a container's console and its folders, each bounded.

use std::io::Read;

use bollard::container::LogOutput;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, LogsOptionsBuilder};
use futures::StreamExt as _;
use serde_json::Value;

use super::error::{EngineError, EngineResult, Fault};
use super::{Engine, retry};

/// Archives are read for their beginning only beyond this many times the wanted bytes.
const HEADROOM: usize = 4;

impl Engine {
    /// The engine's own description of itself.
    pub async fn info_raw(&self) -> EngineResult<Value> {
        self.libpod.get("read the engine's facts", "info", &[]).await
    }

    /// The last `lines` that a container's first process said, running or not.
    pub async fn console(&self, name: &str, lines: u32) -> EngineResult<String> {
        let action = format!("read the console of container {name}");
        let tail = lines.to_string();
        let text = retry(|| async {
            let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&tail);
            let mut chunks = self.docker.logs(name, Some(options.build()));
            let mut text = Vec::new();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|error| EngineError::from_bollard(&action, error))?;
                match chunk {
                    LogOutput::StdOut { message }
                    | LogOutput::StdErr { message }
                    | LogOutput::Console { message } => text.extend_from_slice(&message),
                    LogOutput::StdIn { .. } => {}
                }
            }
            Ok(text)
        });
        Ok(String::from_utf8_lossy(&text.await?).into_owned())
    }

    /// The files below a folder of a container, running or not, with paths relative to it: as many
    /// as fit into `at_most` bytes. What is larger loses its beginning.
    pub async fn folder(
        &self,
        name: &str,
        path: &str,
        at_most: usize,
    ) -> EngineResult<Vec<(String, Vec<u8>)>> {
        let action = format!("read {path} from container {name}");
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let mut chunks = self.docker.download_from_container(name, Some(options));
        let mut archive = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| EngineError::from_bollard(&action, error))?;
            archive.extend_from_slice(&chunk);
            if archive.len() > at_most.saturating_mul(HEADROOM) {
                break;
            }
        }
        files(&archive, at_most).map_err(|error| EngineError::new(Fault::Malformed, &action, error))
    }
}

/// Regular files of an archive that may be cut off; its first component is the folder itself.
fn files(archive: &[u8], at_most: usize) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut room = at_most;
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        // Cut off: what came before is good.
        let Ok(mut entry) = entry else { break };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some((_, below)) = path.split_once('/') else { continue };
        let mut content = Vec::new();
        if entry.read_to_end(&mut content).is_err() || room == 0 {
            break;
        }
        let content = content.split_off(content.len().saturating_sub(room));
        room -= content.len();
        found.push((below.to_owned(), content));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::files;

    #[test]
    fn an_archive_that_is_cut_off_gives_what_came_before() {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in [("pods/a/0.log", "first"), ("pods/b/0.log", "second")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        let archive = builder.into_inner().unwrap();
        let whole = files(&archive, 100).unwrap();
        let first = ("a/0.log".to_owned(), b"first".to_vec());
        assert_eq!(whole, [first.clone(), ("b/0.log".to_owned(), b"second".to_vec())]);
        assert_eq!(files(&archive[..1030], 100).unwrap(), std::slice::from_ref(&first));
        assert_eq!(files(&archive, 8).unwrap(), [first, ("b/0.log".to_owned(), b"ond".to_vec())]);
    }
}
