//! The load balancer of a cluster with several control planes: one more container, in kind's role
//! and under kind's name for it, so that its tools agree. In it runs this program, as `pipe forward`.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::BalancerPlan;
use crate::provider::kind::{BALANCER_ROLE, CLUSTER_LABEL, ROLE_LABEL};
use crate::provider::labels;
use crate::spec::ClusterName;
use crate::world::engine::{ContainerSpec, PublishedPort, Ulimit};
use crate::world::executable::Executable;
use crate::world::host::Host;

/// Where our program is in the container.
pub const FOLDER: &str = "/kind/pipe";

/// The file of back ends. It is written last: a container without it was never finished.
pub const BACKENDS: &str = "/kind/pipe/backends.json";

/// Port of the API server, on control planes and on the load balancer.
pub const API_PORT: u16 = 6443;

/// Seconds that connections get to end; the program itself needs less.
const STOP_TIMEOUT: u32 = 10;

/// SIGTERM: the node image asks for the signal that systemd understands.
const STOP_SIGNAL: u32 = 15;

/// The container. The node image is there already; of it only the file system is used.
pub fn spec(
    cluster: &ClusterName,
    plan: &BalancerPlan,
    executable: &Executable,
    host: &Host,
) -> ContainerSpec {
    let mut entrypoint = executable.command(FOLDER);
    entrypoint.extend(["forward", "--backends", BACKENDS, "--api"].map(str::to_owned));
    entrypoint.push(API_PORT.to_string());
    let ports: BTreeSet<u16> = plan.publish.iter().map(|port| port.node_port).collect();
    for port in ports {
        entrypoint.extend(["--port".to_owned(), port.to_string()]);
    }
    let publish = plan.publish.iter().map(|port| PublishedPort {
        host_ip: port.address,
        host_port: port.host_port,
        container_port: port.node_port,
        udp: false,
    });
    ContainerSpec {
        name: plan.host.clone(),
        hostname: plan.host.clone(),
        image: plan.image.clone(),
        entrypoint,
        stop_signal: Some(STOP_SIGNAL),
        bare: true,
        env: BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]),
        labels: container_labels(cluster, plan),
        network: plan.network.clone(),
        ipv4: Some(plan.address),
        ipv6: plan.address6,
        ports: publish.collect(),
        ulimits: Ulimit::needed(host),
        stop_timeout: STOP_TIMEOUT,
        ..ContainerSpec::default()
    }
}

fn container_labels(cluster: &ClusterName, plan: &BalancerPlan) -> BTreeMap<String, String> {
    let layout = labels::LAYOUT_VERSION.to_string();
    let mut all = labels::ours(Some(cluster));
    all.extend(
        [
            (CLUSTER_LABEL, cluster.as_str()),
            (ROLE_LABEL, BALANCER_ROLE),
            (labels::SPEC_HASH, plan.spec_hash.as_str()),
            (labels::LAYOUT, layout.as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    all
}
