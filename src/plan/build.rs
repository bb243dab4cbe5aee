//! `(Spec, Observed) → Plan`: the product's policy. Pure; running the result and planning again
//! gives an empty plan.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{NodePlan, Publish, Route};
use super::input::Input;
use super::node_change::node_change;
use super::observed::{Live, NodeStage};
use super::{
    Action, Operation, Phase, Plan, balancer, cache, components, nodes, surroundings, wake,
};
use crate::spec::kubernetes::Version;
use crate::spec::{NetworkMode, Node, port};
use crate::{Error, Result};

/// The label by which a node object says that `pipe` made it.
const OURS: &str = "pipe.dev/node";

/// The plan that brings what is there to what is wanted.
///
/// # Errors
/// A node would have to be replaced and `--replace` was not given.
pub fn build(input: &Input<'_>) -> Result<Plan> {
    if let Some(plan) = wake::before_up(input) {
        return Ok(plan);
    }
    let mut plan = Plan::new(Operation::Up, input.spec.cluster.name.clone());
    let fresh = nodes_to_make(input, &mut plan)?;
    surroundings::add(input, &fresh, &mut plan);
    cluster_steps(input, &fresh, &mut plan);
    cache::add(input, &mut plan);
    nodes::forget(input, &mut plan);
    components::add(input, &fresh, &mut plan);
    cache::prove(input, &fresh, &mut plan);
    Ok(plan)
}

/// Containers to make, after adding steps that remove what stands in their place.
fn nodes_to_make(input: &Input<'_>, plan: &mut Plan) -> Result<BTreeSet<String>> {
    let facts = &input.observed.nodes;
    let wanted = &input.spec.cluster.nodes;
    let control_made = has_quorum(input);
    // A cluster that was there is not replaced by an empty one without a word.
    let lost = !control_made && input.observed.kubeconfig;
    let mut make = BTreeSet::new();
    let mut replace = Vec::new();
    for node in wanted {
        let reason = match facts.get(&node.host) {
            None if node.control_plane && lost => {
                Some("its container is gone, and what Kubernetes kept in it".to_owned())
            }
            None => {
                make.insert(node.host.clone());
                continue;
            }
            Some(found) if found.stage == NodeStage::HalfMade => None,
            Some(_) if !control_made => Some("its control plane is gone".to_owned()),
            Some(found) if found.spec_hash != node.container_hash(&input.spec.cluster) => {
                Some(difference(&found.settings, &node.settings(&input.spec.cluster)))
            }
            Some(found) if other_version(input, found.kubernetes) => {
                let runs = found.kubernetes.map(|version| version.to_string());
                let wanted = input.spec.cluster.kubernetes.map(|version| version.to_string());
                let [runs, wanted] = [runs, wanted].map(Option::unwrap_or_default);
                Some(format!("it runs Kubernetes {runs}, and the file says {wanted}"))
            }
            Some(_) => continue,
        };
        make.insert(node.host.clone());
        if let Some(reason) = reason {
            replace.push(format!("node {} ({}): {reason}", node.name, node.host));
        }
    }
    if !replace.is_empty() && !input.options.replace {
        return Err(replace_needed(input, replace));
    }
    // Where etcd would lose more than half of its members, or the only one, it is a new cluster:
    // nothing registered with the old one can stay.
    let made = |node: &&Node| is_made(input, &node.host);
    let there = input.spec.cluster.control_planes().filter(made).count();
    let stay = input.spec.cluster.control_planes().filter(made);
    let stay = stay.filter(|node| !make.contains(&node.host)).count();
    let whole = !control_made || stay * 2 <= there;
    if whole {
        make.extend(wanted.iter().map(|node| node.host.clone()));
    }
    if !whole {
        check_skew(input, &make)?;
    }
    if !whole {
        nodes::check_prune(input)?;
    }
    for host in facts.keys() {
        let named = nodes::is_named(input, host);
        if make.contains(host) || (!named && (whole || input.options.prune)) {
            let registered = !whole && input.observed.live.is_some();
            let action = Action::RemoveNode { host: host.clone(), registered };
            plan.add(format!("remove/{host}"), Phase::Cluster, [], action);
        } else if !named {
            plan.notes.push(format!("node {host} is no longer in the file; --prune removes it"));
        }
    }
    if !whole {
        lost_containers(input, &make, plan);
    }
    Ok(make)
}

