//! Whether the host can carry out a plan, asked before anything is made.

use std::collections::BTreeMap;
use std::path::Path;

use crate::plan::{Action, Plan, Step};
use crate::world::World;
use crate::world::host::{Cgroups, free_disk};
use crate::world::process::shell_quoted;
use crate::{Error, Result};

/// Bytes that one node takes at first: its own copy of the image's `/var` (0.7 GB), what containerd
/// unpacks of the components' images, and logs.
const NODE_BYTES: u64 = 1_500_000_000;

/// Bytes that stay free, so that neither the engine nor etcd stops for lack of them.
const SPARE_BYTES: u64 = 1_000_000_000;

/// Refuses a plan whose nodes would not run here.
///
/// # Errors
/// [`crate::Kind::Host`] with what is there and what is needed.
pub async fn check(world: &World, plan: &Plan) -> Result<()> {
    check_mounts(plan)?;
    let images: Vec<&str> = plan.steps.iter().filter_map(node_image).collect();
    if images.is_empty() {
        return Ok(());
    }
    let info = world.engine.info().await?;
    if world.host.cgroups != Cgroups::V2 {
        if info.rootless {
            return Err(Error::host(
                "rootless-cgroup-v1",
                "a rootless Podman cannot run nodes here",
            )
            .because("kubelet needs its own control groups, and this host has cgroup v1")
            .hint(
                "run pipe as root, or boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1)",
            ));
        }
        if let Some(image) = images.iter().find(|image| needs_cgroup_v2(image)) {
            return Err(Error::host("node-image-cgroup-v1", format!("{image} does not boot here"))
                .because("upstream's node images from 1.35 on need cgroup v2, and this host has v1")
                .hint("build one that does: scripts/images/factory build node"));
        }
    }
    check_disk(&info.graph_root, images.len())
}

/// Refuses nodes whose mounts are not there: the engine would fail on the first of them, in the
/// middle of things, or make an empty folder that belongs to root.
fn check_mounts(plan: &Plan) -> Result<()> {
    let mut missing: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
    for step in &plan.steps {
        let Action::CreateNode(node) = &step.action else { continue };
        for mount in node.mounts.iter().filter(|mount| !mount.host_path.exists()) {
            missing.entry(&mount.host_path).or_default().push(node.node.name.as_str());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!("what cluster {} mounts is not on this host", plan.cluster);
    let mut error = Error::host("mount-missing", what);
    for (path, nodes) in &missing {
        error = error.because(format!("{} (for {})", path.display(), nodes.join(", ")));
    }
    for path in missing.keys() {
        error = error.hint(format!("make it: mkdir -p {}", shell_quoted(&path.to_string_lossy())));
    }
    Err(error.hint(format!(
        "or correct hostPath in clusters/{}.yaml; relative paths go from there",
        plan.cluster
    )))
}

fn node_image(step: &Step) -> Option<&str> {
    match &step.action {
        Action::CreateNode(node) => Some(&node.image),
        _ => None,
    }
}

/// Upstream's images of Kubernetes 1.35 and later have a systemd that refuses cgroup v1.
fn needs_cgroup_v2(image: &str) -> bool {
    let minor = image
        .strip_prefix("docker.io/kindest/node:v1.")
        .and_then(|rest| rest.split('.').next())
        .and_then(|minor| minor.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 35)
}

/// Refuses nodes that would fill the engine's disk.
fn check_disk(root: &Path, nodes: usize) -> Result<()> {
    // An engine on another machine keeps its store where we cannot look.
    if !root.exists() {
        return Ok(());
    }
    let (free, needed) = (free_disk(root)?, needed(nodes));
    if free >= needed {
        return Ok(());
    }
    let gigabytes =
        |bytes: u64| format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10);
    let what = format!("there is not enough disk for {nodes} nodes");
    Err(Error::host("no-disk", what)
        .because(format!(
            "{} has {} free, and {} are needed",
            root.display(),
            gigabytes(free),
            gigabytes(needed)
        ))
        .hint("remove images and volumes that nobody uses: podman system df, podman image prune")
        .hint("or remove other clusters: pipe list, pipe teardown NAME"))
}

fn needed(nodes: usize) -> u64 {
    SPARE_BYTES + NODE_BYTES * nodes as u64
}

#[cfg(test)]
mod tests {
    use super::{needed, needs_cgroup_v2};

    #[test]
    fn upstream_images_are_known_by_their_version() {
        assert!(needs_cgroup_v2("docker.io/kindest/node:v1.36.4"));
        assert!(!needs_cgroup_v2("docker.io/kindest/node:v1.34.11"));
        assert!(!needs_cgroup_v2("localhost/pipe/node:v1.36.4-0123"));
    }

    #[test]
    fn three_nodes_need_more_than_one() {
        assert_eq!(needed(1), 2_500_000_000);
        assert_eq!(needed(3), 5_500_000_000);
    }
}
