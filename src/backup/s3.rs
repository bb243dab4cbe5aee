//! An S3 store: of every bucket every version of every object, oldest first, in one archive.
//!
//! ```text
//! 0001.tar   00000001.json  {"key": …, "headers": …}    what to put it with
//!            00000001       the content
//!            00000002.json  {"key": …, "deletion": true}
//! ```

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use super::draft::Writing;
use super::feed::feed;
use super::pack::{self, Unpack};
use super::{Contents as AnyContents, Draft, Manifest, Progress, Saved, Shelf, Target};
use crate::report::format;
use crate::world::s3::{Call, Opened, Store, Version, Versioning, describe};
use crate::{Error, Result};

/// Longest description of an object: keys and metadata are a few kilobytes at most.
const DESCRIPTION_MAX: u64 = 1024 * 1024;

/// Versions removed at once.
const REMOVALS: usize = 8;

/// What a backup of a store holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// By name.
    pub buckets: Vec<Bucket>,
}

/// One bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Whether it keeps versions.
    pub versioning: Versioning,
    /// Entries of the archive: versions and deletions.
    pub objects: u64,
    /// The archive.
    pub file: String,
}

/// An object's description in the archive.
#[derive(Debug, Serialize, Deserialize)]
struct Object {
    key: String,
    /// It was deleted here, and there is no content.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deletion: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
}

impl Contents {
    pub(super) fn summary(&self) -> String {
        let objects: u64 = self.buckets.iter().map(|bucket| bucket.objects).sum();
        let objects = format::count(objects, "object");
        format!("{}, {objects}", format::count(self.buckets.len(), "bucket"))
    }

    pub(super) fn files(&self) -> Vec<&str> {
        self.buckets.iter().map(|bucket| bucket.file.as_str()).collect()
    }
}

fn store(target: &Target) -> Result<Store> {
    let (key, secret) = (target.credential("accessKey")?, target.credential("secretKey")?);
    Store::new(&target.address(), Some((key, secret)))?.transferring()
}

pub(super) async fn save(
    target: &Target,
    draft: &mut Draft<'_>,
    progress: &Progress,
) -> Result<Saved> {
    let store = store(target)?;
    let (mut names, product) = store.buckets().await.map_err(|why| target.unread(why))?;
    names.sort();
    let mut buckets = Vec::new();
    for name in names {
        progress.item(format!("bucket {name}"));
        let failed = |why: String| target.unread(format!("bucket {name}: {why}"));
        let versioning = store.versioning(&name).await.map_err(failed)?;
        let mut saving =
            Saving { target, store: &store, bucket: &name, versioning, progress, objects: 0 };
        let mut file = draft.file("tar").await?;
        saving.bucket(&mut file).await?;
        file.write(pack::END).await?;
        let objects = saving.objects;
        let file = file.close().await?;
        buckets.push(Bucket { name, versioning, objects, file });
    }
    let contents = AnyContents::S3(Contents { buckets });
    Ok(Saved { product, contents, left_out: Vec::new() })
}

/// One bucket while it is read.
struct Saving<'a> {
    target: &'a Target,
    store: &'a Store,
    bucket: &'a str,
    versioning: Versioning,
    progress: &'a Progress,
    objects: u64,
}

impl Saving<'_> {
    async fn bucket(&mut self, file: &mut Writing<'_>) -> Result<()> {
        let mut after = None;
        // Of one key, newest first; lists may end in the middle of them.
        let mut versions: Vec<Version> = Vec::new();
        loop {
            let page = self.store.versions(self.bucket, after.as_ref()).await;
            let page = page.map_err(|why| self.failed(&why))?;
            for version in page.versions {
                if versions.first().is_some_and(|first| first.key != version.key) {
                    self.key(std::mem::take(&mut versions), file).await?;
                }
                versions.push(version);
            }
            after = page.next;
            if after.is_none() {
                return self.key(versions, file).await;
            }
        }
    }

    /// All versions of one key, in the order in which they came to be.
    async fn key(&mut self, versions: Vec<Version>, file: &mut Writing<'_>) -> Result<()> {
        for version in versions.into_iter().rev() {
            let Version { key, id, deletion } = version;
            if deletion {
                let object = Object { key, deletion, headers: BTreeMap::new() };
                self.describe(&object, file).await?;
                continue;
            }
            let id = (self.versioning != Versioning::Off).then_some(id.as_str());
            let failed = |why: String| self.failed(&format!("{key}: {why}"));
            let opened = self.store.open(self.bucket, &key, id).await.map_err(failed)?;
            // Gone since it was listed, as if we had come a moment later.
            let Some(Opened { length, headers, mut body }) = opened else { continue };
            let object = Object { key, deletion, headers };
            let name = self.describe(&object, file).await?;
            file.write(&pack::header(&name, length)?).await?;
            let mut left = length;
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|why| self.failed(&format!("{}: {why}", object.key)))?;
                left = left.saturating_sub(chunk.len() as u64);
                file.write(&chunk).await?;
                self.progress.advance(chunk.len() as u64);
            }
            if left > 0 {
                return Err(self.failed(&format!("{}: {left} bytes are missing", object.key)));
            }
            file.write(pack::padding(length)).await?;
        }
        Ok(())
    }

    /// Writes a description; gives the name of the content that belongs to it.
    async fn describe(&mut self, object: &Object, file: &mut Writing<'_>) -> Result<String> {
        self.objects += 1;
        let name = format!("{:08}", self.objects);
        let text = serde_json::to_vec(object)
            .map_err(|error| Error::bug("an object cannot be described").because(error))?;
        let length = text.len() as u64;
        file.write(&pack::header(&format!("{name}.json"), length)?).await?;
        file.write(&text).await?;
        file.write(pack::padding(length)).await?;
        Ok(name)
    }

    fn failed(&self, why: &str) -> Error {
        self.target.unread(format!("bucket {}: {why}", self.bucket))
    }
}

