//! The part of a plan that makes the load balancer of several control planes, and keeps it true.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::input::Input;
use super::observed::NodeStage;
use super::{Action, Phase, Plan, Publish};
use crate::spec::port;

/// Changes when the text below changes its meaning; a new value replaces load balancers.
const FORMAT: u32 = 1;

/// Everything the load balancer's container is made from.
#[derive(Clone, Debug, Serialize)]
pub struct BalancerPlan {
    /// Container.
    pub host: String,
    /// Engine reference of the node image, whose file system it uses.
    pub image: String,
    /// Engine network.
    pub network: String,
    /// Static address.
    pub address: Ipv4Addr,
    /// Static IPv6 address where the network has IPv6.
    pub address6: Option<Ipv6Addr>,
    /// Ports published on the host; each leads to the same port of the control planes.
    pub publish: Vec<Publish>,
    /// Control planes.
    pub backends: Vec<IpAddr>,
    /// What the container was made from; a difference means it is made anew, which loses nothing.
    pub spec_hash: String,
}

/// Adds what brings the load balancer to what the control planes are. Nothing is stored in it, so it
/// is replaced without asking.
pub(super) fn add(input: &Input<'_>, plan: &mut Plan) {
    let found = input.observed.balancer.as_ref();
    let wanted = wanted(input);
    let stale = found.is_some_and(|found| match &wanted {
        None => true,
        Some(wanted) => found.stage == NodeStage::HalfMade || found.spec_hash != wanted.spec_hash,
    });
    if let Some(found) = found.filter(|_| stale) {
        let action = Action::RemoveNode { host: found.host.clone(), registered: false };
        plan.add(format!("remove/{}", found.host), Phase::Cluster, [], action);
    }
    let Some(wanted) = wanted else { return };
    let Some(found) = found.filter(|_| !stale) else {
        let images = plan.ids("image/");
        let remove = format!("remove/{}", wanted.host);
        let needs = images.iter().map(String::as_str).chain(["network", remove.as_str()]);
        let needs: Vec<&str> = needs.collect();
        let action = Action::CreateBalancer(Box::new(wanted.clone()));
        plan.add("create/balancer", Phase::Cluster, needs, action);
        return;
    };
    if found.backends != wanted.backends {
        let (host, backends) = (wanted.host.clone(), wanted.backends.clone());
        plan.add("balancer", Phase::Cluster, [], Action::UpdateBalancer { host, backends });
    }
    if found.stage == NodeStage::Stopped {
        let action = Action::StartBalancer { host: wanted.host };
        plan.add("start/balancer", Phase::Cluster, ["balancer"], action);
    }
}

/// The load balancer of the cluster; none with one control plane.
fn wanted(input: &Input<'_>) -> Option<BalancerPlan> {
    let cluster = &input.spec.cluster;
    let reserved = input.reservation.balancer.as_ref().filter(|_| cluster.is_balanced())?;
    let backends = cluster
        .control_planes()
        .filter_map(|node| input.reservation.nodes.get(&node.host))
        .map(|node| IpAddr::V4(node.address));
    let mut publish = vec![Publish::local("api", input.reservation.api_port, 6443)];
    for entry in port::CATALOGUE {
        if let Some(&host_port) = input.reservation.ports.get(entry.name) {
            publish.push(Publish::local(entry.name, host_port, entry.node_port));
        }
    }
    publish.extend(cluster.ports_of_balancer().map(Publish::extra));
    let ports: Vec<String> = publish
        .iter()
        .map(|port| format!("{}:{}:{}", port.address, port.host_port, port.node_port))
        .collect();
    let digest = Sha256::digest(format!("{FORMAT} ports={}", ports.join(" ")));
    let image = input.observed.images.get(input.node_image.as_str());
    Some(BalancerPlan {
        host: cluster.balancer_host(),
        image: image.map_or(input.node_image.tagged(), |facts| &facts.reference).to_owned(),
        network: input.reservation.network.clone(),
        address: reserved.address,
        address6: reserved.address6,
        publish,
        backends: backends.collect(),
        spec_hash: crate::digest::hex(digest.get(..8).unwrap_or_default()),
    })
}
