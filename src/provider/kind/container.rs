//! The node container and its volume, field by field as kind makes them (`tests/golden`).

use std::collections::BTreeMap;

use crate::plan::NodePlan;
use crate::provider::kind::{CLUSTER_LABEL, ROLE_LABEL};
use crate::provider::labels;
use crate::spec::{Cluster, Propagation, Protocol};
use crate::world::engine::{Bind, ContainerSpec, PublishedPort, Ulimit, VolumeMount};
use crate::world::host::Host;

/// Seconds that systemd gets when somebody else stops a node; Podman's default, and so kind's.
const STOP_TIMEOUT: u32 = 10;

/// The container of a node, with `volume` for its `/var`.
pub fn spec(cluster: &Cluster, node: &NodePlan, volume: &str, host: &Host) -> ContainerSpec {
    let mut env = BTreeMap::from([("container".to_owned(), "podman".to_owned())]);
    if node.node.control_plane {
        env.insert("KUBECONFIG".to_owned(), super::ADMIN_CONF.to_owned());
    }
    let publish = node.publish.iter().map(|port| PublishedPort {
        host_ip: port.address,
        host_port: port.host_port,
        container_port: port.node_port,
        udp: port.protocol == Protocol::Udp,
    });
    let mounts = node.mounts.iter().map(|mount| Bind {
        source: mount.host_path.clone(),
        target: mount.container_path.clone(),
        read_only: mount.read_only,
        propagation: Some(match mount.propagation {
            Propagation::None => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        }),
        // Shared between containers: the same folder may stand in several nodes.
        relabel: mount.selinux_relabel,
    });
    ContainerSpec {
        name: node.node.host.clone(),
        hostname: node.node.host.clone(),
        image: node.image.clone(),
        env,
        labels: container_labels(cluster, node),
        tty: true,
        privileged: true,
        tmpfs: ["/tmp", "/run"].map(|path| (path.to_owned(), String::new())).into(),
        volumes: vec![VolumeMount {
            volume: volume.to_owned(),
            target: "/var".to_owned(),
            options: ["suid", "exec", "dev"].map(str::to_owned).into(),
        }],
        binds: Bind::modules(host.lib_modules).into_iter().chain(mounts).collect(),
        network: node.network.clone(),
        ipv4: Some(node.address),
        ipv6: node.address6,
        ports: publish.collect(),
        ulimits: Ulimit::needed(host),
        stop_timeout: STOP_TIMEOUT,
        ..ContainerSpec::default()
    }
}

/// Labels of a node's container.
pub fn container_labels(cluster: &Cluster, node: &NodePlan) -> BTreeMap<String, String> {
    let role = if node.node.control_plane { "control-plane" } else { "worker" };
    let layout = labels::LAYOUT_VERSION.to_string();
    let settings = serde_json::to_string(&node.settings).unwrap_or_default();
    let mut all = labels::ours(Some(&cluster.name));
    all.extend(
        [
            (CLUSTER_LABEL, cluster.name.as_str()),
            (ROLE_LABEL, role),
            (labels::NODE, node.node.name.as_str()),
            (labels::SPEC_HASH, node.spec_hash.as_str()),
            (labels::SETTINGS, settings.as_str()),
            (labels::NETWORK, cluster.network.as_str()),
            (labels::LAYOUT, layout.as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    if let Some(entry) = &node.node.added {
        all.insert(labels::ADDED.to_owned(), entry.clone());
    }
    all
}

/// Labels of a node's volume: kind deletes volumes that have the node's name as a label key.
pub fn volume_labels(cluster: &Cluster, host: &str) -> BTreeMap<String, String> {
    let mut all = labels::ours(Some(&cluster.name));
    all.insert(host.to_owned(), "true".to_owned());
    all
}
