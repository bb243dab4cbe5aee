//! Images into the cache, from where they can be had: what it has already, what was built here, the
//! upstream registry, the engine's own store, an archive. What is in is signed.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::copy::{self, Freight};
use super::meter::Meter;
use super::shelf::{Archived, Shelf};
use super::signatures::{self, Pen};
use super::{Cache, archives, places, upload};
use crate::spec::lock_file::{self, Anchor, Locked};
use crate::spec::{Arch, ImageName};
use crate::world::World;
use crate::world::archive::{self, Sink};
use crate::world::registry::{self, Manifest, Repository, Shape};
use crate::{Error, Result};

/// Parts of an archive that wait to be read.
const WAITING: usize = 16;

/// The code of a cache that does not take what it is given.
const REFUSED: &str = "cache-refused";

/// The code of an image that no registry gives.
const UNAVAILABLE: &str = "image-unavailable";

/// The code of an image that the engine does not have.
const UNKNOWN: &str = "image-unknown";

/// Where an image was taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was there.
    Cache,
    /// Its own registry, or a mirror of it: the same digest.
    Upstream,
    /// The engine's store, which keeps layers uncompressed: anchored by the configuration's digest.
    Engine,
    /// An archive that the user's `config.yaml` names: the same digest.
    Archive,
}

/// What was done for an image.
#[derive(Clone, Debug)]
pub struct Filled {
    /// Digest of its manifest or index.
    pub digest: String,
    /// From where.
    pub source: Source,
    /// Bytes of layers that were sent into the cache.
    pub sent: u64,
}

/// Makes sure that `image` is in the cache, signed. `built` is the id, in the engine, of the image
/// that was built here for that name, and is taken before any other.
///
/// # Errors
/// It can be had nowhere; the cache does not answer or refuses.
pub async fn fill(
    world: &World,
    cache: &Cache,
    image: &ImageName,
    built: Option<&str>,
    meter: &Meter,
) -> Result<Filled> {
    let filled = async {
        let there = cache.look(image).await?;
        if let Some(there) = there.as_ref().filter(|there| there.signed_by.is_some())
            && built.is_none_or(|built| there.id.as_deref() == Some(built))
        {
            return Ok(Filled { digest: there.digest.clone(), source: Source::Cache, sent: 0 });
        }
        if let Some(id) = built {
            return from_engine(world, cache, image, id, meter).await;
        }
        let reference = image.digest().unwrap_or(image.tag());
        let refused = match from_upstream(world, cache, image, reference, meter).await {
            Ok(filled) => return Ok(filled),
            Err(error) if [registry::FULL, REFUSED].contains(&error.code) => return Err(error),
            Err(error) => error,
        };
        if let Some(found) = world.engine.image(image.tagged()).await? {
            return from_engine(world, cache, image, &found.id, meter).await;
        }
        let mut tried = Vec::new();
        if let Some(found) = archives::find(&world.env, image, reference, &mut tried).await {
            return from_archive(cache, image, &found, meter).await;
        }
        let refused = tried.into_iter().fold(refused, Error::because);
        // What somebody else wrote is not signed for them.
        Err(match there {
            None => refused,
            Some(there) => refused.because(format!(
                "what the cache has under this name, {}, has no signature of a key that is trusted here",
                there.digest
            )),
        })
    };
    named(cache, filled.await).await
}

