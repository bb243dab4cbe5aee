//! The few objects that `pipe` makes or asks for itself, and the end of those of any kind.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{FIELD_MANAGER, Kube, fault};
use crate::{Error, Result};

/// A storage class as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StorageClassState {
    /// Its name.
    pub name: String,
    /// Used by claims that name none.
    pub default: bool,
    /// `rancher.io/local-path`.
    pub provisioner: String,
}

impl Kube {
    /// Deletes one object in the background; one that is not there is no error.
    ///
    /// # Errors
    /// `kube-kind-unknown`, those of every request.
    pub async fn delete(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<()> {
        let (resource, capabilities) = self.discover(api_version, kind).await?;
        let api = self.dynamic(&resource, &capabilities, namespace);
        let what = format!("delete {} {name}", kind.to_lowercase());
        match self.call(&what, api.delete(name, &DeleteParams::background())).await {
            Err(error) if !fault::is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes the namespace, or gives an existing one these labels.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn ensure_namespace(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<()> {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        self.apply_typed(
            &Api::<k8s_openapi::api::core::v1::Namespace>::all(self.client.clone()),
            &namespace,
        )
        .await
    }

    /// Makes an opaque Secret, or gives an existing one exactly these keys.
    ///
    /// # Errors
    /// Those of every request; no value appears in them.
    pub async fn put_secret(
        &self,
        namespace: &str,
        name: &str,
        data: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
    ) -> Result<()> {
        use base64::Engine;
        let encode = |value: &String| base64::engine::general_purpose::STANDARD.encode(value);
        let data: BTreeMap<_, _> = data.iter().map(|(key, value)| (key, encode(value))).collect();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "data": data,
        });
        self.apply_typed(&Api::<Secret>::namespaced(self.client.clone(), namespace), &secret).await
    }

    /// The keys of a Secret whose values are text, or `None` if there is no such Secret.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn get_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>> {
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let what = format!("read secret {namespace}/{name}");
        let secret = self.call(&what, api.get_opt(name)).await?;
        Ok(secret.map(|secret| {
            let text = |(key, value): (String, k8s_openapi::ByteString)| {
                String::from_utf8(value.0).ok().map(|value| (key, value))
            };
            secret.data.unwrap_or_default().into_iter().filter_map(text).collect()
        }))
    }

    /// Every storage class, by name.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn storage_classes(&self) -> Result<Vec<StorageClassState>> {
        let api = Api::<StorageClass>::all(self.client.clone());
        let list = self.call("list the storage classes", api.list(&ListParams::default())).await?;
        let mut classes: Vec<StorageClassState> = list
            .items
            .into_iter()
            .map(|class| StorageClassState {
                name: class.name_any(),
                default: class
                    .annotations()
                    .get("storageclass.kubernetes.io/is-default-class")
                    .is_some_and(|value| value == "true"),
                provisioner: class.provisioner,
            })
            .collect();
        classes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(classes)
    }

    pub(super) async fn apply_typed<K>(&self, api: &Api<K>, object: &Value) -> Result<()>
    where
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let (_, kind, name) = identity(object)?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let what = format!("apply {} {name}", kind.to_lowercase());
        self.call(&what, api.patch(name, &params, &Patch::Apply(object))).await.map(drop)
    }

    async fn discover(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<(ApiResource, ApiCapabilities)> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let what = format!("find kind {kind} of {api_version}");
        self.call(&what, pinned_kind(&self.client, &gvk)).await.map_err(|error| {
            if fault::is_not_found(&error) {
                Error { code: "kube-kind-unknown", ..error }
            } else {
                error
            }
        })
    }

    fn dynamic(
        &self,
        resource: &ApiResource,
        capabilities: &ApiCapabilities,
        namespace: Option<&str>,
    ) -> Api<DynamicObject> {
        match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), resource),
            Scope::Namespaced => {
                Api::namespaced_with(self.client.clone(), namespace.unwrap_or("default"), resource)
            }
        }
    }
}

/// `apiVersion`, `kind` and name of an object.
fn identity(object: &Value) -> Result<(&str, &str, &str)> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    match (text("/apiVersion"), text("/kind"), text("/metadata/name")) {
        (Some(api_version), Some(kind), Some(name)) => Ok((api_version, kind, name)),
        _ => Err(Error::bug("an object lacks apiVersion, kind or metadata.name")),
    }
}
