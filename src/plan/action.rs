//! The closed set of deeds. Adding a component needs none; adding one is rare, and the compiler
//! lists the places that must know it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use super::BalancerPlan;
use super::nodes::Drain;
use super::observed::Kept;
use super::surroundings::Aspect;
use crate::spec::{
    BucketName, Component, ComponentName, ExtraPort, ImageName, Mount, Node, Protocol, Taint,
};

/// A port of a node published on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Publish {
    /// Entry of the host port catalogue, `api`, or the user's own.
    pub name: String,
    /// Address on the host.
    pub address: IpAddr,
    /// Port there.
    pub host_port: u16,
    /// Port in the node.
    pub node_port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// Everything a node container is made from.
#[derive(Clone, Debug, Serialize)]
pub struct NodePlan {
    /// The node as specified.
    pub node: Node,
    /// Engine reference of the node image.
    pub image: String,
    /// Engine network.
    pub network: String,
    /// Static address, ours for the cluster's life.
    pub address: Ipv4Addr,
    /// Static IPv6 address where the network has IPv6.
    pub address6: Option<Ipv6Addr>,
    /// This node's part of the pod subnet.
    pub pod_cidr: String,
    /// Other nodes' part of the pod subnet and how to reach it.
    pub routes: Vec<Route>,
    /// Ports published on the host.
    pub publish: Vec<Publish>,
    /// Folders and files of the host in the node.
    pub mounts: Vec<Mount>,
    /// What the container was made from; a difference means it must be replaced.
    pub spec_hash: String,
    /// The same, for people: what a difference lies in.
    pub settings: BTreeMap<String, String>,
}

/// A route to another node's pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Their CIDR.
    pub pod_cidr: String,
    /// Their node.
    pub via: Ipv4Addr,
}

/// Changes to a node object that the API takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeChange {
    /// Labels to set.
    pub set_labels: BTreeMap<String, String>,
    /// Labels of ours to remove.
    pub remove_labels: Vec<String>,
    /// Taints to set.
    pub set_taints: Vec<Taint>,
    /// Taints of ours to remove.
    pub remove_taints: Vec<Taint>,
    /// Simulated extended resources to put into `status.capacity`.
    pub capacity: BTreeMap<String, u64>,
    /// Resources of ours to take out again.
    pub remove_capacity: Vec<String>,
    /// `spec.podCIDR` to set where it is empty.
    pub pod_cidr: Option<String>,
    /// Only the record of what is ours is not true: what is not in it would never be taken away.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub record: bool,
}

impl Publish {
    /// A port of the cluster's file.
    pub fn extra(port: &ExtraPort) -> Publish {
        Publish {
            name: port.name.clone().unwrap_or_else(|| port.host_port.to_string()),
            address: port.address,
            host_port: port.host_port,
            node_port: port.node_port,
            protocol: port.protocol,
        }
    }

    /// A TCP port on 127.0.0.1.
    pub fn local(name: &str, host_port: u16, node_port: u16) -> Publish {
        Publish {
            name: name.to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host_port,
            node_port,
            protocol: Protocol::Tcp,
        }
    }
}

impl NodeChange {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        *self == NodeChange::default()
    }
}