/// Nodes that the cluster knows and whose containers are gone, by somebody's hand: those that are
/// wanted are made again, the entries of others go.
fn lost_containers(input: &Input<'_>, make: &BTreeSet<String>, plan: &mut Plan) {
    let Some(live) = &input.observed.live else { return };
    for (host, node) in &live.nodes {
        if input.observed.nodes.contains_key(host) {
            continue;
        }
        if make.contains(host) {
            plan.notes.push(format!(
                "the container of node {host} is gone; it is made again, without what was stored on it"
            ));
        } else if node.labels.contains_key(OURS) {
            plan.notes.push(format!("the container of node {host} is gone; its entry goes too"));
            let action = Action::RemoveNode { host: host.clone(), registered: true };
            plan.add(format!("remove/{host}"), Phase::Cluster, [], action);
        }
    }
}

/// Whether a container is there that became a node.
pub(super) fn is_made(input: &Input<'_>, host: &str) -> bool {
    let facts = input.observed.nodes.get(host);
    facts.is_some_and(|facts| facts.stage != NodeStage::HalfMade)
}

/// Whether more than half of the control planes are there: etcd works, or will once they run.
pub(super) fn has_quorum(input: &Input<'_>) -> bool {
    let control = || input.spec.cluster.control_planes();
    let made = control().filter(|node| is_made(input, &node.host)).count();
    made * 2 > control().count()
}

/// Whether the file asks for another version than the one that runs.
fn other_version(input: &Input<'_>, runs: Option<Version>) -> bool {
    let wanted = input.spec.cluster.kubernetes;
    wanted.zip(runs).is_some_and(|(wanted, runs)| wanted != runs)
}

/// Refuses new nodes whose kubelet does not fit to the API server that runs.
fn check_skew(input: &Input<'_>, make: &BTreeSet<String>) -> Result<()> {
    let cluster = &input.spec.cluster;
    let stays = input.observed.nodes.iter().filter(|(host, _)| !make.contains(*host));
    let server = stays.filter(|(_, facts)| facts.control_plane).find_map(|(_, f)| f.kubernetes);
    let node = input.node_image.tag().parse::<Version>().ok();
    let Some((server, node)) = server.zip(node).filter(|_| !make.is_empty()) else { return Ok(()) };
    let Some(fault) = node.skew_fault(server) else { return Ok(()) };
    let hosts: Vec<&str> = make.iter().map(String::as_str).collect();
    let what = format!("{} cannot join cluster {}", hosts.join(", "), cluster.name);
    Err(Error::failed("version-skew", what)
        .because(fault)
        .hint(format!(
            "write `kubernetes: {server}` into clusters/{}.yaml: new nodes get it too",
            cluster.name
        ))
        .hint(format!(
            "or make the cluster anew: pipe teardown {0}, then pipe up {0}",
            cluster.name
        )))
}

