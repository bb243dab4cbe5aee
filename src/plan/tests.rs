//! The policy, as snapshots and as properties over many worlds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::action::{Action, NodeChange};
use super::build::build;
use super::components::release_hash;
use super::input::{Input, Options, SmokeWhen};
use super::observed::{
    Applied, BalancerFacts, ImageFacts, Kept, KeptFacts, Live, LiveNode, NetworkFacts, NodeFacts,
    NodeImage, NodeStage, Observed, ReleaseFacts,
};
use super::reserve::{BalancerAddress, NodeAddress, Reservation};
use super::surroundings::{Told, Wanted};
use super::teardown::teardown;
use super::{Phase, Plan, wake};
use crate::spec::kubernetes::DEFAULT;
use crate::spec::lock_file::Locked;
use crate::spec::source::Sources;
use crate::spec::{
    Arch, ExtraPort, ImageName, ImagePolicy, Mount, NetworkMode, NodeName, Propagation, Protocol,
    Spec,
};

mod cache;
mod nodes;

/// A spec, what is there, and everything between.
struct World {
    spec: Spec,
    observed: Observed,
    reservation: Reservation,
    node_image: ImageName,
    registry_image: ImageName,
    charts: BTreeMap<String, String>,
    surroundings: Wanted,
    admission: Option<String>,
    locked: BTreeMap<ImageName, Locked>,
    options: Options,
}

impl World {
    /// Nothing is there but the images.
    fn new(cluster: &str, mode: NetworkMode) -> World {
        let sources = Sources::built_in();
        let mut spec =
            crate::spec::load(&sources, cluster, Some("quickstart"), Arch::Amd64).unwrap();
        spec.cluster.network = mode;
        spec.profile.policy = ImagePolicy::Off;
        let mut reservation = Reservation::new("kind", "10.89.0.0/24", None, 40001);
        for (index, node) in (0u8..).zip(&spec.cluster.nodes) {
            let address = Ipv4Addr::new(10, 89, 0, 200 + index);
            let pod_cidr = format!("10.244.{index}.0/24");
            let name = node.name.clone();
            let reserved = NodeAddress { name, address, address6: None, pod_cidr };
            reservation.nodes.insert(node.host.clone(), reserved);
        }
        reservation.ports.insert("nats-client".to_owned(), 4222);
        let node_image = ImageName::parse("docker.io/kindest/node:v1.36.4").unwrap();
        let mut observed = Observed::default();
        let components = spec.profile.components.iter();
        let images = components.flat_map(|component| component.definition.images.clone());
        for image in images.chain([node_image.clone()]) {
            let facts = ImageFacts {
                reference: image.to_string(),
                id: "1".to_owned(),
                built: false,
                stand_in: None,
            };
            observed.images.insert(image.to_string(), facts);
        }
        let charts = BTreeMap::from([("nats".to_owned(), "d1".to_owned())]);
        World {
            spec,
            observed,
            reservation,
            node_image,
            registry_image: ImageName::parse("ghcr.io/project-zot/zot:v2.1.20").unwrap(),
            charts,
            surroundings: Wanted::default(),
            admission: None,
            locked: BTreeMap::new(),
            options: Options::default(),
        }
    }

