//! A profile: what is installed, from where its images come.

use serde::{Deserialize, Serialize};

use super::{Component, ProfileName, Skipped};

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
