//! Several control planes behind a load balancer.

use super::*;

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
