//! The registry of the local cache: one container for all clusters, its configuration, what it can.
//!
//! ```text
//!  pipe ── 127.0.0.1:<port> ──▶ pipe-registry ◀── <address>:5000 ── nodes
//!                                   │
//!                              volume pipe-registry: zot/ or distribution/
//! ```
//!
//! Zot is the registry. Where its image cannot be had, the CNCF distribution registry stands in: it
//! has no referrers API, and who may read may write. What nodes run is guarded by digests and
//! signatures with both.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::labels;
use crate::world::engine::{
    Container, ContainerSpec, FileToPut, PublishedPort, Ulimit, VolumeMount,
};
use crate::world::host::Host;

/// The container, and its volume.
pub const NAME: &str = "pipe-registry";

/// The container that frees space, while the other does not serve.
pub const COLLECTOR: &str = "pipe-registry-collector";

/// The image: 2.1.19 is the least that binds signatures to digests.
pub const IMAGE: &str = "ghcr.io/project-zot/zot:v2.1.20";

/// Where it listens, in its container.
pub const PORT: u16 = 5000;

/// Who may write, on Zot.
pub const USER: &str = "pipe";

/// Where the volume is mounted. Both registries lay out their stores differently.
const STORE: &str = "/var/lib/pipe-registry";

/// Configuration of the distribution registry.
const CONFIG: &str = "/etc/distribution/config.yml";

/// Seconds until it is killed: what is stored is stored already.
const STOP_TIMEOUT: u32 = 10;

/// SIGTERM.
const STOP_SIGNAL: u32 = 15;

/// Begins the repositories that Zot fills by itself, as nodes ask for what is in no other. Apart from the
/// rest: Zot would hold every question for what the cache lacks until an upstream registry has answered,
/// and nodes that enforce signatures are not told of these.
pub const ON_DEMAND: &str = "on-demand";

/// How long what was fetched on demand is kept after somebody last pulled it.
const ON_DEMAND_KEPT: &str = "720h";

/// Registries that Zot asks itself; their names follow [`ON_DEMAND`] in repositories.
const UPSTREAMS: [(&str, &str); 6] = [
    ("docker.io", "https://registry-1.docker.io"),
    ("ghcr.io", "https://ghcr.io"),
    ("quay.io", "https://quay.io"),
    ("registry.k8s.io", "https://registry.k8s.io"),
    ("gcr.io", "https://gcr.io"),
    ("public.ecr.aws", "https://public.ecr.aws"),
];

/// Which registry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Software {
    /// Zot.
    Zot,
    /// The CNCF distribution registry, in its place.
    Distribution,
}

impl Software {
    /// As the label has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Software::Zot => "zot",
            Software::Distribution => "distribution",
        }
    }

    /// Reads the label.
    pub fn parse(text: &str) -> Option<Software> {
        [Software::Zot, Software::Distribution].into_iter().find(|it| it.as_str() == text)
    }

    /// What it does not protect, for people.
    pub const fn unprotected(self) -> Option<&'static str> {
        match self {
            Software::Zot => None,
            Software::Distribution => {
                Some("whoever reaches it may write to it: only signatures tell what is ours")
            }
        }
    }
}

/// The address of a container of ours on the clusters' network, running or not.
pub fn address(container: &Container) -> Option<Ipv4Addr> {
    container.labels.get(labels::REGISTRY_ADDRESS)?.parse().ok()
}

/// The port of a container of ours on the host's loopback.
pub fn port(container: &Container) -> Option<u16> {
    container.labels.get(labels::REGISTRY_PORT)?.parse().ok()
}

/// What the container is made from.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which registry.
    pub software: Software,
    /// Engine reference of its image.
    pub image: String,
    /// Engine network.
    pub network: String,
    /// Its address there.
    pub address: Ipv4Addr,
    /// The same, where the network has IPv6.
    pub address6: Option<Ipv6Addr>,
    /// Its port on the host's loopback.
    pub host_port: u16,
    /// Password of [`USER`] as bcrypt has it.
    pub password_hash: String,
    /// Proxies that Zot needs to reach registries.
    pub env: BTreeMap<String, String>,
}

