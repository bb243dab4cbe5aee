//! A cluster file's `ports:`: doors from the host to a node, beside those of the catalogue.

use std::net::{IpAddr, Ipv4Addr};

use super::problem::{Position, suggestion};
use super::read::{Cursor, Fields};
use super::{ExtraPort, HostPorts, Node, NodeName, Protocol, name, port};

/// Every key of a port.
pub const KEYS: &[&str] =
    &["name", "hostPort", "nodePort", "containerPort", "protocol", "address", "node"];

/// Where Kubernetes' NodePorts lie.
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;

/// Reads the list; a port that clashes with another one of this file is a problem.
pub fn read(fields: &Fields<'_>, nodes: &[Node], host_ports: HostPorts) -> Vec<ExtraPort> {
    let mut seen: Vec<(ExtraPort, Position)> = Vec::new();
    for item in fields.optional("ports").and_then(|list| list.items()).into_iter().flatten() {
        let Some(port) = read_one(item, nodes) else { continue };
        if let Some((_, first)) = seen.iter().find(|(other, _)| clash(other, &port)) {
            let what = format!(
                "hostPort {}/{} stands twice; the first is on line {}",
                port.host_port,
                port.protocol.as_str(),
                first.line
            );
            item.problem(what, "give each a port or an address of its own");
        }
        if let Some(name) = &port.name
            && let Some((_, first)) = seen.iter().find(|(other, _)| other.name == port.name)
        {
            let what =
                format!("a second port is called {name}; the first is on line {}", first.line);
            item.problem(what, "give each a name of its own, or none");
        }
        // At free ports the catalogue gives way.
        if host_ports == HostPorts::Default
            && port.protocol == Protocol::Tcp
            && covers(port.address, IpAddr::V4(Ipv4Addr::LOCALHOST))
            && let Some(entry) = port::CATALOGUE.iter().find(|e| e.host_port == port.host_port)
        {
            let what = format!("hostPort {} belongs to {}", port.host_port, entry.name);
            item.problem(what, "choose another, or set hostPorts: auto, which takes free ones");
        }
        seen.push((port, item.at()));
    }
    seen.into_iter().map(|(port, _)| port).collect()
}

/// Whether the host could not give both.
fn clash(one: &ExtraPort, other: &ExtraPort) -> bool {
    let same = one.host_port == other.host_port && one.protocol == other.protocol;
    same && (covers(one.address, other.address) || covers(other.address, one.address))
}

/// Whether who listens on `one` hears what is sent to `other`.
fn covers(one: IpAddr, other: IpAddr) -> bool {
    one == other || (one.is_unspecified() && one.is_ipv4() == other.is_ipv4())
}

fn read_one(item: Cursor<'_>, nodes: &[Node]) -> Option<ExtraPort> {
    let fields = item.fields(KEYS, &[])?;
    let any_port = 1..=u64::from(u16::MAX);
    let number = |cursor: Cursor<'_>, range: &std::ops::RangeInclusive<u64>| {
        cursor.whole(*range.start(), *range.end()).and_then(|port| u16::try_from(port).ok())
    };
    let host_port = fields.required("hostPort", "8080").and_then(|c| number(c, &any_port));
    let node_port = fields.optional("nodePort").map(|c| number(c, &NODE_PORTS));
    let container_port = fields.optional("containerPort").map(|c| number(c, &any_port));
    let inside = match (node_port, container_port) {
        (Some(port), None) | (None, Some(port)) => port,
        (both, _) => {
            let count = if both.is_some() { "both" } else { "neither" };
            item.problem(
                format!("a port needs nodePort or containerPort, and here stand {count}"),
                "write nodePort: 30080 for a Service of type NodePort, containerPort: 80 for any \
                 other port of the node",
            );
            None
        }
    };
    let protocol = match fields.optional("protocol") {
        None => Some(Protocol::Tcp),
        Some(c) => c.choice(&[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)], &["sctp"]),
    };
    let address = match fields.optional("address") {
        None => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(cursor) => cursor.parsed(
            |text| text.parse().map_err(|_| format!("{text:?} is not an IP address")),
            "write 127.0.0.1 for this host alone, or 0.0.0.0 for everybody who reaches it",
        ),
    };
    let name = fields.optional("name").and_then(|cursor| {
        let text = cursor.text()?;
        if let Some(fault) = name::dns_label_fault(text, 63) {
            cursor.problem(format!("the port's name {text:?} {fault}"), "use a name such as web");
            return None;
        }
        Some(text.to_owned())
    });
    let node = node_name(&fields, nodes);
    Some(ExtraPort {
        name,
        address: address?,
        host_port: host_port?,
        node_port: inside?,
        protocol: protocol?,
        node,
    })
}

/// The node called in `node:`; `None` where none is named, or there is none of that name.
pub(super) fn node_name(fields: &Fields<'_>, nodes: &[Node]) -> Option<NodeName> {
    let cursor = fields.optional("node")?;
    let text = cursor.text()?;
    let found = nodes.iter().find(|node| node.name.as_str() == text);
    if found.is_none() {
        let known: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        cursor.problem(format!("there is no node {text:?}"), suggestion(text, &known));
    }
    found.map(|node| node.name.clone())
}
