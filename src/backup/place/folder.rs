//! Backups in a folder of this machine: private, and on disk before they are called done.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio_util::io::ReaderStream;

use super::Content;
use crate::state::file;
use crate::{Error, Result};

/// What is read and written at once.
const CHUNK: usize = 256 * 1024;

/// A folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

/// A file that is being written.
#[derive(Debug)]
pub(in crate::backup) struct Sink {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Folder {
    /// `root` need not be there yet.
    pub fn new(root: PathBuf) -> Folder {
        Folder { root }
    }

    pub(super) async fn create(&self, path: &str) -> Result<Sink> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            file::make_folder(folder).map_err(|error| unwritable(&path, error))?;
        }
        let options =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(file::PRIVATE).to_owned();
        let file = tokio::fs::OpenOptions::from(options).open(&path).await;
        let file = file.map_err(|error| full_or(&path, &error))?;
        Ok(Sink { path, file: BufWriter::with_capacity(CHUNK, file) })
    }

    pub(super) async fn commit(&self, path: &str, text: &str) -> Result<()> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            file::make_folder(folder).map_err(|error| unwritable(&path, error))?;
        }
        file::replace(&path, text.as_bytes(), file::PRIVATE).map_err(|e| full_or(&path, &e))
    }

    pub(super) async fn read(&self, path: &str) -> Result<Option<Content>> {
        let path = self.root.join(path);
        let file = match File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let chunks = ReaderStream::with_capacity(file, CHUNK);
        Ok(Some(chunks.map_err(move |error| unreadable(&path, &error)).boxed()))
    }

    pub(super) async fn text(&self, path: &str) -> Result<Option<String>> {
        let path = self.root.join(path);
        let bytes = file::read_bytes(&path)?;
        // What is no text is no manifest either, which its reader says.
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(super) async fn folders(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut found = BTreeMap::new();
        for cluster in folders_in(&self.root)? {
            for component in folders_in(&self.root.join(&cluster))? {
                let below = format!("{cluster}/{component}");
                for id in folders_in(&self.root.join(&below))? {
                    let folder = format!("{below}/{id}");
                    let files = file::names(&self.root.join(&folder))?;
                    found.insert(folder, files);
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn remove(&self, folder: &str, manifest: &str) -> Result<()> {
        file::remove(&self.root.join(manifest))?;
        let folder = self.root.join(folder);
        file::remove(&folder)?;
        // What held nothing else was made for it.
        for parent in folder.ancestors().skip(1).take(2) {
            file::remove_if_empty(parent);
        }
        Ok(())
    }
}

impl Sink {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).await.map_err(|error| full_or(&self.path, &error))
    }

    pub(super) async fn close(mut self) -> Result<()> {
        let stored = async {
            self.file.flush().await?;
            self.file.get_ref().sync_all().await
        };
        stored.await.map_err(|error| full_or(&self.path, &error))
    }
}

/// Folders in a folder that may not be there.
fn folders_in(folder: &Path) -> Result<Vec<String>> {
    let mut names = file::names(folder)?;
    names.retain(|name| folder.join(name).is_dir());
    Ok(names)
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::host("backup-unreadable", format!("cannot read {}", path.display()))
        .because(error)
        .hint("make it readable for you, or use another backup: pipe backup list")
}

fn unwritable(path: &Path, error: Error) -> Error {
    let mut unwritable =
        Error::host("backup-unwritable", format!("cannot write {}", path.display()));
    unwritable.causes = error.causes;
    unwritable.hint("name another folder: --to DIR")
}

fn full_or(path: &Path, error: &io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some disk space, or name another folder: --to DIR"
        }
        _ => "make the folder writable for you, or name another: --to DIR",
    };
    Error::host("backup-unwritable", format!("cannot write {}", path.display()))
        .because(error)
        .hint(hint)
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.display())
    }
}
