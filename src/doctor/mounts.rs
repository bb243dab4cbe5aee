//! Folders and files of this host that a cluster's nodes mount.

use super::{Facts, Finding, codes};
use crate::world::process::shell_quoted;

/// The engine would fail on the first of them in the middle of things, or make an empty folder that
/// belongs to root.
pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let cluster = facts.needs.cluster.as_deref().unwrap_or_default();
    let missing = facts.needs.mounts.iter();
    missing
        .map(|mount| {
            let path = mount.path.to_string_lossy();
            let what = format!("{path}, which cluster {cluster} mounts, is not on this host");
            Finding::new(codes::MOUNT_MISSING, what)
                .seen(format!("mounted by {}", mount.nodes.join(", ")))
                .remedy(format!("make it: mkdir -p {}", shell_quoted(&path)))
                .remedy(format!(
                    "or correct hostPath in clusters/{cluster}.yaml; relative paths go from there"
                ))
        })
        .collect()
}