    fn input(&self) -> Input<'_> {
        Input {
            spec: &self.spec,
            observed: &self.observed,
            reservation: &self.reservation,
            node_image: &self.node_image,
            registry_image: &self.registry_image,
            charts: &self.charts,
            surroundings: &self.surroundings,
            admission: self.admission.as_deref(),
            locked: &self.locked,
            options: self.options,
        }
    }

    fn plan(&self) -> Plan {
        build(&self.input()).unwrap()
    }

    /// What a run of the whole plan leaves behind.
    fn after(mut self) -> World {
        let mut live =
            Live { storage: true, proxy: true, dns_installed: true, dns: true, ..Live::default() };
        let bundled = self.spec.cluster.network == NetworkMode::Bundled;
        for node in &self.spec.cluster.nodes {
            let facts = NodeFacts {
                name: node.name.to_string(),
                stage: NodeStage::Running,
                running: true,
                spec_hash: node.container_hash(&self.spec.cluster),
                settings: node.settings(&self.spec.cluster),
                control_plane: node.control_plane,
                kubernetes: Some(DEFAULT),
                image: self.node_image.to_string(),
                told: self.surroundings.told.clone(),
            };
            self.observed.nodes.insert(node.host.clone(), facts);
            let applied = Applied::to(node);
            let cidr = self.reservation.nodes.get(&node.host).map(|node| node.pod_cidr.clone());
            let found = LiveNode {
                labels: node.labels.clone(),
                taints: node.taints.clone(),
                ready: true,
                cordoned: false,
                capacity: node.resources.clone(),
                pod_cidr: if bundled { Some("10.244.9.0/24".to_owned()) } else { cidr },
                applied,
            };
            live.nodes.insert(node.host.clone(), found);
            let images = self.spec.profile.components.iter();
            let has = NodeImage { id: Some("1".to_owned()), ..NodeImage::default() };
            let names = images.flat_map(|c| {
                c.definition.images.iter().map(|i| (i.tagged().to_owned(), has.clone()))
            });
            live.node_images.insert(node.host.clone(), names.collect());
        }
        for component in &self.spec.profile.components {
            let facts = ReleaseFacts {
                namespace: component.namespace.clone(),
                status: "deployed".to_owned(),
                hash: Some(release_hash(&self.input(), component)),
            };
            live.releases.insert(component.name.to_string(), facts);
            live.ready.insert(component.name.clone());
            live.secrets.insert(component.name.clone());
            live.buckets.insert(component.name.clone());
        }
        self.observed.live = Some(live);
        self.observed.kubeconfig = true;
        self.observed.network = Some(NetworkFacts { ours: true, others: false });
        self
    }

    fn live(&mut self) -> &mut Live {
        self.observed.live.as_mut().unwrap()
    }
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

#[test]
fn dev_from_nothing() {
    insta::assert_snapshot!(World::new("dev", NetworkMode::Static).plan().to_text());
}

#[test]
fn single_as_dot() {
    insta::assert_snapshot!(World::new("single", NetworkMode::Bundled).plan().to_dot());
}

#[test]
fn what_matches_plans_nothing() {
    for cluster in ["dev", "single", "ci"] {
        for mode in [NetworkMode::Static, NetworkMode::Bundled] {
            let plan = World::new(cluster, mode).after().plan();
            assert!(plan.is_empty(), "{cluster}: {}", plan.to_text());
        }
    }
}

#[test]
fn a_label_that_was_dropped_is_removed_and_foreign_ones_stay() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    let live = world.live().nodes.get_mut("dev-worker").unwrap();
    live.labels.insert("mine".to_owned(), "1".to_owned());
    live.labels.insert("old".to_owned(), "1".to_owned());
    live.applied.labels.insert("old".to_owned());
    live.labels.insert("zone".to_owned(), "wrong".to_owned());
    let plan = world.plan();
    assert_eq!(ids(&plan), ["label/edge"]);
    let Action::ConfigureNode { change, .. } = &plan.steps[0].action else { panic!("{plan:?}") };
    assert_eq!(change.remove_labels, ["old"]);
    assert_eq!(change.set_labels, BTreeMap::from([("zone".to_owned(), "b".to_owned())]));
}

#[test]
fn capacity_that_kubelet_zeroed_is_set_again() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    world.live().nodes.get_mut("dev-worker2").unwrap().capacity.clear();
    let plan = world.plan();
    let Action::ConfigureNode { change, .. } = &plan.steps[0].action else { panic!("{plan:?}") };
    let capacity = BTreeMap::from([("nvidia.com/gpu".to_owned(), 2)]);
    assert_eq!(*change, NodeChange { capacity, ..NodeChange::default() });
}

#[test]
fn changed_values_upgrade_one_release_and_prove_it() {
    let mut world = World::new("single", NetworkMode::Static).after();
    world.spec.profile.components[0].values = serde_json::json!({"goMemLimit": "100MiB"});
    assert_eq!(
        ids(&world.plan()),
        ["prepare/nats", "helm", "install/nats", "serve/nats", "smoke/nats"]
    );
    world.options.smoke = SmokeWhen::Never;
    assert!(!ids(&world.plan()).contains(&"smoke/nats"));
}

