//! Plans for a cluster that sleeps: what `up` does before it can look, `start`, and `stop`.
//!
//! ```text
//! stop    workers ─▶ control planes
//! start   control planes ─▶ API ─▶ workers ─▶ nodes Ready ─▶ service addresses, resources ─▶ DNS ─▶ what is installed
//! ```

use super::balancer;
use super::build::{has_quorum, is_made};
use super::input::Input;
use super::observed::{NodeStage, Observed};
use super::{Action, Operation, Phase, Plan};
use crate::spec::{ClusterName, NetworkMode};
use crate::{Error, Result};

/// A node that was made: what it is called, by us and by the engine.
struct Made<'a> {
    name: &'a str,
    host: &'a str,
    control_plane: bool,
    stopped: bool,
}

/// What brings a cluster of which nothing can be seen to where it can: containers are stopped, or
/// its kubeconfig is gone. This is how a reboot heals. What else differs is seen by the next plan.
pub(super) fn before_up(input: &Input<'_>) -> Option<Plan> {
    let observed = input.observed;
    let nodes = &input.spec.cluster.nodes;
    let any_stopped = observed.nodes.values().any(|facts| facts.stage == NodeStage::Stopped);
    if !has_quorum(input) || (observed.live.is_some() && !any_stopped) {
        return None;
    }
    let made: Vec<Made<'_>> = nodes
        .iter()
        .filter_map(|node| {
            let facts = observed.nodes.get(&node.host)?;
            Some(Made {
                name: node.name.as_str(),
                host: &node.host,
                control_plane: node.control_plane,
                stopped: facts.stage == NodeStage::Stopped,
            })
        })
        .filter(|node| is_made(input, node.host))
        .collect();
    let mut plan = Plan::new(Operation::Up, input.spec.cluster.name.clone());
    plan.more = true;
    balancer::add(input, &mut plan);
    wake(observed, &made, input.spec.cluster.network, &mut plan);
    Some(plan)
}

/// Starts what is stopped, from labels alone, and waits until everything serves again. Empty where
/// every node runs.
///
/// # Errors
/// The cluster was never made to the end, or nothing of its control plane is left.
pub fn start(cluster: &ClusterName, observed: &Observed) -> Result<Plan> {
    let mut plan = Plan::new(Operation::Start, cluster.clone());
    let made = made(observed);
    if !made.iter().any(|node| node.control_plane) {
        return Err(Error::failed("half-made", format!("cluster {cluster} cannot be started"))
            .because("its control plane is gone, or was never made to the end")
            .hint(format!("`pipe up {cluster}` goes on from what is there")));
    }
    if !made.iter().any(|node| node.stopped) && stopped_balancer(observed).is_none() {
        return Ok(plan);
    }
    let network = observed.pod_network.unwrap_or(NetworkMode::Static);
    wake(observed, &made, network, &mut plan);
    let ready = plan.ids("ready/");
    let ready = ready.iter().map(String::as_str);
    plan.add("resources", Phase::Component, ready, Action::RestoreResources);
    if network != NetworkMode::None {
        plan.add("dns-ready", Phase::Component, ["proxy"], Action::AwaitDns);
        plan.add("releases", Phase::Component, ["dns-ready", "resources"], Action::AwaitReleases);
    }
    Ok(plan)
}

/// Stops what runs: workers first, so that the API server hears of it and databases are not left
/// by the network they talk over. Empty where nothing runs.
pub fn stop(cluster: &ClusterName, observed: &Observed) -> Plan {
    let mut plan = Plan::new(Operation::Stop, cluster.clone());
    let mut workers = Vec::new();
    for control_plane in [false, true] {
        for (host, facts) in &observed.nodes {
            if facts.control_plane != control_plane || !facts.running {
                continue;
            }
            let id = format!("stop/{}", facts.name);
            let action = Action::StopNode { host: host.clone() };
            let needs = workers.iter().map(String::as_str);
            plan.add(id, Phase::Component, needs, action);
        }
        workers = plan.ids("stop/");
    }
    if let Some(balancer) = observed.balancer.as_ref().filter(|b| b.stage == NodeStage::Running) {
        let action = Action::StopNode { host: balancer.host.clone() };
        plan.add("stop/balancer", Phase::Component, workers.iter().map(String::as_str), action);
    }
    if observed.registry.as_ref().is_some_and(|registry| registry.running && !registry.used)
        && !plan.is_empty()
    {
        let needs = plan.ids("stop/");
        let needs = needs.iter().map(String::as_str);
        plan.add("stop/registry", Phase::Component, needs, Action::StopRegistry);
    }
    plan
}

/// The load balancer's container, if it is stopped.
fn stopped_balancer(observed: &Observed) -> Option<&str> {
    let balancer = observed.balancer.as_ref()?;
    (balancer.stage == NodeStage::Stopped).then_some(balancer.host.as_str())
}

fn made(observed: &Observed) -> Vec<Made<'_>> {
    let made = observed.nodes.iter().filter(|(_, facts)| facts.stage != NodeStage::HalfMade);
    made.map(|(host, facts)| Made {
        name: &facts.name,
        host,
        control_plane: facts.control_plane,
        stopped: facts.stage == NodeStage::Stopped,
    })
    .collect()
}

/// Control planes, the API, workers, every node Ready, and addresses that lead to the pods of now.
fn wake(observed: &Observed, made: &[Made<'_>], network: NetworkMode, plan: &mut Plan) {
    let start = |plan: &mut Plan, node: &Made<'_>, needs: &[&str]| {
        if node.stopped {
            let action = Action::StartNode { host: node.host.to_owned() };
            let id = format!("start/{}", node.name);
            plan.add(id, Phase::Component, needs.iter().copied(), action);
        }
    };
    if let Some(host) = stopped_balancer(observed)
        && !["start/balancer", "create/balancer"].iter().any(|id| plan.step(id).is_some())
    {
        let action = Action::StartBalancer { host: host.to_owned() };
        plan.add("start/balancer", Phase::Component, [], action);
    }
    if let Some(registry) = observed.registry.as_ref().filter(|registry| !registry.running)
        && observed.nodes.values().any(|facts| facts.told.cache.is_some())
    {
        let action = Action::StartRegistry { address: registry.address };
        plan.add("registry", Phase::Component, [], action);
    }
    for node in made.iter().filter(|node| node.control_plane) {
        start(plan, node, &[]);
    }
    let mut started = plan.ids("start/");
    started.push("create/balancer".to_owned());
    let started = || started.iter().map(String::as_str);
    if !observed.kubeconfig {
        plan.add("kubeconfig", Phase::Component, started(), Action::WriteKubeconfig);
    }
    plan.add("api", Phase::Component, started().chain(["kubeconfig"]), Action::AwaitApi);
    for node in made.iter().filter(|node| !node.control_plane) {
        start(plan, node, &["api"]);
    }
    for node in made {
        let own = format!("start/{}", node.name);
        let action = Action::AwaitNode { host: node.host.to_owned() };
        plan.add(format!("ready/{}", node.name), Phase::Component, ["api", own.as_str()], action);
    }
    // Without a pod network of ours nothing is known of what runs on it.
    if network != NetworkMode::None {
        let ready = plan.ids("ready/");
        let ready = ready.iter().map(String::as_str);
        plan.add("proxy", Phase::Component, ready, Action::AwaitProxy);
    }
}
