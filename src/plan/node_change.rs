//! What has to change on a node object, for labels, taints, resources and pod addresses to be as the
//! files say.

use std::collections::BTreeMap;

use super::action::NodeChange;
use super::input::Input;
use super::observed::{Applied, LiveNode};
use crate::spec::{NetworkMode, Node, Taint};

/// What differs; for a new node, everything the API has to set.
pub(super) fn node_change(input: &Input<'_>, node: &Node, live: Option<&LiveNode>) -> NodeChange {
    let nothing = LiveNode::default();
    let found = live.unwrap_or(&nothing);
    let set_labels: BTreeMap<_, _> = node
        .labels
        .iter()
        .filter(|(key, value)| found.labels.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let remove_labels = found
        .applied
        .labels
        .iter()
        .filter(|key| !node.labels.contains_key(*key) && found.labels.contains_key(*key))
        .cloned()
        .collect();
    let same = |a: &Taint, b: &Taint| a.key == b.key && a.effect == b.effect;
    let dropped = |taint: &&Taint| {
        !node.taints.iter().any(|wanted| same(wanted, taint))
            && found.taints.iter().any(|present| same(present, taint))
    };
    let capacity: BTreeMap<_, _> = node
        .resources
        .iter()
        .filter(|(name, count)| found.capacity.get(*name) != Some(count))
        .map(|(name, count)| (name.clone(), *count))
        .collect();
    let remove_capacity = found
        .applied
        .resources
        .iter()
        .filter(|name| !node.resources.contains_key(*name) && found.capacity.contains_key(*name))
        .cloned()
        .collect();
    NodeChange {
        set_labels,
        remove_labels,
        set_taints: node.taints.iter().filter(|t| !found.taints.contains(t)).cloned().collect(),
        remove_taints: found.applied.taints.iter().filter(dropped).cloned().collect(),
        capacity,
        remove_capacity,
        pod_cidr: pod_cidr_change(input, node, found),
        record: live.is_some_and(|found| found.applied != Applied::to(node)),
    }
}

/// With static routes the pod CIDR is ours to say, because we wrote it into the node's files.
fn pod_cidr_change(input: &Input<'_>, node: &Node, found: &LiveNode) -> Option<String> {
    if input.spec.cluster.network != NetworkMode::Static || found.pod_cidr.is_some() {
        return None;
    }
    input.reservation.nodes.get(&node.host).map(|reserved| reserved.pod_cidr.clone())
}
