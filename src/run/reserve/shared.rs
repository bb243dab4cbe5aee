//! What clusters share: the network's subnets, and the address of the cache's registry on it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::plan::Reservation;
use crate::provider::{self, kind};
use crate::world::World;
use crate::world::host;
use crate::world::network::{self, Subnet};
use crate::{Error, Result};

/// What is taken on the network, and every container's name.
pub(super) struct Taken {
    /// Addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Names, on this network or another.
    pub containers: BTreeSet<String>,
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
