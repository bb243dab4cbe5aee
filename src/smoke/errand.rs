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
    /// See [`Target`].
    pub component: String,
    /// Its namespace.
    pub namespace: String,
    /// The Service's name, as pods look it up.
    pub host: String,
    /// The Service's port.
    pub port: u16,
    /// The component's Secret, decoded.
    pub credentials: BTreeMap<String, String>,
    /// Buckets that must be there.
    pub buckets: Vec<String>,
    /// The least version of each release line.
    pub floor: Vec<String>,
    /// What stands in for the product.
    pub stand_in: Option<String>,
    /// Part of every name that is made.
    pub run_id: String,
    /// Seconds for all checks together.
    pub within: u64,
    /// Seconds in which the Service may come to lead to its pod.
    pub reach: u64,
}

impl Errand {
    /// A check of `target` as somebody else may run it, who reaches it at `host` and `port`.
    pub fn new(
        driver: Driver,
        target: Target,
        (host, port): (String, u16),
        options: Options,
    ) -> Errand {
        Errand {
            driver,
            component: target.component,
            namespace: target.namespace,
            host,
            port,
            credentials: target.credentials,
            buckets: target.buckets,
            floor: target.floor,
            stand_in: target.stand_in,
            run_id: target.run_id,
            within: options.within.as_secs(),
            reach: options.reach.as_secs(),
        }
    }

    /// The check that it stands for.
    pub fn check(self) -> (Driver, Target, Options) {
        let options = Options {
            restart: false,
            reach: Duration::from_secs(self.reach),
            within: Duration::from_secs(self.within),
        };
        let target = Target {
            component: self.component,
            namespace: self.namespace,
            host: self.host,
            port: Some(self.port),
            credentials: self.credentials,
            buckets: self.buckets,
            floor: self.floor,
            stand_in: self.stand_in,
            run_id: self.run_id,
        };
        (self.driver, target, options)
    }
}
