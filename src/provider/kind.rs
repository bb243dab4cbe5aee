//! kind's conventions, so that `kind get clusters`, `export logs`, `load` and `delete` see what we
//! make as their own (kind v0.33, `pkg/cluster/internal/providers/podman`).

pub mod admission;
pub mod balancer;
pub mod container;
pub mod containerd;
pub mod kubeadm;
pub mod pod_network;
pub mod surroundings;
pub mod verifier;

/// The network that kind shares between all clusters.
pub const NETWORK: &str = "kind";

/// kind's label for the cluster's name.
pub const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";

/// kind's label for a node's role.
pub const ROLE_LABEL: &str = "io.x-k8s.kind.role";

/// kind's role of the load balancer, into which its tools load nothing.
pub const BALANCER_ROLE: &str = "external-load-balancer";

/// The kubeadm documents of a node, where kind keeps them.
pub const KUBEADM_CONF: &str = "/kind/kubeadm.conf";

/// The Kubernetes version of a node image.
pub const VERSION_FILE: &str = "/kind/version";

/// The CNI manifest of a node image that brings one.
pub const CNI_MANIFEST: &str = "/kind/manifests/default-cni.yaml";

/// The storage manifest of a node image.
pub const STORAGE_MANIFEST: &str = "/kind/manifests/default-storage.yaml";

/// Written by us when a node has become part of its cluster. It lives in the node, so it cannot
/// outlast it, and it tells a finished node from one whose making was cut off.
pub const JOINED_MARKER: &str = "/kind/pipe-joined";

/// Where kubeadm leaves the administrator's kubeconfig.
pub const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

/// The context, cluster and user name in kubeconfig files.
pub fn context(cluster: &str) -> String {
    format!("kind-{cluster}")
}
