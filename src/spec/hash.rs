//! Fingerprints that say when a node's container must be made anew.

use sha2::{Digest, Sha256};

use super::{Cluster, Node};

/// Changes when what goes into the text below changes its meaning, never otherwise: a new value
/// replaces every node of every running cluster.
const FORMAT: u32 = 1;

impl Node {
    /// What the node's container was made from, as 16 hexadecimal digits: the label
    /// `pipe.dev/spec-hash`. Labels, taints and resources are not in it, as they change in place.
    pub fn container_hash(&self, cluster: &Cluster) -> String {
        let Cluster { provider, host_ports, network, pod_subnet, service_subnet, .. } = cluster;
        let control_plane = self.control_plane;
        let text = format!(
            "{FORMAT} provider={provider:?} control_plane={control_plane} network={network:?} \
             pods={pod_subnet} services={service_subnet} ports={host_ports:?}"
        );
        let digest = Sha256::digest(text.as_bytes());
        crate::digest::hex(digest.get(..8).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::source::Sources;
    use crate::spec::{Arch, NetworkMode, load};

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
}
