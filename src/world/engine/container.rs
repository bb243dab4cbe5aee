//! Containers as they are, and their life after creation.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bollard::query_parameters::StopContainerOptionsBuilder;
use serde::{Deserialize, Deserializer, Serialize};

use super::error::{EngineError, EngineResult, optional};
use super::libpod::label_filter;
use super::{Engine, PublishedPort};

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Ended or stopped.
    Exited,
    /// Something in between or unusual, in Podman's word: `paused`, `stopping`, `removing`.
    Other(String),
}

impl State {
    fn parse(text: &str) -> State {
        match text {
            "created" | "configured" | "initialized" => State::Created,
            "running" => State::Running,
            "exited" | "stopped" => State::Exited,
            other => State::Other(other.to_owned()),
        }
    }
}

/// A container as lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerLine {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Name of its image at creation.
    pub image: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: State,
    /// Networks it is on.
    pub networks: Vec<String>,
}

/// A container with everything `pipe` wants to know.
#[derive(Clone, Debug, Serialize)]
pub struct Container {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Name of its image at creation.
    pub image: String,
    /// Id of its image, without `sha256:`.
    pub image_id: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Environment, as `NAME=value`.
    pub env: Vec<String>,
    /// Where it is in its life.
    pub state: State,
    /// Exit code of its last run.
    pub exit_code: i64,
    /// Process id on the engine's host; 0 when not running.
    pub pid: u32,
    /// When it last started, RFC 3339; year 1 if never.
    pub started_at: String,
    /// Its addresses by network; **empty while it does not run**, static ones too.
    pub networks: BTreeMap<String, Addresses>,
    /// Published ports.
    pub ports: Vec<PublishedPort>,
    /// Volumes and host folders in it (not tmpfs).
    pub mounts: Vec<MountPoint>,
}

/// Addresses of a running container on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

/// A volume or host folder in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"))]
pub struct MountPoint {
    /// `volume` or `bind`.
    #[serde(rename(deserialize = "Type"))]
    pub kind: String,
    /// The volume's name; empty for a host folder.
    #[serde(default)]
    pub name: String,
    /// Path on the engine's host.
    #[serde(default)]
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Mount options.
    #[serde(default, deserialize_with = "null_is_default")]
    pub options: Vec<String>,
    /// Writable.
    #[serde(default, rename(deserialize = "RW"))]
    pub writable: bool,
}

impl Engine {
    /// Containers, running or not, that carry all of `labels` (`key` or `key=value`).
    pub async fn containers(&self, labels: &[&str]) -> EngineResult<Vec<ContainerLine>> {
        let filters = label_filter(labels);
        let query = [("all", "true"), ("filters", filters.as_str())];
        let rows: Option<Vec<Row>> =
            self.libpod.get("list containers", "containers/json", &query).await?;
        Ok(rows.unwrap_or_default().into_iter().map(Row::into_line).collect())
    }

    /// The container `name`, or `None`.
    pub async fn inspect(&self, name: &str) -> EngineResult<Option<Container>> {
        let raw = optional(self.inspect_raw(name).await)?;
        let action = || format!("inspect container {name}");
        raw.map(|raw| {
            let inspected: Inspected = serde_json::from_value(raw)
                .map_err(|e| EngineError::new(super::Fault::Malformed, action(), e))?;
            Ok(inspected.into_container())
        })
        .transpose()
    }

    /// Podman's own description of a container, for comparisons and evidence.
    pub async fn inspect_raw(&self, name: &str) -> EngineResult<serde_json::Value> {
        let action = format!("inspect container {name}");
        self.libpod.get(&action, &format!("containers/{name}/json"), &[]).await
    }

    /// Starts a container; one that runs already is success.
    pub async fn start(&self, name: &str) -> EngineResult<()> {
        let action = format!("start container {name}");
        let started = self.docker.start_container(name, None).await;
        started.map_err(|error| EngineError::from_bollard(&action, error))
    }

    /// Stops a container: its stop signal, then SIGKILL after `grace` (whole seconds). One that
    /// does not run is success.
    pub async fn stop(&self, name: &str, grace: Duration) -> EngineResult<()> {
        let action = format!("stop container {name}");
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        // The call lasts as long as the stop does.
        let docker = self.docker.clone().with_timeout(super::CHANGE_TIMEOUT + grace);
        let stopped = docker.stop_container(name, Some(options)).await;
        stopped.map_err(|error| EngineError::from_bollard(&action, error))
    }

    /// Kills and removes a container with its anonymous volumes; one that is gone is success.
    pub async fn remove(&self, name: &str) -> EngineResult<()> {
        let action = format!("remove container {name}");
        let query = [("force", "true"), ("v", "true"), ("timeout", "0")];
        self.libpod.delete(&action, &format!("containers/{name}"), &query).await
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    id: String,
    #[serde(default, deserialize_with = "null_is_default")]
    names: Vec<String>,
    image: String,
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
    state: String,
    #[serde(default, deserialize_with = "null_is_default")]
    networks: Vec<String>,
}

impl Row {
    fn into_line(self) -> ContainerLine {
        ContainerLine {
            name: self.names.into_iter().next().unwrap_or_default(),
            id: self.id,
            image: self.image,
            labels: self.labels,
            state: State::parse(&self.state),
            networks: self.networks,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    image: String,
    image_name: String,
    config: InspectedConfig,
    state: InspectedState,
    host_config: InspectedHost,
    #[serde(default, deserialize_with = "null_is_default")]
    mounts: Vec<MountPoint>,
    network_settings: InspectedNetworks,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    env: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    status: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    started_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHost {
    #[serde(default, deserialize_with = "null_is_default")]
    port_bindings: BTreeMap<String, Option<Vec<InspectedBinding>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedBinding {
    host_ip: String,
    host_port: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedNetworks {
    #[serde(default, deserialize_with = "null_is_default")]
    networks: BTreeMap<String, InspectedNetwork>,
}

#[derive(Deserialize)]
struct InspectedNetwork {
    #[serde(default, rename = "IPAddress")]
    ipv4: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    ipv6: String,
}

impl Inspected {
    fn into_container(self) -> Container {
        let networks = self.network_settings.networks.into_iter().map(|(name, network)| {
            let (ipv4, ipv6) = (network.ipv4.parse().ok(), network.ipv6.parse().ok());
            (name, Addresses { ipv4, ipv6 })
        });
        Container {
            id: self.id,
            name: self.name.trim_start_matches('/').to_owned(),
            image: self.image_name,
            image_id: self.image,
            labels: self.config.labels,
            env: self.config.env,
            state: State::parse(&self.state.status),
            exit_code: self.state.exit_code,
            pid: self.state.pid,
            started_at: self.state.started_at,
            networks: networks.collect(),
            ports: published(self.host_config.port_bindings),
            mounts: self.mounts,
        }
    }
}

/// `{"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "41509"}]}`; an empty address means all.
fn published(bindings: BTreeMap<String, Option<Vec<InspectedBinding>>>) -> Vec<PublishedPort> {
    let ports = bindings.into_iter().flat_map(|(port, bindings)| {
        let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
        let (container_port, udp) = (number.parse::<u16>().ok(), protocol == "udp");
        bindings.unwrap_or_default().into_iter().filter_map(move |binding| {
            let host_ip = match binding.host_ip.as_str() {
                "" => Ipv4Addr::UNSPECIFIED.into(),
                address => address.parse().ok()?,
            };
            let host_port = binding.host_port.parse().ok()?;
            Some(PublishedPort { host_ip, host_port, container_port: container_port?, udp })
        })
    });
    ports.collect()
}

/// Go writes an empty list or map as `null`.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
