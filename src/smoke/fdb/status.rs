//! `status json`: the few fields that say whether one process is a whole database. Its form may gain
//! and lose fields with every release, so each may be missing, and a missing one proves nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::smoke::door;

/// The name of a recovery that is over.
const RECOVERED: &str = "fully_recovered";

/// What this chart configures.
const REDUNDANCY: &str = "single";

/// What was read of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    client: Client,
    cluster: Cluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Client {
    database_status: DatabaseStatus,
    coordinators: Coordinators,
    messages: Vec<Message>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DatabaseStatus {
    available: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Coordinators {
    quorum_reachable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cluster {
    recovery_state: State,
    data: Data,
    configuration: Configuration,
    database_lock_state: LockState,
    generation: u64,
    processes: BTreeMap<String, Process>,
    messages: Vec<Message>,
    tenants: Tenants,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    name: String,
    description: String,
    healthy: bool,
}

impl State {
    fn shown(&self) -> String {
        let State { name, description, .. } = self;
        match (name.as_str(), description.as_str()) {
            ("", _) => "its state is not known".to_owned(),
            (name, "") => name.to_owned(),
            (name, description) => format!("{name} ({description})"),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    state: State,
    total_kv_size_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tenants {
    num_tenants: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    redundancy_mode: String,
    storage_engine: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LockState {
    locked: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process {
    address: String,
    version: String,
    excluded: bool,
    locality: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    name: String,
    description: String,
}

impl Status {
    /// Reads what `fdbcli` printed: the document alone, or nothing of it.
    pub(crate) fn parse(text: &str) -> Result<Status, String> {
        // Warnings of a slow cluster stand before it.
        let start = text.find('{').ok_or_else(|| {
            let start: String = text.trim().chars().take(100).collect();
            format!("no document in {start:?}")
        })?;
        let document = text.get(start..).unwrap_or_default();
        let mut documents = serde_json::Deserializer::from_str(document).into_iter::<Status>();
        match documents.next() {
            Some(Ok(status)) => Ok(status),
            Some(Err(error)) => Err(format!("status json cannot be read: {error}")),
            None => Err("status json is empty".to_owned()),
        }
    }

    /// What keeps it from being one whole database of a pod of `component`; nothing if it is.
    pub(super) fn faults(&self, component: &str) -> Vec<String> {
        let Status { client, cluster } = self;
        let mut faults = Vec::new();
        let mut require = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        require(client.database_status.available, "the database is not available".to_owned());
        require(
            client.coordinators.quorum_reachable,
            "no quorum of coordinators is reachable".to_owned(),
        );
        let recovery = &cluster.recovery_state;
        require(recovery.name == RECOVERED, format!("recovery is not over: {}", recovery.shown()));
        let data = &cluster.data.state;
        require(data.healthy, format!("data is not healthy: {}", data.shown()));
        require(!cluster.database_lock_state.locked, "the database is locked".to_owned());
        let mode = &cluster.configuration.redundancy_mode;
        require(mode == REDUNDANCY, format!("redundancy is {mode:?} instead of {REDUNDANCY:?}"));
        let processes = cluster.processes.len();
        require(processes == 1, format!("{processes} processes instead of 1"));
        for process in cluster.processes.values() {
            let pod = process.locality.get("instance_id").and_then(Option::as_deref);
            let pod = pod.unwrap_or("no instance");
            require(
                door::is_pod_of(component, pod),
                format!("process {} is {pod}, which is no pod of {component}", process.address),
            );
            require(!process.excluded, format!("process {} is excluded", process.address));
        }
        // They say why; alone they are no fault, since some only inform.
        if !faults.is_empty() {
            let messages = client.messages.iter().chain(&cluster.messages);
            faults.extend(messages.map(|message| {
                let Message { name, description } = message;
                format!("it says {name}: {}", description.trim())
            }));
        }
        faults
    }

    /// Whether it takes transactions.
    pub(crate) fn is_available(&self) -> bool {
        self.client.database_status.available
    }

    /// Whether somebody keeps all others out.
    pub(crate) fn is_locked(&self) -> bool {
        self.cluster.database_lock_state.locked
    }

    /// What keys and values come to, about: it is counted now and then.
    pub(crate) fn bytes(&self) -> u64 {
        self.cluster.data.total_kv_size_bytes
    }

    /// How many tenants share its keys.
    pub(crate) fn tenants(&self) -> u64 {
        self.cluster.tenants.num_tenants
    }

    /// Counts the recoveries of a database; each start of its process is one.
    pub(super) fn generation(&self) -> u64 {
        self.cluster.generation
    }

    /// The version of its one process.
    pub(crate) fn version(&self) -> Option<&str> {
        let version = self.cluster.processes.values().next()?.version.as_str();
        (!version.is_empty()).then_some(version)
    }

    /// On one line.
    pub(super) fn summary(&self) -> String {
        let Cluster { configuration, processes, generation, .. } = &self.cluster;
        let address = processes.values().next().map(|process| process.address.as_str());
        format!(
            "FoundationDB {} at {}, {} {}, generation {generation}",
            self.version().unwrap_or("of no version"),
            address.unwrap_or("no address"),
            configuration.redundancy_mode,
            configuration.storage_engine,
        )
    }
}

#[cfg(test)]
mod tests;
