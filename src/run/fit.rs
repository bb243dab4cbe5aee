//! Whether the host has room for a plan, asked before anything is made.

use crate::plan::{Action, Plan};
use crate::world::World;
use crate::world::host::free_disk;
use crate::{Error, Result};

/// Bytes that one node takes at first: its own copy of the image's `/var` (0.7 GB), what containerd
/// unpacks of the components' images, and logs.
const NODE_BYTES: u64 = 1_500_000_000;

/// Bytes that stay free, so that neither the engine nor etcd stops for lack of them.
const SPARE_BYTES: u64 = 1_000_000_000;

/// Refuses a plan whose nodes would fill the engine's disk.
///
/// # Errors
/// [`crate::Kind::Host`] with what is free and what is needed.
pub async fn check_disk(world: &World, plan: &Plan) -> Result<()> {
    let nodes = plan.steps.iter().filter(|s| matches!(s.action, Action::CreateNode(_))).count();
    if nodes == 0 {
        return Ok(());
    }
    let root = world.engine.info().await?.graph_root;
    // An engine on another machine keeps its store where we cannot look.
    if !root.exists() {
        return Ok(());
    }
    let (free, needed) = (free_disk(&root)?, needed(nodes));
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
    use super::needed;

    #[test]
    fn three_nodes_need_more_than_one() {
        assert_eq!(needed(1), 2_500_000_000);
        assert_eq!(needed(3), 5_500_000_000);
    }
}
