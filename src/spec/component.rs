//! A component: how it is installed, reached, known to be ready, proven.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BucketName, ComponentName, ImageName, IoWay, Memory, Requires, host_io};

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
