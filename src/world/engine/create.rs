//! A node container as a plain value, and how Podman is told to make it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Engine, EngineResult};
use crate::world::host::Host;

/// What a container is made of. Everything not said here is the engine's default or the image's.
///
/// The cgroup namespace is always private, the restart policy always "none", and the number of
/// processes unlimited: that is what kind's nodes need.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ContainerSpec {
    /// Name, unique on the engine.
    pub name: String,
    /// Host name inside.
    pub hostname: String,
    /// An image that the engine has.
    pub image: String,
    /// What is run, with its arguments; the image's own where it is empty.
    pub entrypoint: Vec<String>,
    /// The signal that asks it to end; the image's own where nothing is said.
    pub stop_signal: Option<u32>,
    /// Without the volumes that the image asks for.
    pub bare: bool,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Allocate a terminal, which systemd as PID 1 needs for its console.
    pub tty: bool,
    /// All capabilities and devices.
    pub privileged: bool,
    /// Folders that live in memory, with options such as `size=64m` (usually none).
    pub tmpfs: BTreeMap<String, String>,
    /// Named volumes.
    pub volumes: Vec<VolumeMount>,
    /// Host folders; see [`Bind::modules`].
    pub binds: Vec<Bind>,
    /// The one network it is on.
    pub network: String,
    /// Its address there; the engine chooses one otherwise, another at each start.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address there.
    pub ipv6: Option<Ipv6Addr>,
    /// Ports published on the host.
    pub ports: Vec<PublishedPort>,
    /// Limits that differ from the engine's default; see [`Ulimit::needed`].
    pub ulimits: Vec<Ulimit>,
    /// Seconds between the stop signal and SIGKILL when somebody else stops it.
    pub stop_timeout: u32,
}

/// A named volume in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeMount {
    /// Name of the volume.
    pub volume: String,
    /// Where it is mounted.
    pub target: String,
    /// Mount options: a node's `/var` needs `suid`, `exec`, `dev`, which volumes lack otherwise.
    pub options: Vec<String>,
}

/// A host folder or file in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bind {
    /// Path on the host; must exist.
    pub source: PathBuf,
    /// Where it is mounted.
    pub target: String,
    /// Whether the container can only read it.
    pub read_only: bool,
    /// `rprivate`, `rslave` or `rshared`; the engine's default where nothing is said.
    pub propagation: Option<&'static str>,
    /// Whether the engine gives it an SELinux label that all its containers may use.
    pub relabel: bool,
}

impl Bind {
    /// `/lib/modules`, which nodes get where the host has one (`present`).
    pub fn modules(present: bool) -> Option<Bind> {
        let target = "/lib/modules";
        present.then(|| Bind::read_only(target, target))
    }

    /// A host folder that the container can only read.
    pub fn read_only(source: impl Into<PathBuf>, target: &str) -> Bind {
        Bind {
            source: source.into(),
            target: target.to_owned(),
            read_only: true,
            propagation: None,
            relabel: false,
        }
    }

    /// As mount options.
    fn options(&self) -> Vec<&'static str> {
        let mode = if self.read_only { "ro" } else { "rw" };
        let relabel = self.relabel.then_some("z");
        ["rbind", mode].into_iter().chain(self.propagation).chain(relabel).collect()
    }
}

/// A port published on the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PublishedPort {
    /// Address on the host.
    pub host_ip: IpAddr,
    /// Port on the host.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// UDP; else TCP.
    pub udp: bool,
}

/// A resource limit, soft and hard alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ulimit {
    /// `nofile` or `nproc`.
    pub name: String,
    /// The limit.
    pub value: u64,
}

impl Ulimit {
    /// What rootful Podman asks for when nothing is said.
    const ENGINE_DEFAULT: u64 = 1_048_576;

