//! `images verify`: everything that the cache holds, read again byte by byte.

use std::collections::BTreeMap;

use serde::Serialize;

use super::walk::{self, Content};
use super::{Cache, signatures};
use crate::report::Events;
use crate::trust::forbidden::Forbidden;
use crate::world::registry::Repository;
use crate::{Kind, Result};

/// What was found.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// Ordered by name.
    pub images: Vec<Checked>,
    /// Bytes that were read.
    pub bytes: u64,
}

/// One name in the cache.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// As pods have it.
    pub name: String,
    /// Of its manifest or index.
    pub digest: String,
    /// `linux/amd64`, of those whose images are here; none where its configuration says none.
    pub platforms: Vec<String>,
    /// Bytes of its layers.
    pub size: u64,
    /// The key whose signature counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// What is wrong with it; nothing where all is well.
    pub faults: Vec<String>,
}

impl Verified {
    /// How many are not as they should be.
    pub fn faulty(&self) -> usize {
        self.images.iter().filter(|image| !image.faults.is_empty()).count()
    }
}

/// What blobs were found to be, by digest: many names share them.
#[derive(Default)]
struct Seen {
    blobs: BTreeMap<String, Option<String>>,
    bytes: u64,
}

/// Reads everything again: bytes against their digests, signatures against the trusted keys.
///
/// # Errors
/// The cache does not answer. What is wrong with an image is in the result.
pub async fn verify(cache: &Cache, forbidden: &Forbidden, events: &Events) -> Result<Verified> {
    let mut seen = Seen::default();
    let mut images = Vec::new();
    for place in walk::places(cache).await? {
        for tag in &place.tags {
            let name = format!("{}:{tag}", place.upstream);
            events.info(format!("reading {name}"));
            images.push(one(cache, forbidden, &place.repository, tag, name, &mut seen).await?);
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Verified { images, bytes: seen.bytes })
}

async fn one(
    cache: &Cache,
    forbidden: &Forbidden,
    repository: &Repository,
    tag: &str,
    name: String,
    seen: &mut Seen,
) -> Result<Checked> {
    let mut checked = Checked {
        digest: String::new(),
        platforms: Vec::new(),
        size: 0,
        signed_by: None,
        faults: Vec::new(),
        name,
    };
    if let Some(rule) = forbidden.matches(&checked.name) {
        checked.faults.push(rule.reason(&checked.name));
    }
    let manifest = match repository.manifest(tag).await {
        Ok(Some(manifest)) => manifest,
        Ok(None) => {
            checked.faults.push("its manifest is gone".to_owned());
            return Ok(checked);
        }
        Err(error) if error.kind == Kind::Host => return Err(error),
        Err(error) => {
            checked.faults.push(error.to_string());
            return Ok(checked);
        }
    };
    checked.digest.clone_from(&manifest.digest);
    match signatures::verify(repository, &manifest.digest, &cache.keys.trusted).await {
        Ok(key) => checked.signed_by = Some(key.to_string()),
        Err(error) => checked.faults.push(error.to_string()),
    }
    let mut content = Content::of(repository, &manifest).await;
    checked.platforms = content.platforms();
    checked.size = content.size();
    checked.faults.append(&mut content.faults);
    for part in &content.parts {
        for blob in part.image.layers().iter().chain([part.image.config()]) {
            let digest = blob.digest().to_string();
            let found = match seen.blobs.get(&digest) {
                Some(found) => found.clone(),
                None => {
                    let fault = read(repository, &digest, blob.size(), seen).await;
                    seen.blobs.insert(digest, fault.clone());
                    fault
                }
            };
            checked.faults.extend(found);
        }
    }
    Ok(checked)
}

/// What is wrong with a blob.
async fn read(repository: &Repository, digest: &str, size: u64, seen: &mut Seen) -> Option<String> {
    let read = async {
        let mut download = repository.download(digest, size).await?;
        while let Some(chunk) = download.chunk().await? {
            seen.bytes += chunk.len() as u64;
        }
        Result::Ok(())
    };
    read.await.err().map(|error: crate::Error| error.to_string())
}
