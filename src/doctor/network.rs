//! Ports, forwarding, proxies.

use super::needs::{NeededPort, Needs, PortHolder, PublishedPort};
use super::{Facts, Finding, codes};

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let needs = &facts.needs;
    let mut findings: Vec<Finding> = needs.ports.iter().filter_map(taken).collect();
    let first = host.kernel_features.unprivileged_port_start.filter(|_| facts.rootless());
    for port in needs.ports.iter().filter(|port| first.is_some_and(|first| port.port < first)) {
        let what = format!("port {} of component {} is for root only", port.port, port.component);
        findings.push(
            Finding::new(codes::PORT_PRIVILEGED, what)
                .seen(format!("net.ipv4.ip_unprivileged_port_start {}", first.unwrap_or(0)))
                .needed(format!("{} or less", port.port))
                .remedy(super::remedy::sysctl(
                    host,
                    "net.ipv4.ip_unprivileged_port_start",
                    u64::from(port.port),
                )),
        );
    }
    findings.extend(unpublishable(needs));
    let published = needs.published.iter().map(|port| port.shown.clone());
    let ports: Vec<String> =
        needs.ports.iter().map(|port| port.port.to_string()).chain(published).collect();
    if findings.is_empty() && !ports.is_empty() {
        let what = "the host ports of the cluster are free";
        findings.push(Finding::new(codes::PORTS_FREE, what).seen(ports.join(", ")));
    }
    if host.kernel_features.ip_forward == Some(false) && !facts.rootless() {
        let what = "forwarding is off; Podman switches it on with its first network";
        findings.push(Finding::new(codes::IP_FORWARD_OFF, what).seen("net.ipv4.ip_forward 0"));
    }
    findings.extend(proxies(facts));
    findings
}

/// A finding for each port that the cluster file publishes and that cannot be had.
pub fn unpublishable(needs: &Needs) -> Vec<Finding> {
    let cluster = needs.cluster.as_deref().unwrap_or_default();
    let finding = |port: &PublishedPort| {
        let fault = port.fault.as_ref()?;
        let what = format!("port {} that cluster {cluster} publishes {fault}", port.shown);
        let show = "stop what holds it: `ss -lntup` shows it; `pipe list` shows other clusters";
        let other = format!("or write another hostPort or address into clusters/{cluster}.yaml");
        Some(Finding::new(codes::PORT_TAKEN, what).remedy(show).remedy(other))
    };
    needs.published.iter().filter_map(finding).collect()
}

/// The finding for a port that somebody else has.
pub fn taken(port: &NeededPort) -> Option<Finding> {
    let holder = match &port.holder {
        PortHolder::Free => return None,
        PortHolder::Cluster(name) => format!("cluster {name} of pipe"),
        PortHolder::Program(Some(program)) => program.clone(),
        PortHolder::Program(None) => "another program".to_owned(),
    };
    let what = format!(
        "port {} ({}) of component {} is held by {holder}",
        port.port, port.name, port.component
    );
    let show = format!("stop what holds it: `ss -ltnp 'sport = :{}'` shows it", port.port);
    let stop = match &port.holder {
        PortHolder::Cluster(name) => format!("remove that cluster: pipe teardown {name}"),
        _ => show,
    };
    Some(Finding::new(codes::PORT_TAKEN, what).remedy(stop).remedy(
        "or set `hostPorts: auto` in the cluster file: free ports are then chosen and kept",
    ))
}

fn proxies(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let set = &facts.host.proxies;
    for bad in set.iter().filter(|proxy| !proxy.valid) {
        findings.push(
            Finding::new(codes::PROXY_INVALID, format!("{} is no address of a proxy", bad.name))
                .needed("http://proxy.example:3128")
                .remedy(format!("export {}=http://HOST:PORT, or unset {0}", bad.name)),
        );
    }
    let good: Vec<String> = set
        .iter()
        .filter(|proxy| proxy.valid)
        .map(|proxy| format!("{}={}", proxy.name, proxy.value))
        .collect();
    if !good.is_empty() {
        let what = "proxy variables are set; the engine pulls images by those of its own service";
        findings.push(Finding::new(codes::PROXY_SET, what).seen(good.join(" ")));
    }
    findings
}
