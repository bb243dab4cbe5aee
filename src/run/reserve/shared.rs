//! What clusters share: the network's subnets, and the address of the cache's registry on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::plan::Reservation;
use crate::provider::{self, kind};
use crate::spec::cluster_file::{POD_SUBNET, SERVICE_SUBNET};
use crate::state::lock::SharedLock;
use crate::state::paths::Paths;
use crate::state::reservation;
use crate::world::World;
use crate::world::host;
use crate::world::network::{self, Subnet};
use crate::{Error, Result};

/// Where the cache's registry is to be.
#[derive(Clone, Debug)]
pub(in crate::run) struct CachePlace {
    /// Its address on the network.
    pub address: Ipv4Addr,
    /// The network's subnet.
    pub subnet: String,
    /// Its IPv6 subnet, where it has one.
    pub subnet6: Option<String>,
}

/// What is taken on the network, and every container's name.
pub(super) struct Taken {
    /// Addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Names, on this network or another.
    pub containers: BTreeSet<String>,
}

/// Where the cache's registry is, or is to be where no cluster has said. Whoever holds the lock makes
/// it there.
///
/// # Errors
/// No subnet or address is free, a cluster's reservation cannot be read, the engine does not answer.
pub(in crate::run) async fn for_cache(
    world: &World,
    paths: &Paths,
    lock: &SharedLock,
) -> Result<CachePlace> {
    let all: Vec<Reservation> = reservation::all(paths, lock)?.into_values().collect();
    // What clusters that come after it will ask for, unless their files say otherwise.
    let usual = [POD_SUBNET, SERVICE_SUBNET].into_iter().filter_map(|text| text.parse().ok());
    let (subnet, subnet6) = subnets(world, usual, all.iter()).await?;
    let known = registry(world, all.iter()).await?;
    let address = match known.filter(|address| subnet.contains(*address)) {
        Some(address) => address,
        None => {
            let used = taken(world, &all).await?.addresses;
            let name = [provider::registry::NAME.to_owned()];
            let assigned = network::assign_addresses(subnet, &name, &used, &BTreeMap::new())?;
            let unassigned = || Error::bug("the image cache was given no address");
            assigned.into_values().next().ok_or_else(unassigned)?
        }
    };
    Ok(CachePlace { address, subnet: subnet.to_string(), subnet6 })
}

/// The shared network's subnets: those it has, those somebody has reserved for it, or new ones that
/// keep away from `avoid`.
pub(super) async fn subnets<'a>(
    world: &World,
    avoid: impl Iterator<Item = Subnet>,
    mut reserved: impl Iterator<Item = &'a Reservation>,
) -> Result<(Subnet, Option<String>)> {
    if let Some(existing) = world.engine.network(kind::NETWORK).await? {
        let subnet = existing.subnets.iter().find_map(|text| text.parse::<Subnet>().ok());
        let subnet = subnet.ok_or_else(|| {
            Error::host("network-without-ipv4", "network kind has no IPv4 subnet")
                .hint("remove it when no cluster uses it: podman network rm kind")
        })?;
        let subnet6 = existing.subnets.iter().find(|text| text.contains(':')).cloned();
        return Ok((subnet, subnet6));
    }
    if let Some(reserved) = reserved.next() {
        let subnet = reserved.subnet.parse::<Subnet>().map_err(Error::bug)?;
        return Ok((subnet, reserved.subnet6.clone()));
    }
    let mut used: Vec<Subnet> = world.host.routes.iter().map(|route| route.subnet).collect();
    used.extend(avoid);
    for network in world.engine.networks(&[]).await? {
        used.extend(network.subnets.iter().filter_map(|text| text.parse::<Subnet>().ok()));
    }
    let subnet = network::choose_subnet(&used)?;
    let subnet6 = host::has_ipv6().then(|| network::kind_ipv6_subnet(kind::NETWORK, 0));
    Ok((subnet, subnet6))
}

/// The address of the cache's registry is the same for all clusters: nodes are told of it. `None` where
/// nobody knows one yet.
pub(super) async fn registry<'a>(
    world: &World,
    mut reservations: impl Iterator<Item = &'a Reservation>,
) -> Result<Option<Ipv4Addr>> {
    let there = world.engine.inspect(provider::registry::NAME).await?;
    let there = there.and_then(|it| provider::registry::address(&it));
    Ok(reservations.find_map(|reservation| reservation.registry).or(there))
}

/// What cannot be given away: what clusters hold, and what containers on the network have.
pub(super) async fn taken(world: &World, reservations: &[Reservation]) -> Result<Taken> {
    let mut addresses: BTreeSet<Ipv4Addr> =
        reservations.iter().flat_map(Reservation::addresses).collect();
    let mut containers = BTreeSet::new();
    for container in world.engine.containers(&[]).await? {
        containers.insert(container.name.clone());
        if !container.networks.iter().any(|network| network == kind::NETWORK) {
            continue;
        }
        let found = world.engine.inspect(&container.name).await?;
        let found = found.and_then(|found| found.networks.get(kind::NETWORK).cloned());
        addresses.extend(found.and_then(|found| found.ipv4));
    }
    Ok(Taken { addresses, containers })
}