/// Makes sure that the cache has what is locked of `image`, signed and under its tag, whatever its name
/// leads to elsewhere by now.
///
/// # Errors
/// The locked bytes can be had nowhere any more; the cache does not answer or refuses.
pub async fn locked(
    world: &World,
    cache: &Cache,
    image: &ImageName,
    locked: &Locked,
    meter: &Meter,
) -> Result<Filled> {
    let filled = async {
        let references = [Some(image.tag()), locked.manifest()];
        for reference in references.into_iter().flatten() {
            let Some(there) = cache.look_at(image, reference).await? else { continue };
            if there.signed_by.is_some() && locked.is(&there.digest, there.id.as_deref()) {
                if reference != image.tag() {
                    // Another project's lock has the tag elsewhere; the last `up` has it.
                    let repository = cache.repository(image)?;
                    if let Some(manifest) = repository.manifest(reference).await? {
                        repository.put_manifest(&manifest, Some(image.tag())).await?;
                    }
                }
                return Ok(Filled { digest: there.digest, source: Source::Cache, sent: 0 });
            }
        }
        let filled = match &locked.anchor {
            Anchor::Digest { digest, .. } => {
                from_upstream(world, cache, image, digest, meter).await
            }
            Anchor::Config { config, .. } => {
                from_engine(world, cache, image, lock_file::hex(config), meter).await
            }
        };
        let filled = match filled {
            Err(error) if error.code == UNAVAILABLE || error.code == UNKNOWN => {
                let mut tried = Vec::new();
                let found = match &locked.anchor {
                    Anchor::Digest { digest, .. } => {
                        archives::find(&world.env, image, digest, &mut tried).await
                    }
                    Anchor::Config { .. } => {
                        archives::find_locked(&world.env, image, locked).await?
                    }
                };
                match found {
                    Some(found) => from_archive(cache, image, &found, meter).await,
                    None => Err(tried.into_iter().fold(error, Error::because)),
                }
            }
            filled => filled,
        };
        filled.map_err(|error| match error.code {
            UNAVAILABLE | UNKNOWN => Error::new(
                error.kind,
                "locked-gone",
                format!("{image} cannot be had as it is locked, {}", locked.held_to()),
            )
            .because(&error)
            .hint("lock what its name leads to now, and look at what changed: pipe images lock"),
            _ => error,
        })
    };
    named(cache, filled.await).await
}

/// A cache that went away is the cause, whatever failed because of it: not an image that can be had
/// nowhere.
async fn named(cache: &Cache, filled: Result<Filled>) -> Result<Filled> {
    match filled {
        Err(error) if cache.registry.ping().await.is_err() => {
            Err(Error::host("cache-stopped", "the image cache stopped while it was filled")
                .because(error)
                .hint("run the same command again: what has come is not fetched again"))
        }
        filled => filled,
    }
}

/// Signs a manifest and puts it under its image's tag, which comes last: whatever breaks off before, nothing
/// is found under it that is not signed.
pub(in crate::run) async fn seal(
    cache: &Cache,
    repository: &Repository,
    image: &ImageName,
    manifest: &Manifest,
) -> Result<()> {
    let now = Timestamp::now().to_string();
    let name = image.repository();
    let pen = Pen { name, key: &cache.keys.signing, now: &now };
    signatures::sign(repository, &manifest.digest, pen).await?;
    repository.put_manifest(manifest, Some(image.tag())).await
}

/// From the engine's store, whatever the cache has under the name.
///
/// # Errors
/// The engine has it no more or cannot export it; the cache does not answer or refuses.
pub async fn from_engine(
    world: &World,
    cache: &Cache,
    image: &ImageName,
    id: &str,
    meter: &Meter,
) -> Result<Filled> {
    let repository = &cache.repository(image)?;
    let Some(found) = world.engine.image(id).await? else {
        return Err(Error::failed(UNKNOWN, format!("the engine has no {image} any more")));
    };
    let mut has = BTreeSet::new();
    for layer in &found.layers {
        if repository.blob_size(layer).await?.is_some() {
            has.insert(layer.clone());
        }
    }
    let (out, parts) = mpsc::channel(WAITING);
    let images = BTreeMap::from([(id.to_owned(), vec![image.tagged().to_owned()])]);
    let sinks = vec![Sink { images, has, out }];
    let parts = SyncIoBridge::new(StreamReader::new(archive::parts(parts).boxed()));
    let (name, ids) = (image.to_string(), [id]);
    let export = archive::export(&world.engine, &ids, sinks, &name);
    let (exported, uploaded) = tokio::join!(export, upload::upload(repository, parts, meter));
    let upload::Uploaded { manifest, sent } = uploaded?;
    exported?;
    seal(cache, repository, image, &manifest).await?;
    Ok(Filled { digest: manifest.digest, source: Source::Engine, sent })
}

