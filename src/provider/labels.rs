//! Our labels on engine and Kubernetes objects: the truth about what belongs to whom.

use std::collections::BTreeMap;

use crate::spec::{ClusterName, Taint};

/// Which cluster an object belongs to.
pub const CLUSTER: &str = "pipe.dev/cluster";
/// Our name of a node.
pub const NODE: &str = "pipe.dev/node";
/// What a node container was made from.
pub const SPEC_HASH: &str = "pipe.dev/spec-hash";
/// What that hash is of, as JSON: the keys of the cluster file and their values.
pub const SETTINGS: &str = "pipe.dev/settings";
/// On a node container: the entry of a node that no file names, as `pipe node add` took it.
pub const ADDED: &str = "pipe.dev/added";
/// How real a node is.
pub const FIDELITY: &str = "pipe.dev/fidelity";
/// How its pods are connected: `static`, `bundled`, `none`.
pub const NETWORK: &str = "pipe.dev/network";
/// On a node image: whether it brings a CNI manifest, `bundled` or `none`. Upstream's images have no
/// such label, and bring one.
pub const IMAGE_NETWORK: &str = "pipe.dev/pod-network";
/// Version of the layout of labels and state, so that an older cluster is recognised.
pub const LAYOUT: &str = "pipe.dev/layout";
/// Who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The layout this version writes, and the newest it understands. A layout that changes which engine
/// objects there are must put [`CLUSTER`] on each, so that every version can remove the cluster.
pub const LAYOUT_VERSION: u32 = 1;
/// Annotation on a node: what we set, so that it can be taken away again.
pub const APPLIED: &str = "pipe.dev/applied";

/// Label on an image in a node's containerd: the user gave it, and nodes made later shall have it.
pub const KEPT: &str = "pipe.dev/kept";

/// On the container of the cache's registry: which registry it is.
pub const REGISTRY: &str = "pipe.dev/registry";
/// Its address on the clusters' network: an inspect of a stopped container shows none.
pub const REGISTRY_ADDRESS: &str = "pipe.dev/registry-address";
/// Its port on the host's loopback.
pub const REGISTRY_PORT: &str = "pipe.dev/registry-port";

/// The labels that say "ours", and of which cluster.
pub fn ours(cluster: Option<&ClusterName>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([(MANAGED_BY.to_owned(), "pipe".to_owned())]);
    if let Some(cluster) = cluster {
        labels.insert(CLUSTER.to_owned(), cluster.to_string());
    }
    labels
}

/// Taints that Kubernetes sets and removes by the node's condition.
pub fn condition(taint: &Taint) -> bool {
    taint.key.starts_with("node.kubernetes.io/") || taint.key.starts_with("node.cloudprovider.")
}
