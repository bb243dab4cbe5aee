//! The well-known host ports. All are published when a cluster is made, so that a component added
//! later needs no new node.

use super::{Component, Port};

/// One well-known port: on the host, and the NodePort behind it. All are TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CataloguePort {
    /// Name that component files use: `nats-client`.
    pub name: &'static str,
    /// Port on 127.0.0.1 of the host, unless the cluster takes free ones.
    pub host_port: u16,
    /// Port of every node, and of the component's Service.
    pub node_port: u16,
}

const fn entry(name: &'static str, host_port: u16, node_port: u16) -> CataloguePort {
    CataloguePort { name, host_port, node_port }
}

/// Every port that a cluster publishes. The numbers are a contract with running clusters: add at the
/// end, change none. NodePorts lie in 30000–30085, from which Kubernetes hands out none by itself
/// while others are free.
pub const CATALOGUE: &[CataloguePort] = &[
    entry("nats-client", 4222, 30001),
    entry("nats-monitor", 8222, 30002),
    entry("clickhouse-http", 8123, 30003),
    entry("clickhouse-native", 9009, 30004),
    entry("s3", 9000, 30005),
    entry("cql", 9042, 30006),
    entry("fdb", 4500, 30007),
    entry("spare-1", 17001, 30011),
    entry("spare-2", 17002, 30012),
    entry("spare-3", 17003, 30013),
    entry("spare-4", 17004, 30014),
    entry("spare-5", 17005, 30015),
    entry("spare-6", 17006, 30016),
    entry("spare-7", 17007, 30017),
    entry("spare-8", 17008, 30018),
];

/// The entry called `name`.
pub fn by_name(name: &str) -> Option<&'static CataloguePort> {
    CATALOGUE.iter().find(|entry| entry.name == name)
}

impl Port {
    /// The catalogue's entry; `None` only for a `Port` that did not come from a checked file.
    pub fn entry(&self) -> Option<&'static CataloguePort> {
        by_name(&self.catalogue)
    }
}

impl Component {
    /// The catalogue's name of the port by which the component is proven.
    pub fn smoke_port(&self) -> Option<&str> {
        let name = self.definition.smoke.as_ref()?.port.as_ref()?;
        let port = self.definition.ports.iter().find(|port| port.name == *name)?;
        Some(&port.catalogue)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nothing_stands_twice_and_node_ports_are_in_the_static_band() {
        let unique = |numbers: Vec<u16>| numbers.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(unique(CATALOGUE.iter().map(|e| e.host_port).collect()), CATALOGUE.len());
        assert_eq!(unique(CATALOGUE.iter().map(|e| e.node_port).collect()), CATALOGUE.len());
        let names: BTreeSet<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        assert!(CATALOGUE.iter().all(|entry| (30_000..=30_085).contains(&entry.node_port)));
    }
}
