//! Nodes that go, and what is remembered of them.

use super::*;

/// What is stored on a node is not lost for a line that somebody took out of a file.
#[test]
fn a_node_with_volumes_is_pruned_only_with_consent() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    world.spec.cluster.nodes.remove(1);
    let lost = vec!["volume pvc-1 of claim data/data-minio-0".to_owned()];
    world.live().volumes.insert("dev-worker".to_owned(), lost);
    assert!(world.plan().is_empty(), "nothing is removed unasked");
    world.options.prune = true;
    let error = build(&world.input()).unwrap_err();
    assert_eq!(error.code, "local-data");
    assert_eq!(error.causes, ["on dev-worker: volume pvc-1 of claim data/data-minio-0"]);
    world.options.delete_data = true;
    assert!(ids(&world.plan()).contains(&"volumes/dev-worker"));
}

/// One node goes and another comes in the same run: nobody learns a route to the one that goes.
#[test]
fn a_new_node_learns_no_route_to_one_that_is_pruned() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    world.spec.cluster.nodes.remove(1);
    world.observed.nodes.remove("dev-worker2");
    world.live().nodes.remove("dev-worker2");
    world.options.prune = true;
    let plan = world.plan();
    for step in &plan.steps {
        let (Action::CreateNode(node) | Action::UpdateRoutes(node)) = &step.action else {
            continue;
        };
        assert!(node.routes.iter().all(|route| route.pod_cidr != "10.244.1.0/24"), "{step:?}");
    }
    let forget = plan.step("unroute/dev-worker").unwrap();
    assert_eq!(forget.needs, BTreeSet::from(["routes/core".to_owned()]), "{}", plan.to_text());
}

/// A label that was there by hand before the file named it: without a record it would stay for ever.
#[test]
fn a_record_that_is_not_true_is_written_anew() {
    let mut world = World::new("dev", NetworkMode::Static).after();
    world.live().nodes.get_mut("dev-worker").unwrap().applied = Applied::default();
    let plan = world.plan();
    assert_eq!(ids(&plan), ["label/edge"]);
    let Action::ConfigureNode { change, .. } = &plan.steps[0].action else { panic!("{plan:?}") };
    assert_eq!(*change, NodeChange { record: true, ..NodeChange::default() });
}