/// One deed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Get an image into the engine's store.
    PullImage {
        /// Upstream name.
        image: ImageName,
    },
    /// Make the shared network.
    CreateNetwork {
        /// Engine name.
        name: String,
        /// IPv4 subnet.
        subnet: String,
        /// IPv6 subnet, where the kernel has IPv6.
        subnet6: Option<String>,
    },
    /// Remove a node container and its volume: half made, replaced on request, or no longer wanted.
    RemoveNode {
        /// Container.
        host: String,
        /// Whether the API server stays, and must forget the node too.
        registered: bool,
    },
    /// Let no pod come to a node, and evict those that are there.
    DrainNode {
        /// Node.
        host: String,
        /// How patiently, and at what price.
        how: Drain,
    },
    /// Drop the route to the pods of a node that is gone.
    ForgetRoute {
        /// Its part of the pod subnet.
        pod_cidr: String,
        /// Containers that had the route.
        hosts: Vec<String>,
    },
    /// Delete the objects of volumes that lay on a node that is gone.
    ForgetVolumes {
        /// Node.
        host: String,
    },
    /// Give up the addresses of a node that is gone.
    ReleaseAddress {
        /// Node.
        host: String,
    },
    /// Tell a running node how to reach the pods of a new one.
    UpdateRoutes(Box<NodePlan>),
    /// Make and start a node container.
    CreateNode(Box<NodePlan>),
    /// Make and start the load balancer of several control planes.
    CreateBalancer(Box<BalancerPlan>),
    /// Tell the load balancer which control planes there are.
    UpdateBalancer {
        /// Container.
        host: String,
        /// Their addresses.
        backends: Vec<IpAddr>,
    },
    /// Start the stopped load balancer.
    StartBalancer {
        /// Container.
        host: String,
    },
    /// Wait until etcd has a ready member on each control plane.
    AwaitEtcd {
        /// How many.
        members: usize,
    },
    /// Start a stopped node container.
    StartNode {
        /// Container.
        host: String,
    },
    /// Stop a running node container: its programs are asked to end, and waited for.
    StopNode {
        /// Container.
        host: String,
    },
    /// Give nodes back the simulated resources that kubelet forgot at its start.
    RestoreResources,
    /// Wait until the pods of every release of ours are ready.
    AwaitReleases,
    /// Wait until systemd and containerd answer in a node.
    AwaitBoot {
        /// Container.
        host: String,
    },
    /// `kubeadm init`.
    InitControlPlane {
        /// Container.
        host: String,
    },
    /// Wait until the API server answers `/readyz`.
    AwaitApi,
    /// Write our kubeconfig and merge it into the user's.
    WriteKubeconfig,
    /// Apply the node image's own CNI manifest.
    InstallNetwork {
        /// Control plane container.
        host: String,
    },
    /// `kubeadm join`.
    JoinNode {
        /// Container.
        host: String,
    },
    /// Set labels, taints and capacity through the API, and read them back.
    ConfigureNode {
        /// Node.
        host: String,
        /// What differs.
        change: NodeChange,
    },
    /// Wait until a node is Ready.
    AwaitNode {
        /// Node.
        host: String,
    },
    /// Install the local-path provisioner and the storage classes.
    InstallStorage {
        /// Control plane container.
        host: String,
    },
    /// Wait until kube-proxy has programmed every node: pods that dial the API before it hang.
    AwaitProxy,
    /// Install CoreDNS.
    InstallDns {
        /// Control plane container.
        host: String,
    },
    /// Wait until CoreDNS serves.
    AwaitDns,
    /// Make sure that the registry of the local cache runs.
    StartRegistry {
        /// Its address on the clusters' network.
        address: Ipv4Addr,
    },
    /// Stop the registry of the local cache.
    StopRegistry,
    /// Remove the container of the local cache's registry; what it holds stays.
    RemoveRegistry,
    /// Copy an image into the local cache, and sign it.
    CacheImage {
        /// Upstream name.
        image: ImageName,
    },
    /// Let nodes pull an image, from the local cache.
    FetchImage {
        /// Name that pods use.
        image: ImageName,
        /// Containers that lack it.
        hosts: Vec<String>,
    },
    /// Let the API server refuse pods by the names of their images, or let it be.
    RestrictImages,
    /// Prove on nodes that an image which nobody signed is refused, and a signed one runs.
    ProveVerifier {
        /// Nodes.
        hosts: Vec<String>,
    },
    /// Copy an image from the engine's store into nodes.
    LoadImage {
        /// Name that pods use.
        image: ImageName,
        /// Containers that lack it.
        hosts: Vec<String>,
    },
    /// Copy an image that the user gave the cluster into nodes that lack it.
    KeepImage {
        /// Its id in the engine.
        id: String,
        /// Names that pods use.
        names: Vec<String>,
        /// How it came into the cluster.
        kept: Kept,
        /// Containers that lack it.
        hosts: Vec<String>,
    },
    /// Tell a running node what changed in the network around it.
    TellNode {
        /// Container.
        host: String,
        /// What changed.
        aspects: Vec<Aspect>,
    },
    /// Make sure of helm, on `PATH`, in the cache or downloaded.
    FindHelm,
    /// Make a namespace and, in it, a component's Secret.
    Prepare {
        /// The component.
        component: Box<Component>,
    },
    /// `helm upgrade --install`.
    InstallRelease {
        /// The component.
        component: Box<Component>,
        /// Hash of chart and values, kept on the release.
        hash: String,
        /// Whether there was none before.
        first: bool,
    },
    /// Delete a component's pods, and wait until others have taken their place.
    RestartPods {
        /// The component.
        component: Box<Component>,
    },
    /// Wait for a component's gates.
    AwaitComponent {
        /// The component.
        component: Box<Component>,
    },
    /// Make the buckets that the profile names, where they are not there.
    MakeBuckets {
        /// The component.
        component: Box<Component>,
    },
    /// Prove a component with a real client.
    Smoke {
        /// The component.
        component: Box<Component>,
    },
    /// `helm uninstall`.
    UninstallRelease {
        /// Release.
        release: String,
        /// Its namespace.
        namespace: String,
        /// Whether its volumes go too.
        delete_data: bool,
    },
    /// Remove a cluster's entries from the user's kubeconfig.
    RemoveKubeconfig,
    /// Remove volumes that carry the cluster's label.
    RemoveVolumes,
    /// Remove the shared network, if we made it and nobody uses it.
    RemoveNetwork {
        /// Engine name.
        name: String,
    },
    /// Remove the cluster's state folder.
    RemoveState,
}

impl Action {
    /// The component it works on, if any.
    pub fn component(&self) -> Option<&ComponentName> {
        match self {
            Action::Prepare { component }
            | Action::InstallRelease { component, .. }
            | Action::RestartPods { component }
            | Action::AwaitComponent { component }
            | Action::MakeBuckets { component }
            | Action::Smoke { component } => Some(&component.name),
            _ => None,
        }
    }