/// What a container was made from and what the file says now, as far as they differ.
fn difference(made: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> String {
    // Containers of earlier versions do not say what they were made from.
    if made.is_empty() {
        return "its container was made from other settings".to_owned();
    }
    let keys: BTreeSet<&String> = made.keys().chain(wanted.keys()).collect();
    let value = |side: &BTreeMap<String, String>, key: &String| {
        side.get(key).map_or("nothing".to_owned(), Clone::clone)
    };
    let differ = keys.into_iter().filter(|key| made.get(*key) != wanted.get(*key));
    let lines: Vec<String> = differ
        .map(|key| format!("{key} was {} and is {} now", value(made, key), value(wanted, key)))
        .collect();
    match lines.is_empty() {
        true => "its container was made from other settings".to_owned(),
        false => lines.join("; "),
    }
}

fn replace_needed(input: &Input<'_>, reasons: Vec<String>) -> Error {
    let cluster = &input.spec.cluster.name;
    let error = Error::failed("replace-needed", format!("cluster {cluster} needs nodes replaced"));
    reasons
        .into_iter()
        .fold(error, Error::because)
        .hint(format!("run `pipe up {cluster} --replace`; what is stored on these nodes is lost"))
}

/// Everything up to a cluster that can run pods.
fn cluster_steps(input: &Input<'_>, fresh: &BTreeSet<String>, plan: &mut Plan) {
    let cluster = &input.spec.cluster;
    // Others join the first that stays, or that is made.
    let stays = cluster.control_planes().find(|node| !fresh.contains(&node.host));
    let Some(control) = stays.or(cluster.control_planes().next()) else { return };
    let new_cluster = fresh.contains(&control.host);
    let live = input.observed.live.as_ref();

    if !fresh.is_empty() {
        if !input.observed.images.contains_key(input.node_image.as_str()) {
            let action = Action::PullImage { image: input.node_image.clone() };
            plan.add("image/node", Phase::Cluster, [], action);
        }
        // An image that cannot be had is known before anything is made.
        components::pull_images(input, plan);
        if input.observed.network.is_none() {
            let action = Action::CreateNetwork {
                name: input.reservation.network.clone(),
                subnet: input.reservation.subnet.clone(),
                subnet6: input.reservation.subnet6.clone(),
            };
            let pulls = plan.ids("image/");
            plan.add("network", Phase::Cluster, pulls.iter().map(String::as_str), action);
        }
    }
    balancer::add(input, plan);
    let removed = plan.ids("remove/");
    for node in cluster.nodes.iter().filter(|node| fresh.contains(&node.host)) {
        let Some(node_plan) = node_plan(input, plan, node) else { continue };
        let pulls = plan.ids("image/");
        let before = pulls.iter().chain(&removed).map(String::as_str);
        let needs: Vec<&str> = ["network"].into_iter().chain(before).collect();
        let create = format!("create/{}", node.name);
        plan.add(&create, Phase::Cluster, needs, Action::CreateNode(Box::new(node_plan)));
        let action = Action::AwaitBoot { host: node.host.clone() };
        plan.add(format!("boot/{}", node.name), Phase::Cluster, [create.as_str()], action);
    }
    let own_boot = format!("boot/{}", control.name);
    if new_cluster {
        let action = Action::InitControlPlane { host: control.host.clone() };
        plan.add("init", Phase::Cluster, [own_boot.as_str(), "create/balancer"], action);
    }
    // Of a cluster that stands, a lost kubeconfig is written by `plan::wake`: without it nothing is seen.
    if new_cluster {
        let needs = ["init", "create/balancer"];
        plan.add("kubeconfig", Phase::Cluster, needs, Action::WriteKubeconfig);
    }
    if cluster.network == NetworkMode::Bundled && new_cluster {
        let action = Action::InstallNetwork { host: control.host.clone() };
        plan.add("pod-network", Phase::Cluster, ["kubeconfig"], action);
    }
    for node in &cluster.nodes {
        let new = fresh.contains(&node.host);
        let boot = format!("boot/{}", node.name);
        let join = format!("join/{}", node.name);
        if new && !(new_cluster && node.host == control.host) {
            // One control plane after the other, as etcd takes new members, then all workers.
            let joins = plan.ids("join/");
            let before = cluster.control_planes().map(|node| format!("join/{}", node.name));
            let before: Vec<String> = before.filter(|join| joins.contains(join)).collect();
            let needs = [boot.as_str(), "init", "kubeconfig", "create/balancer", "balancer"];
            let needs = needs.into_iter().chain(before.iter().map(String::as_str));
            let action = Action::JoinNode { host: node.host.clone() };
            plan.add(&join, Phase::Cluster, needs.collect::<Vec<_>>(), action);
        }
        let live_node = live.and_then(|live| live.nodes.get(&node.host)).filter(|_| !new);
        let change = node_change(input, node, live_node);
        let label = format!("label/{}", node.name);
        if !change.is_empty() {
            let needs = [join.as_str(), "init", "kubeconfig"];
            let action = Action::ConfigureNode { host: node.host.clone(), change };
            plan.add(&label, Phase::Cluster, needs, action);
        }
        let ready = live_node.is_some_and(|node| node.ready);
        if !ready && cluster.network != NetworkMode::None {
            let needs = [join.as_str(), "init", "kubeconfig", "pod-network", &label];
            let action = Action::AwaitNode { host: node.host.clone() };
            plan.add(format!("ready/{}", node.name), Phase::Cluster, needs, action);
        }
    }
    if cluster.network == NetworkMode::Static && !new_cluster && !fresh.is_empty() {
        let joins = plan.ids("join/");
        for node in cluster.nodes.iter().filter(|node| !fresh.contains(&node.host)) {
            let Some(node_plan) = node_plan(input, plan, node) else { continue };
            let action = Action::UpdateRoutes(Box::new(node_plan));
            let needs = joins.iter().map(String::as_str);
            plan.add(format!("routes/{}", node.name), Phase::Cluster, needs, action);
        }
    }
    let members = cluster.control_planes().count();
    let more = cluster.control_planes().any(|node| fresh.contains(&node.host));
    if cluster.is_balanced() && (more || live.is_some_and(|live| live.etcd < members)) {
        let joins = plan.ids("join/");
        let needs = joins.iter().map(String::as_str).chain(["kubeconfig"]);
        plan.add("etcd", Phase::Cluster, needs.collect::<Vec<_>>(), Action::AwaitEtcd { members });
    }
    if more && members.is_multiple_of(2) {
        plan.notes.push(format!(
            "{members} control planes survive no more losses than {}: etcd needs more than half of them",
            members - 1
        ));
    }
    cache::restrict(input, new_cluster, plan);
    platform_steps(input, &control.host, new_cluster, plan);
}

/// What every cluster has before components: service addresses, storage, DNS.
fn platform_steps(input: &Input<'_>, host: &str, new_cluster: bool, plan: &mut Plan) {
    let live = input.observed.live.as_ref();
    // Without a pod network nothing of this can run; the user installs one first.
    if input.spec.cluster.network == NetworkMode::None {
        return;
    }
    let lacks = |there: fn(&Live) -> bool| new_cluster || live.is_some_and(|live| !there(live));
    let (storage, dns) = (lacks(|live| live.storage), lacks(|live| live.dns_installed));
    // A node that joins has kube-proxy last, and a pod there would hang without it.
    let joins = !plan.ids("join/").is_empty();
    if storage || dns || joins || lacks(|live| live.proxy) {
        let ready = plan.ids("ready/");
        let needs = ready.iter().map(String::as_str).chain(["pod-network", "kubeconfig"]);
        plan.add("proxy", Phase::Cluster, needs, Action::AwaitProxy);
    }
    if storage {
        let action = Action::InstallStorage { host: host.to_owned() };
        plan.add("storage", Phase::Cluster, ["proxy"], action);
    }
    if dns {
        let action = Action::InstallDns { host: host.to_owned() };
        plan.add("dns", Phase::Cluster, ["proxy"], action);
    }
    if dns || lacks(|live| live.dns) {
        plan.add("dns-ready", Phase::Cluster, ["dns", "proxy"], Action::AwaitDns);
    }
}

/// What a node container is made from; `None` only for a node without reserved addresses.
fn node_plan(input: &Input<'_>, plan: &Plan, node: &Node) -> Option<NodePlan> {
    let reserved = input.reservation.nodes.get(&node.host)?;
    let stays = |host: &str| nodes::is_named(input, host) || !nodes::is_removed(plan, host);
    let routes = input
        .reservation
        .nodes
        .iter()
        .filter(|(host, _)| **host != node.host && stays(host))
        .map(|(_, other)| Route { pod_cidr: other.pod_cidr.clone(), via: other.address })
        .collect();
    let mut publish = Vec::new();
    if node.control_plane && !input.spec.cluster.is_balanced() {
        publish.push(Publish::local("api", input.reservation.api_port, 6443));
        for entry in port::CATALOGUE {
            if let Some(&host_port) = input.reservation.ports.get(entry.name) {
                publish.push(Publish::local(entry.name, host_port, entry.node_port));
            }
        }
    }
    publish.extend(input.spec.cluster.ports_of(node).map(Publish::extra));
    let image = input.observed.images.get(input.node_image.as_str());
    Some(NodePlan {
        node: node.clone(),
        image: image.map_or(input.node_image.tagged(), |facts| &facts.reference).to_owned(),
        network: input.reservation.network.clone(),
        address: reserved.address,
        address6: reserved.address6,
        pod_cidr: reserved.pod_cidr.clone(),
        routes,
        publish,
        mounts: input.spec.cluster.mounts_of(node).cloned().collect(),
        spec_hash: node.container_hash(&input.spec.cluster),
        settings: node.settings(&input.spec.cluster),
    })
}
