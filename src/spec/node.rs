//! A node, how real it is, its taints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Arch, NodeName};

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
