//! Pods that only exist to see what happens to their images.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;

use super::{Kube, fault};
use crate::Result;

/// A pod on one node, past the scheduler and the pod network.
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The node.
    pub node: &'a str,
    /// Pulled anew, whatever the node has.
    pub image: &'a str,
    /// `key=value`.
    pub label: (&'a str, &'a str),
}

impl Kube {
    /// Makes a pod that runs its image once. One of that name is left as it is.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn probe(&self, probe: &Probe<'_>) -> Result<()> {
        let (key, value) = probe.label;
        let pod = Pod {
            metadata: ObjectMeta {
                name: Some(probe.name.to_owned()),
                labels: Some([(key.to_owned(), value.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                node_name: Some(probe.node.to_owned()),
                host_network: Some(true),
                restart_policy: Some("Never".to_owned()),
                automount_service_account_token: Some(false),
                termination_grace_period_seconds: Some(0),
                tolerations: Some(vec![Toleration {
                    operator: Some("Exists".to_owned()),
                    ..Toleration::default()
                }]),
                containers: vec![Container {
                    name: "canary".to_owned(),
                    image: Some(probe.image.to_owned()),
                    image_pull_policy: Some("Always".to_owned()),
                    ..Container::default()
                }],
                ..PodSpec::default()
            }),
            ..Pod::default()
        };
        let api = Api::<Pod>::namespaced(self.client.clone(), probe.namespace);
        let what = format!("make pod {}/{}", probe.namespace, probe.name);
        match self.call(&what, api.create(&PostParams::default(), &pod)).await {
            Err(error) if !fault::is_conflict(&error) => Err(error),
            _ => Ok(()),
        }
    }
}
