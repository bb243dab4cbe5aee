//! Backups in a bucket of an S3 store, such as the cluster's own. An object is there whole or not at all,
//! so a manifest is, too.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest, Sha256};

use super::Content;
use crate::world::s3::{Call, Store, describe};
use crate::{Error, Result};

/// What is sent at once, and held in memory meanwhile; stores take 10 000 of them.
const PART: usize = 16 * 1024 * 1024;

/// Longest manifest.
const TEXT_MAX: u64 = 64 * 1024 * 1024;

/// A bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Store,
    /// Whose store it is.
    component: String,
    name: String,
    /// Uploads in parts that were begun and not ended: key and id.
    begun: Arc<Mutex<Vec<(String, String)>>>,
}

/// An object that is being written.
#[derive(Debug)]
pub(in crate::backup) struct Sink {
    bucket: Bucket,
    key: String,
    buffer: BytesMut,
    /// Where one part was not enough: its id, and a tag for each part.
    upload: Option<(String, Vec<String>)>,
    bytes: u64,
}

impl Bucket {
    /// The bucket `name` of `component`'s store at `address`.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(component: &str, address: &str, login: (&str, &str), name: &str) -> Result<Bucket> {
        let store = Store::new(address, Some(login))?.transferring()?;
        let (component, name) = (component.to_owned(), name.to_owned());
        Ok(Bucket { store, component, name, begun: Arc::default() })
    }

    /// Makes the bucket where it is not there.
    ///
    /// # Errors
    /// The store does not answer, or does not make it.
    pub async fn ensure(&self) -> Result<()> {
        let there = self.store.has(&self.name).await.map_err(|why| self.unwritable("", &why))?;
        if there {
            return Ok(());
        }
        let made = self.store.call(&self.name, Call::CreateBucket).await;
        let made = made.map_err(|why| self.unwritable("", &why))?;
        match made.status {
            200 => Ok(()),
            _ => Err(self.unwritable("", &describe(&made))),
        }
    }

    /// Whose store it is.
    pub fn component(&self) -> &str {
        &self.component
    }

    pub(super) fn create(&self, path: &str) -> Sink {
        Sink {
            bucket: self.clone(),
            key: path.to_owned(),
            buffer: BytesMut::new(),
            upload: None,
            bytes: 0,
        }
    }

    pub(super) async fn commit(&self, path: &str, text: &str) -> Result<()> {
        self.put(path, text.as_bytes()).await
    }

    pub(super) async fn read(&self, path: &str) -> Result<Option<Content>> {
        let opened = self.store.open(&self.name, path, None).await;
        let opened = opened.map_err(|why| self.unreadable(path, &why))?;
        let Some(opened) = opened else { return Ok(None) };
        let (this, path) = (self.clone(), path.to_owned());
        let content = opened.body.map_err(move |why| this.unreadable(&path, &why));
        Ok(Some(content.boxed()))
    }

    pub(super) async fn text(&self, path: &str) -> Result<Option<String>> {
        let opened = self.store.open(&self.name, path, None).await;
        let opened = opened.map_err(|why| self.unreadable(path, &why))?;
        let Some(mut opened) = opened else { return Ok(None) };
        if opened.length > TEXT_MAX {
            return Err(self.unreadable(path, &format!("it has {} bytes", opened.length)));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = opened.body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|why| self.unreadable(path, &why))?);
        }
        // What is no text is no manifest either, which its reader says.
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(super) async fn folders(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let there = self.store.has(&self.name).await.map_err(|why| self.unreadable("", &why))?;
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if !there {
            return Ok(found);
        }
        let keys = self.store.keys(&self.name, "").await;
        for (key, _) in keys.map_err(|why| self.unreadable("", &why))? {
            if let Some((folder, file)) = key.rsplit_once('/') {
                found.entry(folder.to_owned()).or_default().push(file.to_owned());
            }
        }
        Ok(found)
    }

    pub(super) async fn remove(&self, folder: &str, manifest: &str) -> Result<()> {
        let failed = |why: String| self.unwritable(folder, &why);
        self.store.delete(&self.name, manifest, None).await.map_err(failed)?;
        let below = format!("{folder}/");
        let begun: Vec<(String, String)> = {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            let (ours, others) = begun.drain(..).partition(|(key, _)| key.starts_with(&below));
            *begun = others;
            ours
        };
        for (key, upload) in begun {
            self.store.drop_parts(&self.name, &key, &upload).await.map_err(failed)?;
        }
        for key in self.store.keys(&self.name, &below).await.map_err(failed)?.into_keys() {
            self.store.delete(&self.name, &key, None).await.map_err(failed)?;
        }
        Ok(())
    }

    /// An upload in parts that was ended.
    fn forget(&self, id: &str) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|(_, other)| other != id);
    }

    /// A small object, with its hash for the store to compare.
    async fn put(&self, key: &str, content: &[u8]) -> Result<()> {
        let sha256 = Sha256::digest(content);
        let put = Call::Put { key, content, sha256: sha256.as_slice() };
        let reply = self.store.call(&self.name, put).await;
        let reply = reply.map_err(|why| self.unwritable(key, &why))?;
        match reply.status {
            200 => Ok(()),
            _ => Err(self.unwritable(key, &describe(&reply))),
        }
    }

    fn unreadable(&self, path: &str, why: &str) -> Error {
        Error::failed("backup-unreadable", format!("cannot read {path} in {self}"))
            .because(why)
            .hint("see how the store is: pipe status")
    }

    fn unwritable(&self, path: &str, why: &str) -> Error {
        Error::failed("backup-unwritable", format!("cannot write {path} in {self}"))
            .because(why)
            .hint("see how the store is: pipe status; or put the backup in a folder: --to DIR")
    }
}

impl Sink {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= PART {
            let part = self.buffer.split_to(PART).freeze();
            self.part(part).await?;
        }
        Ok(())
    }

    pub(super) async fn close(mut self) -> Result<()> {
        let rest = self.buffer.split().freeze();
        if self.upload.is_none() {
            return self.bucket.put(&self.key, &rest).await;
        }
        if !rest.is_empty() {
            self.part(rest).await?;
        }
        let Sink { bucket, key, upload, bytes, .. } = self;
        let Some((id, tags)) = upload else { return Ok(()) };
        let failed = |why: String| bucket.unwritable(&key, &why);
        bucket.store.join_parts(&bucket.name, &key, &id, &tags).await.map_err(failed)?;
        bucket.forget(&id);
        let stored = bucket.store.keys(&bucket.name, &key).await.map_err(failed)?;
        match stored.get(&key) {
            Some(length) if *length == bytes => Ok(()),
            length => Err(failed(format!("{bytes} bytes were sent, {length:?} are there"))),
        }
    }

    async fn part(&mut self, part: Bytes) -> Result<()> {
        let Bucket { store, name, begun, .. } = &self.bucket;
        let failed = |why: String| self.bucket.unwritable(&self.key, &why);
        let (id, tags) = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let id = store.begin_parts(name, &self.key).await.map_err(failed)?;
                let mut begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
                begun.push((self.key.clone(), id.clone()));
                none.insert((id, Vec::new()))
            }
        };
        let number = u16::try_from(tags.len() + 1).ok().filter(|number| *number <= 10_000);
        let number = number.ok_or_else(|| failed("it is larger than a store takes".to_owned()))?;
        let tag = store.send_part(name, &self.key, id, number, part).await.map_err(failed)?;
        tags.push(tag);
        Ok(())
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3:{}/{}", self.component, self.name)
    }
}
