//! Images into the cache, from where they can be had: what it has already, what was built here, the
//! upstream registry, the engine's own store. What is in is signed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio::sync::mpsc::{self, Receiver};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::copy::{self, Freight};
use super::signatures::{self, Pen};
use super::{Cache, upload};
use crate::spec::{Arch, ImageName};
use crate::world::World;
use crate::world::archive::{self, Sink};
use crate::world::registry::{Registry, Repository, Shape};
use crate::world::registry_login;
use crate::{Error, Result};

/// Parts of an archive that wait to be read.
const WAITING: usize = 16;

/// Where an image was taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was there.
    Cache,
    /// Its own registry, or a mirror of it: the same digest.
    Upstream,
    /// The engine's store, which keeps layers uncompressed: anchored by the configuration's digest.
    Engine,
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
) -> Result<Filled> {
    let repository = cache.repository(image)?;
    let there = cache.look(image).await?;
    if let Some(there) = there.as_ref().filter(|there| there.signed_by.is_some())
        && built.is_none_or(|built| there.id.as_deref() == Some(built))
    {
        return Ok(Filled { digest: there.digest.clone(), source: Source::Cache, sent: 0 });
    }
    if let Some(id) = built {
        return from_engine(world, cache, image, id).await;
    }
    let refused = match from_upstream(world, cache, &repository, image).await {
        Ok(filled) => return Ok(filled),
        Err(error) => error,
    };
    match world.engine.image(image.tagged()).await? {
        Some(found) => from_engine(world, cache, image, &found.id).await,
        // What somebody else wrote is not signed for them.
        None => Err(match there {
            None => refused,
            Some(there) => refused.because(format!(
                "what the cache has under this name, {}, has no signature of a key that is trusted here",
                there.digest
            )),
        }),
    }
}

/// The tag comes last: whatever breaks off before, nothing is found under it that is not signed.
async fn seal(
    cache: &Cache,
    repository: &Repository,
    image: &ImageName,
    digest: &str,
) -> Result<()> {
    let now = Timestamp::now().to_string();
    let name = image.repository();
    let pen = Pen { name, key: &cache.keys.signing, now: &now };
    signatures::sign(repository, digest, pen).await?;
    let Some(manifest) = repository.manifest(digest).await? else {
        return Err(Error::bug(format!("{digest} was stored and is not there")));
    };
    repository.put_manifest(&manifest, Some(image.tag())).await
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
) -> Result<Filled> {
    let repository = &cache.repository(image)?;
    let Some(found) = world.engine.image(id).await? else {
        return Err(Error::failed("image-unknown", format!("the engine has no {image} any more")));
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
    let export = StreamReader::new(world.engine.export(&[id]).map_err(io::Error::other).boxed());
    let export = SyncIoBridge::new(export);
    let split = tokio::task::spawn_blocking(move || archive::split(export, sinks));
    let parts = SyncIoBridge::new(StreamReader::new(parts_of(parts).boxed()));
    let (split, uploaded) = tokio::join!(split, upload::upload(repository, parts));
    let upload::Uploaded { manifest, sent } = uploaded?;
    split.map_err(|died| Error::bug(died.to_string()))?.map_err(|error| {
        Error::failed("image-export", format!("the engine cannot export {image}")).because(error)
    })?;
    seal(cache, repository, image, &manifest.digest).await?;
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
    seal(cache, &to, name, digest).await
}

fn parts_of(
    parts: Receiver<io::Result<bytes::Bytes>>,
) -> impl futures::Stream<Item = io::Result<bytes::Bytes>> {
    futures::stream::unfold(parts, async |mut parts| Some((parts.recv().await?, parts)))
}

/// By digest, from the mirrors of its registry and then the registry itself.
async fn from_upstream(
    world: &World,
    cache: &Cache,
    repository: &Repository,
    image: &ImageName,
) -> Result<Filled> {
    let env = &world.env;
    let arch = Arch::of_host()?;
    let arches = [arch.as_str()];
    let login = registry_login::find(env, image.repository()).await.ok().flatten();
    let path = image.repository().split_once('/').map_or("", |(_, path)| path);
    let mut places = Vec::new();
    for mirror in env.surroundings.mirrors.get(image.registry()).into_iter().flatten() {
        let login = registry_login::find(env, &mirror.image(path)).await.ok().flatten();
        let registry = Registry::mirror(env, &mirror.address, mirror.plain, login)?;
        let below = format!("{}/{path}", mirror.prefix.trim_matches('/'));
        places.push(registry.repository(below.trim_start_matches('/')));
    }
    places.push(Registry::upstream(env, image.registry(), login)?.repository(path));
    let mut tried = Vec::new();
    for place in places {
        let wanted = image.digest().unwrap_or(image.tag());
        let found = match place.manifest(wanted).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                tried.push(format!("{} does not have it", place.registry().name()));
                continue;
            }
            Err(error) => {
                tried.push(error.to_string());
                continue;
            }
        };
        let freight = Freight { digest: &found.digest, tag: None, arches: &arches };
        match copy::copy(&place, repository, freight).await {
            Ok(copied) => {
                seal(cache, repository, image, &found.digest).await?;
                let (digest, source) = (found.digest, Source::Upstream);
                return Ok(Filled { digest, source, sent: copied.sent });
            }
            Err(error) => tried.push(error.to_string()),
        }
    }
    let error = Error::failed("image-unavailable", format!("{image} can be had nowhere"));
    Err(tried.into_iter().fold(error, Error::because))
}