    /// What it does, in the imperative.
    pub fn title(&self) -> String {
        match self {
            Action::PullImage { image } => format!("pull {}", image.tagged()),
            Action::CreateNetwork { name, subnet, .. } => format!("create network {name} {subnet}"),
            Action::UpdateRoutes(node) => format!("update pod routes of node {}", node.node.host),
            Action::RemoveNode { host, .. } => format!("remove node {host}"),
            Action::DrainNode { host, .. } => format!("empty node {host}"),
            Action::ForgetRoute { pod_cidr, .. } => format!("drop routes to {pod_cidr}"),
            Action::ForgetVolumes { host } => format!("forget volumes on {host}"),
            Action::ReleaseAddress { host } => format!("give up the address of {host}"),
            Action::CreateNode(node) => {
                format!("create node {} ({})", node.node.name, node.node.host)
            }
            Action::CreateBalancer(plan) => format!("create load balancer {}", plan.host),
            Action::UpdateBalancer { host, backends } => {
                format!("point {host} at {} control planes", backends.len())
            }
            Action::StartBalancer { host } => format!("start load balancer {host}"),
            Action::AwaitEtcd { members } => format!("wait for {members} members of etcd"),
            Action::StartNode { host } => format!("start node {host}"),
            Action::StopNode { host } => format!("stop node {host}"),
            Action::RestoreResources => "set simulated resources again".to_owned(),
            Action::AwaitReleases => "wait for what is installed".to_owned(),
            Action::AwaitBoot { host } => format!("wait for {host} to boot"),
            Action::InitControlPlane { host } => format!("start Kubernetes on {host}"),
            Action::AwaitApi => "wait for the API server".to_owned(),
            Action::WriteKubeconfig => "write kubeconfig".to_owned(),
            Action::InstallNetwork { .. } => "install pod network".to_owned(),
            Action::JoinNode { host } => format!("join node {host}"),
            Action::ConfigureNode { host, .. } => format!("label node {host}"),
            Action::AwaitNode { host } => format!("wait for node {host} to be Ready"),
            Action::InstallStorage { .. } => "install storage classes".to_owned(),
            Action::AwaitProxy => "wait for service addresses (kube-proxy)".to_owned(),
            Action::AwaitDns => "wait for cluster DNS".to_owned(),
            Action::InstallDns { .. } => "install cluster DNS".to_owned(),
            Action::StartRegistry { address } => format!("start the image cache on {address}"),
            Action::StopRegistry => "stop the image cache".to_owned(),
            Action::RemoveRegistry => "remove the image cache's container".to_owned(),
            Action::CacheImage { image } => format!("cache and sign {}", image.tagged()),
            Action::FetchImage { image, hosts } => {
                let count = hosts.len();
                format!("pull {} on {count} node{}", image.tagged(), plural(count))
            }
            Action::RestrictImages => "restrict image names".to_owned(),
            Action::ProveVerifier { hosts } => {
                let count = hosts.len();
                format!("prove on {count} node{} that unsigned images are refused", plural(count))
            }
            Action::LoadImage { image, hosts } => {
                let count = hosts.len();
                format!("load {} into {count} node{}", image.tagged(), plural(count))
            }
            Action::KeepImage { names, hosts, .. } => {
                let (name, count) = (names.first().map_or("", String::as_str), hosts.len());
                format!("load {name} into {count} node{}", plural(count))
            }
            Action::TellNode { host, aspects } => {
                let aspects: Vec<&str> = aspects.iter().map(|aspect| aspect.as_str()).collect();
                format!("update {} of node {host}", aspects.join(" and "))
            }
            Action::FindHelm => "find helm".to_owned(),
            Action::Prepare { component } => {
                format!("prepare namespace {} for {}", component.namespace, component.name)
            }
            Action::InstallRelease { component, first, .. } => {
                let verb = if *first { "install" } else { "upgrade" };
                format!("{verb} {} in {}", component.name, component.namespace)
            }
            Action::RestartPods { component } => format!("restart {}", component.name),
            Action::AwaitComponent { component } => {
                format!("wait for {} to be ready", component.name)
            }
            Action::MakeBuckets { component } => {
                let names: Vec<&str> = component.buckets.iter().map(BucketName::as_str).collect();
                format!("make buckets {} in {}", names.join(", "), component.name)
            }
            Action::Smoke { component } => format!("prove {} with a real client", component.name),
            Action::UninstallRelease { release, .. } => format!("uninstall {release}"),
            Action::RemoveKubeconfig => "remove kubeconfig entries".to_owned(),
            Action::RemoveVolumes => "remove volumes".to_owned(),
            Action::RemoveNetwork { name } => format!("remove network {name}"),
            Action::RemoveState => "remove state".to_owned(),
        }
    }
}

/// `s` unless there is exactly one.
fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
