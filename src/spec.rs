//! What the user asked for, checked: a [`Spec`] cannot be wrong.
//!
//! [`load()`] finds the files ([`source`]), parses them with positions ([`yaml`]), decodes and checks
//! them ([`read`], [`cluster_file`], [`profile_file`], [`component_file`]), collects every problem
//! ([`problem`]) and only then makes a `Spec`. Nothing here touches the host but to read those files.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod added;
pub mod bucket;
mod cidr;
pub mod cluster_file;
pub mod component_file;
pub mod config_file;
pub mod duration;
pub mod embedded;
pub mod forbidden_file;
mod forbidden_images;
mod hash;
pub mod host_io;
pub mod image_names;
pub mod kubernetes;
pub mod label;
mod load;
pub mod lock_file;
pub mod memory;
pub mod mount_file;
pub mod name;
pub mod node_file;
mod order;
mod packed_chart;
pub mod patch;
pub mod patch_file;
pub mod policy_file;
pub mod port;
pub mod port_file;
pub mod problem;
pub mod profile_file;
pub mod read;
pub mod requires;
mod skipped;
pub mod source;
pub mod template;
mod values;
pub mod yaml;

pub use bucket::BucketName;
pub use forbidden_file::forbidden;
pub use host_io::IoWay;
pub use load::{load, load_profile};
pub use memory::Memory;
pub use name::{Arch, ClusterName, ComponentName, ImageName, NodeName, ProfileName};
pub use policy_file::policies;
pub use requires::Requires;
pub use skipped::Skipped;

/// The `apiVersion` of every file.
pub const API_VERSION: &str = "pipe.dev/v1alpha1";

/// One cluster and the components of one profile, ready to be planned.
#[derive(Clone, Debug, Serialize)]
pub struct Spec {
    /// The cluster to make.
    pub cluster: Cluster,
    /// What is installed on it.
    pub profile: Profile,
}

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

/// One node, expanded (`count` is already unrolled) and with its final labels and taints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Our name: `core`, `edge`, `edge-2`.
    pub name: NodeName,
    /// Container, hostname and Kubernetes node name: `dev-control-plane`, `dev-worker2`.
    pub host: String,
    /// Runs the API server and etcd.
    pub control_plane: bool,
    /// How real the node is.
    pub fidelity: Fidelity,
    /// `role=` and `node-role.kubernetes.io/<role>`.
    pub role: Option<String>,
    /// `zone=` and `topology.kubernetes.io/zone=`.
    pub zone: Option<String>,
    /// Our `arch=` label.
    pub arch: Option<Arch>,
    /// `accelerator=` label and taint.
    pub accelerator: Option<String>,
    /// Simulated extended resources, by name, in whole units.
    pub resources: BTreeMap<String, u64>,
    /// Every label the node must carry, derived ones included.
    pub labels: BTreeMap<String, String>,
    /// Every taint the node must carry, derived ones included.
    pub taints: Vec<Taint>,
    /// The entry of a node that `pipe node add` made; none for one that the file names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<String>,
}

impl Node {
    /// Whether another entry asks for the same node, wherever each was written.
    pub fn is_like(&self, other: &Node) -> bool {
        let entry = |node: &Node| Node { added: None, host: String::new(), ..node.clone() };
        entry(self) == entry(other)
    }
}

/// How real a node is; shown by `status`, never pretended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fidelity {
    /// What the host is.
    Native,
    /// A native node that carries our `arch` label and a taint.
    Labelled,
}

impl Fidelity {
    /// The word in files, labels and `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fidelity::Native => "native",
            Fidelity::Labelled => "labelled",
        }
    }
}

/// A Kubernetes taint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// Qualified name.
    pub key: String,
    /// May be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// A validated `kind: Profile` file with its components resolved, in installation order.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// Name of the profile.
    pub name: ProfileName,
    /// Generated or documented development credentials.
    pub credentials: Credentials,
    /// Whether another product may stand in for an image that cannot be had.
    pub stand_ins: StandIns,
    /// Where nodes get images from, and which they refuse.
    pub policy: ImagePolicy,
    /// Bytes of memory of the smallest machine that it is made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Components after the ones they need.
    pub components: Vec<Component>,
    /// What is left out of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
}

/// Whether another product may stand in for an image that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StandIns {
    /// No: what runs is what the files name.
    Refuse,
    /// Yes, named as such wherever it shows.
    Allow,
}

/// Where nodes get images from, and which they refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImagePolicy {
    /// From the engine's store or their registries; none is refused.
    Off,
    /// From the local cache, which signs what it holds; what is not signed runs, and is reported.
    Warn,
    /// From the local cache, and what is not signed is refused.
    Enforce,
}

impl ImagePolicy {
    /// As a file has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ImagePolicy::Off => "off",
            ImagePolicy::Warn => "warn",
            ImagePolicy::Enforce => "enforce",
        }
    }

    /// Whether nodes pull from the local cache.
    pub fn is_cached(self) -> bool {
        self != ImagePolicy::Off
    }
}

/// Where credentials come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Credentials {
    /// Random, one set for each cluster.
    Generated,
    /// The documented development values.
    Fixed,
}

