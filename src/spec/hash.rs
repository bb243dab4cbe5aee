//! Fingerprints that say when a node's container must be made anew.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::patch::KubeadmPatch;
use super::{Cluster, ExtraPort, Node};

/// Changes when what goes into the text below changes its meaning, never otherwise: a new value
/// replaces every node of every running cluster.
const FORMAT: u32 = 1;

impl Node {
    /// What the node's container was made from, as 16 hexadecimal digits: the label
    /// `pipe.dev/spec-hash`. Labels, taints and resources are not in it, as they change in place.
    pub fn container_hash(&self, cluster: &Cluster) -> String {
        let Cluster { provider, host_ports, network, pod_subnet, service_subnet, .. } = cluster;
        let control_plane = self.control_plane;
        let mut text = format!(
            "{FORMAT} provider={provider:?} control_plane={control_plane} network={network:?} \
             pods={pod_subnet} services={service_subnet} ports={host_ports:?}"
        );
        // What a file does not use must leave the hash as it is.
        for (key, value) in self.extras(cluster) {
            text += &format!(" {key}={value}");
        }
        short(&text)
    }

    /// What the container is made from beyond what every file says, by the file's keys.
    fn extras(&self, cluster: &Cluster) -> BTreeMap<&'static str, String> {
        let ports: Vec<String> = cluster
            .ports_of(self)
            .map(|port| {
                let ExtraPort { address, host_port, node_port, protocol, .. } = port;
                format!("{address}:{host_port}:{node_port}/{}", protocol.as_str())
            })
            .collect();
        let mounts: Vec<String> = cluster
            .mounts_of(self)
            .map(|mount| {
                let (host, path) = (mount.host_path.display(), &mount.container_path);
                let mode = if mount.read_only { "ro" } else { "rw" };
                let relabel = if mount.selinux_relabel { ",z" } else { "" };
                format!("{host}:{path}:{mode},{:?}{relabel}", mount.propagation)
            })
            .collect();
        let lists = [("extraPorts", ports), ("mounts", mounts)];
        // On workers only what reaches them.
        let reaches = |patch: &&KubeadmPatch| self.control_plane || patch.document.is_for_workers();
        let documents: Vec<&KubeadmPatch> =
            cluster.patches.documents.iter().filter(reaches).collect();
        let documents = (!documents.is_empty())
            .then(|| ("patches", short(&serde_json::to_string(&documents).unwrap_or_default())));
        let containerd = cluster.patches.containerd.as_ref();
        let containerd = containerd.map(|text| ("patches.containerd", short(text)));
        // Every node knows the API server by the name of what stands before it.
        let endpoint = cluster.is_balanced().then(|| ("controlPlanes", "several".to_owned()));
        lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(key, list)| (key, list.join(" ")))
            .chain(documents)
            .chain(endpoint)
            .chain(containerd)
            .collect()
    }

    /// The same as [`Node::container_hash`] for people: each setting by the key of the cluster file,
    /// so that a difference can be named. Values are short; long ones are hashed.
    pub fn settings(&self, cluster: &Cluster) -> BTreeMap<String, String> {
        let mut settings: BTreeMap<String, String> = [
            ("controlPlane", self.control_plane.to_string()),
            ("network", cluster.network.as_str().to_owned()),
            ("podSubnet", cluster.pod_subnet.clone()),
            ("serviceSubnet", cluster.service_subnet.clone()),
            ("hostPorts", format!("{:?}", cluster.host_ports).to_lowercase()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
        for (key, value) in self.extras(cluster) {
            let key = if key == "extraPorts" { "ports" } else { key };
            settings.insert(key.to_owned(), value);
        }
        settings
    }
}

/// The first half of a SHA-256, as 16 digits.
fn short(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    crate::digest::hex(digest.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use crate::spec::patch::{Document, KubeadmPatch};
    use crate::spec::source::Sources;
    use crate::spec::{Arch, Cluster, ExtraPort, Mount, NetworkMode, Propagation, Protocol, load};

    #[test]
    fn only_what_needs_a_new_container_counts() {
        let spec = load(&Sources::built_in(), "dev", None, Arch::Amd64).unwrap();
        let mut cluster = spec.cluster;
        let [core, edge, gpu] = cluster.nodes.clone().try_into().unwrap();
        assert_eq!(edge.container_hash(&cluster), gpu.container_hash(&cluster));
        assert_ne!(core.container_hash(&cluster), edge.container_hash(&cluster));
        // These values stand on users' containers: a new one would replace every node they have.
        insta::assert_snapshot!(core.container_hash(&cluster), @"35662cdcf0f86051");
        insta::assert_snapshot!(edge.container_hash(&cluster), @"b5ad9a6e4d0cfd57");

        let mut changed = edge.clone();
        changed.labels.clear();
        changed.taints.clear();
        changed.resources.clear();
        changed.zone = None;
        assert_eq!(changed.container_hash(&cluster), edge.container_hash(&cluster));
        let before = edge.container_hash(&cluster);
        cluster.network = NetworkMode::Static;
        assert_ne!(edge.container_hash(&cluster), before);
    }

    #[test]
    fn options_count_on_the_nodes_that_have_them() {
        let mut cluster = load(&Sources::built_in(), "dev", None, Arch::Amd64).unwrap().cluster;
        let [core, edge, gpu] = cluster.nodes.clone().try_into().unwrap();
        let hashes = |cluster: &Cluster| [&core, &edge, &gpu].map(|n| n.container_hash(cluster));
        let bare = hashes(&cluster);
        cluster.ports.push(ExtraPort {
            name: Some("web".to_owned()),
            address: Ipv4Addr::LOCALHOST.into(),
            host_port: 8080,
            node_port: 30080,
            protocol: Protocol::Tcp,
            node: None,
        });
        let with_port = hashes(&cluster);
        assert_ne!(with_port[0], bare[0], "the control plane has what names no node");
        assert_eq!(with_port[1..], bare[1..]);
        cluster.ports[0].name = None;
        assert_eq!(hashes(&cluster), with_port, "a name is ours alone");
        cluster.ports[0].node = Some(edge.name.clone());
        assert_eq!(hashes(&cluster)[0], bare[0]);
        cluster.ports.clear();
        cluster.mounts.push(Mount {
            host_path: "/src".into(),
            container_path: "/src".to_owned(),
            read_only: true,
            propagation: Propagation::None,
            selinux_relabel: false,
            node: None,
        });
        assert!(hashes(&cluster).iter().zip(&bare).all(|(with, without)| with != without));
        cluster.mounts.clear();
        cluster.patches.documents.push(KubeadmPatch {
            document: Document::Cluster,
            value: serde_json::json!({"apiServer": {}}),
        });
        assert_ne!(hashes(&cluster)[0], bare[0]);
        assert_eq!(hashes(&cluster)[1..], bare[1..], "workers have no API server");
        cluster.patches.documents[0].document = Document::Kubelet;
        assert_ne!(hashes(&cluster)[2], bare[2]);
        insta::assert_debug_snapshot!(gpu.settings(&cluster), @r#"
        {
            "controlPlane": "false",
            "hostPorts": "default",
            "network": "auto",
            "patches": "38dfc0b6862f4da2",
            "podSubnet": "10.244.0.0/16",
            "serviceSubnet": "10.96.0.0/16",
        }
        "#);
    }
}
