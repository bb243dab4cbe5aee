//! `images add`: images of registries into a cluster that runs, past no judgement where it enforces one.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::manage::{Loaded, Outcome, Request, Shares, Target, put, shares, stores, targets};
use super::names::{self, Chosen};
use super::transfer::Cargo;
use super::{explained, fetch, through};
use crate::plan::observed::{CachedFacts, Kept};
use crate::report::Events;
use crate::run::cache::meter::Meter;
use crate::run::cache::resolve::Resolver;
use crate::run::cache::{Cache, fill, last_use, lock};
use crate::spec::source::Sources;
use crate::spec::{ClusterName, ImageName, ImagePolicy, load_profile};
use crate::state::paths::Paths;
use crate::state::receipt::Receipt;
use crate::world::World;
use crate::{Error, Result};

/// Whether the profile that a cluster was last brought to enforces signatures.
///
/// # Errors
/// Its files cannot be read.
pub fn is_enforced(sources: &Sources, paths: &Paths, cluster: &ClusterName) -> Result<bool> {
    let Some(profile) = Receipt::load(&paths.cluster(cluster))?.profile else { return Ok(false) };
    Ok(load_profile(sources, profile.as_str())?.policy == ImagePolicy::Enforce)
}

/// Gets images from their registries, into the cache where nodes pull from it, else into the engine
/// where it lacks them, and from there into nodes.
///
/// # Errors
/// As [`load`]'s, and an image cannot be had.
pub async fn add(
    world: &World,
    paths: &Paths,
    request: &Request,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Outcome> {
    request.permitted()?;
    let images: Vec<ImageName> =
        request.names.iter().map(|name| parse(name)).collect::<Result<_>>()?;
    let (targets, stopped) = targets(world, request).await?;
    let hosts = targets.iter().map(|target| target.host.as_str());
    if let Some(cache) = through::cache_of(world, paths, &request.cluster, hosts).await? {
        let fetched = tokio::select! {
            fetched = fetch_all(world, &cache, request, &images, events, cancel) => fetched?,
            () = cancel.cancelled() => return Err(Error::interrupted()),
        };
        let done = pull(world, request, fetched, (targets, stopped)).await?;
        last_use::used(paths, events, &request.cluster, &images).await;
        return Ok(done);
    }
    let mut chosen = Vec::new();
    for image in &images {
        let found = match world.engine.image(image.tagged()).await? {
            Some(found) => found,
            None => {
                events.info(format!("pulling {image}"));
                let pulled = tokio::select! {
                    pulled = fetch(&world.engine, &world.env, image, |_| {}) => pulled,
                    () = cancel.cancelled() => return Err(Error::interrupted()),
                };
                if let Err(error) = pulled {
                    return Err(explained(&world.engine, image, &error).await);
                }
                let found = world.engine.image(image.tagged()).await?;
                found.ok_or_else(|| Error::bug(format!("{image} was pulled and is not there")))?
            }
        };
        let name = image.tagged().to_owned();
        chosen.push(Chosen {
            pod_names: vec![name.clone()],
            name,
            id: found.id,
            notes: Vec::new(),
        });
    }
    put((world, paths), request, events, chosen, Kept::Added, (targets, stopped)).await
}

/// Images into the cache, with what is there of them then. What is judged is what is stored: of a new
/// one the bytes are settled first.
async fn fetch_all(
    world: &World,
    cache: &Cache,
    request: &Request,
    images: &[ImageName],
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Vec<(ImageName, CachedFacts, u64)>> {
    let resolver = Resolver::of(world, &request.forbidden, &request.policies, cancel)?;
    let mut fetched = Vec::new();
    for image in images {
        events.info(format!("looking for {image}"));
        let there = cache.look(image).await?;
        let filled = match there.is_some_and(|there| there.signed_by.is_some()) {
            true => {
                let built = match world.built.find(image.tagged()) {
                    Some(built) => world.engine.image(&built.local).await?.map(|found| found.id),
                    None => None,
                };
                fill::fill(world, cache, image, built.as_deref(), &Meter::default()).await?
            }
            false => {
                let found = resolver.resolve(image, true).await?;
                if !found.evidence.is_enough() {
                    if request.enforced {
                        return Err(lock::unbelieved(image, &found));
                    }
                    events.warn(format!("{image} is not believed: {}", found.evidence.words));
                }
                fill::locked(world, cache, image, &found, &Meter::default()).await?
            }
        };
        let facts = cache.look(image).await?;
        let facts = facts.ok_or_else(|| Error::bug(format!("{image} is not in the cache")))?;
        fetched.push((image.clone(), facts, filled.sent));
    }
    Ok(fetched)
}

/// Lets nodes pull from the cache what they lack.
async fn pull(
    world: &World,
    request: &Request,
    fetched: Vec<(ImageName, CachedFacts, u64)>,
    (targets, stopped): (Vec<Target>, Vec<String>),
) -> Result<Outcome> {
    let began = Instant::now();
    let kept = request.node.is_none().then_some(Kept::Added);
    let stores = stores(world, &targets).await?;
    let (mut images, mut cargo, mut sent) = (Vec::new(), Vec::new(), 0);
    for (image, facts, bytes) in fetched {
        sent += bytes;
        let names = vec![image.tagged().to_owned()];
        let id = facts.id.unwrap_or(facts.digest);
        let shares = shares(&targets, &stores, &names, &id, kept);
        if !shares.hosts.is_empty() {
            let (id, names, hosts) = (id.clone(), names.clone(), shares.hosts);
            cargo.push(Cargo { id, names, hosts, kept });
        }
        let Shares { loaded, unchanged, .. } = shares;
        images.push(Loaded { names, id, size: facts.size, loaded, unchanged });
    }
    through::pull(world, &cargo).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Outcome { cluster: request.cluster.clone(), images, stopped, sent, seconds })
}

fn parse(name: &str) -> Result<ImageName> {
    let full = names::pod_name(name);
    if full.starts_with("localhost/") {
        return Err(Error::usage("image-local", format!("{name} is in no registry"))
            .hint(format!("load it from the engine: pipe images load {name}")));
    }
    ImageName::parse(&full).map_err(|fault| {
        Error::usage("image-name", fault).hint("write it as in a pod: registry/repository:tag")
    })
}
