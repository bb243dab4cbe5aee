//! Deeds that remove. "Already gone" is success everywhere.

use super::context::Context;
use crate::Result;
use crate::provider::kind;
use crate::state::{kubeconfig, reservation};

/// A node container and its volumes, which carry its name as a label, as kind has it.
pub(super) async fn node(context: &Context, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    engine.remove(host).await?;
    for volume in engine.volumes(&[host]).await? {
        engine.remove_volume(&volume.name).await?;
    }
    Ok(())
}

/// Volumes that carry the cluster's label, whoever left them.
pub(super) async fn volumes(context: &Context) -> Result<()> {
    let engine = &context.world.engine;
    let label = format!("{}={}", crate::provider::labels::CLUSTER, context.cluster);
    for volume in engine.volumes(&[&label]).await? {
        engine.remove_volume(&volume.name).await?;
    }
    Ok(())
}

/// The shared network, unless somebody else hangs on it by now.
pub(super) async fn network(context: &Context, name: &str) -> Result<()> {
    let lock = context.shared_lock("remove the network").await?;
    let engine = &context.world.engine;
    let containers = engine.containers(&[]).await?;
    let users = containers.iter().filter(|line| line.networks.iter().any(|on| on == name)).count();
    let others = reservation::others(&context.paths, &context.cluster, &lock)?;
    let reserved = others.values().any(|other| other.network == name);
    if users == 0 && !reserved {
        engine.remove_network(name).await?;
    }
    Ok(())
}

/// The entries in every kubeconfig that they were merged into.
pub(super) async fn kubeconfig(context: &Context) -> Result<()> {
    let name = kind::context(context.cluster.as_str());
    let lock = context.shared_lock("clean kubeconfig").await?;
    kubeconfig::unmerge(&context.paths, &context.cluster, &name, &lock).await.map(drop)
}

/// The cluster's state folder.
pub(super) fn state(context: &Context) -> Result<()> {
    context.paths.remove_cluster(&context.cluster)
}