#[test]
fn stopped_nodes_are_started_in_order_and_nothing_else_is_done() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    for facts in world.observed.nodes.values_mut() {
        facts.stage = NodeStage::Stopped;
    }
    world.observed.live = None;
    insta::assert_snapshot!(world.plan().to_text(), @r"
    up dev: 8 steps
      start/core  start node dev-control-plane
      api         wait for the API server  <- start/core
      start/edge  start node dev-worker  <- api
      start/gpu   start node dev-worker2  <- api
      ready/core  wait for node dev-control-plane to be Ready  <- api
      ready/edge  wait for node dev-worker to be Ready  <- start/edge
      ready/gpu   wait for node dev-worker2 to be Ready  <- start/gpu
      proxy       wait for service addresses (kube-proxy)  <- ready/core, ready/edge, ready/gpu
    ");
}

#[test]
fn a_stop_and_a_start_know_only_labels() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    let name = world.spec.cluster.name.clone();
    insta::assert_snapshot!(wake::stop(&name, &world.observed).to_text(), @r"
    stop dev: 3 steps
      stop/edge  stop node dev-worker
      stop/gpu   stop node dev-worker2
      stop/core  stop node dev-control-plane  <- stop/edge, stop/gpu
    ");
    assert!(wake::start(&name, &world.observed).unwrap().is_empty(), "all of them run");

    for facts in world.observed.nodes.values_mut() {
        (facts.stage, facts.running) = (NodeStage::Stopped, false);
    }
    world.observed.live = None;
    assert!(wake::stop(&name, &world.observed).is_empty(), "none of them runs");
    insta::assert_snapshot!(wake::start(&name, &world.observed).unwrap().to_text(), @r"
    start dev: 11 steps
      start/core  start node dev-control-plane
      api         wait for the API server  <- start/core
      start/edge  start node dev-worker  <- api
      start/gpu   start node dev-worker2  <- api
      ready/core  wait for node dev-control-plane to be Ready  <- api
      ready/edge  wait for node dev-worker to be Ready  <- start/edge
      ready/gpu   wait for node dev-worker2 to be Ready  <- start/gpu
      proxy       wait for service addresses (kube-proxy)  <- ready/core, ready/edge, ready/gpu
      resources   set simulated resources again  <- ready/core, ready/edge, ready/gpu
      dns-ready   wait for cluster DNS  <- proxy
      releases    wait for what is installed  <- dns-ready, resources
    ");

    world.observed.pod_network = Some(NetworkMode::None);
    let plan = wake::start(&name, &world.observed).unwrap();
    assert!(plan.step("dns-ready").is_none(), "{}", plan.to_text());
    world.observed.nodes.get_mut("dev-control-plane").unwrap().stage = NodeStage::HalfMade;
    let error = wake::start(&name, &world.observed).unwrap_err();
    assert!(error.code == "half-made" && error.hints[0].contains("pipe up dev"), "{error:?}");
}

#[test]
fn a_cluster_that_cannot_be_asked_is_woken_first() {
    let mut world = World::new("single", NetworkMode::Static).after();
    world.observed.live = None;
    world.observed.kubeconfig = false;
    let plan = world.plan();
    assert_eq!(ids(&plan), ["kubeconfig", "api", "ready/core", "proxy"]);
    assert!(plan.more, "storage and DNS can only be seen afterwards");
}

#[test]
fn a_half_made_worker_is_remade_and_a_lost_control_plane_wants_consent() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    world.observed.nodes.get_mut("dev-worker").unwrap().stage = NodeStage::HalfMade;
    let plan = world.plan();
    assert!(ids(&plan).starts_with(&["remove/dev-worker", "create/edge"]), "{}", plan.to_text());
    assert!(!ids(&plan).contains(&"init"), "{}", plan.to_text());

    world.observed.nodes.remove("dev-control-plane");
    world.observed.live = None;
    world.observed.kubeconfig = false;
    let error = build(&world.input()).unwrap_err();
    assert_eq!(error.code, "replace-needed");
    assert!(error.hints[0].contains("--replace"), "{error:?}");
    world.options.replace = true;
    let plan = world.plan();
    assert!(ids(&plan).contains(&"init") && ids(&plan).contains(&"remove/dev-worker2"));
}

