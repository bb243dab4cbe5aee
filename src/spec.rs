//! What the user asked for, checked: a [`Spec`] cannot be wrong.
//!
//! [`load()`] finds the files ([`source`]), parses them with positions ([`yaml`]), decodes and checks
//! them ([`read`], [`cluster_file`], [`profile_file`], [`component_file`]), collects every problem
//! ([`problem`]) and only then makes a `Spec`. Nothing here touches the host but to read those files.

use serde::Serialize;

pub mod added;
pub mod bucket;
mod cidr;
mod cluster;
pub mod cluster_file;
mod component;
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
mod node;
pub mod node_file;
mod order;
mod packed_chart;
pub mod patch;
pub mod patch_file;
pub mod policy_file;
pub mod port;
pub mod port_file;
pub mod problem;
mod profile;
pub mod profile_file;
pub mod read;
pub mod requires;
mod skipped;
pub mod source;
pub mod template;
mod values;
pub mod yaml;

pub use bucket::BucketName;
pub use cluster::{
    Cluster, ExtraPort, HostPorts, Mount, NetworkMode, Propagation, Protocol, Provider,
};
pub use component::{
    Component, CredentialSpec, CredentialValue, Definition, Gate, GateCondition, Keep, Licence,
    Port, SmokeSpec, WhenUnavailable,
};
pub use forbidden_file::forbidden;
pub use host_io::IoWay;
pub use load::{load, load_profile};
pub use memory::Memory;
pub use name::{Arch, ClusterName, ComponentName, ImageName, NodeName, ProfileName};
pub use node::{Fidelity, Node, Taint};
pub use policy_file::policies;
pub use profile::{Credentials, ImagePolicy, Profile, StandIns};
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
