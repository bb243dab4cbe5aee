//! `images list --cache`: what the cache holds, and what is known of it.

use jiff::Timestamp;
use serde::Serialize;

use super::walk::{self, Content};
use super::{Cache, signatures};
use crate::spec::lock_file::LockFile;
use crate::spec::{Arch, ClusterName};
use crate::state::cache_use::{self, CacheUse};
use crate::world::registry::Repository;
use crate::{Kind, Result};

/// One name in the cache.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Holding {
    /// As pods have it.
    pub name: String,
    /// Of its manifest or index; none where that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whose images are here: `linux/amd64`.
    pub platforms: Vec<String>,
    /// Bytes of its layers.
    pub size: u64,
    /// Why it is believed, where `pipe.lock` names these bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<&'static str>,
    /// What it is, where `pipe.lock` says that it is not the named product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<String>,
    /// Whether a node asked for it and Zot fetched it: neither judged nor signed, and removed by itself when
    /// nobody has pulled it for a month.
    pub on_demand: bool,
    /// The key whose signature counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// When a cluster was last given it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_use: Option<Timestamp>,
    /// Clusters that were given it.
    pub clusters: Vec<ClusterName>,
}

/// Everything that the cache holds, ordered by name. `lock` is the project's, `known` what was written
/// down.
///
/// # Errors
/// The cache does not answer. A name that cannot be read is in the result.
pub async fn holdings(cache: &Cache, lock: &LockFile, known: &CacheUse) -> Result<Vec<Holding>> {
    let arch = Arch::of_host()?;
    let mut holdings = Vec::new();
    for place in walk::everywhere(cache).await? {
        for tag in &place.tags {
            let name = format!("{}:{tag}", place.upstream);
            let holding = one(cache, (&place.repository, tag), name, (lock, known), arch).await?;
            holdings.push(Holding { on_demand: place.on_demand, ..holding });
        }
    }
    holdings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(holdings)
}

async fn one(
    cache: &Cache,
    (repository, tag): (&Repository, &str),
    name: String,
    (lock, known): (&LockFile, &CacheUse),
    arch: Arch,
) -> Result<Holding> {
    let key = cache_use::key_of(repository.name(), tag);
    let used = known.images.get(&key);
    let mut holding = Holding {
        name,
        last_use: used.map(|used| used.at),
        clusters: used.iter().flat_map(|used| used.clusters.iter().cloned()).collect(),
        ..Holding::default()
    };
    let manifest = match repository.manifest(tag).await {
        Ok(Some(manifest)) => manifest,
        Err(error) if error.kind == Kind::Host => return Err(error),
        Ok(None) | Err(_) => return Ok(holding),
    };
    let content = Content::of(repository, &manifest).await;
    holding.platforms = content.platforms();
    holding.size = content.size();
    match signatures::verify(repository, &manifest.digest, &cache.keys.trusted).await {
        Ok(key) => holding.signed_by = Some(key.to_string()),
        Err(error) if error.kind == Kind::Host => return Err(error),
        Err(_) => {}
    }
    let mut images = lock.images.iter();
    let locked = images.find(|(image, _)| cache_use::key(image).as_ref() == Some(&key));
    let locked = locked.filter(|(_, it)| it.is(&manifest.digest, content.id(arch).as_deref()));
    if let Some((_, locked)) = locked {
        holding.evidence = Some(locked.evidence.class.as_str());
        holding.stand_in.clone_from(&locked.evidence.stand_in);
    }
    holding.digest = Some(manifest.digest);
    Ok(holding)
}
