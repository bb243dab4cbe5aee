//! Reserves addresses and ports for a cluster, before anything of it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::ranges;
use crate::doctor::{self, NeededPort, Needs, PortHolder, PublishedPort};
use crate::plan::Reservation;
use crate::plan::reserve::{BalancerAddress, NodeAddress};
use crate::provider::{self, kind};
use crate::spec::{Cluster, ExtraPort, HostPorts, NodeName, Spec, port};
use crate::state::lock::SharedLock;
use crate::state::paths::Paths;
use crate::state::reservation;
use crate::world::World;
use crate::world::host;
use crate::world::network::{self, Subnet};
use crate::{Error, Result};

mod shared;

pub(super) use shared::for_cache;

/// A reservation and what the user should know about it.
pub struct Reserved {
    /// The addresses and ports.
    pub reservation: Reservation,
    /// Ports that were moved, and why.
    pub notes: Vec<String>,
}

/// Proposes a reservation: the old one where there is one, extended by what is new. Nothing is
/// written; the caller does, while it holds the shared lock.
///
/// # Errors
/// A port that a chosen component needs is held by another program, a range of the cluster is in use
/// on this host (exit 4), or no subnet or address is free.
pub async fn propose(
    world: &World,
    paths: &Paths,
    spec: &Spec,
    lock: &SharedLock,
) -> Result<Reserved> {
    let old = reservation::load(paths, &spec.cluster.name)?;
    let others = reservation::others(paths, &spec.cluster.name, lock)?;
    let others: Vec<Reservation> = others.into_values().collect();
    let own = ranges::own(&spec.cluster).into_iter().map(|range| range.subnet);
    let (subnet, subnet6) = shared::subnets(world, own, old.iter().chain(&others)).await?;
    let mut notes = Vec::new();
    match ranges::check(&spec.cluster, subnet, &world.host.routes) {
        Err(error) if !old.as_ref().is_some_and(|old| made_with(old, &spec.cluster)) => {
            return Err(error);
        }
        // What runs goes on; who came later is told what does not work now.
        Err(error) => notes.push(error.to_string()),
        Ok(()) => {}
    }
    let known = shared::registry(world, others.iter().chain(&old)).await?;
    let registry = match known {
        Some(address) => RegistryAddress::Known(address),
        None if spec.profile.policy.is_cached() => RegistryAddress::New,
        None => RegistryAddress::Unwanted,
    };
    let addresses =
        addresses(world, spec, old.as_ref(), &others, registry, (subnet, subnet6.as_deref()));
    let (nodes, balancer, registry) = addresses.await?;
    let mut taken: Vec<u16> = others.iter().flat_map(Reservation::host_ports).collect();
    check_extra(&spec.cluster, &taken, old.as_ref())?;
    let (api_port, ports) = match &old {
        Some(old) => (old.api_port, old.ports.clone()),
        None => {
            taken.extend(spec.cluster.ports.iter().map(|port| port.host_port));
            let ports = ports(spec, &mut taken, &mut notes)?;
            (host::free_port(&taken)?, ports)
        }
    };
    let subnet = subnet.to_string();
    let mut reservation = Reservation::new(kind::NETWORK, &subnet, subnet6.as_deref(), api_port);
    reservation.nodes = nodes;
    reservation.balancer = balancer;
    reservation.registry = registry;
    reservation.ports = ports;
    reservation.extra_ports = spec.cluster.ports.iter().map(|port| port.host_port).collect();
    Ok(Reserved { reservation, notes })
}

/// Whether what is reserved is of the pod subnet that the file names now.
fn made_with(old: &Reservation, cluster: &Cluster) -> bool {
    old.nodes.values().all(|node| is_part(&node.pod_cidr, &cluster.pod_subnet))
}

/// Whether `part` lies in `whole`; both are IPv4 networks, the first the smaller.
fn is_part(part: &str, whole: &str) -> bool {
    let parse = |text: &str| text.parse::<Subnet>().ok();
    parse(part).zip(parse(whole)).is_some_and(|(part, whole)| part.overlaps(whole))
}

/// Where the cache's registry is to be.
enum RegistryAddress {
    /// The cluster does without.
    Unwanted,
    /// There already: the one that other clusters, or this one, know.
    Known(Ipv4Addr),
    /// Anywhere.
    New,
}