/// A component as chosen by a profile, with its definition.
#[derive(Clone, Debug, Serialize)]
pub struct Component {
    /// Also the Helm release name.
    pub name: ComponentName,
    /// Namespace of the release.
    pub namespace: String,
    /// A key of [`Definition::sizes`].
    pub size: String,
    /// User values merged over the size's values; go to the chart as they are.
    pub values: serde_json::Value,
    /// What to do where an image cannot be had.
    pub when_unavailable: WhenUnavailable,
    /// Buckets that must be there, of a component that is an S3 store.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketName>,
    /// What its server may wait by on this host, as found there; never in a file.
    #[serde(skip)]
    pub host_io: host_io::HostIo,
    /// What its pods take, as found in the chart and its values; never in a file.
    #[serde(skip)]
    pub memory: Memory,
    /// What stands in for one of its images, as found on this host; never in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<String>,
    /// `profiles/components/<name>.yaml`.
    pub definition: Definition,
}

/// What to do with a component whose image cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUnavailable {
    /// Refuse the whole `up` before anything is touched.
    Fail,
    /// Leave it out, and say so everywhere.
    Skip,
}

/// A component as data: `kind: Component`.
#[derive(Clone, Debug, Serialize)]
pub struct Definition {
    /// Same as the file's name.
    pub name: ComponentName,
    /// One line for people.
    pub description: String,
    /// Folder under `charts-cache/`.
    pub chart: String,
    /// Images the chart runs.
    pub images: Vec<ImageName>,
    /// What must be accepted before it is run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<Licence>,
    /// What it needs of the machine below its nodes.
    #[serde(skip_serializing_if = "Requires::is_empty")]
    pub requires: Requires,
    /// Other components that must be ready first.
    pub needs: Vec<ComponentName>,
    /// Ports reachable from the host.
    pub ports: Vec<Port>,
    /// Keys of the credentials Secret; absent where the component has none.
    pub credentials: Option<CredentialSpec>,
    /// Chart values for every size, NodePorts filled in.
    pub values: serde_json::Value,
    /// Chart values for each size, merged over [`Definition::values`].
    pub sizes: BTreeMap<String, serde_json::Value>,
    /// Ways in which its server may wait for disks and sockets, the best first; the first that the
    /// host allows is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io: Vec<IoWay>,
    /// Chart values where a stand-in runs, merged over all others.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub stand_in: serde_json::Value,
    /// When the component counts as ready; all must hold.
    pub ready: Vec<Gate>,
    /// How it is proven.
    pub smoke: Option<SmokeSpec>,
    /// Which of its backups stay; those of [`Keep::default`] where the file does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Settings that `pipe env` hands out: name to template (`{port:client}`, `{host}`, `{username}`).
    pub env: BTreeMap<String, String>,
    /// Files that `pipe env` writes for the user: name to template of its content (`{node}`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// How many backups stay: of each of the last days, weeks and months the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Keep {
    /// Days.
    pub daily: u32,
    /// Weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep { daily: 7, weekly: 4, monthly: 3 }
    }
}

/// A licence that is accepted by name before what is under it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Licence {
    /// As `--accept` has it: `scylladb-source-available`.
    pub name: String,
    /// Where its text is.
    pub text: String,
}

/// A component port from the host port catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Name within the component: `client`.
    pub name: String,
    /// Entry of the host port catalogue ([`port::CATALOGUE`]): `nats-client`.
    pub catalogue: String,
}

/// The Secret that `pipe` makes for a component before its chart is installed.
#[derive(Clone, Debug, Serialize)]
pub struct CredentialSpec {
    /// Name of the Kubernetes Secret in the component's namespace.
    pub secret: String,
    /// Key to how its value is made.
    pub keys: BTreeMap<String, CredentialValue>,
}

/// How one credential value is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialValue {
    /// Always this text (user names).
    Value(String),
    /// Random letters and digits of this length; with fixed credentials, the second field.
    Generate {
        /// Number of characters.
        length: usize,
        /// The documented development value.
        fixed: String,
    },
    /// The salted SHA-512 of another key's value, as `crypt(3)` writes it: for servers that are
    /// told their first user's password so.
    Crypt {
        /// The other key.
        of: String,
    },
}

/// A typed readiness condition with its deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// What must hold.
    pub condition: GateCondition,
    /// Deadline from the moment the release is installed.
    pub within: Duration,
}

/// The closed vocabulary of readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum GateCondition {
    /// Every replica of this StatefulSet is updated and ready.
    StatefulSet(String),
    /// Every replica of this Deployment is updated and available.
    Deployment(String),
    /// This Service has at least one ready endpoint.
    Endpoints(String),
}

/// How a component is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SmokeSpec {
    /// A driver of the closed set in [`crate::smoke`].
    pub driver: String,
    /// The port it talks to, by [`Port::name`]; none for a driver that works inside of the pod.
    pub port: Option<String>,
    /// Deadline for the whole check.
    pub within: Duration,
    /// The least version of each release line that has no known hole; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub floor: Vec<String>,
}
