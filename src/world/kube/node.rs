//! Nodes: what they are, and the few things that `pipe` may change on them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint as ApiTaint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::{FIELD_MANAGER, Kube, fault};
use crate::{Error, Result};

/// Attempts at a change that others (kubelet, the node controller) may overtake.
const CONFLICT_ATTEMPTS: usize = 8;

/// A taint; `key` and `effect` together are its identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Taint {
    /// Qualified name.
    pub key: String,
    /// May be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

impl Taint {
    fn replaces(&self, other: &Taint) -> bool {
        self.key == other.key && self.effect == other.effect
    }
}

/// A node as the API server has it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct NodeState {
    /// Kubernetes name.
    pub name: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// All annotations.
    pub annotations: BTreeMap<String, String>,
    /// All taints, sorted.
    pub taints: BTreeSet<Taint>,
    /// Condition `Ready` is true.
    pub ready: bool,
    /// The scheduler places no pods here: somebody cordoned it.
    pub cordoned: bool,
    /// When kubelet last said so.
    pub heartbeat: Option<Timestamp>,
    /// Kubelet's own words about that condition.
    pub ready_message: String,
    /// Resource to quantity, as written: `nvidia.com/gpu` to `2`.
    pub capacity: BTreeMap<String, String>,
    /// What pods may ask for.
    pub allocatable: BTreeMap<String, String>,
    /// IPv4 range of its pods, once assigned.
    pub pod_cidr: Option<String>,
    /// Address of type `InternalIP`.
    pub internal_ip: Option<String>,
    /// `v1.36.4`.
    pub kubelet_version: String,
}

impl Kube {
    /// Every node, by name.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn nodes(&self) -> Result<Vec<NodeState>> {
        let api = Api::<Node>::all(self.client.clone());
        let list = self.call("list the nodes", api.list(&ListParams::default())).await?;
        let mut nodes: Vec<NodeState> = list.items.into_iter().map(state).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }

    /// One node, or `None` if it has not registered.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn node(&self, name: &str) -> Result<Option<NodeState>> {
        let api = Api::<Node>::all(self.client.clone());
        let found = self.call(&format!("read node {name}"), api.get_opt(name)).await?;
        Ok(found.map(state))
    }

    /// Removes a node object; its kubelet, if any, is not told. One that is gone is success.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn delete_node(&self, name: &str) -> Result<()> {
        self.delete("v1", "Node", None, name).await
    }

    /// Sets annotations; all others stay.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn annotate_node(&self, name: &str, set: &BTreeMap<String, String>) -> Result<()> {
        let patch = json!({"metadata": {"annotations": set}});
        self.patch_node(name, "annotate", &patch).await
    }

    /// Sets and removes labels; all others stay.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn patch_node_labels(
        &self,
        name: &str,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<()> {
        let labels = merge(set.iter().map(|(key, value)| (key, json!(value))), remove);
        let patch = json!({"metadata": {"labels": labels}});
        self.patch_node(name, "label", &patch).await
    }

    /// Sets and removes taints by key and effect; those of Kubernetes itself stay.
    ///
    /// # Errors
    /// Those of every request; `kube-conflict` only if others keep changing the node.
    pub async fn set_node_taints(&self, name: &str, set: &[Taint], remove: &[Taint]) -> Result<()> {
        let what = format!("taint node {name}");
        let api = Api::<Node>::all(self.client.clone());
        let mut last = None;
        // The list is atomic, so what is written must be based on what was read.
        for _attempt in 0..CONFLICT_ATTEMPTS {
            let node = self.call(&what, api.get(name)).await?;
            let version = node.metadata.resource_version.clone();
            let present = state(node).taints;
            let wanted = replace_taints(&present, set, remove);
            if wanted == present {
                return Ok(());
            }
            let patch = json!({
                "metadata": {"resourceVersion": version},
                "spec": {"taints": wanted},
            });
            match self.patch_node(name, "taint", &patch).await {
                Err(error) if fault::is_conflict(&error) => last = Some(error),
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| Error::bug(format!("no attempt was made to {what}"))))
    }

    /// Sets and removes extended resources in what the node has and gives, in whole units. Kubelet drops
    /// them when it registers again, so this is repeated after every start of the node.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn patch_capacity(
        &self,
        name: &str,
        set: &BTreeMap<String, u64>,
        remove: &[String],
    ) -> Result<()> {
        let set = set.iter().map(|(key, units)| (key, json!(units.to_string())));
        let units = merge(set, remove);
        // Kubelet makes the one from the other, in its own time; pods are placed by the second.
        let patch = json!({"status": {"capacity": units, "allocatable": units}});
        let api = Api::<Node>::all(self.client.clone());
        let what = format!("set the capacity of node {name}");
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..<_>::default() };
        self.call(&what, api.patch_status(name, &params, &Patch::Merge(&patch))).await.map(drop)
    }

    /// Assigns the range of the node's pods; Kubernetes lets it be set once.
    ///
    /// # Errors
    /// Those of every request; `kube-invalid` if the node has another range.
    pub async fn set_pod_cidr(&self, name: &str, cidr: &str) -> Result<()> {
        let patch = json!({"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
        self.patch_node(name, "assign pod addresses to", &patch).await
    }

    async fn patch_node(&self, name: &str, verb: &str, patch: &Value) -> Result<()> {
        let api = Api::<Node>::all(self.client.clone());
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..<_>::default() };
        let what = format!("{verb} node {name}");
        self.call(&what, api.patch(name, &params, &Patch::Merge(patch))).await.map(drop)
    }
}

