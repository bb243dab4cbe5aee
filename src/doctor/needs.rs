//! What a cluster needs of the host, and the figures that say how much that is.
//!
//! The figures are of Kubernetes 1.36 nodes.

use std::path::PathBuf;

use serde::Serialize;

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
    /// What servers of components need to wait for disks and sockets.
    pub io: Vec<NeededIo>,
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

/// What one component's server needs to wait for disks and sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NeededIo {
    /// The component.
    pub component: String,
    /// Events of `fs.aio-max-nr`, by the way that was chosen, else by the most modest one.
    pub aio: u64,
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

    /// Bytes on the engine's disk.
    pub fn disk(&self) -> u64 {
        if self.make == 0 { 0 } else { SPARE_BYTES + NODE_BYTES * self.make }
    }

    /// Bytes of memory.
    pub fn memory(&self) -> u64 {
        let control = u64::from(self.control_plane);
        control * CONTROL_MEMORY + self.nodes().saturating_sub(control) * WORKER_MEMORY
    }
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
