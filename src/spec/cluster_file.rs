//! `clusters/<name>.yaml` to a checked [`Cluster`].

use std::collections::BTreeMap;

use super::cidr::Cidr;
use super::node_file::{self, NODES_MAX, NodeFile};
use super::problem::Problems;
use super::read::{self, Cursor, Fields};
use super::source::SourceFile;
use super::{
    Arch, Cluster, ClusterName, HostPorts, NetworkMode, Node, NodeName, ProfileName, Provider,
    kubernetes, mount_file, patch_file, port_file, yaml,
};

/// Every key of a cluster file.
pub const KEYS: &[&str] = &[
    "apiVersion",
    "kind",
    "name",
    "provider",
    "profile",
    "hostPorts",
    "network",
    "podSubnet",
    "serviceSubnet",
    "kubernetes",
    "nodeImage",
    "ports",
    "mounts",
    "patches",
    "nodes",
];

/// Pods' range where the file names none; kind's own.
pub const POD_SUBNET: &str = "10.244.0.0/16";

/// Services' range where the file names none; kind's own.
pub const SERVICE_SUBNET: &str = "10.96.0.0/16";

/// Each node is given a range of this prefix out of the pods' range.
const NODE_PREFIX: u32 = 24;

/// What a cluster file holds, as far as it is sound.
pub struct ClusterFile {
    /// The profile it names, even where the rest is wrong: so that file is checked as well.
    pub profile: Option<ProfileName>,
    /// The cluster; may be short of what was noted as a problem.
    pub cluster: Option<Cluster>,
}

/// Reads a cluster file; every problem is noted.
pub fn read(source: &SourceFile, host_arch: Arch, problems: &Problems) -> ClusterFile {
    let mut file = ClusterFile { profile: None, cluster: None };
    let Some(part) = yaml::parse(&source.shown, &source.bytes, problems) else { return file };
    let root = Cursor::new(&source.shown, problems, &part);
    let Some(fields) = root.fields(KEYS, &[]) else { return file };
    let name = read::header(&fields, "Cluster", &source.name);
    let name = name.and_then(|c| {
        c.parsed(ClusterName::parse, "use at most 32 of a-z, 0-9 and '-', such as dev")
    });
    file.profile = fields
        .optional("profile")
        .and_then(|c| c.parsed(ProfileName::parse, "name a file of profiles/ without its ending"));
    let entries = read_nodes(&fields, host_arch);
    let (pod_subnet, service_subnet) = read_subnets(&fields, &entries);
    let provider = fields
        .optional("provider")
        .and_then(|c| c.choice(&[("kind", Provider::Kind)], &["k3d", "existing"]));
    let host_ports = fields
        .optional("hostPorts")
        .and_then(|c| c.choice(&[("default", HostPorts::Default), ("auto", HostPorts::Auto)], &[]));
    let network = fields.optional("network").and_then(|c| {
        let choices = [
            ("auto", NetworkMode::Auto),
            ("bundled", NetworkMode::Bundled),
            ("static", NetworkMode::Static),
            ("none", NetworkMode::None),
        ];
        c.choice(&choices, &[])
    });
    let host_ports = host_ports.unwrap_or(HostPorts::Default);
    // Without a name the rest is checked all the same; what nodes are called does not matter then.
    let nodes = expand(&entries, name.as_ref().map_or("unnamed", ClusterName::as_str));
    let (kubernetes, node_image) = kubernetes::read(&fields);
    let ports = port_file::read(&fields, &nodes, host_ports);
    let mounts = mount_file::read(&fields, &nodes, source.folder());
    let patches = patch_file::read(&fields);
    let Some(name) = name else { return file };
    file.cluster = Some(Cluster {
        name,
        provider: provider.unwrap_or(Provider::Kind),
        profile: file.profile.clone(),
        host_ports,
        network: network.unwrap_or(NetworkMode::Auto),
        pod_subnet,
        service_subnet,
        kubernetes,
        node_image,
        ports,
        mounts,
        patches,
        nodes,
    });
    file
}

/// The entries of `nodes:`, with a control plane and room for everybody.
fn read_nodes<'a>(fields: &Fields<'a>, host_arch: Arch) -> Vec<NodeFile<'a>> {
    let example = "[{name: core, controlPlane: true}]";
    let Some(list) = fields.required("nodes", example) else { return Vec::new() };
    let Some(items) = list.items() else { return Vec::new() };
    let mut entries = Vec::new();
    let mut unread = false;
    for item in items {
        match node_file::read(item, host_arch) {
            Some(entry) => entries.push(entry),
            None => unread = true,
        }
    }
    let count: u64 = entries.iter().map(|entry| entry.count).sum();
    if count > NODES_MAX {
        list.problem(format!("{count} nodes are too many"), format!("have at most {NODES_MAX}"));
        entries.clear();
        return entries;
    }
    if !unread && !entries.iter().any(|entry| entry.control_plane) {
        list.problem("no node is the control plane", "add controlPlane: true to one");
    }
    let closed =
        |entry: &NodeFile<'_>| entry.taints.iter().any(|taint| taint.effect != "PreferNoSchedule");
    if !unread && !entries.is_empty() && entries.iter().all(closed) {
        let what = "every node has a taint, so cluster DNS and components could run nowhere";
        list.problem(what, "leave one node without taints, accelerator and labelled arch");
    }
    entries
}

