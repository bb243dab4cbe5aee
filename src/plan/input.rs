//! Everything a plan is made from.

use std::collections::BTreeMap;

use super::surroundings::Wanted;
use super::{Observed, Reservation};
use crate::spec::lock_file::Locked;
use crate::spec::{ImageName, Spec};

/// When components are proven at the end of `up`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SmokeWhen {
    /// Those that this run changed.
    #[default]
    Changed,
    /// Every one.
    Always,
    /// None.
    Never,
}

/// What the user chose on the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Nodes may be replaced.
    pub replace: bool,
    /// Components and nodes that the files no longer name are removed.
    pub prune: bool,
    /// Volumes of pruned components go too.
    pub delete_data: bool,
    /// Smoke checks.
    pub smoke: SmokeWhen,
}

/// Everything a plan is made from.
pub struct Input<'a> {
    /// What is wanted.
    pub spec: &'a Spec,
    /// What is there.
    pub observed: &'a Observed,
    /// Addresses and ports of this cluster.
    pub reservation: &'a Reservation,
    /// Upstream name of the node image.
    pub node_image: &'a ImageName,
    /// Upstream name of the image of the cache's registry.
    pub registry_image: &'a ImageName,
    /// Digest of each component's chart folder.
    pub charts: &'a BTreeMap<String, String>,
    /// What nodes are to be told of the network around them.
    pub surroundings: &'a Wanted,
    /// The fingerprint of the policy by which the API server is to refuse names of images.
    pub admission: Option<&'a str>,
    /// What images are held to; none where the profile has no cache.
    pub locked: &'a BTreeMap<ImageName, Locked>,
    /// The user's choices.
    pub options: Options,
}
