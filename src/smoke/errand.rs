//! A check that somebody else runs: the same driver and target, as a pod is told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Driver, Options, Target};

/// What one component's check needs, credentials and all: it travels in a Secret, and nowhere else.
#[derive(Deserialize, Serialize)]
pub struct Errand {
    /// How it is checked.
    pub driver: Driver,
    /// What is checked, as whoever checks it reaches it.
    #[serde(with = "Told")]
    pub target: Target,
    /// For all checks together.
    pub within: Duration,
    /// In which the Service may come to lead to its pod.
    pub reach: Duration,
}

/// A [`Target`] in writing: nothing else that has one can be written by mistake.
#[derive(Deserialize, Serialize)]
#[serde(remote = "Target")]
struct Told {
    component: String,
    namespace: String,
    host: String,
    port: Option<u16>,
    credentials: BTreeMap<String, String>,
    buckets: Vec<String>,
    floor: Vec<String>,
    stand_in: Option<String>,
    run_id: String,
}

impl Errand {
    /// How it is run by whoever was told of it, who restarts nothing.
    pub fn options(&self) -> Options {
        Options { restart: false, reach: self.reach, within: self.within }
    }
}