/// Also where there is no other node that would have to be replaced.
#[test]
fn a_lost_cluster_of_one_node_is_made_anew_only_with_consent() {
    let mut world = World::new("single", NetworkMode::Static).after();
    world.observed.nodes.clear();
    world.observed.live = None;
    let error = build(&world.input()).unwrap_err();
    assert_eq!(error.code, "replace-needed");
    assert!(error.causes[0].contains("its container is gone"), "{error:?}");
    world.options.replace = true;
    assert!(ids(&world.plan()).contains(&"init"));
    // One that was never made to the end, or is half removed, has nothing to lose.
    world.options.replace = false;
    world.observed.kubeconfig = false;
    assert!(ids(&world.plan()).contains(&"init"));
}

#[test]
fn a_component_that_left_the_profile_is_named_and_pruned_when_asked() {
    let mut world = World::new("single", NetworkMode::Static).after();
    world.spec.profile.components.clear();
    assert!(world.plan().is_empty());
    assert!(world.plan().notes[0].contains("--prune"), "{:?}", world.plan().notes);
    world.options.prune = true;
    let gone = ["clickhouse", "foundationdb", "minio", "nats", "scylladb"];
    assert_eq!(ids(&world.plan()), gone.map(|name| format!("uninstall/{name}")));
}

#[test]
fn components_that_do_not_need_each_other_are_installed_side_by_side() {
    let plan = World::new("single", NetworkMode::Static).plan();
    for one in ["nats", "clickhouse", "minio"] {
        for other in ["nats", "clickhouse", "minio"].iter().filter(|other| **other != one) {
            let mut open = vec![format!("smoke/{one}")];
            while let Some(id) = open.pop() {
                assert!(!id.ends_with(&format!("/{other}")), "{one} waits for {id}");
                open.extend(plan.step(&id).into_iter().flat_map(|step| step.needs.clone()));
            }
        }
    }
}

#[test]
fn a_missing_bucket_is_made_and_the_store_proven_again() {
    let mut world = World::new("single", NetworkMode::Static).after();
    world.live().buckets.clear();
    assert_eq!(ids(&world.plan()), ["buckets/minio", "smoke/minio"]);
    for component in &mut world.spec.profile.components {
        component.buckets.clear();
    }
    assert!(world.plan().is_empty(), "a bucket that is no longer named stays, unasked");
}

#[test]
fn the_real_image_replaces_a_stand_in_in_nodes_and_the_reverse() {
    let image = ImageName::parse("docker.io/clickhouse/clickhouse-server:26.8.36.3").unwrap();
    let changed = ["load/clickhouse-server-26.8.36.3", "prepare/clickhouse", "helm"];
    let changed = changed.into_iter().chain(["install/clickhouse", "serve/clickhouse"]);
    let changed: Vec<&str> = changed.chain(["smoke/clickhouse"]).collect();
    let index = |world: &World| {
        let components = &world.spec.profile.components;
        components.iter().position(|c| c.name.as_str() == "clickhouse").unwrap()
    };

    let mut world = World::new("single", NetworkMode::Static).after();
    let at = index(&world);
    let what = Some("18 instead of 26".to_owned());
    world.observed.images.get_mut(image.as_str()).unwrap().stand_in.clone_from(&what);
    world.spec.profile.components[at].stand_in = what;
    let plan = world.plan();
    assert_eq!(ids(&plan), changed);
    let Some(Action::InstallRelease { component, .. }) =
        plan.step("install/clickhouse").map(|step| &step.action)
    else {
        panic!("{plan:?}")
    };
    assert_eq!(component.chart_values()["legacyConfiguration"], true);

    let mut world = world.after();
    for images in world.live().node_images.values_mut() {
        images.insert(image.stand_in_mark(), NodeImage::default());
    }
    assert!(world.plan().is_empty(), "{}", world.plan().to_text());

    world.observed.images.get_mut(image.as_str()).unwrap().stand_in = None;
    world.spec.profile.components[at].stand_in = None;
    assert_eq!(ids(&world.plan()), changed);
}

#[test]
fn nodes_keep_their_containers_when_the_file_changes() {
    let world = World::new("dev", NetworkMode::Static);
    let mut cluster = world.spec.cluster.clone();
    let mut new = cluster.nodes[1].clone();
    new.name = NodeName::parse("new").unwrap();
    // A node put between the old ones would take over a container by its place in the file.
    cluster.nodes.insert(1, new);
    for (node, host) in
        cluster.nodes.iter_mut().skip(1).zip(["dev-worker", "dev-worker2", "dev-worker3"])
    {
        node.host = host.to_owned();
    }
    world.reservation.keep_hosts(&mut cluster);
    let hosts: Vec<_> =
        cluster.nodes.iter().map(|node| (node.name.as_str(), node.host.as_str())).collect();
    assert_eq!(
        hosts,
        [
            ("core", "dev-control-plane"),
            ("new", "dev-worker3"),
            ("edge", "dev-worker"),
            ("gpu", "dev-worker2"),
        ]
    );
}

