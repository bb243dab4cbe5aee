//! The five documents that kind gives `kubeadm`, with node labels and taints at registration.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use serde_json::json;

use crate::spec::{Cluster, NetworkMode, Node};

/// What the documents need beyond the node's own plan.
pub struct Facts<'a> {
    /// The whole cluster.
    pub cluster: &'a Cluster,
    /// Container of the control plane, which other nodes resolve by the engine's DNS.
    pub control_plane: &'a str,
    /// `/kind/version` of the node image.
    pub version: &'a str,
    /// Bootstrap token: `[a-z0-9]{6}.[a-z0-9]{16}`.
    pub token: &'a str,
    /// Whether the node's address is its own.
    pub address: Ipv4Addr,
    /// Whether the host runs cgroup v1 or the hybrid, which kubelet 1.35 and later refuses by
    /// itself.
    pub cgroup_v1: bool,
}

/// `/kind/kubeadm.conf` of one node.
pub fn documents(facts: &Facts<'_>, node: &Node) -> String {
    let mut text = String::new();
    for (index, document) in [
        cluster_configuration(facts),
        init_configuration(facts, node),
        join_configuration(facts, node),
        kubelet_configuration(facts),
        proxy_configuration(),
    ]
    .iter()
    .enumerate()
    {
        if index > 0 {
            text.push_str("---\n");
        }
        // JSON is YAML, and no value can break out of its quotes.
        let _ = writeln!(text, "{document:#}");
    }
    text
}

fn cluster_configuration(facts: &Facts<'_>) -> serde_json::Value {
    let mut controller_args = vec![json!({"name": "enable-hostpath-provisioner", "value": "true"})];
    if facts.cluster.network == NetworkMode::Static {
        // Pod CIDRs are in the nodes' files already; a second opinion would be a wrong one.
        controller_args.push(json!({"name": "allocate-node-cidrs", "value": "false"}));
    }
    json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": facts.cluster.name,
        "kubernetesVersion": facts.version,
        "controlPlaneEndpoint": format!("{}:6443", facts.control_plane),
        "apiServer": {
            "certSANs": ["localhost", "127.0.0.1"],
            "extraArgs": [{"name": "runtime-config", "value": ""}],
        },
        "controllerManager": {"extraArgs": controller_args},
        "scheduler": {"extraArgs": null},
        "networking": {
            "podSubnet": facts.cluster.pod_subnet,
            "serviceSubnet": facts.cluster.service_subnet,
        },
    })
}

fn init_configuration(facts: &Facts<'_>, node: &Node) -> serde_json::Value {
    json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "bootstrapTokens": [{"token": facts.token}],
        "localAPIEndpoint": {"advertiseAddress": facts.address, "bindPort": 6443},
        "nodeRegistration": registration(facts, node),
        "skipPhases": ["preflight"],
    })
}

fn join_configuration(facts: &Facts<'_>, node: &Node) -> serde_json::Value {
    let mut join = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": {
            "apiServerEndpoint": format!("{}:6443", facts.control_plane),
            "token": facts.token,
            "unsafeSkipCAVerification": true,
        }},
        "nodeRegistration": registration(facts, node),
        "skipPhases": ["preflight"],
    });
    if node.control_plane {
        let endpoint = json!({"advertiseAddress": facts.address, "bindPort": 6443});
        join["controlPlane"] = json!({"localAPIEndpoint": endpoint});
    }
    join
}

fn registration(facts: &Facts<'_>, node: &Node) -> serde_json::Value {
    let provider_id = format!("kind://podman/{}/{}", facts.cluster.name, node.host);
    let taints: Vec<_> = node
        .taints
        .iter()
        .map(|t| json!({"key": t.key, "value": t.value, "effect": t.effect}))
        .collect();
    json!({
        "criSocket": "unix:///run/containerd/containerd.sock",
        "kubeletExtraArgs": [
            {"name": "node-ip", "value": facts.address},
            {"name": "provider-id", "value": provider_id},
            {"name": "node-labels", "value": registration_labels(node)},
        ],
        // Always said, even when empty: kubeadm would else taint the control plane by itself.
        "taints": taints,
    })
}

fn kubelet_configuration(facts: &Facts<'_>) -> serde_json::Value {
    let mut kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "cgroupRoot": "/kubelet",
        "evictionHard": {
            "imagefs.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
        },
        "failSwapOn": false,
        "imageGCHighThresholdPercent": 100,
    });
    if facts.cgroup_v1 {
        kubelet["failCgroupV1"] = json!(false);
    }
    kubelet
}

fn proxy_configuration() -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "iptables": {"minSyncPeriod": "1s"},
        "conntrack": {"maxPerCore": 0},
    })
}

/// The labels a kubelet may give itself, as its flag takes them; the rest goes through the API.
fn registration_labels(node: &Node) -> String {
    let own: Vec<String> = node
        .labels
        .iter()
        .filter(|(key, _)| kubelet_may_set(key))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    own.join(",")
}

/// Kubelet exits when told to give itself a label in Kubernetes' own domains, but for these
/// (`k8s.io/kubelet/pkg/apis/well_known_labels.go`).
fn kubelet_may_set(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return true };
    let theirs = |name: &str| domain == name || domain.ends_with(&format!(".{name}"));
    if !theirs("kubernetes.io") && !theirs("k8s.io") {
        return true;
    }
    matches!(key, "topology.kubernetes.io/zone" | "topology.kubernetes.io/region")
        || domain == "node.kubernetes.io"
        || domain == "kubelet.kubernetes.io"
}

#[cfg(test)]
mod tests {
    use super::kubelet_may_set;

    #[test]
    fn kubelet_refuses_labels_of_kubernetes_own_domains() {
        for key in ["role", "zone", "pipe.dev/node", "topology.kubernetes.io/zone", "a.b/c"] {
            assert!(kubelet_may_set(key), "{key}");
        }
        for key in ["node-role.kubernetes.io/core", "app.kubernetes.io/managed-by", "x.k8s.io/y"] {
            assert!(!kubelet_may_set(key), "{key}");
        }
    }
}
