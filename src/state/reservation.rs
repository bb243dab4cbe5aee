//! Addresses and ports that a cluster holds for its life, also while it is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::file;
use super::lock::SharedLock;
use super::paths::Paths;
use crate::Result;
use crate::spec::{ClusterName, NodeName};

/// Version of the file.
const SCHEMA: u32 = 1;

/// What one cluster holds. Changed only under the shared lock, so that two clusters that come up
/// at once never choose the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Version of this form.
    pub schema: u32,
    /// The engine network that the addresses are in.
    pub network: String,
    /// Its IPv4 CIDR.
    pub subnet_v4: String,
    /// Its IPv6 CIDR, if it has one.
    pub subnet_v6: Option<String>,
    /// The address of each node.
    pub nodes: BTreeMap<NodeName, Address>,
    /// Host port of the Kubernetes API.
    pub api_port: u16,
    /// Host ports by their name in the catalogue: `nats-client`.
    pub host_ports: BTreeMap<String, u16>,
}

/// A node's static address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// On the network's IPv4 subnet.
    pub v4: Ipv4Addr,
    /// On its IPv6 subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<Ipv6Addr>,
}

impl Reservation {
    /// An empty reservation on a network.
    pub fn new(
        network: &str,
        subnet_v4: &str,
        subnet_v6: Option<&str>,
        api_port: u16,
    ) -> Reservation {
        Reservation {
            schema: SCHEMA,
            network: network.to_owned(),
            subnet_v4: subnet_v4.to_owned(),
            subnet_v6: subnet_v6.map(str::to_owned),
            nodes: BTreeMap::new(),
            api_port,
            host_ports: BTreeMap::new(),
        }
    }

    /// What `cluster` holds, or `None` if it holds nothing. Needs no lock: the file is replaced
    /// whole.
    pub fn load(paths: &Paths, cluster: &ClusterName) -> Result<Option<Reservation>> {
        file::read_json(&paths.cluster(cluster).reservation())
    }

    /// Holds it for `cluster`, in place of what it held before.
    pub fn save(&self, paths: &Paths, cluster: &ClusterName, _lock: &SharedLock) -> Result<()> {
        file::write_json(&paths.cluster(cluster).reservation(), self)
    }

    /// What every cluster holds.
    pub fn all(paths: &Paths, _lock: &SharedLock) -> Result<BTreeMap<ClusterName, Reservation>> {
        let mut all = BTreeMap::new();
        for cluster in paths.clusters()? {
            if let Some(reservation) = Reservation::load(paths, &cluster)? {
                all.insert(cluster, reservation);
            }
        }
        Ok(all)
    }

    /// Every host port in it.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.host_ports.values().copied().chain([self.api_port]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::report::Events;
    use crate::state::lock::Waiting;
    use crate::state::paths::tests::paths_in;

    #[tokio::test]
    async fn every_cluster_sees_what_the_others_hold() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let (cancel, (events, _receiver)) = (CancellationToken::new(), Events::channel());
        let at_most = Duration::from_secs(30);
        let waiting = Waiting { operation: "pipe up", at_most, cancel: &cancel, events: &events };
        let lock = SharedLock::acquire(&paths, &waiting).await.unwrap();

        let mut reservation =
            Reservation::new("kind", "10.89.0.0/24", Some("fc00:f853:ccd:e793::/64"), 40001);
        let address = Address { v4: Ipv4Addr::new(10, 89, 0, 10), v6: None };
        reservation.nodes.insert(NodeName::parse("core").unwrap(), address);
        reservation.host_ports.insert("nats-client".into(), 4222);
        let [dev, ci] = ["dev", "ci"].map(|name| ClusterName::parse(name).unwrap());
        reservation.save(&paths, &dev, &lock).unwrap();
        // A cluster that has state but holds nothing yet.
        file::write(&paths.cluster(&ci).credentials(), b"{}").unwrap();

        let all = Reservation::all(&paths, &lock).unwrap();
        assert_eq!(all, BTreeMap::from([(dev.clone(), reservation)]));
        assert_eq!(all[&dev].ports(), BTreeSet::from([4222, 40001]));
        assert_eq!(Reservation::load(&paths, &ci).unwrap(), None);
    }
}