/// `dev` with two more control planes: its edge and a copy of that.
fn balanced() -> World {
    let mut world = World::new("dev", NetworkMode::Static);
    let nodes = &mut world.spec.cluster.nodes;
    nodes[1].control_plane = true;
    nodes[1].taints.clear();
    nodes[1].host = "dev-control-plane2".to_owned();
    let mut third = nodes[1].clone();
    third.name = NodeName::parse("edge-2").unwrap();
    third.host = "dev-control-plane3".to_owned();
    nodes.insert(2, third);
    nodes[3].host = "dev-worker".to_owned();
    world.reservation.nodes.clear();
    for (index, node) in (0u8..).zip(&world.spec.cluster.nodes) {
        let reserved = NodeAddress {
            name: node.name.clone(),
            address: Ipv4Addr::new(10, 89, 0, 200 + index),
            address6: None,
            pod_cidr: format!("10.244.{index}.0/24"),
        };
        world.reservation.nodes.insert(node.host.clone(), reserved);
    }
    let address = Ipv4Addr::new(10, 89, 0, 250);
    world.reservation.balancer = Some(BalancerAddress { address, address6: None });
    world.spec.profile.components.clear();
    world
}

/// What a run of the whole plan leaves behind, with the load balancer.
fn balanced_after() -> World {
    let plan = balanced().plan();
    let Action::CreateBalancer(made) = &plan.step("create/balancer").unwrap().action else {
        panic!("{}", plan.to_text())
    };
    let mut world = balanced().after();
    world.observed.balancer = Some(BalancerFacts {
        host: made.host.clone(),
        stage: NodeStage::Running,
        spec_hash: made.spec_hash.clone(),
        backends: made.backends.clone(),
    });
    world.live().etcd = 3;
    world
}

#[test]
fn several_control_planes_from_nothing() {
    let plan = balanced().plan();
    insta::assert_snapshot!(plan.to_text());
    let Action::CreateBalancer(balancer) = &plan.step("create/balancer").unwrap().action else {
        panic!("{}", plan.to_text())
    };
    assert_eq!(balancer.publish[0].host_port, 40001);
    assert_eq!(balancer.backends.len(), 3);
    let Action::CreateNode(node) = &plan.step("create/core").unwrap().action else { panic!() };
    assert!(node.publish.is_empty(), "the load balancer has the doors");
    assert!(balanced_after().plan().is_empty(), "{}", balanced_after().plan().to_text());
}

#[test]
fn one_of_three_control_planes_is_made_again_and_joins() {
    let mut world = balanced_after();
    world.observed.nodes.remove("dev-control-plane");
    world.live().nodes.remove("dev-control-plane");
    world.live().etcd = 2;
    let plan = world.plan();
    let ids = ids(&plan);
    assert!(ids.contains(&"join/core") && ids.contains(&"etcd"), "{}", plan.to_text());
    assert!(!ids.contains(&"init") && !ids.contains(&"create/edge"), "{}", plan.to_text());

    world.observed.nodes.remove("dev-control-plane2");
    let error = build(&world.input()).unwrap_err();
    assert_eq!(error.code, "replace-needed", "one of three is no quorum");
    world.options.replace = true;
    let plan = world.plan();
    assert!(plan.step("init").is_some() && plan.step("remove/dev-control-plane3").is_some());
}

