//! Deeds that remove. "Already gone" is success everywhere.

use std::time::{Duration, Instant};

use super::cache::last_use;
use super::context::Context;
use crate::Result;
use crate::provider::{kind, labels};
use crate::state::{kubeconfig, reservation};
use crate::world::engine::{ContainerLine, Engine, EngineError, EngineResult, Fault};

/// How long the engine may go on with what a killed process asked of it.
const SETTLE: Duration = Duration::from_secs(60);

/// Pause between two attempts at something that is in use.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A node container and its volumes, which carry its name as a label, as kind has it.
pub(super) async fn node(context: &Context, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    settled(|| async {
        gone(engine, host).await?;
        for volume in engine.volumes(&[host]).await? {
            engine.remove_volume(&volume.name).await?;
        }
        Ok(())
    })
    .await
}

/// A container alone; its volumes stay.
pub(super) async fn container(engine: &Engine, name: &str) -> Result<()> {
    settled(|| gone(engine, name)).await
}

/// Removes a container, and believes it only when the engine shows it no more: the answer may be that
/// of a second request while the first is still carried out.
async fn gone(engine: &Engine, name: &str) -> EngineResult<()> {
    engine.remove(name).await?;
    match engine.inspect(name).await? {
        None => Ok(()),
        Some(_) => {
            let action = format!("remove container {name}");
            Err(EngineError::new(Fault::Conflict, action, "it is being removed"))
        }
    }
}

/// Volumes that carry the cluster's label, whoever left them, and what still uses them.
pub(super) async fn volumes(context: &Context) -> Result<()> {
    let engine = &context.world.engine;
    let label = format!("{}={}", labels::CLUSTER, context.cluster);
    settled(|| async {
        for container in engine.containers(&[&label]).await? {
            engine.remove(&container.name).await?;
        }
        for volume in engine.volumes(&[&label]).await? {
            engine.remove_volume(&volume.name).await?;
        }
        Ok(())
    })
    .await
}

/// Repeats a removal while the engine says that something is in use: it goes on with what a killed
/// `pipe` asked of it, so that a container may appear after it was looked for.
async fn settled<F>(remove: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = EngineResult<()>>,
{
    let deadline = Instant::now() + SETTLE;
    loop {
        match remove().await {
            Err(error) if error.fault == Fault::Conflict && Instant::now() < deadline => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            done => return Ok(done?),
        }
    }
}

/// The shared network, unless somebody else hangs on it by now.
pub(super) async fn network(context: &Context, name: &str) -> Result<()> {
    let lock = context.shared_lock("remove the network").await?;
    let engine = &context.world.engine;
    // Where it cannot be known, it stays: the other cluster's teardown removes it.
    let others = reservation::others(&context.paths, &context.cluster, &lock);
    let free = others.is_ok_and(|others| others.values().all(|other| other.network != name));
    if !free {
        return Ok(());
    }
    let own = context.cluster.as_str();
    settled(|| async {
        let containers = engine.containers(&[]).await?;
        let is_user = |line: &&ContainerLine| line.networks.iter().any(|on| on == name);
        let (ours, others): (Vec<_>, Vec<_>) = containers
            .iter()
            .filter(is_user)
            .partition(|line| line.labels.get(labels::CLUSTER).is_some_and(|it| it == own));
        if !ours.is_empty() {
            let action = format!("remove network {name}");
            return Err(EngineError::new(Fault::Conflict, action, "a node is being removed"));
        }
        if others.is_empty() { engine.remove_network(name).await } else { Ok(()) }
    })
    .await
}

/// A network of ours that nobody is on; whether it was removed.
pub(super) async fn network_alone(engine: &Engine, name: &str) -> Result<bool> {
    let Some(network) = engine.network(name).await? else { return Ok(false) };
    let containers = engine.containers(&[]).await?;
    let is_used = containers.iter().any(|line| line.networks.iter().any(|on| on == name));
    if is_used || network.labels.get(labels::MANAGED_BY).is_none_or(|by| by != "pipe") {
        return Ok(false);
    }
    settled(|| engine.remove_network(name)).await?;
    Ok(true)
}

/// Our own kubeconfig, by which a later run would take the cluster for one that was lost, and the
/// entries in every other that they were merged into.
pub(super) async fn kubeconfig(context: &Context) -> Result<()> {
    kubeconfig::remove_own(&context.state())?;
    let name = kind::context(context.cluster.as_str());
    let lock = context.shared_lock("clean kubeconfig").await?;
    let env = &context.world.env;
    let usual = kubeconfig::user_file(None, |name| env.get(name).map(str::to_owned)).ok();
    let (paths, cluster) = (&context.paths, &context.cluster);
    let done = kubeconfig::unmerge(paths, cluster, &name, usual.as_deref(), &lock).await?;
    if done.damaged {
        context.events.warn(format!(
            "the record of kubeconfig files was damaged: if you merged {name} into others than the \
             usual one, remove it there: kubectl config delete-context {name}"
        ));
    }
    Ok(())
}

/// The cluster's state folder, and what it used of the cache.
pub(super) async fn state(context: &Context) -> Result<()> {
    // Before the folder: a cluster that is made again under this name has not used anything.
    last_use::forget(&context.paths, &context.events, &context.cluster).await;
    context.paths.remove_cluster(&context.cluster)
}