    /// The limits to state on `host`: those where the engine cannot give what it asks for by
    /// itself, which the start of the container would be refused with EPERM for.
    pub fn needed(host: &Host) -> Vec<Ulimit> {
        // Podman 4 lowers its own process limit to the largest process id for good.
        let nproc = [host.hard_nproc, host.pid_max].into_iter().flatten().min();
        [("nofile", host.hard_nofile), ("nproc", nproc)]
            .into_iter()
            .filter_map(|(name, hard)| Some((name, hard?)))
            .filter(|(_, hard)| *hard < Ulimit::ENGINE_DEFAULT)
            .map(|(name, value)| Ulimit { name: name.to_owned(), value })
            .collect()
    }
}

impl Engine {
    /// Makes a container, not started, and returns its id. A container of that name is
    /// [`super::Fault::Conflict`].
    pub async fn create_container(&self, spec: &ContainerSpec) -> EngineResult<String> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: String,
        }
        let action = format!("create container {}", spec.name);
        let created: Created =
            self.libpod.post(&action, "containers/create", &spec_generator(spec)).await?;
        Ok(created.id)
    }
}

/// Podman's `SpecGenerator`. Its lists must not carry what is not meant: `portmappings: []` and
/// absent are the same, but an empty `Networks` entry is not.
fn spec_generator(spec: &ContainerSpec) -> Value {
    let tmpfs = spec.tmpfs.iter().map(|(target, options)| {
        let options: Vec<&str> = options.split(',').filter(|o| !o.is_empty()).collect();
        json!({ "type": "tmpfs", "source": "tmpfs", "destination": target, "options": options })
    });
    let binds = spec.binds.iter().map(|bind| {
        json!({ "type": "bind", "source": bind.source, "destination": bind.target,
                "options": bind.options() })
    });
    let volumes = spec.volumes.iter().map(
        |mount| json!({ "Name": mount.volume, "Dest": mount.target, "Options": mount.options }),
    );
    let ports = spec.ports.iter().map(|port| {
        json!({ "host_ip": port.host_ip.to_string(), "host_port": port.host_port,
                "container_port": port.container_port, "protocol": if port.udp { "udp" } else { "tcp" } })
    });
    let ulimits = spec
        .ulimits
        .iter()
        .map(|limit| json!({ "type": limit.name, "soft": limit.value, "hard": limit.value }));
    let addresses: Vec<String> = (spec.ipv4.iter().map(ToString::to_string))
        .chain(spec.ipv6.iter().map(ToString::to_string))
        .collect();
    let mut generator = json!({
        "name": spec.name,
        "hostname": spec.hostname,
        "image": spec.image,
        "env": spec.env,
        "labels": spec.labels,
        "terminal": spec.tty,
        "privileged": spec.privileged,
        "cgroupns": { "nsmode": "private" },
        "mounts": tmpfs.chain(binds).collect::<Vec<_>>(),
        "volumes": volumes.collect::<Vec<_>>(),
        "netns": { "nsmode": "bridge" },
        "Networks": { &spec.network: { "static_ips": addresses } },
        "portmappings": ports.collect::<Vec<_>>(),
        "r_limits": ulimits.collect::<Vec<_>>(),
        "resource_limits": { "pids": { "limit": -1 } },
        "stop_timeout": spec.stop_timeout,
    });
    if !spec.entrypoint.is_empty() {
        generator["entrypoint"] = json!(spec.entrypoint);
        // Else the image's command would follow as arguments.
        generator["command"] = json!([]);
    }
    if let Some(signal) = spec.stop_signal {
        generator["stop_signal"] = json!(signal);
    }
    if spec.bare {
        generator["image_volume_mode"] = json!("ignore");
    }
    generator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_are_stated_only_where_the_host_is_tight() {
        let needed = |hard_nofile, hard_nproc, pid_max| -> String {
            let host = Host { hard_nofile, hard_nproc, pid_max, ..Host::default() };
            let limits = Ulimit::needed(&host);
            limits.iter().map(|limit| format!("{}={} ", limit.name, limit.value)).collect()
        };
        assert_eq!(needed(None, Some(1 << 20), Some(4_194_304)), "");
        assert_eq!(needed(Some(20_000), Some(96_365), None), "nofile=20000 nproc=96365 ");
        assert_eq!(needed(None, Some(96_365), Some(32_768)), "nproc=32768 ");
    }
}