#[test]
fn a_load_balancer_is_made_true_without_asking() {
    let mut world = balanced_after();
    let found = world.observed.balancer.as_mut().unwrap();
    found.backends.pop();
    assert_eq!(ids(&world.plan()), ["balancer"]);
    world.observed.balancer.as_mut().unwrap().spec_hash = "other".to_owned();
    assert_eq!(ids(&world.plan()), ["remove/dev-external-load-balancer", "create/balancer"]);
    // Without it the API cannot be asked.
    let mut world = balanced_after();
    world.observed.balancer.as_mut().unwrap().stage = NodeStage::Stopped;
    world.observed.live = None;
    let plan = world.plan();
    assert!(plan.more && ids(&plan).starts_with(&["start/balancer", "api"]), "{}", plan.to_text());

    let mut two = balanced();
    two.spec.cluster.nodes.remove(2);
    assert!(two.plan().notes[0].contains("2 control planes"), "{:?}", two.plan().notes);
    let plan = teardown(&two.spec.cluster.name, &balanced_after().observed, "kind", true);
    assert!(plan.step("remove/dev-external-load-balancer").is_some());
}

/// A version that the file asks for and no node has is a reason to replace it; nodes that join later
/// must fit to the API server that runs.
#[test]
fn versions_are_compared_with_what_runs() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    world.spec.cluster.kubernetes = Some(DEFAULT);
    assert!(world.plan().is_empty(), "saying what is there changes nothing");
    world.spec.cluster.kubernetes = Some("v1.35.0".parse().unwrap());
    let error = build(&world.input()).unwrap_err();
    assert_eq!(error.code, "replace-needed");
    insta::assert_snapshot!(error.causes[0], @"node core (dev-control-plane): it runs Kubernetes v1.36.4, and the file says v1.35.0");

    world.spec.cluster.kubernetes = None;
    world.observed.nodes.remove("dev-worker2");
    for facts in world.observed.nodes.values_mut() {
        facts.kubernetes = Some("v1.35.0".parse().unwrap());
    }
    let error = build(&world.input()).unwrap_err();
    assert_eq!(error.code, "version-skew");
    insta::assert_snapshot!([error.causes, error.hints].concat().join("\n"), @r#"
    a kubelet must not be newer than its API server: v1.36.4 after v1.35.0
    write `kubernetes: v1.35.0` into clusters/dev.yaml: new nodes get it too
    or make the cluster anew: pipe teardown dev, then pipe up dev
    "#);
    world.node_image = ImageName::parse("docker.io/kindest/node:v1.34.0").unwrap();
    world.observed.images.insert(
        world.node_image.to_string(),
        ImageFacts { reference: "x".to_owned(), id: "1".to_owned(), built: false, stand_in: None },
    );
    assert!(ids(&world.plan()).contains(&"join/gpu"));
}

/// Ports and mounts go to the containers of their nodes, and a change says what it is.
#[test]
fn ports_and_mounts_are_part_of_a_container() {
    let mut world = World::new("dev", NetworkMode::Static);
    world.spec.cluster.ports.push(ExtraPort {
        name: None,
        address: Ipv4Addr::UNSPECIFIED.into(),
        host_port: 8053,
        node_port: 53,
        protocol: Protocol::Udp,
        node: Some(NodeName::parse("edge").unwrap()),
    });
    world.spec.cluster.mounts.push(Mount {
        host_path: "/src".into(),
        container_path: "/src".to_owned(),
        read_only: true,
        propagation: Propagation::None,
        selinux_relabel: false,
        node: None,
    });
    let plan = world.plan();
    let node = |id: &str| match &plan.step(id).unwrap().action {
        Action::CreateNode(node) => node.clone(),
        other => panic!("{other:?}"),
    };
    let published: Vec<_> = node("create/edge").publish;
    assert_eq!(published.len(), 1);
    assert_eq!((published[0].name.as_str(), published[0].protocol), ("8053", Protocol::Udp));
    assert!(node("create/core").publish.iter().all(|port| port.protocol == Protocol::Tcp));
    assert!(["core", "edge", "gpu"].iter().all(|n| node(&format!("create/{n}")).mounts.len() == 1));

    let mut world = world.after();
    assert!(world.plan().is_empty());
    world.spec.cluster.ports[0].host_port = 8054;
    let error = build(&world.input()).unwrap_err();
    insta::assert_snapshot!(error.causes.join("\n"), @"node edge (dev-worker): ports was 0.0.0.0:8053:53/udp and is 0.0.0.0:8054:53/udp now");
    let facts = world.observed.nodes.get_mut("dev-worker").unwrap();
    facts.settings.clear();
    assert!(build(&world.input()).unwrap_err().causes[0].ends_with("from other settings"));
    world.options.replace = true;
    assert!(ids(&world.plan()).starts_with(&["remove/dev-worker", "create/edge"]));
    assert!(!ids(&world.plan()).contains(&"init"), "a worker's change leaves the others alone");
}

