//! Releases, their Secrets, buckets and images.

use super::*;

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

#[test]
fn a_secret_that_somebody_changed_is_put_back_and_read_anew() {
    let mut world = World::new("single", NetworkMode::Static).after();
    let name = world.spec.profile.components[0].name.clone();
    let live = world.live();
    live.secrets.remove(&name);
    live.changed_secrets.insert(name, "Secret messaging/x holds another password".to_owned());
    let plan = world.plan();
    assert_eq!(ids(&plan), ["prepare/nats", "restart/nats", "serve/nats", "smoke/nats"]);
    assert_eq!(
        plan.notes,
        ["Secret messaging/x holds another password: it is put back, and nats restarted"]
    );
    let serve = plan.step("serve/nats").unwrap();
    assert!(serve.needs.contains("restart/nats"), "{serve:?}");

    world.live().releases.clear();
    assert!(!ids(&world.plan()).contains(&"restart/nats"), "nothing runs yet that read it");
}
