//! The plan that removes a cluster, from what is there: files are not needed for it.

use super::{Action, Observed, Operation, Phase, Plan};
use crate::spec::ClusterName;

/// Everything of `cluster`, in an order that leaves nothing behind when cut off and run again:
/// the state folder, which names what was reserved, goes last.
pub fn teardown(cluster: &ClusterName, observed: &Observed, network: &str, state: bool) -> Plan {
    let mut plan = Plan::new(Operation::Teardown, cluster.clone());
    for host in observed.nodes.keys() {
        let action = Action::RemoveNode { host: host.clone(), registered: false };
        plan.add(format!("remove/{host}"), Phase::Removal, [], action);
    }
    if let Some(balancer) = &observed.balancer {
        let action = Action::RemoveNode { host: balancer.host.clone(), registered: false };
        plan.add(format!("remove/{}", balancer.host), Phase::Removal, [], action);
    }
    let nodes = plan.ids("remove/");
    let known = state || observed.kubeconfig || !nodes.is_empty();
    if !known {
        return plan;
    }
    let after_nodes = || nodes.iter().map(String::as_str);
    plan.add("volumes", Phase::Removal, after_nodes(), Action::RemoveVolumes);
    plan.add("kubeconfig", Phase::Removal, [], Action::RemoveKubeconfig);
    if observed.registry.as_ref().is_some_and(|registry| !registry.shared) {
        plan.add("registry", Phase::Removal, after_nodes(), Action::RemoveRegistry);
    }
    if observed.network.as_ref().is_some_and(|facts| facts.ours && !facts.others) {
        let action = Action::RemoveNetwork { name: network.to_owned() };
        plan.add("network", Phase::Removal, ["volumes", "registry"], action);
    }
    let before = plan.ids("");
    plan.add("state", Phase::Removal, before.iter().map(String::as_str), Action::RemoveState);
    plan
}