pub(super) async fn survey(target: &Target, contents: &Contents) -> Result<Vec<String>> {
    let store = store(target)?;
    let (there, _) = store.buckets().await.map_err(|why| target.unwritten(why))?;
    let mut lost = Vec::new();
    for Bucket { name, .. } in contents.buckets.iter().filter(|b| there.contains(&b.name)) {
        let failed = |why: String| target.unwritten(format!("bucket {name}: {why}"));
        let page = store.versions(name, None).await.map_err(failed)?;
        let count = page.versions.len();
        if count > 0 {
            let more = if page.next.is_some() { " or more" } else { "" };
            lost.push(format!("bucket {name} ({}{more})", format::count(count, "object")));
        }
    }
    Ok(lost)
}

pub(super) async fn restore(
    target: &Target,
    contents: &Contents,
    manifest: &Manifest,
    shelf: &Shelf<'_>,
    progress: &Progress,
) -> Result<()> {
    let store = store(target)?;
    for bucket in &contents.buckets {
        progress.item(format!("bucket {}", bucket.name));
        let failed = |why: String| target.unwritten(format!("bucket {}: {why}", bucket.name));
        make_ready(&store, bucket).await.map_err(failed)?;
        let mut archive = Unpack::new(shelf.open(&bucket.file).await?);
        let mut objects = 0;
        while let Some(object) = description(&mut archive).await? {
            let key = &object.key;
            put(&store, &bucket.name, &object, &mut archive, progress)
                .await?
                .map_err(|why| failed(format!("{key}: {why}")))?;
            objects += 1;
        }
        if objects != bucket.objects {
            let said = format!("{objects} objects in it, {} in its manifest", bucket.objects);
            return Err(damaged(manifest, &said));
        }
        if bucket.versioning == Versioning::Suspended {
            store.set_versioning(&bucket.name, false).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Makes the bucket, or empties it.
async fn make_ready(store: &Store, bucket: &Bucket) -> Result<(), String> {
    let name = bucket.name.as_str();
    let is = match store.has(name).await? {
        true => {
            empty(store, name).await?;
            store.versioning(name).await?
        }
        false => {
            let reply = store.call(name, Call::CreateBucket).await?;
            if reply.status != 200 {
                return Err(describe(&reply));
            }
            Versioning::Off
        }
    };
    match (is, bucket.versioning) {
        (Versioning::Enabled, Versioning::Off) => store.set_versioning(name, false).await,
        (_, Versioning::Off) => Ok(()),
        // What is put while it is suspended would overwrite what was put before.
        (_, Versioning::Enabled | Versioning::Suspended) => store.set_versioning(name, true).await,
    }
}

/// Removes every version of every object.
async fn empty(store: &Store, bucket: &str) -> Result<(), String> {
    loop {
        let page = store.versions(bucket, None).await?;
        if page.versions.is_empty() {
            return Ok(());
        }
        futures::stream::iter(&page.versions)
            .map(|Version { key, id, .. }| async move {
                let removed = store.delete(bucket, key, Some(id)).await;
                removed.map_err(|why| format!("{key} cannot be removed: {why}"))
            })
            .buffer_unordered(REMOVALS)
            .try_collect::<()>()
            .await?;
    }
}

/// The next object's description; `None` behind the last.
async fn description(archive: &mut Unpack) -> Result<Option<Object>> {
    if archive.next().await?.is_none() {
        return Ok(None);
    }
    let text = archive.small(DESCRIPTION_MAX).await?;
    let object = serde_json::from_slice(&text).map_err(|error| {
        Error::failed("backup-damaged", "an object in the backup has no description").because(error)
    })?;
    Ok(Some(object))
}

/// Puts an object as it is described; the content follows in the archive. The outer error is the
/// archive's, the inner one the store's.
async fn put(
    store: &Store,
    bucket: &str,
    object: &Object,
    archive: &mut Unpack,
    progress: &Progress,
) -> Result<Result<(), String>> {
    let Object { key, deletion, headers } = object;
    if *deletion {
        return Ok(store.delete(bucket, key, None).await);
    }
    let Some((_, length)) = archive.next().await? else {
        return Err(Error::failed("backup-damaged", "an object in the backup has no content"));
    };
    // Whoever read it before found it whole: an error is a change since.
    feed(archive.content(), progress, |body| store.put(bucket, key, headers.clone(), length, body))
        .await
}

fn damaged(manifest: &Manifest, why: &str) -> Error {
    let what = format!("the backup {} of {} is damaged", manifest.id, manifest.component);
    Error::failed("backup-damaged", what).because(why)
}
