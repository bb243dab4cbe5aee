//! Which addresses: pure allocation of subnets and node addresses. The callers bring what is in
//! use, and hold the shared lock until what was chosen is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Serialize;
use sha1::{Digest, Sha1};

use crate::{Error, Result};

/// Where the /24 networks lie that we choose from, first and last. Podman's own choices start at
/// 10.89.0.0 as well; Kubernetes' default service network follows at 10.96.0.0. The others are for
/// hosts that send all of 10.0.0.0/8 into a VPN.
const BLOCKS: [(Ipv4Addr, Ipv4Addr); 3] = [
    (Ipv4Addr::new(10, 89, 0, 0), Ipv4Addr::new(10, 95, 255, 0)),
    (Ipv4Addr::new(172, 24, 0, 0), Ipv4Addr::new(172, 31, 255, 0)),
    (Ipv4Addr::new(192, 168, 224, 0), Ipv4Addr::new(192, 168, 255, 0)),
];

/// Prefix length of the networks we make.
const PREFIX: u8 = 24;

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    /// The network of `address`; host bits are cleared. A prefix above 32 counts as 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Subnet {
        let prefix = prefix.min(32);
        Subnet { base: address.to_bits() & mask(prefix), prefix }
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Subnet) -> bool {
        let shorter = mask(self.prefix.min(other.prefix));
        self.base & shorter == other.base & shorter
    }

    /// Its parts of a longer `prefix`, from the lowest.
    pub fn parts(self, prefix: u8) -> impl Iterator<Item = Subnet> {
        let size = 1_u64 << (32 - u32::from(prefix.min(32)));
        let first = u64::from(self.base);
        let end = first + (1_u64 << (32 - u32::from(self.prefix)));
        let bases = (first..end).step_by(usize::try_from(size).unwrap_or(usize::MAX));
        bases.filter_map(move |base| Some(Subnet { base: u32::try_from(base).ok()?, prefix }))
    }

    /// Whether `address` is in this network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.base == address.to_bits() & mask(self.prefix)
    }

    /// The upper half without the broadcast address, from the top down. Engines hand out from the
    /// bottom up, so the two meet last.
    fn upper_half(self) -> impl Iterator<Item = Ipv4Addr> {
        let size = 1_u64 << (32 - u32::from(self.prefix));
        let base = u64::from(self.base);
        // In a network of fewer than four addresses no half is left to give away.
        let first = base + (size / 2).max(2);
        let last = base + size.saturating_sub(2);
        (first..=last).rev().filter_map(|bits| u32::try_from(bits).ok().map(Ipv4Addr::from_bits))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.base), self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    /// Reads `10.89.0.0/24`; host bits are cleared.
    fn from_str(text: &str) -> Result<Subnet, String> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let prefix = prefix.parse::<u8>().ok().filter(|prefix| *prefix <= 32)?;
            Some(Subnet::new(address.parse().ok()?, prefix))
        };
        parse().ok_or_else(|| format!("{text:?} is not an IPv4 network such as 10.89.0.0/24"))
    }
}

impl Serialize for Subnet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The first free /24 of our blocks. `used`: subnets of the engine's networks, the host's routes,
/// and the cluster's pod and service networks.
pub fn choose_subnet(used: &[Subnet]) -> Result<Subnet> {
    BLOCKS
        .iter()
        .flat_map(|(first, last)| (first.to_bits()..=last.to_bits()).step_by(1 << (32 - PREFIX)))
        .map(|base| Subnet { base, prefix: PREFIX })
        .find(|candidate| !used.iter().any(|subnet| subnet.overlaps(*candidate)))
        .ok_or_else(|| {
            let blocks = BLOCKS.map(|(first, last)| format!("{first} to {last}")).join(", ");
            Error::host("no-free-subnet", "no network is free for the nodes")
                .because(format!("the engine's networks and the host's routes cover {blocks}"))
                .hint("remove networks that nothing uses: podman network prune")
        })
}

/// The IPv6 network that kind gives a network of this name: a unique local /64 made of SHA-1 over
/// the name and the attempt (0 first, more after a clash).
pub fn kind_ipv6_subnet(name: &str, attempt: i32) -> String {
    let hash = Sha1::new().chain_update(name).chain_update(attempt.to_le_bytes()).finalize();
    let mut octets = [0; 16];
    octets[0] = 0xfc;
    octets[2..8].copy_from_slice(&hash[2..8]);
    format!("{}/64", Ipv6Addr::from(octets))
}

/// The address in the IPv6 `subnet` that ends like an IPv4 one, so that the two are as unique as
/// each other. `None` if `subnet` is not an IPv6 network.
pub fn matching_ipv6(subnet: &str, address: Ipv4Addr) -> Option<Ipv6Addr> {
    let base: Ipv6Addr = subnet.split_once('/')?.0.parse().ok()?;
    Some(Ipv6Addr::from_bits(base.to_bits() | u128::from(address.to_bits() & 0xffff)))
}

/// An address for each of `nodes` in the upper half of `subnet`.
///
/// `reserved` are the addresses that nodes had before: a node keeps its own unless it is outside
/// the subnet or somebody else's by now, and the others' are not given away, whether those nodes
/// are among `nodes` or not. `used` are addresses of anything else on the network.
pub fn assign_addresses(
    subnet: Subnet,
    nodes: &[String],
    used: &BTreeSet<Ipv4Addr>,
    reserved: &BTreeMap<String, Ipv4Addr>,
) -> Result<BTreeMap<String, Ipv4Addr>> {
    let valid = |address: &Ipv4Addr| subnet.contains(*address) && !used.contains(address);
    let mut assigned = BTreeMap::new();
    let mut taken = used.clone();
    taken.extend(reserved.values());
    for node in nodes {
        if let Some(address) = reserved.get(node).filter(|address| valid(address))
            && !assigned.values().any(|other| other == address)
        {
            assigned.insert(node.clone(), *address);
        }
    }
    let mut free = subnet.upper_half().filter(|address| !taken.contains(address));
    for node in nodes {
        if !assigned.contains_key(node) {
            let address = free.next().ok_or_else(|| {
                Error::host("no-free-address", format!("no free address for node {node}"))
                    .because(format!("the upper half of {subnet} is full"))
                    .hint("tear down a cluster: pipe list")
            })?;
            assigned.insert(node.clone(), address);
        }
    }
    Ok(assigned)
}

const fn mask(prefix: u8) -> u32 {
    match prefix {
        0 => 0,
        prefix => u32::MAX << (32 - prefix),
    }
}

#[cfg(test)]
mod tests;
