//! Files in and out of containers, running or not.

use std::collections::BTreeMap;
use std::io::Read;

use bollard::body_full;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use super::error::{EngineError, EngineResult, Fault, optional};
use super::{Engine, State, retry};

/// A file to write into a container, owned by root. Folders above it are made as needed.
#[derive(Clone, Debug)]
pub struct FileToPut {
    /// Absolute path in the container.
    pub path: String,
    /// Permission bits: `0o644`.
    pub mode: u32,
    /// Content.
    pub content: Vec<u8>,
}

impl FileToPut {
    /// A file.
    pub fn new(path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> FileToPut {
        FileToPut { path: path.into(), mode, content: content.into() }
    }
}

impl Engine {
    /// Writes files in one go (one request for each volume among the targets while the container
    /// does not run). What is written under a tmpfs of a stopped container ends up in its image
    /// layer, from where the start copies it.
    pub async fn put_files(&self, name: &str, files: Vec<FileToPut>) -> EngineResult<()> {
        let action = format!("write {} files into container {name}", files.len());
        let not_there = || EngineError::new(Fault::NotFound, &action, "no such container");
        let container = self.inspect(name).await?.ok_or_else(not_there)?;
        // Podman unpacks into a stopped container's root file system *below* its volumes, where
        // nobody would ever see it, unless the target folder itself is the volume.
        let roots: Vec<String> = match container.state {
            State::Running => Vec::new(),
            _ => container.mounts.into_iter().map(|mount| mount.destination).collect(),
        };
        for (root, files) in by_root(files, &roots) {
            let archive = archive(&root, &files)
                .map_err(|error| EngineError::new(Fault::Malformed, &action, error))?;
            let options = UploadToContainerOptionsBuilder::default().path(&root).build();
            self.docker
                .upload_to_container(name, Some(options), body_full(archive))
                .await
                .map_err(|error| EngineError::from_bollard(&action, error))?;
        }
        Ok(())
    }

    /// The content of a file, running or not; `None` if there is no such file or container.
    pub async fn get_file(&self, name: &str, path: &str) -> EngineResult<Option<Vec<u8>>> {
        let action = format!("read {path} from container {name}");
        let archive = retry(|| async {
            let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
            let chunks = self.docker.download_from_container(name, Some(options));
            let append = |mut all: BytesMut, chunk: Bytes| async move {
                all.extend_from_slice(&chunk);
                Ok(all)
            };
            let whole = chunks.try_fold(BytesMut::new(), append).await;
            let whole = whole.map_err(|error| EngineError::from_bollard(&action, error))?;
            match first_file(&whole) {
                Ok(Some(content)) => Ok(content),
                // Podman answers 200 before it reads, and what goes wrong then ends the archive early.
                Ok(None) => {
                    Err(EngineError::new(Fault::Stream, &action, "the archive ends too early"))
                }
                Err(error) => Err(EngineError::new(Fault::Malformed, &action, error)),
            }
        });
        optional(archive.await)
    }
}

/// Files by the deepest of `roots` (or `/`) that holds them.
fn by_root(files: Vec<FileToPut>, roots: &[String]) -> BTreeMap<String, Vec<FileToPut>> {
    let mut groups: BTreeMap<String, Vec<FileToPut>> = BTreeMap::new();
    for file in files {
        let holds = |root: &&String| {
            file.path.strip_prefix(root.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        let root = roots.iter().filter(holds).max_by_key(|root| root.len());
        groups.entry(root.map_or("/", String::as_str).to_owned()).or_default().push(file);
    }
    groups
}

/// A tar archive of `files` with names relative to `root`.
fn archive(root: &str, files: &[FileToPut]) -> std::io::Result<Bytes> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let name = file.path.strip_prefix(root).unwrap_or(&file.path).trim_start_matches('/');
        let mut header = tar::Header::new_gnu();
        header.set_mode(file.mode);
        header.set_size(file.content.len() as u64);
        archive.append_data(&mut header, name, file.content.as_slice())?;
    }
    archive.into_inner().map(Bytes::from)
}

/// The content of the file in an archive; `None` where the archive ends before it does.
fn first_file(archive: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let mut empty = true;
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            let whole = content.len() as u64 == entry.size();
            return Ok(whole.then_some(content));
        }
        empty = false;
    }
    if empty { Ok(None) } else { Err(std::io::Error::other("it is not a regular file")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_to_the_deepest_root() {
        let file = |path: &str| FileToPut::new(path, 0o644, "");
        let files = vec![file("/kind/a"), file("/var/lib/b"), file("/var/log/c"), file("/variant")];
        let groups = by_root(files, &["/var".to_owned(), "/var/log".to_owned()]);
        let lines: Vec<String> = groups
            .iter()
            .flat_map(|(root, files)| files.iter().map(move |f| format!("{root} {}", f.path)))
            .collect();
        assert_eq!(lines, ["/ /kind/a", "/ /variant", "/var /var/lib/b", "/var/log /var/log/c"]);
    }

    #[test]
    fn archive_round_trip() {
        let files = [FileToPut::new("/var/lib/x", 0o600, "secret")];
        let archive = archive("/var", &files).unwrap();
        let mut reader = tar::Archive::new(&archive[..]);
        let entry = reader.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("lib/x"));
        assert_eq!(entry.header().mode().unwrap(), 0o600);
        assert_eq!(first_file(&archive).unwrap().unwrap(), b"secret");
        assert_eq!(first_file(&archive[..515]).unwrap(), None);
        assert_eq!(first_file(b"").unwrap(), None);
    }
}
