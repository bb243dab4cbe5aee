//! What is there, read from labels and the API server just before planning; never remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::surroundings::Told;
use crate::spec::kubernetes::Version;
use crate::spec::{ComponentName, NetworkMode, Node, Taint};

/// The state of the world as far as one cluster is concerned.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Observed {
    /// Node containers of this cluster, by container name.
    pub nodes: BTreeMap<String, NodeFacts>,
    /// The load balancer of several control planes.
    pub balancer: Option<BalancerFacts>,
    /// Whether the shared network exists.
    pub network: Option<NetworkFacts>,
    /// The registry of the local cache, and what it has.
    pub registry: Option<RegistryFacts>,
    /// Upstream image name to where the engine has it.
    pub images: BTreeMap<String, ImageFacts>,
    /// Images that the user gave the nodes and every node shall have, by name.
    pub kept: BTreeMap<String, KeptFacts>,
    /// What the API server says; `None` when there is none or it does not answer.
    pub live: Option<Live>,
    /// Whether the user's kubeconfig and ours name the cluster.
    pub kubeconfig: bool,
    /// How the cluster's pods are connected, by its containers' label.
    pub pod_network: Option<NetworkMode>,
}

/// The shared network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkFacts {
    /// Whether `pipe` made it.
    pub ours: bool,
    /// Whether containers of other clusters hang on it.
    pub others: bool,
}

/// The registry of the local cache.
#[derive(Clone, Debug, Serialize)]
pub struct RegistryFacts {
    /// `zot` or `distribution`.
    pub software: String,
    /// Whether its container runs.
    pub running: bool,
    /// Its address on the clusters' network.
    pub address: Ipv4Addr,
    /// Its port on the host's loopback.
    pub port: u16,
    /// Whether there is another cluster of ours.
    pub shared: bool,
    /// Whether a node of another cluster runs.
    pub used: bool,
    /// Images that were asked for and are there, by upstream name.
    pub images: BTreeMap<String, CachedFacts>,
}

/// An image in the local cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CachedFacts {
    /// Digest of its manifest or index: `sha256:…`.
    pub digest: String,
    /// Digest of its configuration for this machine's platform, without `sha256:`: the id that
    /// engines and nodes know it by.
    pub id: Option<String>,
    /// Bytes of its layers for this machine's platform, as stored.
    pub size: u64,
    /// The key whose signature counts, if there is one.
    pub signed_by: Option<String>,
}

impl Observed {
    /// The first container of which no process is left, although the engine counts it as running.
    pub fn lost(&self) -> Option<&str> {
        let balancer = self.balancer.iter().map(|balancer| (&balancer.host, balancer.stage));
        let nodes = self.nodes.iter().map(|(host, facts)| (host, facts.stage));
        let mut all = balancer.chain(nodes);
        all.find(|(_, stage)| *stage == NodeStage::Lost).map(|(host, _)| host.as_str())
    }
}

/// How far a node container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeStage {
    /// It exists, but never became a node of its cluster: its making was cut off.
    HalfMade,
    /// It is a node, and its container is stopped.
    Stopped,
    /// It is a node, and its container runs.
    Running,
    /// The engine counts its container as running, or as stopping for ever, but no process of it is
    /// left: somebody ended them together with the engine's own that watched them. Podman can only
    /// remove such a container, until the machine it runs on is restarted.
    Lost,
}

/// The load balancer's container.
#[derive(Clone, Debug, Serialize)]
pub struct BalancerFacts {
    /// Container.
    pub host: String,
    /// How far it is.
    pub stage: NodeStage,
    /// Our label.
    pub spec_hash: String,
    /// The control planes that it knows.
    pub backends: Vec<IpAddr>,
}

/// A node container.
#[derive(Clone, Debug, Serialize)]
pub struct NodeFacts {
    /// Our name of the node.
    pub name: String,
    /// How far it is.
    pub stage: NodeStage,
    /// Whether its container runs, however far it is.
    pub running: bool,
    /// Our label.
    pub spec_hash: String,
    /// Our label that says what the hash is of; empty where an earlier version made the container.
    pub settings: BTreeMap<String, String>,
    /// Whether it runs the control plane.
    pub control_plane: bool,
    /// The version of Kubernetes in it, where it says so.
    pub kubernetes: Option<Version>,
    /// The image it runs, as the engine names it.
    pub image: String,
    /// What it was told of the network around it.
    pub told: Told,
}

