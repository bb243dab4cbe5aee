//! What a cluster needs of the host, and the figures that say how much that is.
//!
//! The figures are of Kubernetes 1.36 nodes.

use std::path::PathBuf;

use serde::Serialize;

use crate::report::format::count;

/// Bytes that one node takes at first: its own copy of the image's `/var` (0.7 GB), what containerd
/// unpacks of the components' images, and logs.
const NODE_BYTES: u64 = 1_500_000_000;

/// Bytes that stay free, so that neither the engine nor etcd stops for lack of them.
const SPARE_BYTES: u64 = 1_000_000_000;

/// Bytes of memory of a control plane, and of any other node.
const CONTROL_MEMORY: u64 = 900_000_000;
const WORKER_MEMORY: u64 = 350_000_000;

/// What a cluster needs; all zero where nothing is to be made or started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// The cluster; `None` where its files cannot be read.
    pub cluster: Option<String>,
    /// Nodes whose containers are still to be made.
    pub make: u64,
    /// Nodes whose containers are there and do not run.
    pub start: u64,
    /// Whether a control plane is among them.
    pub control_plane: bool,
    /// Engine reference of the node image.
    pub image: Option<String>,
    /// Host ports that must be had.
    pub ports: Vec<NeededPort>,
    /// What the cluster file itself publishes.
    pub published: Vec<PublishedPort>,
    /// What nodes that are still to be made mount and is not on this host.
    pub mounts: Vec<MissingMount>,
    /// Licences of components that are not accepted.
    pub licences: Vec<LicenceToAccept>,
    /// What the CPUs of nodes are: `linux/amd64`; empty where nobody says.
    pub platform: String,
    /// Every node by its own name, whatever is to be made.
    pub names: Vec<String>,
    /// Components that the profile wants and that can be had, in its order.
    pub components: Vec<NeededComponent>,
    /// The memory of the machines that the profile is made for, in bytes.
    pub promise: Option<u64>,
}

/// What one component needs of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NeededComponent {
    /// The component.
    pub name: String,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it runs, and has what it needs.
    pub runs: bool,
    /// Bytes of memory that its pods ask for.
    pub memory: u64,
    /// Bytes of memory that they may take.
    pub memory_limit: u64,
    /// Events of `fs.aio-max-nr` that its server takes, by the way that was chosen, else by the most
    /// modest one.
    pub aio: u64,
    /// What the CPU must be able to do, and for which image.
    pub cpu: Vec<String>,
    /// The images that need it.
    pub images: Vec<String>,
    /// Images that are made for other platforms only.
    pub foreign: Vec<ForeignImage>,
}

/// An image that is not made for the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForeignImage {
    /// Its upstream name.
    pub image: String,
    /// What it is made for: `linux/arm64`.
    pub platforms: Vec<String>,
    /// Who says so.
    pub source: ImageSource,
}

/// Who knows what an image is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageSource {
    /// `pipe.lock`.
    Lock,
    /// The engine's own store.
    Engine,
}

/// A licence that nobody accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LicenceToAccept {
    /// Its name.
    pub name: String,
    /// Where its text is.
    pub text: String,
    /// What is under it.
    pub component: String,
}

/// A folder or file of the host that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingMount {
    /// Its path.
    pub path: PathBuf,
    /// Nodes that mount it.
    pub nodes: Vec<String>,
}

/// A port of the host that the cluster file publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedPort {
    /// `127.0.0.1:8080/tcp`.
    pub shown: String,
    /// Why it cannot be had: `is held by another program`.
    pub fault: Option<String>,
}

/// A host port of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NeededPort {
    /// The port.
    pub port: u16,
    /// Its entry in the catalogue: `nats-client`.
    pub name: String,
    /// Who needs it.
    pub component: String,
    /// Who has it.
    pub holder: PortHolder,
}

/// Who has a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortHolder {
    /// Nobody.
    #[default]
    Free,
    /// Another cluster of `pipe` has it reserved, running or not.
    Cluster(String),
    /// A process; its name and id where we may see them.
    Program(Option<String>),
}

impl Needs {
    /// Nodes that will run and do not run now.
    pub fn nodes(&self) -> u64 {
        self.make + self.start
    }

    /// `3 nodes`.
    pub(super) fn nodes_in_words(&self) -> String {
        count(self.nodes(), "node")
    }

    /// Bytes on the engine's disk.
    pub fn disk(&self) -> u64 {
        if self.make == 0 { 0 } else { SPARE_BYTES + NODE_BYTES * self.make }
    }

    /// Bytes of memory.
    pub fn memory(&self) -> u64 {
        memory_of(self.nodes(), self.control_plane)
    }

    /// Bytes of memory of all nodes, and of what all components may take.
    pub fn memory_at_most(&self) -> u64 {
        let components = self.components.iter().map(|component| component.memory_limit);
        memory_of(self.names.len() as u64, true) + components.sum::<u64>()
    }
}

/// Of nodes, without their pods.
fn memory_of(nodes: u64, control_plane: bool) -> u64 {
    let control = u64::from(control_plane && nodes > 0);
    control * CONTROL_MEMORY + nodes.saturating_sub(control) * WORKER_MEMORY
}

#[cfg(test)]
mod tests {
    use super::Needs;

    #[test]
    fn three_nodes_need_more_than_one() {
        let of = |make| Needs { make, control_plane: true, ..Needs::default() };
        assert_eq!((of(1).disk(), of(3).disk()), (2_500_000_000, 5_500_000_000));
        assert_eq!((of(1).memory(), of(3).memory()), (900_000_000, 1_600_000_000));
        let none = Needs::default();
        assert_eq!((none.disk(), none.memory()), (0, 0), "nothing to make needs nothing");
    }
}
