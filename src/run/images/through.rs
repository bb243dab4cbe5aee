//! Images into nodes by way of the local cache: signed there, then pulled by the nodes that lack them.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use super::transfer::{self, Cargo};
use super::{node_store, transfer::transfer};
use crate::run::cache::meter::Meter;
use crate::run::cache::{Cache, fill};
use crate::run::surroundings::read_told;
use crate::spec::{ClusterName, ImageName};
use crate::state::paths::Paths;
use crate::world::World;
use crate::{Error, Result};

/// The cache, where the nodes `hosts` pull from it alone. Nodes know by themselves.
///
/// # Errors
/// They do, and it does not run.
pub(super) async fn cache_of<'a>(
    world: &World,
    paths: &Paths,
    cluster: &ClusterName,
    hosts: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Cache>> {
    for host in hosts {
        if read_told(&world.engine, host).await?.cache.is_some() {
            let cache = Cache::open(world, paths).await?;
            return cache.map(Some).ok_or_else(|| {
                Error::failed("cache-stopped", "the image cache does not run")
                    .because(format!("node {host} pulls from it alone"))
                    .hint(format!("start it: pipe up {cluster}"))
            });
        }
    }
    Ok(None)
}

/// Copies images of the engine's store into nodes; gives the bytes of layers that were sent.
///
/// # Errors
/// The engine cannot export one, the cache or a node cannot take it.
pub(super) async fn send(world: &World, cache: Option<&Cache>, cargo: &[Cargo]) -> Result<u64> {
    let Some(cache) = cache else { return transfer(&world.engine, cargo).await };
    let mut sent = 0;
    for image in cargo {
        let names = image.names.iter().map(|name| ImageName::parse(name).map_err(Error::bug));
        let names: Vec<ImageName> = names.collect::<Result<_>>()?;
        let Some((first, others)) = names.split_first() else { continue };
        let filled = fill::from_engine(world, cache, first, &image.id, &Meter::default()).await?;
        sent += filled.sent;
        for name in others {
            fill::also(cache, first, &filled.digest, name).await?;
        }
    }
    pull(world, cargo).await?;
    Ok(sent)
}

/// Lets nodes pull what is in the cache, all nodes at once.
///
/// # Errors
/// A node cannot, or refuses.
pub(super) async fn pull(world: &World, cargo: &[Cargo]) -> Result<()> {
    let engine = &world.engine;
    let mut wanted: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for image in cargo {
        for host in &image.hosts {
            wanted.entry(host).or_default().extend(&image.names);
        }
    }
    let pulls = wanted.iter().map(async |(host, names)| {
        for name in names {
            node_store::pull(engine, host, name).await?;
        }
        transfer::mark(engine, cargo, host).await
    });
    try_join_all(pulls).await?;
    Ok(())
}
