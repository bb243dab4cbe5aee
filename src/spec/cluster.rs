//! A cluster, its ports, mounts and network.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::{ClusterName, ImageName, Node, NodeName, ProfileName, kubernetes, patch};

/// A validated `kind: Cluster` file with every default filled in.
#[derive(Clone, Debug, Serialize)]
pub struct Cluster {
    /// A DNS label, at most 32 characters.
    pub name: ClusterName,
    /// Which tool's conventions the cluster follows.
    pub provider: Provider,
    /// The profile named in the file, if any.
    pub profile: Option<ProfileName>,
    /// How host ports are chosen.
    pub host_ports: HostPorts,
    /// The version of Kubernetes that the file asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<kubernetes::Version>,
    /// The node image that the file asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_image: Option<ImageName>,
    /// How pods reach each other.
    pub network: NetworkMode,
    /// IPv4 CIDR for pods.
    pub pod_subnet: String,
    /// IPv4 CIDR for services.
    pub service_subnet: String,
    /// Doors from the host to nodes, beside those of the catalogue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ExtraPort>,
    /// What of the host stands in nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// What is merged into the configuration of kubelet, kubeadm and containerd.
    #[serde(skip_serializing_if = "patch::Patches::is_empty")]
    pub patches: patch::Patches,
    /// Control plane first, then workers in file order.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// The node image of the file: the one it names, else that of its version, else the default's.
    pub fn image(&self) -> Option<ImageName> {
        let version = self.kubernetes.unwrap_or(kubernetes::DEFAULT);
        self.node_image.clone().or_else(|| version.image())
    }

    /// The nodes that run the API server and etcd.
    pub fn control_planes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.control_plane)
    }

    /// Whether a load balancer stands before several control planes.
    pub fn is_balanced(&self) -> bool {
        self.control_planes().count() > 1
    }

    /// The load balancer's container, as kind calls it.
    pub fn balancer_host(&self) -> String {
        format!("{}-external-load-balancer", self.name)
    }

    /// What nodes call the API server: the load balancer, or the one control plane.
    pub fn endpoint(&self) -> Option<String> {
        match self.is_balanced() {
            true => Some(self.balancer_host()),
            false => self.control_planes().next().map(|node| node.host.clone()),
        }
    }

    /// The ports that are published on `node`: those that name it, on the first control plane also
    /// those that name none, unless the load balancer has them.
    pub fn ports_of(&self, node: &Node) -> impl Iterator<Item = &ExtraPort> {
        let first = self.nodes.first().is_some_and(|first| first.name == node.name);
        let (name, balanced) = (node.name.clone(), self.is_balanced());
        self.ports.iter().filter(move |port| match &port.node {
            Some(named) => *named == name,
            None => first && !(balanced && port.protocol == Protocol::Tcp),
        })
    }

    /// The ports that are published on the load balancer: TCP that names no node.
    pub fn ports_of_balancer(&self) -> impl Iterator<Item = &ExtraPort> {
        let balanced = self.is_balanced();
        self.ports
            .iter()
            .filter(move |port| balanced && port.node.is_none() && port.protocol == Protocol::Tcp)
    }

    /// What of the host stands in `node`.
    pub fn mounts_of(&self, node: &Node) -> impl Iterator<Item = &Mount> {
        let name = node.name.clone();
        self.mounts.iter().filter(move |mount| mount.node.as_ref().is_none_or(|n| *n == name))
    }
}

/// A port of a node published on the host because the cluster file says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExtraPort {
    /// The user's name for it.
    pub name: Option<String>,
    /// Address on the host.
    pub address: IpAddr,
    /// Port on the host.
    pub host_port: u16,
    /// Port of the node.
    pub node_port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The node; the first control plane where none is named.
    pub node: Option<NodeName>,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As files and the engine write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// A folder or file of the host in nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// The whole path on the host.
    pub host_path: PathBuf,
    /// Where it stands in the node.
    pub container_path: String,
    /// Whether nodes can only read it.
    pub read_only: bool,
    /// Whether mounts below it travel.
    pub propagation: Propagation,
    /// Whether the engine may change its SELinux label so that nodes may use it.
    pub selinux_relabel: bool,
    /// The node; all where none is named.
    pub node: Option<NodeName>,
}

/// Whether what is mounted below a mount later is seen on the other side, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Propagation {
    /// On neither side.
    None,
    /// The host's in the node.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// The conventions a cluster follows on the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// kubeadm nodes, visible to the `kind` command.
    Kind,
}

/// How host ports are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HostPorts {
    /// The well-known port; an error if a chosen component needs it and another program holds it.
    Default,
    /// A free port, kept for the cluster's life.
    Auto,
}

/// Which CNI set-up the nodes get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// `Bundled` where the node image carries a CNI manifest, else `Static`.
    Auto,
    /// The node image's own `/kind/manifests/default-cni.yaml`.
    Bundled,
    /// Files and routes written by us; no CNI pod.
    Static,
    /// None: the user installs one; nodes are then not waited for.
    None,
}

impl NetworkMode {
    /// The mode that a file or label names.
    pub fn parse(text: &str) -> Option<NetworkMode> {
        [NetworkMode::Auto, NetworkMode::Bundled, NetworkMode::Static, NetworkMode::None]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }

    /// As files and labels write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            NetworkMode::Auto => "auto",
            NetworkMode::Bundled => "bundled",
            NetworkMode::Static => "static",
            NetworkMode::None => "none",
        }
    }
}