/// One address and one part of the pod subnet for each node, and an address for the load balancer and
/// the cache's registry; old ones stay what they are.
async fn addresses(
    world: &World,
    spec: &Spec,
    old: Option<&Reservation>,
    others: &[Reservation],
    registry: RegistryAddress,
    (subnet, subnet6): (Subnet, Option<&str>),
) -> Result<(BTreeMap<String, NodeAddress>, Option<BalancerAddress>, Option<Ipv4Addr>)> {
    let shared::Taken { addresses: mut used, containers } = shared::taken(world, others).await?;
    let kept: BTreeMap<String, NodeAddress> = old.map(|old| old.nodes.clone()).unwrap_or_default();
    for address in old.iter().flat_map(|old| old.addresses()) {
        used.remove(&address);
    }
    let balancer = spec.cluster.is_balanced().then(|| spec.cluster.balancer_host());
    let kept_balancer = old.and_then(|old| old.balancer.as_ref()).map(|kept| kept.address);
    let reserved: BTreeMap<String, Ipv4Addr> = kept
        .iter()
        .map(|(host, node)| (host.clone(), node.address))
        .chain(balancer.clone().zip(kept_balancer))
        .collect();
    let names: BTreeMap<String, NodeName> =
        spec.cluster.nodes.iter().map(|node| (node.host.clone(), node.name.clone())).collect();
    let known = match registry {
        // One of another subnet is of a network that is gone.
        RegistryAddress::Known(address) if subnet.contains(address) => Some(address),
        _ => None,
    };
    used.extend(known);
    let place = !matches!(registry, RegistryAddress::Unwanted) && known.is_none();
    let place = place.then(|| provider::registry::NAME.to_owned());
    let hosts: Vec<String> = names.keys().chain(&balancer).chain(&place).cloned().collect();
    let assigned = network::assign_addresses(subnet, &hosts, &used, &reserved)?;
    let pod_subnet = &spec.cluster.pod_subnet;
    let mut cidrs: BTreeSet<String> = kept.values().map(|node| node.pod_cidr.clone()).collect();
    // A node that the file no longer names keeps its addresses while it stands.
    let mut nodes: BTreeMap<String, NodeAddress> = kept
        .iter()
        .filter(|(host, _)| containers.contains(*host) && !names.contains_key(*host))
        .map(|(host, node)| (host.clone(), node.clone()))
        .collect();
    for (host, name) in names {
        let Some(&address) = assigned.get(&host) else { continue };
        let pod_cidr = match kept.get(&host) {
            Some(node) if is_part(&node.pod_cidr, pod_subnet) => node.pod_cidr.clone(),
            _ => next_pod_cidr(pod_subnet, &cidrs)?,
        };
        cidrs.insert(pod_cidr.clone());
        let address6 = subnet6.and_then(|subnet| network::matching_ipv6(subnet, address));
        nodes.insert(host, NodeAddress { name, address, address6, pod_cidr });
    }
    let balancer = balancer.and_then(|host| assigned.get(&host)).map(|&address| BalancerAddress {
        address,
        address6: subnet6.and_then(|subnet| network::matching_ipv6(subnet, address)),
    });
    let registry = known.or_else(|| assigned.get(provider::registry::NAME).copied());
    Ok((nodes, balancer, registry.filter(|_| spec.profile.policy.is_cached())))
}

/// The first /24 of the pod subnet that no node has.
fn next_pod_cidr(pod_subnet: &str, taken: &BTreeSet<String>) -> Result<String> {
    let subnet = pod_subnet.parse::<Subnet>().map_err(Error::bug)?;
    subnet.parts(24).map(|part| part.to_string()).find(|part| !taken.contains(part)).ok_or_else(
        || {
            Error::new(
                crate::Kind::Files,
                "pod-subnet-small",
                "podSubnet has no /24 left for a node",
            )
            .because(format!("{pod_subnet} is divided into /24 networks, one for each node"))
            .hint("give the cluster a larger podSubnet, such as 10.244.0.0/16")
        },
    )
}

/// Refuses ports of the cluster's file that somebody else has. The start of `up` looks at the same;
/// this is what was taken since, and what a cluster that stands is to publish anew.
fn check_extra(cluster: &Cluster, taken: &[u16], old: Option<&Reservation>) -> Result<()> {
    let needs = Needs {
        cluster: Some(cluster.name.to_string()),
        published: published(cluster, taken, old),
        ..Needs::default()
    };
    doctor::refusal(&doctor::network::unpublishable(&needs)).map_or(Ok(()), Err)
}

