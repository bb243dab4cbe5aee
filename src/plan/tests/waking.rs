//! Clusters that sleep, or lost a part.

use super::*;

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
