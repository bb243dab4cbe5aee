//! Which clusters use the image cache.

use std::collections::BTreeSet;

use super::registry::With;
use super::surroundings::read_told;
use crate::Result;
use crate::provider::{kind, labels};
use crate::spec::ClusterName;
use crate::state::lock::ClusterLock;
use crate::state::reservation;
use crate::world::engine::{ContainerLine, State};

/// Clusters that need it now, and why.
///
/// # Errors
/// The engine does not answer.
pub(super) async fn now(with: With<'_>) -> Result<BTreeSet<(String, String)>> {
    let mut users = BTreeSet::new();
    for node in with.world.engine.containers(&[labels::CLUSTER]).await? {
        let Some(cluster) = node.labels.get(labels::CLUSTER) else { continue };
        if node.state == State::Running && pulls_itself(with, &node).await {
            users.insert((cluster.clone(), "its nodes run, and pull from it alone".to_owned()));
        }
    }
    for cluster in with.paths.clusters()? {
        if let Some(holder) = ClusterLock::holder(with.paths, &cluster)
            && !users.iter().any(|(user, _)| user == cluster.as_str())
        {
            users.insert((cluster.to_string(), format!("{holder} works on it")));
        }
    }
    Ok(users)
}

/// Whether a cluster was made to pull from it, running or not.
///
/// # Errors
/// The engine does not answer.
pub(super) async fn pulls(with: With<'_>, cluster: &ClusterName) -> Result<bool> {
    // One that cannot be read says nothing against it.
    let reserved = reservation::load(with.paths, cluster);
    if reserved.map_or(true, |reserved| reserved.is_some_and(|it| it.registry.is_some())) {
        return Ok(true);
    }
    let label = format!("{}={cluster}", labels::CLUSTER);
    for node in with.world.engine.containers(&[&label]).await? {
        if pulls_itself(with, &node).await {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a node pulls from it; one that cannot be asked is taken for one that does.
async fn pulls_itself(with: With<'_>, node: &ContainerLine) -> bool {
    let role = node.labels.get(kind::ROLE_LABEL).map(String::as_str);
    if !matches!(role, Some("control-plane" | "worker")) {
        return false;
    }
    let told = read_told(&with.world.engine, &node.name).await;
    told.map_or(true, |told| told.cache.is_some())
}