/// Ports of the cluster's file, and why they cannot be had. `taken` are those of other clusters.
pub(super) fn published(
    cluster: &Cluster,
    taken: &[u16],
    old: Option<&Reservation>,
) -> Vec<PublishedPort> {
    let fault = |port: &ExtraPort| {
        let number = port.host_port;
        let own = old.and_then(|old| {
            let catalogue = old.ports.iter().find(|(_, held)| **held == number);
            let catalogue = catalogue.map(|(name, _)| name.clone());
            catalogue.or_else(|| (old.api_port == number).then(|| "the API server".to_owned()))
        });
        if let Some(own) = own {
            Some(format!("is {own}'s on this cluster"))
        } else if taken.contains(&number) {
            Some("is held by another cluster of pipe".to_owned())
        } else if old.is_some_and(|old| old.extra_ports.contains(&number)) {
            None
        } else {
            host::port_fault(port.address, number, port.protocol).map(str::to_owned)
        }
    };
    let shown = |port: &ExtraPort| {
        format!("{}:{}/{}", port.address, port.host_port, port.protocol.as_str())
    };
    let ports = cluster.ports.iter();
    ports.map(|port| PublishedPort { shown: shown(port), fault: fault(port) }).collect()
}

/// Host ports by catalogue entry; what is given away is added to `taken`.
fn ports(
    spec: &Spec,
    taken: &mut Vec<u16>,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, u16>> {
    let components = spec.profile.components.iter();
    let needed: BTreeMap<&str, &str> = components
        .flat_map(|c| c.definition.ports.iter().map(|p| (p.catalogue.as_str(), c.name.as_str())))
        .collect();
    let auto = spec.cluster.host_ports == HostPorts::Auto;
    let reserved = taken.clone();
    let mut ports = BTreeMap::new();
    let mut clashes = Vec::new();
    for entry in port::CATALOGUE {
        let by_cluster = reserved.contains(&entry.host_port);
        if !auto && !by_cluster && !host::port_in_use(entry.host_port) {
            taken.push(entry.host_port);
            ports.insert(entry.name.to_owned(), entry.host_port);
            continue;
        }
        if let (Some(component), false) = (needed.get(entry.name), auto) {
            // The start of `up` looks at the same; this is what was taken since.
            let holder = match by_cluster {
                true => PortHolder::Cluster("another".to_owned()),
                false => PortHolder::Program(None),
            };
            let (name, component) = (entry.name.to_owned(), (*component).to_owned());
            let port = NeededPort { port: entry.host_port, name, component, holder };
            clashes.extend(doctor::network::taken(&port));
            continue;
        }
        let port = host::free_port(taken)?;
        taken.push(port);
        ports.insert(entry.name.to_owned(), port);
        if !auto {
            let (name, wanted) = (entry.name, entry.host_port);
            notes.push(format!("host port {wanted} ({name}) is taken; {port} is used instead"));
        }
    }
    doctor::refusal(&clashes).map_or(Ok(ports), Err)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::spec::source::Sources;
    use crate::spec::{Arch, Protocol, load};

    #[test]
    fn ports_of_the_file_that_somebody_has_are_named_at_once() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = held.local_addr().unwrap().port();
        let mut cluster = load(&Sources::built_in(), "dev", None, Arch::Amd64).unwrap().cluster;
        let port = |address: &str, host_port| ExtraPort {
            name: None,
            address: address.parse().unwrap(),
            host_port,
            node_port: 30080,
            protocol: Protocol::Tcp,
            node: None,
        };
        cluster.ports =
            vec![port("127.0.0.1", number), port("203.0.113.7", 8080), port("127.0.0.1", 40001)];
        let error = check_extra(&cluster, &[40001], None).unwrap_err();
        assert_eq!((error.kind, error.code), (crate::Kind::Host, "host-unable"));
        let lines = error.causes.join("\n").replace(&number.to_string(), "NUMBER");
        assert_eq!(error.hints.len(), 2, "each once: {:?}", error.hints);
        insta::assert_snapshot!(lines, @r#"
        port 127.0.0.1:NUMBER/tcp that cluster dev publishes is held by another program [port-taken]
        port 203.0.113.7:8080/tcp that cluster dev publishes is at an address that this host has not [port-taken]
        port 127.0.0.1:40001/tcp that cluster dev publishes is held by another cluster of pipe [port-taken]
        "#);

        // What this cluster holds already is no clash: its own containers listen there.
        let mut old = Reservation::new("kind", "10.89.0.0/24", None, 40002);
        old.extra_ports = vec![number];
        cluster.ports.truncate(1);
        check_extra(&cluster, &[], Some(&old)).unwrap();
        old.api_port = number;
        let error = check_extra(&cluster, &[], Some(&old)).unwrap_err();
        assert_eq!(error.code, "port-taken");
        assert!(error.what.contains("is the API server's on this cluster"), "{error:?}");
    }

    #[test]
    fn pod_ranges_are_kept_only_inside_of_the_pod_subnet() {
        assert!(is_part("10.244.3.0/24", "10.244.0.0/16"));
        assert!(!is_part("10.244.3.0/24", "10.20.0.0/16"));
    }
}