/// A JSON merge patch of a map: `null` removes.
fn merge<'a>(set: impl Iterator<Item = (&'a String, Value)>, remove: &[String]) -> Value {
    let removed = remove.iter().map(|key| (key.clone(), Value::Null));
    Value::Object(
        removed.chain(set.map(|(key, value)| (key.clone(), value))).collect::<Map<_, _>>(),
    )
}

fn replace_taints(present: &BTreeSet<Taint>, set: &[Taint], remove: &[Taint]) -> BTreeSet<Taint> {
    present
        .iter()
        .filter(|old| !set.iter().chain(remove).any(|named| named.replaces(old)))
        .chain(set)
        .cloned()
        .collect()
}

fn state(node: Node) -> NodeState {
    let spec = node.spec.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let ready = status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == "Ready");
    let addresses = status.addresses.unwrap_or_default();
    NodeState {
        name: node.metadata.name.unwrap_or_default(),
        labels: node.metadata.labels.unwrap_or_default(),
        annotations: node.metadata.annotations.unwrap_or_default(),
        taints: spec.taints.unwrap_or_default().into_iter().map(taint).collect(),
        ready: ready.as_ref().is_some_and(|condition| condition.status == "True"),
        heartbeat: ready.as_ref().and_then(|c| c.last_heartbeat_time.as_ref()).map(|time| time.0),
        ready_message: ready
            .and_then(|condition| condition.message)
            .unwrap_or_else(|| "kubelet has not reported yet".to_owned()),
        cordoned: spec.unschedulable == Some(true),
        capacity: quantities(status.capacity),
        allocatable: quantities(status.allocatable),
        pod_cidr: spec.pod_cidr,
        internal_ip: addresses.into_iter().find(|a| a.type_ == "InternalIP").map(|a| a.address),
        kubelet_version: status.node_info.map(|info| info.kubelet_version).unwrap_or_default(),
    }
}

fn taint(taint: ApiTaint) -> Taint {
    Taint { key: taint.key, value: taint.value.unwrap_or_default(), effect: taint.effect }
}

fn quantities(map: Option<BTreeMap<String, Quantity>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().map(|(name, quantity)| (name, quantity.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(key: &str, value: &str, effect: &str) -> Taint {
        Taint { key: key.into(), value: value.into(), effect: effect.into() }
    }

    #[test]
    fn foreign_taints_stay() {
        let foreign = named("node.kubernetes.io/not-ready", "", "NoExecute");
        let old = named("arch", "amd64", "NoSchedule");
        let same_key = named("arch", "amd64", "NoExecute");
        let new = named("arch", "arm64", "NoSchedule");
        let gone = named("accelerator", "gpu", "NoSchedule");
        let present = BTreeSet::from([foreign.clone(), old, same_key.clone(), gone.clone()]);
        assert_eq!(
            replace_taints(&present, std::slice::from_ref(&new), &[gone]),
            BTreeSet::from([foreign, same_key, new])
        );
    }

    #[test]
    fn what_is_set_wins_over_what_is_removed() {
        let set = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let set = set.iter().map(|(key, value)| (key, json!(value)));
        let patch = merge(set, &["a".into(), "b".into()]);
        assert_eq!(patch, json!({"a": "1", "b": null}));
    }
}
