//! Networks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Engine;
use super::container::null_is_default;
use super::error::{EngineResult, optional};
use super::libpod::label_filter;

/// A bridge network to make. Containers on it find each other by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkSpec {
    /// Name, unique on the engine.
    pub name: String,
    /// IPv4 CIDR; the first address becomes the gateway.
    pub ipv4: String,
    /// IPv6 CIDR, where the host has IPv6.
    pub ipv6: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Name.
    pub name: String,
    /// Name of the bridge on the host: `podman1`.
    pub bridge: String,
    /// Whether its containers find each other by name.
    pub dns: bool,
    /// CIDRs of both families.
    pub subnets: Vec<String>,
    /// Gateways, one for each subnet that has one.
    pub gateways: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Networks that carry all of `labels` (`key` or `key=value`); all of them without labels.
    pub async fn networks(&self, labels: &[&str]) -> EngineResult<Vec<Network>> {
        let filters = label_filter(labels);
        let query = [("filters", filters.as_str())];
        let rows: Option<Vec<Row>> =
            self.libpod.get("list networks", "networks/json", &query).await?;
        Ok(rows.unwrap_or_default().into_iter().map(Row::into_network).collect())
    }

    /// The network `name`, or `None`.
    pub async fn network(&self, name: &str) -> EngineResult<Option<Network>> {
        let action = format!("inspect network {name}");
        let row: Option<Row> =
            optional(self.libpod.get(&action, &format!("networks/{name}/json"), &[]).await)?;
        Ok(row.map(Row::into_network))
    }

    /// Podman's own description of a network, for comparisons and evidence.
    pub async fn network_raw(&self, name: &str) -> EngineResult<Value> {
        let action = format!("inspect network {name}");
        self.libpod.get(&action, &format!("networks/{name}/json"), &[]).await
    }

    /// Makes a network. One of that name, or with an overlapping subnet, is refused.
    pub async fn create_network(&self, spec: &NetworkSpec) -> EngineResult<Network> {
        let subnets: Vec<Value> = std::iter::once(&spec.ipv4)
            .chain(&spec.ipv6)
            .map(|subnet| json!({ "subnet": subnet }))
            .collect();
        let body = json!({
            "name": spec.name,
            "driver": "bridge",
            "dns_enabled": true,
            "ipv6_enabled": spec.ipv6.is_some(),
            "subnets": subnets,
            "labels": spec.labels,
        });
        let action = format!("create network {}", spec.name);
        let row: Row = self.libpod.post(&action, "networks/create", &body).await?;
        Ok(row.into_network())
    }

    /// Removes a network; one that is gone is success, one in use is refused.
    pub async fn remove_network(&self, name: &str) -> EngineResult<()> {
        let action = format!("remove network {name}");
        self.libpod.delete(&action, &format!("networks/{name}"), &[]).await
    }
}

#[derive(Deserialize)]
struct Row {
    name: String,
    #[serde(default)]
    network_interface: String,
    #[serde(default)]
    dns_enabled: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    subnets: Vec<RowSubnet>,
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RowSubnet {
    subnet: String,
    #[serde(default)]
    gateway: Option<String>,
}

impl Row {
    fn into_network(self) -> Network {
        Network {
            name: self.name,
            bridge: self.network_interface,
            dns: self.dns_enabled,
            gateways: self.subnets.iter().filter_map(|subnet| subnet.gateway.clone()).collect(),
            subnets: self.subnets.into_iter().map(|subnet| subnet.subnet).collect(),
            labels: self.labels,
        }
    }
}
