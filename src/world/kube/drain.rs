//! Emptying a node: no new pods, pods evicted, and what its disk holds.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use super::{FIELD_MANAGER, Kube, fault};
use crate::{Error, Result};

/// The label that the provisioner of local volumes binds them to their node by.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What came of asking a pod to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// It ends, or was gone.
    Begun,
    /// Not now: a PodDisruptionBudget would be broken, in the server's words.
    Blocked(String),
}

/// A volume on the disk of one node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LocalVolume {
    /// The persistent volume.
    pub name: String,
    /// The claim that has it, or had.
    pub claim: Option<Claim>,
}

/// A volume claim; `uid` tells it from the one of the same name that a StatefulSet makes next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Claim {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl std::fmt::Display for LocalVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.claim {
            Some(claim) => write!(f, "volume {} of claim {claim}", self.name),
            None => write!(f, "volume {} of no claim", self.name),
        }
    }
}

impl Kube {
    /// Lets the scheduler place pods on a node, or not.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn set_schedulable(&self, node: &str, schedulable: bool) -> Result<()> {
        let api = Api::<Node>::all(self.client.clone());
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..<_>::default() };
        let what = if schedulable { "uncordon" } else { "cordon" };
        let patch = json!({"spec": {"unschedulable": !schedulable}});
        let patch = Patch::Merge(&patch);
        let call = api.patch(node, &params, &patch);
        self.call(&format!("{what} node {node}"), call).await.map(drop)
    }

    /// Asks a pod to leave its node, with its own grace period.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn evict(&self, namespace: &str, name: &str) -> Result<Eviction> {
        let api = Api::<Pod>::namespaced(self.patient()?, namespace);
        let params = EvictParams::default();
        let asked = tokio::time::timeout(super::REQUEST_TIMEOUT, api.evict(name, &params)).await;
        let what = format!("evict pod {namespace}/{name}");
        match asked {
            Err(_elapsed) => Err(fault::no_answer(&what, super::REQUEST_TIMEOUT)),
            Ok(Ok(_status)) => Ok(Eviction::Begun),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(Eviction::Begun),
            Ok(Err(kube::Error::Api(status))) if status.code == 429 => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let causes: Vec<&str> = causes.map(|cause| cause.message.as_str()).collect();
                let all =
                    if causes.is_empty() { status.message.clone() } else { causes.join("; ") };
                Ok(Eviction::Blocked(all))
            }
            Ok(Err(error)) => Err(fault::explain(&what, &error)),
        }
    }

    /// Volumes that lie on a node's own disk and can be used nowhere else.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn local_volumes(&self, node: &str) -> Result<Vec<LocalVolume>> {
        let api = Api::<PersistentVolume>::all(self.client.clone());
        let list = self.call("list the volumes", api.list(&ListParams::default())).await?;
        let mut found: Vec<LocalVolume> =
            list.items.into_iter().filter(|volume| bound_to(volume, node)).map(local).collect();
        found.sort_by(|a, b| (&a.claim, &a.name).cmp(&(&b.claim, &b.name)));
        Ok(found)
    }

    /// Deletes a volume claim; it goes when no pod uses it any more. One that is gone is success,
    /// also when another has its name by now.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn delete_claim(&self, claim: &Claim) -> Result<()> {
        let client = self.client.clone();
        let api = Api::<PersistentVolumeClaim>::namespaced(client, &claim.namespace);
        let what = format!("delete volume claim {claim}");
        let only = Preconditions { uid: Some(claim.uid.clone()), resource_version: None };
        let params = DeleteParams::default().preconditions(only);
        match gone(self.call(&what, api.delete(&claim.name, &params)).await) {
            Err(error) if fault::is_conflict(&error) => Ok(()),
            done => done,
        }
    }

    /// Deletes a volume's object; what it held lies on its node. One that is gone is success.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn delete_volume(&self, name: &str) -> Result<()> {
        let api = Api::<PersistentVolume>::all(self.client.clone());
        let what = format!("delete volume {name}");
        gone(self.call(&what, api.delete(name, &DeleteParams::default())).await)
    }

    /// A client that hands a 429 back: here it means "the budget is used up", not "ask again".
    fn patient(&self) -> Result<Client> {
        let mut config = self.config.clone();
        config.default_retry = false;
        Client::try_from(config).map_err(|error| Error::bug(error.to_string()))
    }
}

fn gone<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if !fault::is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether a volume demands this node by its host name.
fn bound_to(volume: &PersistentVolume, node: &str) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    let terms = required.into_iter().flat_map(|required| &required.node_selector_terms);
    terms.flat_map(|term| term.match_expressions.iter().flatten()).any(|expression| {
        expression.key == HOSTNAME
            && expression.operator == "In"
            && expression.values.iter().flatten().any(|value| value == node)
    })
}

fn local(volume: PersistentVolume) -> LocalVolume {
    let claim = volume.spec.and_then(|spec| spec.claim_ref);
    let claim = claim.and_then(|claim| {
        Some(Claim { namespace: claim.namespace?, name: claim.name?, uid: claim.uid? })
    });
    LocalVolume { name: volume.metadata.name.unwrap_or_default(), claim }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_of_the_local_provisioner_is_known_by_its_node() {
        let volume: PersistentVolume = serde_json::from_value(json!({
            "metadata": {"name": "pvc-1"},
            "spec": {
                "claimRef": {"namespace": "messaging", "name": "data-nats-0", "uid": "7"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": ["dev-worker"]},
                ]}]}},
            },
        }))
        .unwrap();
        assert!(bound_to(&volume, "dev-worker") && !bound_to(&volume, "dev-worker2"));
        let [namespace, name, uid] = ["messaging", "data-nats-0", "7"].map(str::to_owned);
        let claim = Some(Claim { namespace, name, uid });
        assert_eq!(local(volume), LocalVolume { name: "pvc-1".to_owned(), claim });
        assert!(!bound_to(&PersistentVolume::default(), "dev-worker"), "one that may be anywhere");
    }
}
