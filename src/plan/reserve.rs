//! Addresses and ports that a cluster holds from before it is made until it is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::spec::{Cluster, NodeName};

/// Version of the form.
pub const SCHEMA: u32 = 1;

/// What is reserved for one cluster; written before anything is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Version of this form.
    pub schema: u32,
    /// Engine network: `kind`.
    pub network: String,
    /// Its IPv4 subnet.
    pub subnet: String,
    /// Its IPv6 subnet, where the kernel has IPv6.
    pub subnet6: Option<String>,
    /// Addresses by container name.
    pub nodes: BTreeMap<String, NodeAddress>,
    /// Addresses of the load balancer, where there are several control planes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancer: Option<BalancerAddress>,
    /// Address of the local cache's registry, the same for all clusters; earlier versions had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Ipv4Addr>,
    /// Port of the Kubernetes API on 127.0.0.1.
    pub api_port: u16,
    /// Host port of each catalogue entry.
    pub ports: BTreeMap<String, u16>,
    /// Host ports that the cluster's file names itself; earlier versions kept none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_ports: Vec<u16>,
}

impl Reservation {
    /// A reservation on a network, of no node yet.
    pub fn new(network: &str, subnet: &str, subnet6: Option<&str>, api_port: u16) -> Reservation {
        Reservation {
            schema: SCHEMA,
            network: network.to_owned(),
            subnet: subnet.to_owned(),
            subnet6: subnet6.map(str::to_owned),
            nodes: BTreeMap::new(),
            balancer: None,
            registry: None,
            api_port,
            ports: BTreeMap::new(),
            extra_ports: Vec::new(),
        }
    }

    /// Gives the nodes of a changed file the containers they have, and new ones free numbers.
    pub fn keep_hosts(&self, cluster: &mut Cluster) {
        let known: BTreeMap<&NodeName, &String> =
            self.nodes.iter().map(|(host, node)| (&node.name, host)).collect();
        let mut taken: BTreeSet<String> = self.nodes.keys().cloned().collect();
        for node in &mut cluster.nodes {
            if let Some(host) = known.get(&node.name) {
                node.host = (*host).clone();
                continue;
            }
            let stem = node.host.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
            let numbered = (1..).map(|n| if n == 1 { stem.clone() } else { format!("{stem}{n}") });
            if let Some(host) = numbered.into_iter().find(|host| !taken.contains(host)) {
                taken.insert(host.clone());
                node.host = host;
            }
        }
    }

    /// Every IPv4 address in it.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let balancer = self.balancer.iter().map(|balancer| balancer.address);
        self.nodes.values().map(|node| node.address).chain(balancer).chain(self.registry)
    }

    /// Every host port in it.
    pub fn host_ports(&self) -> impl Iterator<Item = u16> {
        let extra = self.extra_ports.iter().copied();
        self.ports.values().copied().chain([self.api_port]).chain(extra)
    }
}

/// The load balancer's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancerAddress {
    /// On the engine network.
    pub address: Ipv4Addr,
    /// On the engine network, where it has IPv6.
    pub address6: Option<Ipv6Addr>,
}

/// One node's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Our name of the node. Containers are numbered by file order when a cluster is made, and keep
    /// their nodes when the file changes.
    pub name: NodeName,
    /// On the engine network.
    pub address: Ipv4Addr,
    /// On the engine network, where it has IPv6.
    pub address6: Option<Ipv6Addr>,
    /// Its part of the pod subnet.
    pub pod_cidr: String,
}
