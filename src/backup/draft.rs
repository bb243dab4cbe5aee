//! A backup while it is made: files, hashed as they are written, and at the end the manifest.

use sha2::{Digest, Sha256};

use super::manifest::{self, Manifest};
use super::place::Sink;
use super::{BackupId, Place};
use crate::Result;
use crate::digest::hex;
use crate::spec::{ClusterName, ComponentName};

/// Files of a backup that is none yet.
#[derive(Debug)]
pub struct Draft<'a> {
    place: &'a Place,
    folder: String,
    files: Vec<manifest::File>,
}

/// A file of a draft that is being written.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    files: &'a mut Vec<manifest::File>,
    name: String,
    sink: Sink,
    bytes: u64,
    hash: Sha256,
}

impl Draft<'_> {
    /// An empty one; nothing is made for it yet.
    pub fn new<'a>(
        place: &'a Place,
        cluster: &ClusterName,
        component: &ComponentName,
        id: &BackupId,
    ) -> Draft<'a> {
        Draft { place, folder: format!("{cluster}/{component}/{id}"), files: Vec::new() }
    }

    /// Begins the next file; its name is made from its number and `ending`.
    pub(super) async fn file(&mut self, ending: &str) -> Result<Writing<'_>> {
        let name = format!("{:04}.{ending}", self.files.len() + 1);
        let sink = self.place.create(&format!("{}/{name}", self.folder)).await?;
        Ok(Writing { files: &mut self.files, name, sink, bytes: 0, hash: Sha256::new() })
    }

    /// The files that are whole.
    pub fn files(&self) -> &[manifest::File] {
        &self.files
    }

    /// Makes a backup of it.
    ///
    /// # Errors
    /// The manifest cannot be stored: then it is none.
    pub async fn commit(self, manifest: &Manifest) -> Result<()> {
        let path = format!("{}/{}", self.folder, manifest::NAME);
        self.place.commit(&path, &manifest.to_text()?).await
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// Something stays: it has no manifest, so it is never taken for a backup.
    pub async fn discard(self) -> Result<()> {
        self.place.remove(&self.folder).await
    }
}

impl Writing<'_> {
    /// Adds bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write(bytes).await?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Ends the file; gives its name.
    pub(super) async fn close(self) -> Result<String> {
        let Writing { files, name, sink, bytes, hash } = self;
        sink.close().await?;
        let sha256 = hex(hash.finalize().as_slice());
        files.push(manifest::File { name: name.clone(), bytes, sha256 });
        Ok(name)
    }
}
