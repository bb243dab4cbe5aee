//! Patches of the configuration that nodes are made with, and how they are merged.

use serde::Serialize;
use serde_json::Value;

/// A document that kubeadm reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Document {
    /// `ClusterConfiguration`.
    Cluster,
    /// `InitConfiguration`.
    Init,
    /// `JoinConfiguration`.
    Join,
    /// `KubeletConfiguration`.
    Kubelet,
    /// `KubeProxyConfiguration`.
    Proxy,
}

impl Document {
    /// Every document, in the order in which they are written.
    pub const ALL: [Document; 5] =
        [Document::Cluster, Document::Init, Document::Join, Document::Kubelet, Document::Proxy];

    /// Its `kind`.
    pub const fn kind(self) -> &'static str {
        match self {
            Document::Cluster => "ClusterConfiguration",
            Document::Init => "InitConfiguration",
            Document::Join => "JoinConfiguration",
            Document::Kubelet => "KubeletConfiguration",
            Document::Proxy => "KubeProxyConfiguration",
        }
    }

    /// Its `apiVersion`.
    pub const fn api_version(self) -> &'static str {
        match self {
            Document::Cluster | Document::Init | Document::Join => "kubeadm.k8s.io/v1beta4",
            Document::Kubelet => "kubelet.config.k8s.io/v1beta1",
            Document::Proxy => "kubeproxy.config.k8s.io/v1alpha1",
        }
    }

    /// Whether it reaches workers: the rest is read on control planes alone.
    pub const fn is_for_workers(self) -> bool {
        matches!(self, Document::Join | Document::Kubelet)
    }
}

/// What is merged into one document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KubeadmPatch {
    /// Which one.
    pub document: Document,
    /// A mapping, without `kind` and `apiVersion`.
    pub value: Value,
}

/// Every patch of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Patches {
    /// In the order of the file; later ones win.
    pub documents: Vec<KubeadmPatch>,
    /// TOML that is merged into containerd's configuration.
    pub containerd: Option<String>,
}

impl Patches {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Patches::default()
    }

    /// Those of `document`.
    pub fn of(&self, document: Document) -> impl Iterator<Item = &Value> {
        self.documents.iter().filter(move |p| p.document == document).map(|patch| &patch.value)
    }
}

/// Merges as JSON merge patches do (RFC 7386: a null removes), but for lists that every document
/// means as sets: items with a `name` replace those of the same name and join the others, and
/// `certSANs` are added.
pub fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(patch) => {
            if !target.is_object() {
                *target = Value::Object(serde_json::Map::new());
            }
            let Value::Object(target) = target else { return };
            for (key, value) in patch {
                match (value, target.get_mut(key)) {
                    (Value::Null, _) => {
                        target.remove(key);
                    }
                    (Value::Array(added), Some(Value::Array(there)))
                        if key == "certSANs" || named(there, added) =>
                    {
                        add(there, added);
                    }
                    (value, Some(there)) => merge(there, value),
                    (value, None) => {
                        let mut there = Value::Null;
                        merge(&mut there, value);
                        target.insert(key.clone(), there);
                    }
                }
            }
        }
        other => *target = other.clone(),
    }
}

fn named(there: &[Value], added: &[Value]) -> bool {
    there.iter().chain(added).all(|item| item.get("name").is_some())
}

fn add(there: &mut Vec<Value>, added: &[Value]) {
    for item in added {
        let same = |other: &Value| match item.get("name") {
            Some(name) => other.get("name") == Some(name),
            None => other == item,
        };
        match there.iter_mut().find(|other| same(other)) {
            Some(other) => *other = item.clone(),
            None => there.push(item.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut target: Value, patch: &Value) -> Value {
        merge(&mut target, patch);
        target
    }

    #[test]
    fn merges_as_rfc_7386_does() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
            (json!({"a": null}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
        ] {
            assert_eq!(merged(target, &patch), result);
        }
    }

    #[test]
    fn named_items_join_what_is_there() {
        let there =
            json!({"extraArgs": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]});
        let patch =
            json!({"extraArgs": [{"name": "b", "value": "3"}, {"name": "c", "value": "4"}]});
        let wanted = json!([{"name": "a", "value": "1"}, {"name": "b", "value": "3"}, {"name": "c", "value": "4"}]);
        assert_eq!(merged(there, &patch)["extraArgs"], wanted);
        let sans = merged(json!({"certSANs": ["a", "b"]}), &json!({"certSANs": ["b", "c"]}));
        assert_eq!(sans["certSANs"], json!(["a", "b", "c"]));
    }
}
