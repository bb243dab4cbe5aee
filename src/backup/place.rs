//! Where backups lie: `CLUSTER/COMPONENT/ID/FILE`, below a folder or in a bucket.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use futures::stream::BoxStream;

use super::manifest;
use crate::Result;

mod bucket;
mod folder;

pub use bucket::Bucket;
pub use folder::Folder;

/// A place for backups.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder of this machine.
    Folder(Folder),
    /// A bucket of an S3 store.
    Bucket(Bucket),
}

/// The content of a file, as it comes.
pub type Content = BoxStream<'static, Result<Bytes>>;

/// A file that is being written; it counts for nothing until [`Sink::close`] came back.
#[derive(Debug)]
pub(super) enum Sink {
    Folder(folder::Sink),
    Bucket(bucket::Sink),
}

impl Place {
    /// A new file.
    pub(super) async fn create(&self, path: &str) -> Result<Sink> {
        match self {
            Place::Folder(folder) => folder.create(path).await.map(Sink::Folder),
            Place::Bucket(bucket) => Ok(Sink::Bucket(bucket.create(path))),
        }
    }

    /// A small file, whole or not at all, in place of one that may be there.
    pub(super) async fn commit(&self, path: &str, text: &str) -> Result<()> {
        match self {
            Place::Folder(folder) => folder.commit(path, text).await,
            Place::Bucket(bucket) => bucket.commit(path, text).await,
        }
    }

    /// The content of a file; `None` if there is none.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Content>> {
        match self {
            Place::Folder(folder) => folder.read(path).await,
            Place::Bucket(bucket) => bucket.read(path).await,
        }
    }

    /// A small file as text; `None` if there is none.
    pub(super) async fn text(&self, path: &str) -> Result<Option<String>> {
        match self {
            Place::Folder(folder) => folder.text(path).await,
            Place::Bucket(bucket) => bucket.text(path).await,
        }
    }

    /// Every folder that may hold a backup, `CLUSTER/COMPONENT/ID`, with the files in it.
    pub(super) async fn folders(&self) -> Result<BTreeMap<String, Vec<String>>> {
        match self {
            Place::Folder(folder) => folder.folders().await,
            Place::Bucket(bucket) => bucket.folders().await,
        }
    }

    /// Removes a backup: first what makes it one.
    pub(super) async fn remove(&self, folder: &str) -> Result<()> {
        let manifest = format!("{folder}/{}", manifest::NAME);
        match self {
            Place::Folder(place) => place.remove(folder, &manifest).await,
            Place::Bucket(place) => place.remove(folder, &manifest).await,
        }
    }
}

impl Sink {
    /// Adds bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Sink::Folder(sink) => sink.write(bytes).await,
            Sink::Bucket(sink) => sink.write(bytes).await,
        }
    }

    /// Makes sure that all of it is stored.
    pub(super) async fn close(self) -> Result<()> {
        match self {
            Sink::Folder(sink) => sink.close().await,
            Sink::Bucket(sink) => sink.close().await,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(folder) => write!(f, "{folder}"),
            Place::Bucket(bucket) => write!(f, "{bucket}"),
        }
    }
}