/// The same image under another name: nothing is sent again.
///
/// # Errors
/// The cache does not answer or refuses.
pub async fn also(cache: &Cache, image: &ImageName, digest: &str, name: &ImageName) -> Result<()> {
    let (from, to) = (cache.repository(image)?, cache.repository(name)?);
    let gone =
        || Error::failed("manifest-unknown", format!("{image} is not in the cache any more"));
    let manifest = from.manifest(digest).await?.ok_or_else(gone)?;
    if let Shape::Image(shape) = manifest.shape()? {
        for blob in shape.layers().iter().chain([shape.config()]) {
            let digest = blob.digest().as_ref();
            if to.blob_size(digest).await?.is_none() && !to.mount(digest, from.name()).await? {
                let content = from.download(digest, blob.size()).await?;
                to.upload(digest, copy::chunks(content)).await?;
            }
        }
    }
    to.put_manifest(&manifest, None).await?;
    seal(cache, &to, name, &manifest).await
}

async fn from_archive(
    cache: &Cache,
    image: &ImageName,
    (archived, found): &(Archived, Manifest),
    meter: &Meter,
) -> Result<Filled> {
    let sent = take(cache, image, archived, found, meter).await?;
    Ok(Filled { digest: found.digest.clone(), source: Source::Archive, sent })
}

/// Copies and signs what a shelf has; gives the bytes that were sent.
///
/// # Errors
/// [`REFUSED`] or [`registry::FULL`] of the cache; else what is wrong with the shelf.
async fn take(
    cache: &Cache,
    image: &ImageName,
    shelf: &impl Shelf,
    found: &Manifest,
    meter: &Meter,
) -> Result<u64> {
    let arch = Arch::of_host()?;
    let repository = &cache.repository(image)?;
    let freight = Freight { digest: &found.digest, tag: None, arches: &[arch.as_str()] };
    match copy::copy(shelf, repository, freight, meter).await {
        Ok(copied) => {
            seal(cache, repository, image, found).await?;
            Ok(copied.sent)
        }
        Err(error) if error.code == registry::FULL => Err(error),
        // Zot says no more than 500, also where its disk is full.
        Err(error) if error.to_string().contains(cache.registry.name()) => {
            Err(Error::failed(REFUSED, format!("the image cache did not take {image}"))
                .because(error)
                .hint("see what it says: podman logs pipe-registry")
                .hint("see whether its disk is full: podman system df"))
        }
        Err(error) => Err(error),
    }
}

/// By digest, from the mirrors of its registry and then the registry itself.
async fn from_upstream(
    world: &World,
    cache: &Cache,
    image: &ImageName,
    reference: &str,
    meter: &Meter,
) -> Result<Filled> {
    let mut tried = Vec::new();
    for place in places::of(&world.env, image, &mut tried).await {
        let found = match place.repository.manifest(reference).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                tried.push(format!("{} does not have {reference}", place.shown));
                continue;
            }
            Err(error) => {
                tried.push(error.to_string());
                continue;
            }
        };
        match take(cache, image, &place.repository, &found, meter).await {
            Ok(sent) => {
                let (digest, source) = (found.digest, Source::Upstream);
                return Ok(Filled { digest, source, sent });
            }
            // Of the cache: the next place would fill it no better.
            Err(error) if [registry::FULL, REFUSED].contains(&error.code) => return Err(error),
            Err(error) => tried.push(error.to_string()),
        }
    }
    let error = Error::failed(UNAVAILABLE, format!("{image} can be had nowhere"));
    Err(tried.into_iter().fold(error, Error::because))
}
