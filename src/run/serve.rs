//! `images serve` and `images stop`: the cache's registry by itself, whether there is a cluster or not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::registry::{self, With};
use super::{
    collect, images, list, observe, platform, prepare, pull_fault, removal, reserve, users,
};
use crate::provider::labels;
use crate::provider::registry::{NAME, Software};
use crate::state::lock::SharedLock;
use crate::world::engine::State;
use crate::{Error, Result};

/// Where its wait says what it sees.
const STEP: &str = "registry";

/// What it gets to end by itself: what is stored is stored already.
const GRACE: Duration = Duration::from_secs(10);

/// What `serve` reached.
#[derive(Debug, Serialize)]
pub struct Served {
    /// On this host's loopback.
    pub address: String,
    /// Which registry it is.
    pub software: Option<Software>,
    /// What it does not protect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unprotected: Option<&'static str>,
    /// `image`, `network`, `volume`, `container` where they were not there; `start` where it did not
    /// run. Nothing where it was served already.
    pub done: Vec<&'static str>,
}

/// What `stop` did.
#[derive(Debug, Serialize)]
pub struct Stopped {
    /// `stop` where it ran; `container` and `network` where they were removed. Nothing where there was
    /// nothing to do.
    pub done: Vec<&'static str>,
    /// Clusters whose nodes pull from it, which it was taken from.
    pub clusters: Vec<String>,
}

/// Makes sure that the cache's registry runs and answers.
///
/// # Errors
/// Its image cannot be had, no address is free, it does not start. What was made for it is removed then,
/// unless a cluster needs it.
pub async fn serve(with: With<'_>) -> Result<Served> {
    let mut done = Vec::new();
    if fetch(with).await? {
        done.push("image");
    }
    let lock = with.lock("pipe images serve").await?;
    let started = async {
        let place = reserve::for_cache(with.world, with.paths, &lock).await?;
        let network = (with.network, place.subnet.as_str(), place.subnet6.as_deref());
        let made = platform::ensure_network(&with.world.engine, network, &lock).await?;
        Result::Ok((made, registry::ensured(with, &lock, STEP, place.address).await?))
    };
    match started.await {
        Ok((network, ensured)) => {
            done.extend(network.then_some("network"));
            done.extend(ensured.done);
            Ok(Served {
                address: format!("127.0.0.1:{}", ensured.port),
                software: ensured.software,
                unprotected: ensured.software.and_then(Software::unprotected),
                done,
            })
        }
        Err(error) => {
            // What failed first is what the user must hear of.
            if let Err(left) = put_away(with, &lock).await {
                with.events.warn(format!("what was made for the image cache is left: {left}"));
            }
            Err(error)
        }
    }
}

/// Gets the registry's image where it will be needed; whether it was pulled.
async fn fetch(with: With<'_>) -> Result<bool> {
    let world = with.world;
    let image = prepare::registry_image()?;
    let there = world.engine.inspect(NAME).await?.is_some();
    if there || observe::find_image(world, &image).await?.is_some() {
        return Ok(false);
    }
    with.events.info(format!("pulling {image}"));
    let pulled = tokio::select! {
        pulled = images::fetch(&world.engine, &world.env, &image, |_| {}) => pulled,
        () = with.stop.cancelled() => return Err(Error::interrupted()),
    };
    match pulled {
        Ok(()) => Ok(true),
        Err(error) => Err(pull_fault::explained(&world.engine, &image, &error).await),
    }
}

/// Stops the cache's registry. Where no cluster of ours is left, its container goes, and the network if
/// it is ours and nobody else's; what it holds stays.
///
/// # Errors
/// `cache-in-use`: nodes that run pull from it, and nobody said `force`.
pub async fn stop(with: With<'_>, force: bool) -> Result<Stopped> {
    let lock = with.lock("pipe images stop").await?;
    let engine = &with.world.engine;
    let mut stopped = Stopped { done: Vec::new(), clusters: Vec::new() };
    if let Some(found) = engine.inspect(NAME).await? {
        registry::port_of(&found)?;
        if found.state == State::Running {
            let users = users::now(with).await?;
            if !users.is_empty() && !force {
                return Err(in_use(&users));
            }
            engine.stop(NAME, GRACE).await?;
            stopped.done.push("stop");
            stopped.clusters = users.into_iter().map(|(cluster, _)| cluster).collect();
        }
    }
    stopped.done.extend(put_away(with, &lock).await?);
    Ok(stopped)
}

/// Removes container and network, where no cluster of ours is left.
async fn put_away(with: With<'_>, _lock: &SharedLock) -> Result<Vec<&'static str>> {
    let mut done = Vec::new();
    if !list::clusters(with.world, with.paths).await?.is_empty() {
        return Ok(done);
    }
    let engine = &with.world.engine;
    collect::clear(engine).await?;
    let ours = engine.inspect(NAME).await?;
    if ours.is_some_and(|found| found.labels.contains_key(labels::REGISTRY)) {
        removal::container(engine, NAME).await?;
        done.push("container");
    }
    if removal::network_alone(engine, with.network).await? {
        done.push("network");
    }
    Ok(done)
}

fn in_use(users: &BTreeSet<(String, String)>) -> Error {
    let error = Error::failed("cache-in-use", "clusters use the image cache");
    let error = users
        .iter()
        .fold(error, |error, (cluster, why)| error.because(format!("cluster {cluster}: {why}")));
    let names: Vec<&str> = users.iter().map(|(cluster, _)| cluster.as_str()).collect();
    let error = names
        .iter()
        .fold(error, |error, cluster| error.hint(format!("stop the cluster: pipe stop {cluster}")));
    error.hint(
        "or take it from them: pipe images stop --force; pods whose image their node lacks wait \
         until it is served again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_it_is_named_with_what_helps() {
        let user = |cluster: &str, why: &str| (cluster.to_owned(), why.to_owned());
        let error = in_use(&BTreeSet::from([user("dev", "because"), user("ci", "also")]));
        assert_eq!((error.kind, error.code), (crate::Kind::Failed, "cache-in-use"));
        assert_eq!(error.causes, ["cluster ci: also", "cluster dev: because"]);
        assert_eq!(
            error.hints[..2],
            ["stop the cluster: pipe stop ci", "stop the cluster: pipe stop dev"]
        );
        assert!(error.hints[2].contains("--force"), "{error:?}");
    }
}
