//! Whether a cluster's ranges of addresses are free on this host. Inside of the cluster they hide
//! whatever else has them: a company's network behind a VPN, or the very network of the nodes.

use crate::provider::kind;
use crate::spec::Cluster;
use crate::spec::cluster_file::{POD_SUBNET, SERVICE_SUBNET};
use crate::world::host::HostRoute;
use crate::world::network::Subnet;
use crate::{Error, Result};

/// A range that the cluster's file names, or leaves at its default.
pub(super) struct Range {
    /// The key of the file.
    key: &'static str,
    /// What it stands at where the file says nothing.
    default: &'static str,
    /// The range.
    pub(super) subnet: Subnet,
}

/// The cluster's ranges.
pub(super) fn own(cluster: &Cluster) -> Vec<Range> {
    let range =
        |key, default, text: &str| text.parse().ok().map(|subnet| Range { key, default, subnet });
    [
        range("podSubnet", POD_SUBNET, &cluster.pod_subnet),
        range("serviceSubnet", SERVICE_SUBNET, &cluster.service_subnet),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Refuses ranges that the host sends elsewhere, or that the network of the nodes lies in.
///
/// # Errors
/// [`crate::Kind::Host`] with each clash and a free range to write instead.
pub(super) fn check(cluster: &Cluster, network: Subnet, routes: &[HostRoute]) -> Result<()> {
    let ranges = own(cluster);
    let mut avoid: Vec<Subnet> = routes.iter().map(|route| route.subnet).collect();
    avoid.push(network);
    avoid.extend(ranges.iter().map(|range| range.subnet));
    let (mut causes, mut lines) = (Vec::new(), Vec::new());
    for range in &ranges {
        let Some(holder) = holder(range.subnet, network, routes) else { continue };
        let default = if range.default == range.subnet.to_string() { " (the default)" } else { "" };
        causes.push(format!("{} {}{default} overlaps {holder}", range.key, range.subnet));
        if let Some(free) = free(range.default, &avoid) {
            avoid.push(free);
            lines.push(format!("`{}: {free}`", range.key));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let what = format!("cluster {} would hide addresses that this host uses", cluster.name);
    let error = causes.into_iter().fold(Error::host("subnet-taken", what), Error::because);
    Err(match lines.is_empty() {
        true => error.hint(
            "write ranges that nothing here uses; `ip route show table all` shows what is used",
        ),
        false => error.hint(format!(
            "write {} into clusters/{}.yaml, which nothing here uses",
            lines.join(" and "),
            cluster.name
        )),
    })
}

/// Who has an address of `range`.
fn holder(range: Subnet, network: Subnet, routes: &[HostRoute]) -> Option<String> {
    if network.overlaps(range) {
        return Some(format!("the engine's network {} of the nodes, {network}", kind::NETWORK));
    }
    let route = routes.iter().find(|route| route.subnet.overlaps(range))?;
    Some(format!("this host's route to {} over {}", route.subnet, route.through))
}

/// The first private /16 behind `default` that overlaps nothing of `avoid`.
fn free(default: &str, avoid: &[Subnet]) -> Option<Subnet> {
    let default: Subnet = default.parse().ok()?;
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    let all: Vec<Subnet> = private
        .iter()
        .filter_map(|text| text.parse::<Subnet>().ok())
        .flat_map(|block| block.parts(16))
        .collect();
    let (before, behind): (Vec<_>, Vec<_>) = all.into_iter().partition(|part| *part < default);
    behind.into_iter().chain(before).find(|part| !avoid.iter().any(|used| used.overlaps(*part)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::source::Sources;
    use crate::spec::{Arch, load};

    fn check_dev(pods: &str, network: &str, routes: &[(&str, &str)]) -> String {
        let mut cluster = load(&Sources::built_in(), "dev", None, Arch::Amd64).unwrap().cluster;
        cluster.pod_subnet = pods.to_owned();
        let route = |(subnet, through): &(&str, &str)| HostRoute {
            subnet: subnet.parse().unwrap(),
            through: (*through).to_owned(),
        };
        let routes: Vec<HostRoute> = routes.iter().map(route).collect();
        match check(&cluster, network.parse().unwrap(), &routes) {
            Ok(()) => String::new(),
            Err(error) => {
                assert_eq!((error.kind, error.code), (crate::Kind::Host, "subnet-taken"));
                [error.causes, error.hints].concat().join("\n")
            }
        }
    }

    #[test]
    fn free_ranges_pass() {
        let eth0 = [("192.168.1.0/24", "eth0"), ("172.17.0.0/16", "docker0")];
        assert_eq!(check_dev("10.244.0.0/16", "10.89.0.0/24", &eth0), "");
    }

    #[test]
    fn a_vpn_over_the_defaults_is_named_with_a_way_out() {
        let vpn = [("10.0.0.0/8", "tun0"), ("172.16.0.0/16", "eth0")];
        insta::assert_snapshot!(check_dev("10.244.0.0/16", "192.168.7.0/24", &vpn), @r"
        podSubnet 10.244.0.0/16 (the default) overlaps this host's route to 10.0.0.0/8 over tun0
        serviceSubnet 10.96.0.0/16 (the default) overlaps this host's route to 10.0.0.0/8 over tun0
        write `podSubnet: 172.17.0.0/16` and `serviceSubnet: 172.18.0.0/16` into clusters/dev.yaml, which nothing here uses
        ");
        insta::assert_snapshot!(check_dev("10.20.0.0/16", "10.89.0.0/24", &[("10.20.30.0/24", "routing table 52")]), @r"
        podSubnet 10.20.0.0/16 overlaps this host's route to 10.20.30.0/24 over routing table 52
        write `podSubnet: 10.244.0.0/16` into clusters/dev.yaml, which nothing here uses
        ");
    }

    #[test]
    fn the_network_of_the_nodes_is_no_range_for_pods() {
        insta::assert_snapshot!(check_dev("10.88.0.0/14", "10.89.0.0/24", &[]), @r"
        podSubnet 10.88.0.0/14 overlaps the engine's network kind of the nodes, 10.89.0.0/24
        write `podSubnet: 10.244.0.0/16` into clusters/dev.yaml, which nothing here uses
        ");
    }

    #[test]
    fn where_all_is_taken_no_range_is_proposed() {
        let all = [("10.0.0.0/8", "a"), ("172.16.0.0/12", "b"), ("192.168.0.0/16", "c")];
        let said = check_dev("10.244.0.0/16", "10.89.0.0/24", &all);
        assert!(said.ends_with("shows what is used"), "{said}");
    }
}
