//! Brings a node object to its spec: labels, taints, pod CIDR, simulated capacity.

use std::collections::BTreeMap;

use crate::Result;
use crate::plan::action::NodeChange;
use crate::plan::observed::{Applied, LiveNode};
use crate::provider::labels::{APPLIED, condition};
use crate::spec::{Node, Taint};
use crate::world::kube::{Kube, NodeState, Taint as KubeTaint};

/// What of `change` a node does not show yet, for people; `None` when all of it is there.
pub(super) fn missing(wanted: &Node, change: &NodeChange, node: &NodeState) -> Option<String> {
    if let Some((key, value)) =
        change.set_labels.iter().find(|(key, value)| node.labels.get(*key) != Some(value))
    {
        return Some(format!("label {key}={value} is not set"));
    }
    if let Some(key) = change.remove_labels.iter().find(|key| node.labels.contains_key(*key)) {
        return Some(format!("label {key} is still set"));
    }
    let present = |wanted: &Taint| node.taints.contains(&kube_taint(wanted));
    if let Some(taint) = change.set_taints.iter().find(|taint| !present(taint)) {
        return Some(format!("taint {}={}:{} is not set", taint.key, taint.value, taint.effect));
    }
    if let Some(taint) = change.remove_taints.iter().find(|taint| present(taint)) {
        return Some(format!("taint {}:{} is still set", taint.key, taint.effect));
    }
    let capacity = |name: &str| node.capacity.get(name).and_then(|text| text.parse::<u64>().ok());
    if let Some((name, count)) =
        change.capacity.iter().find(|(name, count)| capacity(name) != Some(**count))
    {
        return Some(format!("resource {name} is not {count}"));
    }
    if let Some(name) = change.remove_capacity.iter().find(|n| node.capacity.contains_key(*n)) {
        return Some(format!("resource {name} is still there"));
    }
    if change.pod_cidr.is_some() && node.pod_cidr != change.pod_cidr {
        return Some("podCIDR is not set".to_owned());
    }
    (node.annotations.get(APPLIED) != Some(&applied(wanted)))
        .then(|| "the record of what pipe set is not written".to_owned())
}

/// Sends one change.
pub(super) async fn apply(
    kube: &Kube,
    host: &str,
    wanted: &Node,
    change: &NodeChange,
) -> Result<()> {
    let annotations = BTreeMap::from([(APPLIED.to_owned(), applied(wanted))]);
    kube.patch_node_labels(host, &change.set_labels, &change.remove_labels).await?;
    kube.annotate_node(host, &annotations).await?;
    if !change.set_taints.is_empty() || !change.remove_taints.is_empty() {
        let set: Vec<_> = change.set_taints.iter().map(kube_taint).collect();
        let remove: Vec<_> = change.remove_taints.iter().map(kube_taint).collect();
        kube.set_node_taints(host, &set, &remove).await?;
    }
    if let Some(pod_cidr) = &change.pod_cidr {
        kube.set_pod_cidr(host, pod_cidr).await?;
    }
    if !change.capacity.is_empty() || !change.remove_capacity.is_empty() {
        kube.patch_capacity(host, &change.capacity, &change.remove_capacity).await?;
    }
    Ok(())
}

/// A taint as the API client has it.
fn kube_taint(taint: &Taint) -> KubeTaint {
    let Taint { key, value, effect } = taint.clone();
    KubeTaint { key, value, effect }
}

/// A node as plans see it; taints that Kubernetes sets by itself are left out.
pub fn live_node(node: NodeState) -> LiveNode {
    let taints =
        node.taints.into_iter().map(|t| Taint { key: t.key, value: t.value, effect: t.effect });
    let units = |(name, text): (String, String)| Some((name, text.parse().ok()?));
    LiveNode {
        applied: read_applied(&node.annotations),
        labels: node.labels,
        taints: taints.filter(|taint| !condition(taint)).collect(),
        ready: node.ready,
        cordoned: node.cordoned,
        capacity: node.capacity.into_iter().filter_map(units).collect(),
        pod_cidr: node.pod_cidr,
    }
}

/// The annotation's text.
fn applied(node: &Node) -> String {
    serde_json::to_string(&Applied::to(node)).unwrap_or_default()
}

/// Reads the annotation; a missing or foreign one means "nothing of ours".
fn read_applied(annotations: &BTreeMap<String, String>) -> Applied {
    annotations.get(APPLIED).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}