impl Wanted {
    /// The container.
    pub fn container(&self, host: &Host) -> ContainerSpec {
        let mut all = labels::ours(None);
        all.extend(
            [
                (labels::REGISTRY, self.software.as_str().to_owned()),
                (labels::REGISTRY_ADDRESS, self.address.to_string()),
                (labels::REGISTRY_PORT, self.host_port.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        ContainerSpec {
            name: NAME.to_owned(),
            hostname: NAME.to_owned(),
            image: self.image.clone(),
            stop_signal: Some(STOP_SIGNAL),
            bare: true,
            env: self.env.clone(),
            labels: all,
            volumes: vec![store()],
            network: self.network.clone(),
            ipv4: Some(self.address),
            ipv6: self.address6,
            ports: vec![PublishedPort {
                host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                host_port: self.host_port,
                container_port: PORT,
                udp: false,
            }],
            ulimits: Ulimit::needed(host),
            stop_timeout: STOP_TIMEOUT,
            ..ContainerSpec::default()
        }
    }

    /// What lies in it before it starts.
    pub fn files(&self) -> Vec<FileToPut> {
        match self.software {
            Software::Zot => vec![
                FileToPut::new("/etc/zot/config.json", 0o644, zot().to_string()),
                FileToPut::new(
                    "/etc/zot/htpasswd",
                    0o600,
                    format!("{USER}:{}\n", self.password_hash),
                ),
            ],
            Software::Distribution => {
                vec![FileToPut::new(CONFIG, 0o644, distribution())]
            }
        }
    }
}

/// What frees space in the store of the stand-in, while that does not serve.
#[derive(Clone, Debug)]
pub struct Collector {
    /// Engine reference of its image: the very one that serves.
    pub image: String,
    /// Engine network, of which it has no use.
    pub network: String,
}

impl Collector {
    /// The container; it ends by itself.
    pub fn container(&self, host: &Host) -> ContainerSpec {
        ContainerSpec {
            name: COLLECTOR.to_owned(),
            hostname: COLLECTOR.to_owned(),
            image: self.image.clone(),
            // What no tag leads to goes too: whoever runs it has given a tag to all that stays.
            entrypoint: [
                "/bin/registry",
                "garbage-collect",
                "--delete-untagged",
                "--quiet",
                CONFIG,
            ]
            .map(str::to_owned)
            .to_vec(),
            bare: true,
            labels: labels::ours(None),
            volumes: vec![store()],
            network: self.network.clone(),
            ulimits: Ulimit::needed(host),
            stop_timeout: STOP_TIMEOUT,
            ..ContainerSpec::default()
        }
    }

    /// What lies in it before it starts.
    pub fn files(&self) -> Vec<FileToPut> {
        vec![FileToPut::new(CONFIG, 0o644, distribution())]
    }
}

fn store() -> VolumeMount {
    VolumeMount { volume: NAME.to_owned(), target: STORE.to_owned(), options: Vec::new() }
}

/// An index is kept whole while images of other platforms are not: both are told to take that.
fn distribution() -> String {
    format!(
        "version: 0.1\n\
         log: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage:\n\
         \x20 filesystem: {{rootdirectory: {STORE}/distribution}}\n\
         \x20 delete: {{enabled: true}}\n\
         \x20 maintenance: {{uploadpurging: {{enabled: true, age: 24h, interval: 24h, dryrun: false}}}}\n\
         http: {{addr: \":{PORT}\"}}\n\
         validation: {{manifests: {{indexes: {{platforms: none}}}}}}\n"
    )
}

fn zot() -> serde_json::Value {
    let upstream = |(name, url): (&str, &str)| {
        json!({
            "urls": [url], "onDemand": true, "tlsVerify": true,
            "maxRetries": 1, "retryDelay": "1s",
            "content": [{"prefix": "**", "destination": format!("/{ON_DEMAND}/{name}")}],
        })
    };
    json!({
        "distSpecVersion": "1.1.1",
        "storage": {
            "rootDirectory": format!("{STORE}/zot"), "dedupe": true,
            "gc": true, "gcDelay": "24h", "gcInterval": "24h",
            "retention": {"policies": [
                {
                    "repositories": [format!("{ON_DEMAND}/**")],
                    "deleteReferrers": true, "deleteUntagged": true,
                    "keepTags": [{"patterns": [".*"], "pulledWithin": ON_DEMAND_KEPT}],
                },
                // Only `pipe images prune` removes any of these: it knows what locks name.
                {
                    "repositories": ["**"], "deleteReferrers": false, "deleteUntagged": false,
                    "keepTags": [{"patterns": [".*"]}],
                },
            ]},
        },
        "http": {
            "address": "0.0.0.0", "port": PORT.to_string(), "compat": ["docker2s2"],
            "auth": {"htpasswd": {"path": "/etc/zot/htpasswd"}},
            "accessControl": {"repositories": {"**": {
                "anonymousPolicy": ["read"],
                "policies": [{"users": [USER], "actions": ["read", "create", "update", "delete"]}],
            }}},
        },
        "log": {"level": "warn"},
        "extensions": {"sync": {"enable": true, "registries": UPSTREAMS.map(upstream)}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        let wanted = |software| Wanted {
            software,
            image: IMAGE.to_owned(),
            network: "kind".to_owned(),
            address: Ipv4Addr::new(10, 89, 0, 250),
            address6: None,
            host_port: 41000,
            password_hash: "$2b$10$hash".to_owned(),
            env: BTreeMap::new(),
        };
        let mut text = String::new();
        for software in [Software::Zot, Software::Distribution] {
            for file in wanted(software).files() {
                let content = String::from_utf8(file.content).unwrap();
                let content = match serde_json::from_str::<serde_json::Value>(&content) {
                    Ok(json) => serde_json::to_string_pretty(&json).unwrap(),
                    Err(_) => content,
                };
                text += &format!("== {} {:o}\n{content}\n", file.path, file.mode);
            }
        }
        insta::assert_snapshot!(text);
        let container = wanted(Software::Zot).container(&Host::measure());
        assert!(!container.labels.contains_key(labels::CLUSTER), "it is no cluster's");
        assert_eq!(container.ports[0].host_ip, IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
