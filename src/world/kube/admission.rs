//! A policy by which the API server itself refuses pods, and whether it does.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::{Kube, fault};
use crate::Result;

/// A policy with the binding that puts it in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// A `ValidatingAdmissionPolicy`.
    pub policy: Value,
    /// Its binding.
    pub binding: Value,
    /// Of both; an annotation on them, too.
    pub fingerprint: String,
}

impl Admission {
    /// The annotation with the fingerprint.
    pub const FINGERPRINT: &str = "pipe.dev/fingerprint";
}

impl Kube {
    /// Puts a policy in force, in place of one of that name.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn put_admission(&self, admission: &Admission) -> Result<()> {
        let client = || self.client.clone();
        let policies = Api::<ValidatingAdmissionPolicy>::all(client());
        self.apply_typed(&policies, &admission.policy).await?;
        let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(client());
        self.apply_typed(&bindings, &admission.binding).await
    }

    /// The fingerprint of the policy of that name; `None` where it is not there, or not in force.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn admission(&self, name: &str) -> Result<Option<String>> {
        let policies = Api::<ValidatingAdmissionPolicy>::all(self.client.clone());
        let what = format!("read the admission policy {name}");
        let Some(policy) = self.call(&what, policies.get_opt(name)).await? else { return Ok(None) };
        let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(self.client.clone());
        let binding = self.call(&what, bindings.get_opt(name)).await?;
        let said = |annotations: &std::collections::BTreeMap<String, String>| {
            annotations.get(Admission::FINGERPRINT).cloned()
        };
        let bound = binding.and_then(|binding| said(binding.annotations()));
        Ok(said(policy.annotations()).filter(|policy| bound.as_ref() == Some(policy)))
    }

    /// Takes a policy out of force; one that is not there is no error.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn remove_admission(&self, name: &str) -> Result<()> {
        let what = format!("remove the admission policy {name}");
        let how = DeleteParams::default();
        let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(self.client.clone());
        let policies = Api::<ValidatingAdmissionPolicy>::all(self.client.clone());
        let gone = |result: Result<()>| match result {
            Err(error) if !fault::is_not_found(&error) => Err(error),
            _ => Ok(()),
        };
        gone(self.call(&what, bindings.delete(name, &how)).await.map(drop))?;
        gone(self.call(&what, policies.delete(name, &how)).await.map(drop))
    }

    /// What the API server says to a pod of `image`, without making it; `None` where it would make it.
    ///
    /// # Errors
    /// Those of every request, but a refusal.
    pub async fn refusal(&self, namespace: &str, image: &str) -> Result<Option<String>> {
        let pod = Pod {
            metadata: ObjectMeta {
                generate_name: Some("pipe-admission-".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                automount_service_account_token: Some(false),
                containers: vec![Container {
                    name: "probe".to_owned(),
                    image: Some(image.to_owned()),
                    ..Container::default()
                }],
                ..PodSpec::default()
            }),
            ..Pod::default()
        };
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        match self.call("ask for a pod", api.create(&dry, &pod)).await {
            Ok(_) => Ok(None),
            Err(error) if fault::is_refused(&error) => Ok(Some(error.causes.join("; "))),
            Err(error) => Err(error),
        }
    }
}