/// Where the engine has an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageFacts {
    /// Reference in the engine's store.
    pub reference: String,
    /// The engine's image id: changes when the content does.
    pub id: String,
    /// Built from source by us, not pulled.
    pub built: bool,
    /// What stands in for the named product, where it is not that product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<String>,
}

impl ImageFacts {
    /// Its id, where it was made on this host: the named product from its source, or a stand-in.
    pub fn made_here(&self) -> Option<&str> {
        (self.built || self.stand_in.is_some()).then_some(self.id.as_str())
    }
}

/// How an image that is in no profile came into a cluster: a label on it in each node's containerd,
/// so that a node made later can be given it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// `pipe images load`.
    Loaded,
    /// `pipe images add`.
    Added,
}

impl Kept {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kept::Loaded => "loaded",
            Kept::Added => "added",
        }
    }

    /// The command that gives it.
    pub const fn verb(self) -> &'static str {
        match self {
            Kept::Loaded => "load",
            Kept::Added => "add",
        }
    }

    /// Reads the label's value.
    pub fn parse(text: &str) -> Option<Kept> {
        [Kept::Loaded, Kept::Added].into_iter().find(|kept| kept.as_str() == text)
    }
}

/// An image of the user's that nodes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptFacts {
    /// The id that every node shall have under its name.
    pub id: String,
    /// How it came.
    pub kept: Kept,
    /// Whether the engine has that id, and so can give it to a node.
    pub in_engine: bool,
}

/// An image in a node's containerd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeImage {
    /// Its id, as the engine has it; absent where the node does not say.
    pub id: Option<String>,
    /// Bytes, as stored.
    pub size: u64,
    /// `linux/amd64`.
    pub platform: String,
    /// Whether the user gave it, and how.
    pub kept: Option<Kept>,
}

/// What the API server and the running nodes say.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Live {
    /// Kubernetes nodes by name.
    pub nodes: BTreeMap<String, LiveNode>,
    /// Helm releases by name.
    pub releases: BTreeMap<String, ReleaseFacts>,
    /// The images each node's containerd has, by name.
    pub node_images: BTreeMap<String, BTreeMap<String, NodeImage>>,
    /// Components whose gates all hold.
    pub ready: BTreeSet<ComponentName>,
    /// Members of etcd that are ready; only counted where there are several control planes.
    pub etcd: usize,
    /// The fingerprint of the policy by which the API server refuses names of images, if it has ours.
    pub admission: Option<String>,
    /// Whether our storage classes and their provisioner are there.
    pub storage: bool,
    /// Whether kube-proxy has programmed every node.
    pub proxy: bool,
    /// Whether CoreDNS is installed.
    pub dns_installed: bool,
    /// Whether CoreDNS serves.
    pub dns: bool,
    /// Components whose Secret is there, as it was made.
    pub secrets: BTreeSet<ComponentName>,
    /// Components whose Secret somebody changed, and what is wrong with it.
    pub changed_secrets: BTreeMap<ComponentName, String>,
    /// Components whose buckets are all there.
    pub buckets: BTreeSet<ComponentName>,
    /// Volumes on the disks of nodes that the files no longer name, each with its claim.
    pub volumes: BTreeMap<String, Vec<String>>,
}

/// A Kubernetes node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LiveNode {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints, without the ones Kubernetes sets by condition.
    pub taints: Vec<Taint>,
    /// Whether it is Ready.
    pub ready: bool,
    /// Whether somebody keeps pods from it.
    pub cordoned: bool,
    /// Extended resources in `status.capacity`, in whole units.
    pub capacity: BTreeMap<String, u64>,
    /// `spec.podCIDR`.
    pub pod_cidr: Option<String>,
    /// What we set on it earlier, so that it can be taken away again.
    pub applied: Applied,
}

/// What `pipe` set on a node object, as the annotation `pipe.dev/applied` keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Applied {
    /// Keys of labels.
    pub labels: BTreeSet<String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Names of simulated resources.
    pub resources: BTreeSet<String>,
    /// How much of each, to set it again after a start that knows no files.
    pub amounts: BTreeMap<String, u64>,
}

impl Applied {
    /// What is set on a node that is as its spec says.
    pub fn to(node: &Node) -> Applied {
        Applied {
            labels: node.labels.keys().cloned().collect(),
            taints: node.taints.clone(),
            resources: node.resources.keys().cloned().collect(),
            amounts: node.resources.clone(),
        }
    }
}

/// A Helm release of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReleaseFacts {
    /// Namespace.
    pub namespace: String,
    /// `deployed`, `failed`, `pending-install`, …
    pub status: String,
    /// Our hash of chart and values.
    pub hash: Option<String>,
}
