//! What would go wrong with a plan although the host could carry it out: a container that is not
//! ours has a node's name, an image is for another architecture, the user's kubeconfig cannot be
//! written. Asked before anything is made.

use super::up::Environment;
use crate::plan::{Action, Observed, Plan};
use crate::provider::labels;
use crate::spec::ClusterName;
use crate::state::kubeconfig;
use crate::world::World;
use crate::{Error, Result};

/// Looks at what the plan would make.
///
/// # Errors
/// What stands in the way, and whose it is.
pub(super) async fn check(world: &World, cluster: &ClusterName, plan: &Plan) -> Result<()> {
    let nodes: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::CreateNode(node) => Some(node),
            _ => None,
        })
        .collect();
    if nodes.is_empty() {
        return Ok(());
    }
    let containers = world.engine.containers(&[]).await?;
    for node in &nodes {
        let host = &node.node.host;
        let Some(there) = containers.iter().find(|found| found.name == *host) else { continue };
        if there.labels.get(labels::CLUSTER).is_none_or(|own| own != cluster.as_str()) {
            return Err(name_taken(host, &there.image));
        }
    }
    let arch = world.engine.info().await?.arch;
    let mut images: Vec<&str> = nodes.iter().map(|node| node.image.as_str()).collect();
    images.sort_unstable();
    images.dedup();
    for image in images {
        // One that has still to be pulled comes for the engine's own architecture.
        let Some(found) = world.engine.image(image).await? else { continue };
        if !found.arch.is_empty() && found.arch != arch {
            return Err(wrong_architecture(image, &found.arch, &arch));
        }
    }
    Ok(())
}

/// A container of which no process is left can neither be started nor stopped, and removing it would
/// lose what it stores: that is the user's to say.
///
/// # Errors
/// There is one.
pub(super) fn check_lost(cluster: &ClusterName, observed: &Observed) -> Result<()> {
    let Some(host) = observed.lost() else { return Ok(()) };
    let error = Error::failed("node-lost", unusable(host)).because(lost(host));
    Err(lost_hints(error, cluster, host))
}

/// What is said of a lost container.
pub(super) fn unusable(host: &str) -> String {
    format!("node container {host} can neither be used nor started")
}

/// What can be done about one.
pub(super) fn lost_hints(error: Error, cluster: &ClusterName, host: &str) -> Error {
    error
        .hint(
            "restart the machine that the engine runs on, then the same command again: data stays",
        )
        .hint(format!("or, without what is stored on it: podman rm -f {host}"))
        .hint(format!("or give the cluster up: pipe teardown {cluster}"))
}

/// What happened to a lost container.
pub(super) fn lost(host: &str) -> String {
    format!(
        "the engine counts {host} as running, and none of its processes is left: they were killed \
         together with conmon, which watches them for the engine"
    )
}

/// A cluster that nobody can be led to is not made: its entries are tried on the user's kubeconfig
/// before minutes are spent on it.
///
/// # Errors
/// The file cannot be replaced, or is not a kubeconfig.
pub(super) fn check_kubeconfig(environment: &Environment<'_>, plan: &Plan) -> Result<()> {
    let new = plan.steps.iter().any(|s| matches!(s.action, Action::InitControlPlane { .. }));
    if !new {
        return Ok(());
    }
    let chosen = environment.kubeconfig.file.as_deref();
    let variable = |name: &str| environment.env.get(name).map(str::to_owned);
    kubeconfig::require_mergeable(&kubeconfig::user_file(chosen, variable)?)
}

/// Making the node would first remove what stands under its name: that may only be our own.
fn name_taken(host: &str, image: &str) -> Error {
    Error::failed("name-taken", format!("a container called {host} is not of this cluster"))
        .because(format!("it runs {image}, and carries no label of this cluster"))
        .hint(format!("remove it if nobody needs it: podman rm -f {host}"))
        .hint("or give the cluster another name")
}

fn wrong_architecture(image: &str, found: &str, engine: &str) -> Error {
    Error::host("image-architecture", format!("{image} cannot run here"))
        .because(format!(
            "the image is for {found} and the engine runs {engine}: its programs would end with \
             \"exec format error\""
        ))
        .hint(format!("get the right one: podman pull --arch {engine} {image}"))
        .hint("unset DOCKER_DEFAULT_PLATFORM if it is set: it makes engines pull the other one")
}
