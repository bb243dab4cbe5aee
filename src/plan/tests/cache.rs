//! What is planned for clusters whose nodes pull from the local cache.

use super::*;
use crate::plan::observed::{CachedFacts, RegistryFacts};
use crate::spec::lock_file::LockFile;
use crate::spec::problem::Problems;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 199);

impl World {
    fn cached(cluster: &str) -> World {
        let mut world = World::new(cluster, NetworkMode::Static);
        world.spec.profile.policy = ImagePolicy::Enforce;
        world.reservation.registry = Some(ADDRESS);
        world
    }

    /// The cache after a whole run.
    fn filled(mut self) -> World {
        let images = self.spec.profile.components.iter().flat_map(|c| &c.definition.images);
        let facts = CachedFacts {
            digest: "sha256:d".to_owned(),
            id: Some("1".to_owned()),
            size: 1,
            signed_by: Some("k".to_owned()),
        };
        let images = images.map(|image| (image.to_string(), facts.clone())).collect();
        self.observed.registry = Some(RegistryFacts {
            software: "zot".to_owned(),
            running: true,
            address: ADDRESS,
            port: 40000,
            shared: false,
            used: false,
            images,
        });
        self
    }

    fn registry(&mut self) -> &mut RegistryFacts {
        self.observed.registry.as_mut().unwrap()
    }
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

#[test]
fn nodes_pull_from_the_cache_and_the_engine_needs_no_image_but_two() {
    let mut world = World::cached("single");
    world.observed.images.clear();
    let plan = world.plan();
    assert!(plan.step("image/node").is_some() && plan.step("image/registry").is_some());
    assert!(plan.step("image/nats-2.15.2").is_none(), "{:?}", ids(&plan));
    let cache = plan.step("cache/nats-2.15.2").unwrap();
    assert_eq!(cache.needs, ["registry".to_owned()].into());
    let pull = plan.step("load/nats-2.15.2").unwrap();
    assert!(matches!(pull.action, Action::FetchImage { .. }), "{:?}", pull.action);
    assert!(pull.needs.contains("cache/nats-2.15.2"), "{:?}", pull.needs);
    assert!(plan.step("registry").unwrap().needs.contains("network"));
}

#[test]
fn nothing_is_planned_for_a_cache_that_has_everything_signed() {
    let mut world = World::cached("single").after().filled();
    assert_eq!(ids(&world.plan()), Vec::<&str>::new());

    world.registry().running = false;
    world.registry().images.clear();
    let plan = world.plan();
    assert!(plan.step("registry").is_some(), "{:?}", ids(&plan));
    assert!(plan.step("cache/nats-2.15.2").is_some(), "{:?}", ids(&plan));

    let mut unsigned = World::cached("single").after().filled();
    unsigned.registry().images.values_mut().next().unwrap().signed_by = None;
    assert_eq!(ids(&unsigned.plan()).len(), 1);
}

#[test]
fn an_image_that_was_built_anew_is_cached_anew_and_one_that_was_pulled_is_not() {
    let mut world = World::cached("single").after().filled();
    for facts in world.observed.images.values_mut() {
        facts.id = "2".to_owned();
    }
    let pulled = ids(&world.plan()).iter().any(|id| id.starts_with("cache/"));
    assert!(!pulled, "the cache has what its registry said, whatever the engine has");
    for facts in world.observed.images.values_mut() {
        facts.built = true;
    }
    let plan = world.plan();
    assert!(plan.step("cache/nats-2.15.2").is_some(), "{:?}", ids(&plan));
    assert!(plan.step("load/nats-2.15.2").is_some(), "{:?}", ids(&plan));
}

#[test]
fn the_api_server_is_told_of_names_when_they_change_and_let_be_without_a_cache() {
    let step = |world: &World| world.plan().step("admission").is_some();
    let mut world = World::cached("single");
    world.admission = Some("a".to_owned());
    assert!(step(&world), "a new cluster");
    let mut world = World::cached("single").after().filled();
    assert!(!step(&world));
    world.admission = Some("a".to_owned());
    assert!(step(&world), "made by an earlier pipe");
    world.observed.live.as_mut().unwrap().admission = Some("a".to_owned());
    assert_eq!(ids(&world.plan()), Vec::<&str>::new());
    world.admission = Some("b".to_owned());
    assert_eq!(ids(&world.plan()), ["admission"]);
    world.admission = None;
    assert_eq!(ids(&world.plan()), ["admission"], "the profile has no cache any more");
}

/// NATS' image is locked, to what these lines say.
fn locked(world: &mut World, anchor: &str) {
    let text = format!(
        "apiVersion: pipe.dev/v1alpha1\nkind: Lock\nimages:\n  docker.io/library/nats:2.15.2:\n    \
         profiles: [p]\n    source: engine\n    platforms: {{}}\n    at: \"2026-11-21T20:00:00Z\"\n    \
         evidence: {{class: none, words: none}}\n    {anchor}\n"
    );
    let problems = Problems::default();
    let lock = LockFile::read("pipe.lock", text.as_bytes(), &problems);
    problems.into_result().unwrap();
    world.locked = lock.unwrap().images;
}

#[test]
fn the_lock_decides_whatever_the_engine_and_the_tag_have_by_now() {
    let digest = |c: &str| format!("sha256:{}", c.repeat(64));
    let by_digest = |c: &str| format!("mediaType: m\n    digest: {}", digest(c));
    let by_config = |c: &str| format!("anchoredBy: config\n    config: {}", digest(c));
    let mut world = World::cached("single").after().filled();
    for facts in world.observed.images.values_mut() {
        (facts.id, facts.built) = ("2".repeat(64), true);
    }
    for facts in world.registry().images.values_mut() {
        (facts.id, facts.digest) = (Some("1".repeat(64)), digest("d"));
    }
    for images in world.observed.live.as_mut().unwrap().node_images.values_mut() {
        images.values_mut().for_each(|image| image.id = Some("1".repeat(64)));
    }
    let nats = |world: &World| {
        let plan = world.plan();
        let steps = ["cache/nats-2.15.2", "load/nats-2.15.2"];
        steps.map(|step| plan.step(step).is_some())
    };
    for same in [by_digest("d"), by_config("1")] {
        locked(&mut world, &same);
        assert_eq!(nats(&world), [false, false]);
    }
    locked(&mut world, &by_digest("e"));
    assert!(nats(&world)[0], "the tag was moved, by another project's lock or by hand");
    locked(&mut world, &by_config("2"));
    assert_eq!(nats(&world), [true, true]);
}

#[test]
fn its_container_goes_with_the_last_cluster() {
    let mut world = World::cached("single").after().filled();
    let name = world.spec.cluster.name.clone();
    let plan = teardown(&name, &world.observed, "kind", true);
    assert!(plan.step("network").unwrap().needs.contains("registry"), "{:?}", ids(&plan));
    world.registry().shared = true;
    assert!(teardown(&name, &world.observed, "kind", true).step("registry").is_none());
}

#[test]
fn it_sleeps_and_wakes_with_the_clusters_that_pull_from_it() {
    let mut world = World::cached("single");
    world.surroundings.told.cache = Some(ADDRESS);
    let mut world = world.after().filled();
    let name = world.spec.cluster.name.clone();
    let stop = wake::stop(&name, &world.observed);
    assert_eq!(ids(&stop), ["stop/core", "stop/registry"]);
    world.registry().used = true;
    assert_eq!(ids(&wake::stop(&name, &world.observed)), ["stop/core"]);

    world.registry().running = false;
    for facts in world.observed.nodes.values_mut() {
        (facts.stage, facts.running) = (NodeStage::Stopped, false);
        facts.told = Told::default();
    }
    let start = |world: &World| wake::start(&name, &world.observed).unwrap();
    assert!(start(&world).step("registry").is_none(), "nodes that do without it");
    for facts in world.observed.nodes.values_mut() {
        facts.told.cache = Some(ADDRESS);
    }
    assert!(start(&world).step("registry").is_some());
    world.observed.live = None;
    assert!(world.plan().step("registry").is_some(), "{:?}", ids(&world.plan()));
}