/// A smaller or larger `count` touches only the nodes at its end.
#[test]
fn count_grows_and_shrinks_at_its_end() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    let mut second = world.spec.cluster.nodes[1].clone();
    second.name = NodeName::parse("edge-2").unwrap();
    second.host = "dev-worker2".to_owned();
    world.spec.cluster.nodes.insert(2, second);
    world.spec.cluster.nodes[3].host = "dev-worker3".to_owned();
    world.reservation.keep_hosts(&mut world.spec.cluster);
    let hosts: Vec<_> = world.spec.cluster.nodes.iter().map(|node| node.host.as_str()).collect();
    assert_eq!(hosts, ["dev-control-plane", "dev-worker", "dev-worker3", "dev-worker2"]);

    world.spec.cluster.nodes.retain(|node| node.name.as_str() != "edge-2");
    world.spec.cluster.nodes.remove(1);
    let plan = world.plan();
    assert!(plan.is_empty() && plan.notes[0].contains("dev-worker "), "{:?}", plan.notes);
    world.options.prune = true;
    insta::assert_snapshot!(world.plan().to_text(), @r"
    up dev: 3 steps
      remove/dev-worker   remove node dev-worker
      volumes/dev-worker  forget volumes on dev-worker  <- remove/dev-worker
      unroute/dev-worker  drop routes to 10.244.1.0/24  <- remove/dev-worker
    ");
    let plan = world.plan();
    let Action::ForgetRoute { pod_cidr, hosts } = &plan.steps[2].action else { panic!("{plan:?}") };
    assert_eq!(pod_cidr, "10.244.1.0/24");
    assert_eq!(hosts, &["dev-control-plane", "dev-worker2"]);
}

#[test]
fn a_new_worker_makes_old_nodes_learn_its_route() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    world.observed.nodes.remove("dev-worker2");
    world.live().nodes.remove("dev-worker2");
    let plan = world.plan();
    for id in ["routes/core", "routes/edge"] {
        let step = plan.step(id).unwrap_or_else(|| panic!("{id}: {}", plan.to_text()));
        assert_eq!(step.needs, BTreeSet::from(["join/gpu".to_owned()]));
    }
    assert!(plan.step("init").is_none());
}