/// The pods' and the services' range, checked alone and against each other.
fn read_subnets(fields: &Fields<'_>, entries: &[NodeFile<'_>]) -> (String, String) {
    let nodes: u64 = entries.iter().map(|entry| entry.count).sum();
    let range = |key: &str, default: &str, least: u32, most: u32| {
        let cursor = fields.optional(key);
        let written = cursor.and_then(|c| {
            let cidr = c.parsed(Cidr::parse, &format!("write a range such as {default}"))?;
            if !(least..=most).contains(&cidr.prefix()) {
                let remedy = format!("use a prefix from /{least} to /{most}, such as {default}");
                c.problem(format!("{key} {cidr} has the wrong size"), remedy);
                return None;
            }
            Some((cidr, c))
        });
        let failed = cursor.is_some() && written.is_none();
        let cidr = written.map_or_else(|| Cidr::parse(default).ok(), |(cidr, _)| Some(cidr));
        (cidr.filter(|_| !failed), written.map(|(_, cursor)| cursor))
    };
    // The API server takes 2^20 service addresses at most, kubeadm 2^16 node ranges.
    let (pods, pods_cursor) = range("podSubnet", POD_SUBNET, NODE_PREFIX - 16, NODE_PREFIX);
    let (services, services_cursor) = range("serviceSubnet", SERVICE_SUBNET, 12, 28);
    if let (Some(pods), Some(cursor)) = (pods, pods_cursor)
        && nodes > 1 << (NODE_PREFIX - pods.prefix())
    {
        let remedy = format!("use a shorter prefix: each node needs a /{NODE_PREFIX}");
        cursor.problem(format!("podSubnet {pods} is too small for {nodes} nodes"), remedy);
    }
    if let (Some(pods), Some(services)) = (pods, services)
        && pods.overlaps(services)
        && let Some(cursor) = services_cursor.or(pods_cursor)
    {
        let what = format!("podSubnet {pods} and serviceSubnet {services} overlap");
        cursor
            .problem(what, format!("use ranges apart, such as {POD_SUBNET} and {SERVICE_SUBNET}"));
    }
    let text =
        |cidr: Option<Cidr>, default: &str| cidr.map_or(default.to_owned(), |c| c.to_string());
    (text(pods, POD_SUBNET), text(services, SERVICE_SUBNET))
}

/// Unrolls `count` and gives every node its place: control plane first, then the workers in file
/// order, called on the engine what kind calls them.
pub(super) fn expand(entries: &[NodeFile<'_>], cluster: &str) -> Vec<Node> {
    let mut taken: BTreeMap<NodeName, usize> = BTreeMap::new();
    let mut nodes = Vec::new();
    for entry in entries {
        let Some((base, cursor)) = &entry.name else { continue };
        for index in 1..=entry.count {
            let text = if index == 1 { base.to_string() } else { format!("{base}-{index}") };
            let Some(name) = NodeName::parse(&text)
                .map_err(|fault| cursor.problem(fault, "use a shorter name with count"))
                .ok()
            else {
                break;
            };
            if let Some(line) = taken.insert(name.clone(), cursor.at().line) {
                let what = format!("a second node is called {name}; the first is on line {line}");
                cursor.problem(what, "give each node a name of its own");
            }
            nodes.push(node(entry, name, cluster));
        }
    }
    nodes.sort_by_key(|node| !node.control_plane);
    let mut numbers = BTreeMap::new();
    for node in &mut nodes {
        let role = if node.control_plane { "control-plane" } else { "worker" };
        let number = numbers.entry(role).and_modify(|number| *number += 1).or_insert(1);
        node.host = match number {
            1 => format!("{cluster}-{role}"),
            number => format!("{cluster}-{role}{number}"),
        };
    }
    nodes
}

/// One node of an entry, still without its name on the engine.
fn node(entry: &NodeFile<'_>, name: NodeName, cluster: &str) -> Node {
    let mut labels = entry.labels.clone();
    for (key, value) in [
        ("app.kubernetes.io/managed-by", "pipe"),
        ("pipe.dev/cluster", cluster),
        ("pipe.dev/fidelity", entry.fidelity.as_str()),
        ("pipe.dev/node", name.as_str()),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    Node {
        name,
        host: String::new(),
        control_plane: entry.control_plane,
        fidelity: entry.fidelity,
        role: entry.role.clone(),
        zone: entry.zone.clone(),
        arch: entry.arch,
        accelerator: entry.accelerator.clone(),
        resources: entry.resources.clone(),
        labels,
        taints: entry.taints.clone(),
        added: None,
    }
}
