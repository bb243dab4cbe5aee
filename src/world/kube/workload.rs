//! How far a StatefulSet, Deployment, DaemonSet or Service is.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;

use super::Kube;
use crate::Result;

/// Progress of a workload towards its specification, in pods.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rollout {
    /// Pods asked for.
    pub desired: u32,
    /// Pods of the newest template.
    pub updated: u32,
    /// Pods that are ready (available, where the kind tells them apart).
    pub ready: u32,
    /// The controller has seen the newest specification; else the numbers are of an older one.
    pub observed: bool,
    /// One line for people: `1 of 3 ready, 3 of 3 updated`.
    pub detail: String,
}

impl Rollout {
    /// Every pod asked for is of the newest template and ready.
    pub fn is_done(&self) -> bool {
        self.observed && self.updated == self.desired && self.ready == self.desired
    }

    fn new(desired: i32, updated: Option<i32>, ready: Option<i32>, observed: bool) -> Rollout {
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        let desired = count(desired);
        let updated = count(updated.unwrap_or(0));
        let ready = count(ready.unwrap_or(0));
        let detail = if observed {
            format!("{ready} of {desired} ready, {updated} of {desired} updated")
        } else {
            "its controller has not seen the newest specification yet".to_owned()
        };
        Rollout { desired, updated, ready, observed, detail }
    }
}

impl Kube {
    /// Progress of a StatefulSet; `None` if there is none of that name.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn stateful_set(&self, namespace: &str, name: &str) -> Result<Option<Rollout>> {
        let api = Api::<StatefulSet>::namespaced(self.client.clone(), namespace);
        let what = format!("read statefulset {namespace}/{name}");
        Ok(self.call(&what, api.get_opt(name)).await?.map(|set| {
            let desired = set.spec.and_then(|spec| spec.replicas).unwrap_or(1);
            let status = set.status.unwrap_or_default();
            let observed = status.observed_generation >= set.metadata.generation;
            Rollout::new(desired, status.updated_replicas, status.ready_replicas, observed)
        }))
    }

    /// Progress of a Deployment; `None` if there is none of that name.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn deployment(&self, namespace: &str, name: &str) -> Result<Option<Rollout>> {
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        let what = format!("read deployment {namespace}/{name}");
        Ok(self.call(&what, api.get_opt(name)).await?.map(|deployment| {
            let desired = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
            let status = deployment.status.unwrap_or_default();
            let observed = status.observed_generation >= deployment.metadata.generation;
            Rollout::new(desired, status.updated_replicas, status.available_replicas, observed)
        }))
    }

    /// Progress of a DaemonSet; `None` if there is none of that name. No node to run on counts as
    /// done.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn daemon_set(&self, namespace: &str, name: &str) -> Result<Option<Rollout>> {
        let api = Api::<DaemonSet>::namespaced(self.client.clone(), namespace);
        let what = format!("read daemonset {namespace}/{name}");
        Ok(self.call(&what, api.get_opt(name)).await?.map(|set| {
            let status = set.status.unwrap_or_default();
            let observed = status.observed_generation >= set.metadata.generation;
            Rollout::new(
                status.desired_number_scheduled,
                status.updated_number_scheduled,
                status.number_available,
                observed,
            )
        }))
    }

    /// Number of ready endpoints of a Service; zero if there is no such Service.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn endpoints_ready(&self, namespace: &str, service: &str) -> Result<usize> {
        let api = Api::<EndpointSlice>::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        let what = format!("list the endpoints of service {namespace}/{service}");
        let slices = self.call(&what, api.list(&params)).await?;
        let ready = |slice: &EndpointSlice| {
            slice
                .endpoints
                .iter()
                .flatten()
                .filter(|e| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true)))
                .count()
        };
        Ok(slices.items.iter().map(ready).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_status_is_not_done() {
        let rollout = Rollout::new(1, Some(1), Some(1), false);
        assert!(!rollout.is_done());
        assert!(Rollout::new(3, Some(3), Some(3), true).is_done());
        let half = Rollout::new(3, Some(3), Some(1), true);
        assert!(!half.is_done());
        assert_eq!(half.detail, "1 of 3 ready, 3 of 3 updated");
    }
}
