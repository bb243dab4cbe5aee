//! Volumes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Engine;
use super::container::null_is_default;
use super::error::{EngineResult, optional};
use super::libpod::label_filter;

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"))]
pub struct Volume {
    /// Name; 64 hexadecimal digits where none was given.
    pub name: String,
    /// Folder on the engine's host.
    pub mountpoint: String,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a volume; without a name the engine gives it one, as kind's volumes have it.
    pub async fn create_volume(
        &self,
        name: Option<&str>,
        labels: &BTreeMap<String, String>,
    ) -> EngineResult<Volume> {
        let action = format!("create volume {}", name.unwrap_or("without a name"));
        let body = json!({ "Name": name.unwrap_or_default(), "Labels": labels });
        self.libpod.post(&action, "volumes/create", &body).await
    }

    /// The volume `name`, or `None`.
    pub async fn volume(&self, name: &str) -> EngineResult<Option<Volume>> {
        let action = format!("inspect volume {name}");
        optional(self.libpod.get(&action, &format!("volumes/{name}/json"), &[]).await)
    }

    /// Volumes that carry all of `labels` (`key` or `key=value`).
    pub async fn volumes(&self, labels: &[&str]) -> EngineResult<Vec<Volume>> {
        let filters = label_filter(labels);
        let query = [("filters", filters.as_str())];
        let volumes: Option<Vec<Volume>> =
            self.libpod.get("list volumes", "volumes/json", &query).await?;
        Ok(volumes.unwrap_or_default())
    }

    /// Removes a volume; one that is gone is success, one in use is [`super::Fault::Conflict`].
    pub async fn remove_volume(&self, name: &str) -> EngineResult<()> {
        self.libpod.delete(&format!("remove volume {name}"), &format!("volumes/{name}"), &[]).await
    }
}
