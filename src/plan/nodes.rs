//! Plans that empty nodes and take them out of a running cluster. Adding one is `up` with one node
//! more.

use super::{Action, Observed, Operation, Phase, Plan, Reservation};
use crate::spec::{ClusterName, NetworkMode};

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
            plan.add(&routes, Phase::Removal, [remove.as_str()], action);
        }
        let action = Action::ReleaseAddress { host: host.clone() };
        let needs = [remove.as_str(), routes.as_str()];
        plan.add(format!("address/{name}"), Phase::Removal, needs, action);
    }
    plan
}
