//! Plans that empty nodes and take them out of a running cluster. Adding one is `up` with one node
//! more.

use super::input::Input;
use super::{Action, Observed, Operation, Phase, Plan, Reservation};
use crate::spec::{ClusterName, NetworkMode};
use crate::{Error, Result};

/// What becomes of volumes that lie on the disk of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalData {
    /// They stay where they are: the node does.
    Keep,
    /// They would be lost, so the node is not emptied.
    Refuse,
    /// They go, and their claims with them.
    Delete,
}

/// How a node is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Drain {
    /// Seconds until its pods must be gone.
    pub within: u64,
    /// Its local volumes.
    pub data: LocalData,
    /// Pods that nothing makes again go too.
    pub bare_pods: bool,
}

/// A node by our name and the engine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// `edge`.
    pub name: String,
    /// `dev-worker`.
    pub host: String,
}

/// Empties nodes, one after the other, so that pods find room on the next.
pub fn drain(cluster: &ClusterName, nodes: &[Chosen], how: Drain) -> Plan {
    let mut plan = Plan::new(Operation::NodeDrain, cluster.clone());
    for node in nodes {
        let before = plan.ids("drain/");
        let action = Action::DrainNode { host: node.host.clone(), how };
        let needs = before.iter().map(String::as_str);
        plan.add(format!("drain/{}", node.name), Phase::Removal, needs, action);
    }
    plan
}

/// Empties nodes unless `how` is none, and removes all of them that can be: their containers with
/// what is stored there, their entries in the cluster, other nodes' routes to them, their addresses.
pub fn remove(
    cluster: &ClusterName,
    observed: &Observed,
    reservation: &Reservation,
    nodes: &[Chosen],
    how: Option<Drain>,
) -> Plan {
    let mut plan = Plan::new(Operation::NodeRemove, cluster.clone());
    if let Some(how) = how {
        plan.steps = drain(cluster, nodes, how).steps;
    }
    let leaving = |host: &str| nodes.iter().any(|node| node.host == host);
    let stay = observed.nodes.iter().filter(|(host, facts)| facts.running && !leaving(host));
    let stay: Vec<String> = stay.map(|(host, _)| host.clone()).collect();
    for Chosen { name, host } in nodes {
        let drain = format!("drain/{name}");
        let remove = format!("remove/{name}");
        let action = Action::RemoveNode { host: host.clone(), registered: true };
        plan.add(&remove, Phase::Removal, [drain.as_str()], action);
        let action = Action::ForgetVolumes { host: host.clone() };
        plan.add(format!("volumes/{name}"), Phase::Removal, [remove.as_str()], action);
        let routes = format!("routes/{name}");
        if observed.pod_network == Some(NetworkMode::Static)
            && let Some(reserved) = reservation.nodes.get(host)
        {
            let pod_cidr = reserved.pod_cidr.clone();
            let action = Action::ForgetRoute { pod_cidr, hosts: stay.clone() };
            // One after the other: each rewrites the same script.
            let before = plan.ids("routes/");
            let needs = before.iter().chain([&remove]).map(String::as_str);
            plan.add(&routes, Phase::Removal, needs, action);
        }
        let action = Action::ReleaseAddress { host: host.clone() };
        let needs = [remove.as_str(), routes.as_str()];
        plan.add(format!("address/{name}"), Phase::Removal, needs, action);
    }
    plan
}

/// Whether the cluster's spec has a node in this container.
pub(super) fn is_named(input: &Input<'_>, host: &str) -> bool {
    input.spec.cluster.nodes.iter().any(|node| node.host == host)
}

/// Whether the plan removes this container.
pub(super) fn is_removed(plan: &Plan, host: &str) -> bool {
    plan.step(&format!("remove/{host}")).is_some()
}

/// Refuses to prune a node whose disk holds volumes, unless their loss was agreed to.
///
/// # Errors
/// `local-data`, with every such volume.
pub(super) fn check_prune(input: &Input<'_>) -> Result<()> {
    let Some(live) = &input.observed.live else { return Ok(()) };
    if !input.options.prune || input.options.delete_data {
        return Ok(());
    }
    let lost = live.volumes.iter().flat_map(|(host, volumes)| {
        volumes.iter().map(move |volume| format!("on {host}: {volume}"))
    });
    let lost: Vec<String> = lost.collect();
    if lost.is_empty() {
        return Ok(());
    }
    let what = "nodes that the file no longer names hold volumes that would be lost with them";
    let error = lost.into_iter().fold(Error::failed("local-data", what), Error::because);
    Err(error.hint("save what you need, then add --delete-data"))
}

/// What else knows the nodes that `up` takes out for good: the objects of volumes on their disks, and
/// other nodes' routes to their pods.
pub(super) fn forget(input: &Input<'_>, plan: &mut Plan) {
    let gone = plan.steps.iter().filter_map(|step| match &step.action {
        Action::RemoveNode { host, registered: true } if !is_named(input, host) => {
            Some(host.clone())
        }
        _ => None,
    });
    let gone: Vec<String> = gone.collect();
    let observed = input.observed;
    let stay =
        observed.nodes.iter().filter(|(host, facts)| facts.running && !is_removed(plan, host));
    let stay: Vec<String> = stay.map(|(host, _)| host.clone()).collect();
    for host in gone {
        let remove = format!("remove/{host}");
        let action = Action::ForgetVolumes { host: host.clone() };
        plan.add(format!("volumes/{host}"), Phase::Cluster, [remove.as_str()], action);
        let reserved = input.reservation.nodes.get(&host).map(|node| &node.pod_cidr);
        let registered = observed.live.as_ref().and_then(|live| live.nodes.get(&host));
        let pod_cidr = reserved.or(registered.and_then(|node| node.pod_cidr.as_ref()));
        let is_static = input.spec.cluster.network == NetworkMode::Static;
        let Some(pod_cidr) = pod_cidr.filter(|_| is_static) else { continue };
        let action = Action::ForgetRoute { pod_cidr: pod_cidr.clone(), hosts: stay.clone() };
        // One after the other, and after what new nodes change in the same script.
        let mut before = plan.ids("routes/");
        before.extend(plan.ids("unroute/"));
        let needs = before.iter().chain([&remove]).map(String::as_str);
        plan.add(format!("unroute/{host}"), Phase::Cluster, needs, action);
    }
}
