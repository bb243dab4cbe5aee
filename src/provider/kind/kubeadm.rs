//! The five documents that kind gives `kubeadm`, with node labels and taints at registration and the
//! cluster file's patches merged in.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use serde_json::json;

use crate::spec::patch::{Document, merge};
use crate::spec::{Cluster, NetworkMode, Node, label};

/// What the documents need beyond the node's own plan.
pub struct Facts<'a> {
    /// The whole cluster.
    pub cluster: &'a Cluster,
    /// Container that nodes call the API server by: the control plane or the load balancer, resolved
    /// by the engine's DNS.
    pub endpoint: &'a str,
    /// `/kind/version` of the node image.
    pub version: &'a str,
    /// Bootstrap token: `[a-z0-9]{6}.[a-z0-9]{16}`.
    pub token: &'a str,
    /// The node's static address.
    pub address: Ipv4Addr,
    /// Whether the host runs cgroup v1 or the hybrid, which kubelet 1.35 and later refuses by
    /// itself.
    pub cgroup_v1: bool,
}

/// `/kind/kubeadm.conf` of one node.
pub fn documents(facts: &Facts<'_>, node: &Node) -> String {
    let mut text = String::new();
    for (index, kind) in Document::ALL.into_iter().enumerate() {
        let mut document = match kind {
            Document::Cluster => cluster_configuration(facts),
            Document::Init => init_configuration(facts, node),
            Document::Join => join_configuration(facts, node),
            Document::Kubelet => kubelet_configuration(facts),
            Document::Proxy => proxy_configuration(),
        };
        for patch in facts.cluster.patches.of(kind) {
            merge(&mut document, patch);
        }
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
        "controlPlaneEndpoint": format!("{}:6443", facts.endpoint),
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
            "apiServerEndpoint": format!("{}:6443", facts.endpoint),
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
        .filter(|(key, _)| label::kubelet_may_set(key))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    own.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::spec::Arch;
    use crate::spec::patch::KubeadmPatch;
    use crate::spec::source::Sources;
    use crate::world::kube::manifest;

    fn documents_of(network: NetworkMode, host: &str) -> Vec<Value> {
        let spec = crate::spec::load(&Sources::built_in(), "dev", None, Arch::Amd64).unwrap();
        let mut cluster = spec.cluster;
        cluster.network = network;
        let node = cluster.nodes.iter().find(|node| node.host == host).unwrap();
        let facts = Facts {
            cluster: &cluster,
            endpoint: "dev-control-plane",
            version: "v1.36.3",
            token: "abcdef.0123456789abcdef",
            address: Ipv4Addr::new(10, 89, 0, 2),
            cgroup_v1: true,
        };
        manifest::parse(&documents(&facts, node)).unwrap()
    }

    /// What kind itself wrote, with its cluster called as ours.
    fn golden(text: &str) -> Vec<Value> {
        let text = text.replace("t1", "dev").replace("NODE_IP", "10.89.0.2");
        manifest::parse(&text).unwrap()
    }

    /// Labels and taints at registration are ours to add; kind has no words for them.
    fn without_registration_extras(mut document: Value) -> Value {
        if let Some(registration) = document.get_mut("nodeRegistration") {
            registration["taints"] = Value::Null;
            registration["kubeletExtraArgs"][2]["value"] = json!("");
        }
        document
    }

    #[test]
    fn documents_are_those_that_kind_writes() {
        for (host, text) in [
            (
                "dev-control-plane",
                include_str!("../../../tests/golden/kind-control-plane.kubeadm.yaml"),
            ),
            ("dev-worker", include_str!("../../../tests/golden/kind-worker.kubeadm.yaml")),
        ] {
            let ours: Vec<_> = documents_of(NetworkMode::Bundled, host)
                .into_iter()
                .map(without_registration_extras)
                .collect();
            let kinds: Vec<_> = golden(text).into_iter().map(without_registration_extras).collect();
            assert_eq!(ours, kinds, "{host}");
        }
    }

    #[test]
    fn patches_are_merged_into_their_documents() {
        let spec = crate::spec::load(&Sources::built_in(), "dev", None, Arch::Amd64).unwrap();
        let mut cluster = spec.cluster;
        for (document, value) in [
            (Document::Kubelet, json!({"maxPods": 50, "evictionHard": {"nodefs.available": "1%"}})),
            (
                Document::Cluster,
                json!({"apiServer": {"certSANs": ["dev.example"],
                "extraArgs": [{"name": "profiling", "value": "false"}]}}),
            ),
        ] {
            cluster.patches.documents.push(KubeadmPatch { document, value });
        }
        let facts = Facts {
            cluster: &cluster,
            endpoint: "dev-control-plane",
            version: "v1.36.4",
            token: "abcdef.0123456789abcdef",
            address: Ipv4Addr::new(10, 89, 0, 2),
            cgroup_v1: false,
        };
        let all = manifest::parse(&documents(&facts, &cluster.nodes[0])).unwrap();
        assert_eq!(
            all[0]["apiServer"]["certSANs"],
            json!(["localhost", "127.0.0.1", "dev.example"])
        );
        let arguments = all[0]["apiServer"]["extraArgs"].to_string();
        assert!(arguments.contains("runtime-config") && arguments.contains("profiling"));
        assert_eq!((&all[3]["maxPods"], &all[3]["cgroupRoot"]), (&json!(50), &json!("/kubelet")));
        assert_eq!(all[3]["evictionHard"]["imagefs.available"], "0%");
        assert_eq!(all[3]["kind"], "KubeletConfiguration");
    }

    #[test]
    fn labels_and_taints_are_given_at_registration() {
        let worker = documents_of(NetworkMode::Static, "dev-worker");
        let registration = &worker[2]["nodeRegistration"];
        let labels = registration["kubeletExtraArgs"][2]["value"].as_str().unwrap();
        assert!(labels.contains("arch=arm64") && labels.contains("zone=b"), "{labels}");
        assert!(!labels.contains("node-role") && !labels.contains("managed-by"), "{labels}");
        assert_eq!(
            registration["taints"],
            json!([{"key": "arch", "value": "arm64", "effect": "NoSchedule"}])
        );
        let control = documents_of(NetworkMode::Static, "dev-control-plane");
        assert_eq!(control[1]["nodeRegistration"]["taints"], json!([]), "kubeadm would taint it");
        let arguments = &control[0]["controllerManager"]["extraArgs"];
        assert!(arguments.to_string().contains("allocate-node-cidrs"), "{arguments}");
    }
}
