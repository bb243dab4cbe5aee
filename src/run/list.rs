//! `list`: every cluster of ours, by what is there.

use serde::Serialize;

use super::observe;
use crate::Result;
use crate::provider::{kind, labels};
use crate::spec::ClusterName;
use crate::state::paths::Paths;
use crate::state::receipt::Receipt;
use crate::world::World;
use crate::world::engine::State;

/// One line of `pipe list`.
#[derive(Debug, Serialize)]
pub struct ClusterLine {
    /// Name.
    pub name: String,
    /// Provider.
    pub provider: &'static str,
    /// Node containers that run.
    pub running: usize,
    /// Node containers.
    pub nodes: usize,
    /// `running`, `stopped`, `partly running`, `leftovers`.
    pub state: &'static str,
    /// The profile it was last brought up with.
    pub profile: Option<String>,
    /// Context in kubeconfig.
    pub context: String,
}

/// Every cluster of ours: by engine label, and by state folder where no container is left.
pub async fn list(world: &World, paths: &Paths) -> Result<Vec<ClusterLine>> {
    let mut lines = Vec::new();
    let containers = world.engine.containers(&[labels::CLUSTER]).await?;
    for name in clusters(world, paths).await? {
        let own: Vec<_> = containers
            .iter()
            .filter(|c| c.labels.get(labels::CLUSTER).is_some_and(|c| c == name.as_str()))
            .filter(|container| !observe::is_balancer(container))
            .collect();
        let running = own.iter().filter(|container| container.state == State::Running).count();
        let state = match (running, own.len()) {
            (_, 0) => "leftovers",
            (0, _) => "stopped",
            (running, all) if running == all => "running",
            _ => "partly running",
        };
        lines.push(ClusterLine {
            provider: "kind",
            running,
            nodes: own.len(),
            state,
            profile: Receipt::load(&paths.cluster(&name))?.profile.map(String::from),
            context: kind::context(name.as_str()),
            name: name.to_string(),
        });
    }
    Ok(lines)
}

/// Names of every cluster of ours.
pub async fn clusters(world: &World, paths: &Paths) -> Result<Vec<ClusterName>> {
    let mut names: Vec<ClusterName> = paths.clusters()?;
    for container in world.engine.containers(&[labels::CLUSTER]).await? {
        let label = container.labels.get(labels::CLUSTER).map(String::as_str);
        names.extend(label.and_then(|name| ClusterName::parse(name).ok()));
    }
    names.sort();
    names.dedup();
    Ok(names)
}