#[test]
fn teardown_removes_what_is_there_and_state_last() {
    let world = World::new("dev", NetworkMode::Static).after();
    let plan = teardown(&world.spec.cluster.name, &world.observed, "kind", true);
    insta::assert_snapshot!(plan.to_text(), @r"
    teardown dev: 7 steps
      remove/dev-control-plane  remove node dev-control-plane
      remove/dev-worker         remove node dev-worker
      remove/dev-worker2        remove node dev-worker2
      volumes                   remove volumes  <- remove/dev-control-plane, remove/dev-worker, remove/dev-worker2
      kubeconfig                remove kubeconfig entries
      network                   remove network kind  <- volumes
      state                     remove state  <- kubeconfig, network
    ");
    let nothing = teardown(&world.spec.cluster.name, &Observed::default(), "kind", false);
    assert!(nothing.is_empty());
}

proptest! {
    /// Whatever part of a cluster is missing or broken: every need is in the plan and stands before
    /// the step that has it, ids are unique, and no phase waits for a later one.
    #[test]
    fn every_plan_is_in_order(
        stages in proptest::collection::vec(0_usize..4, 3),
        live in any::<bool>(), dns in any::<bool>(), storage in any::<bool>(),
        release in any::<bool>(), ready in any::<bool>(), prune in any::<bool>(),
    ) {
        let mut world = World::new("dev", NetworkMode::Bundled).after();
        world.options = Options { replace: true, prune, ..Options::default() };
        let hosts: Vec<String> = world.observed.nodes.keys().cloned().collect();
        for (host, stage) in hosts.iter().zip(stages) {
            let facts = world.observed.nodes.get_mut(host).unwrap();
            match stage {
                0 => { world.observed.nodes.remove(host); }
                1 => facts.stage = NodeStage::HalfMade,
                2 => facts.stage = NodeStage::Stopped,
                _ => {}
            }
        }
        let found = world.live();
        found.dns = dns;
        found.storage = storage;
        if !release { found.releases.clear(); }
        if !ready { found.ready.clear(); }
        if !live { world.observed.live = None; }
        let plan = world.plan();
        let mut seen: BTreeMap<&str, Phase> = BTreeMap::new();
        for step in &plan.steps {
            for need in &step.needs {
                let before = seen.get(need.as_str());
                prop_assert!(before.is_some_and(|phase| *phase <= step.phase), "{}", plan.to_text());
            }
            prop_assert!(seen.insert(&step.id, step.phase).is_none(), "{} twice", step.id);
        }
        let removed: BTreeSet<&str> = seen.keys().filter_map(|id| id.strip_prefix("remove/")).collect();
        for host in removed {
            prop_assert!(world.observed.nodes.contains_key(host));
        }
    }
}

/// What `images load` gave is given to a node that joins later, under every name and once.
#[test]
fn a_new_node_gets_the_images_of_the_user() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    let (name, alias) = ("localhost/app:dev", "docker.io/library/app:dev");
    let facts = |in_engine| KeptFacts { id: "77".to_owned(), kept: Kept::Loaded, in_engine };
    for name in [name, alias] {
        world.observed.kept.insert(name.to_owned(), facts(true));
        for images in world.observed.live.as_mut().unwrap().node_images.values_mut() {
            let id = Some("77".to_owned());
            let image = NodeImage { id, kept: Some(Kept::Loaded), ..NodeImage::default() };
            images.insert(name.to_owned(), image);
        }
    }
    assert!(world.plan().is_empty());

    // One node was stopped while a new build was loaded into the others.
    let old = NodeImage { id: Some("76".to_owned()), ..NodeImage::default() };
    let images = &mut world.observed.live.as_mut().unwrap().node_images;
    images.get_mut("dev-worker2").unwrap().insert(name.to_owned(), old);
    let plan = world.plan();
    let step = plan.step("keep/app-dev").unwrap();
    assert_eq!(step.title, "load localhost/app:dev into 1 node");

    world.observed.nodes.remove("dev-worker");
    let plan = world.plan();
    let step = plan.step("keep/app-dev").unwrap();
    let Action::KeepImage { names, hosts, .. } = &step.action else { panic!("{step:?}") };
    assert_eq!(
        (&names[..], &hosts[..]),
        (
            &[name.to_owned(), alias.to_owned()][..],
            &["dev-worker".to_owned(), "dev-worker2".to_owned()][..],
        )
    );
    assert!(step.needs.iter().any(|need| need == "join/edge"), "{:?}", step.needs);

    world.observed.kept = [(name.to_owned(), facts(false))].into();
    let plan = world.plan();
    assert!(plan.step("keep/app-dev").is_none());
    assert!(plan.notes.iter().any(|note| note.contains("pipe images load")), "{:?}", plan.notes);
}

/// A component's image that was built again is loaded again, under the same name.
#[test]
fn an_image_with_another_content_is_loaded_again() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    for (name, facts) in &mut world.observed.images {
        if name.contains("nats") {
            facts.id = "2".to_owned();
        }
    }
    assert_eq!(world.plan().ids("load/"), ["load/nats-2.15.2"]);
}

/// A proxy that changes is told to nodes in place; silence takes none away.
#[test]
fn nodes_are_told_what_changed_around_them() {
    let mut world = World::new("dev", NetworkMode::Static);
    let proxy = |hash: &str| Told { proxy: hash.to_owned(), ..Told::default() };
    world.surroundings = Wanted { told: proxy("1"), proxy_said: true, file: "c".to_owned() };
    let mut world = world.after();
    assert!(world.plan().is_empty());
    world.surroundings.told.proxy = "2".to_owned();
    world.surroundings.told.mirrors = "m".to_owned();
    let plan = world.plan();
    assert_eq!(plan.ids("surroundings/").len(), plan.steps.len());
    assert_eq!(plan.steps[0].title, "update proxy and mirrors of node dev-control-plane");

    world.surroundings = Wanted { file: "/c.yaml".to_owned(), ..Wanted::default() };
    let plan = world.plan();
    assert!(plan.is_empty());
    assert!(plan.notes.iter().any(|note| note.contains("/c.yaml")), "{:?}", plan.notes);
    world.surroundings.proxy_said = true;
    assert_eq!(world.plan().steps.len(), 3);
}
