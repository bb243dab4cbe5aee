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
mod components;
mod control_planes;
mod nodes;
mod waking;

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
