//! Helm releases, read from the labels that Helm puts on its own Secrets: one request for all.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;

use super::Kube;
use crate::Result;

/// The release label that carries the hash of what was installed; at most 63 characters.
pub const SPEC_HASH_LABEL: &str = "pipe.dev/spec-hash";

/// The newest revision of one Helm release.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReleaseRecord {
    /// Namespace of the release.
    pub namespace: String,
    /// Name of the release.
    pub name: String,
    /// Counts from 1.
    pub revision: u64,
    /// `deployed`, `failed`, `pending-install`, `pending-upgrade`, `pending-rollback`,
    /// `uninstalling`.
    pub status: String,
    /// What `pipe` installed; absent if someone else did.
    pub spec_hash: Option<String>,
}

impl Kube {
    /// Every Helm release of the cluster, by namespace and name.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn releases(&self) -> Result<Vec<ReleaseRecord>> {
        let api = Api::<Secret>::all(self.client.clone());
        let params = ListParams::default().labels("owner=helm");
        let list = self.call("list the Helm releases", api.list_metadata(&params)).await?;
        let revisions = list.items.into_iter().filter_map(|item| {
            let namespace = item.metadata.namespace.unwrap_or_default();
            record(namespace, item.metadata.labels.unwrap_or_default())
        });
        Ok(newest(revisions))
    }
}

fn record(namespace: String, mut labels: BTreeMap<String, String>) -> Option<ReleaseRecord> {
    Some(ReleaseRecord {
        namespace,
        name: labels.remove("name")?,
        revision: labels.remove("version")?.parse().ok()?,
        status: labels.remove("status")?,
        spec_hash: labels.remove(SPEC_HASH_LABEL),
    })
}

fn newest(revisions: impl Iterator<Item = ReleaseRecord>) -> Vec<ReleaseRecord> {
    let mut releases = BTreeMap::<(String, String), ReleaseRecord>::new();
    for record in revisions {
        let key = (record.namespace.clone(), record.name.clone());
        if releases.get(&key).is_none_or(|known| known.revision < record.revision) {
            releases.insert(key, record);
        }
    }
    releases.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str, version: &str, status: &str) -> BTreeMap<String, String> {
        [("name", name), ("version", version), ("status", status), ("owner", "helm")]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn the_newest_revision_counts() {
        let mut upgraded = labels("nats", "10", "pending-upgrade");
        upgraded.insert(SPEC_HASH_LABEL.to_owned(), "abc".to_owned());
        let found = newest(
            [
                ("messaging", labels("nats", "9", "deployed")),
                ("messaging", upgraded),
                ("data", labels("nats", "1", "failed")),
                ("data", BTreeMap::new()),
            ]
            .into_iter()
            .filter_map(|(namespace, labels)| record(namespace.to_owned(), labels)),
        );
        let lines: Vec<String> = found
            .iter()
            .map(|r| {
                format!("{}/{} {} {} {:?}", r.namespace, r.name, r.revision, r.status, r.spec_hash)
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        data/nats 1 failed None
        messaging/nats 10 pending-upgrade Some("abc")
        "#);
    }
}
