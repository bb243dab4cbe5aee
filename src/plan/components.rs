//! The part of a plan that installs, awaits and proves components.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::input::{Input, SmokeWhen};
use super::observed::Live;
use super::{Action, Phase, Plan, cache, kept};
use crate::digest;
use crate::spec::{Component, ImageName};

/// Adds every component's steps, in installation order, and what pruning asks for.
pub fn add(input: &Input<'_>, fresh: &BTreeSet<String>, plan: &mut Plan) {
    let nothing = Live::default();
    let live = input.observed.live.as_ref().unwrap_or(&nothing);
    let mut changed = BTreeSet::new();
    for component in &input.spec.profile.components {
        add_one(input, fresh, live, component, &mut changed, plan);
    }
    kept::add(input, fresh, live, plan);
    prune(input, live, plan);
}

/// One component: images, namespace and Secret, release, readiness, proof.
fn add_one(
    input: &Input<'_>,
    fresh: &BTreeSet<String>,
    live: &Live,
    component: &Component,
    changed: &mut BTreeSet<String>,
    plan: &mut Plan,
) {
    let name = component.name.as_str();
    let loads = add_images(input, fresh, live, component, plan);
    let hash = release_hash(input, component);
    let release = live.releases.get(name);
    let current = release.is_some_and(|release| {
        release.status == "deployed"
            && release.hash.as_deref() == Some(&hash)
            && release.namespace == component.namespace
    });
    let prepared = live.secrets.contains(&component.name);
    let nodes_lost = !fresh.is_empty();
    let prepare = format!("prepare/{name}");
    let install = format!("install/{name}");
    let ready = format!("serve/{name}");
    let buckets = format!("buckets/{name}");
    let restart = format!("restart/{name}");
    if !prepared || !current {
        let action = Action::Prepare { component: Box::new(component.clone()) };
        plan.add(&prepare, Phase::Component, ["kubeconfig"], action);
    }
    if !current {
        if plan.step("helm").is_none() {
            plan.add("helm", Phase::Component, [], Action::FindHelm);
        }
        let mut needs: Vec<String> =
            ["helm", "storage", "dns-ready", &prepare].map(str::to_owned).into();
        needs.extend(loads);
        needs.extend(component.definition.needs.iter().map(|need| format!("serve/{need}")));
        needs.extend(plan.ids("label/"));
        needs.extend(input.spec.cluster.nodes.iter().map(|node| format!("ready/{}", node.name)));
        let action = Action::InstallRelease {
            component: Box::new(component.clone()),
            hash,
            first: release.is_none(),
        };
        plan.add(&install, Phase::Component, needs.iter().map(String::as_str), action);
        changed.insert(name.to_owned());
    }
    // What its pods read when they started may be what somebody wrote there.
    let spoilt = release.and(live.changed_secrets.get(&component.name));
    if let Some(fault) = spoilt {
        let node_ready = plan.ids("ready/");
        let needs = node_ready.iter().map(String::as_str).chain([&*prepare, &*install, "proxy"]);
        let action = Action::RestartPods { component: Box::new(component.clone()) };
        plan.add(&restart, Phase::Component, needs, action);
        plan.notes.push(format!("{fault}: it is put back, and {name} restarted"));
    }
    if !current || nodes_lost || spoilt.is_some() || !live.ready.contains(&component.name) {
        let action = Action::AwaitComponent { component: Box::new(component.clone()) };
        let node_ready = plan.ids("ready/");
        let needs = node_ready.iter().map(String::as_str).chain([&*install, &*restart]);
        plan.add(&ready, Phase::Component, needs.chain(["proxy"]), action);
        changed.insert(name.to_owned());
    }
    if !component.buckets.is_empty() && (!current || !live.buckets.contains(&component.name)) {
        let action = Action::MakeBuckets { component: Box::new(component.clone()) };
        plan.add(&buckets, Phase::Component, [ready.as_str(), "proxy"], action);
        changed.insert(name.to_owned());
    }
    let wanted = match input.options.smoke {
        SmokeWhen::Changed => changed.contains(name),
        SmokeWhen::Always => true,
        SmokeWhen::Never => false,
    };
    if wanted && component.definition.smoke.is_some() {
        let action = Action::Smoke { component: Box::new(component.clone()) };
        plan.add(
            format!("smoke/{name}"),
            Phase::Smoke,
            [ready.as_str(), buckets.as_str(), "proxy", "dns-ready"],
            action,
        );
    }
}

/// Gets a component's images into the engine and into the nodes that lack them; returns the ids of
/// the steps that load them.
fn add_images(
    input: &Input<'_>,
    fresh: &BTreeSet<String>,
    live: &Live,
    component: &Component,
    plan: &mut Plan,
) -> Vec<String> {
    let mut loads = Vec::new();
    for image in &component.definition.images {
        let load = format!("load/{}", image.short());
        if plan.step(&load).is_some() {
            loads.push(load);
            continue;
        }
        let facts = input.observed.images.get(image.as_str());
        let stands_in = facts.is_some_and(|facts| facts.stand_in.is_some());
        let id = cache::id(input, image);
        let lacks = |node: &&crate::spec::Node| {
            let marked = live
                .node_images
                .get(&node.host)
                .is_some_and(|images| images.contains_key(&image.stand_in_mark()));
            fresh.contains(&node.host)
                || kept::lacks(live, &node.host, image.tagged(), id)
                // The same name may hold a stand-in in a node and the real one in the engine, or
                // the reverse.
                || marked != stands_in
        };
        let hosts: Vec<String> =
            input.spec.cluster.nodes.iter().filter(lacks).map(|node| node.host.clone()).collect();
        if hosts.is_empty() {
            continue;
        }
        let cached = input.spec.profile.policy.is_cached();
        pull_image(input, image, plan);
        let pull = format!("image/{}", image.short());
        let cache = format!("cache/{}", image.short());
        let boots: Vec<String> = input
            .spec
            .cluster
            .nodes
            .iter()
            .flat_map(|node| ["boot", "surroundings"].map(|step| format!("{step}/{}", node.name)))
            .collect();
        // `kubeadm` and image import compete for the same disk and cores; the API server wins.
        let images = [pull.as_str(), cache.as_str(), "registry"];
        let needs = boots.iter().map(String::as_str).chain(images).chain(["init"]);
        let image = image.clone();
        let action = match cached {
            true => Action::FetchImage { image, hosts },
            false => Action::LoadImage { image, hosts },
        };
        plan.add(&load, Phase::Component, needs, action);
        loads.push(load);
    }
    loads
}

/// Pulls of every component image that the engine lacks.
pub(super) fn pull_images(input: &Input<'_>, plan: &mut Plan) {
    for component in &input.spec.profile.components {
        for image in &component.definition.images {
            pull_image(input, image, plan);
        }
    }
}

fn pull_image(input: &Input<'_>, image: &ImageName, plan: &mut Plan) {
    // It goes into the cache, by no way of the engine's.
    if input.spec.profile.policy.is_cached() {
        return;
    }
    let id = format!("image/{}", image.short());
    if !input.observed.images.contains_key(image.as_str()) && plan.step(&id).is_none() {
        plan.add(id, Phase::Cluster, [], Action::PullImage { image: image.clone() });
    }
}

/// Releases of ours that the profile no longer names.
fn prune(input: &Input<'_>, live: &Live, plan: &mut Plan) {
    for (release, facts) in &live.releases {
        let named = input
            .spec
            .profile
            .components
            .iter()
            .any(|component| component.name.as_str() == release);
        if named {
            continue;
        }
        if input.options.prune {
            let action = Action::UninstallRelease {
                release: release.clone(),
                namespace: facts.namespace.clone(),
                delete_data: input.options.delete_data,
            };
            plan.add(format!("uninstall/{release}"), Phase::Component, ["kubeconfig"], action);
        } else {
            plan.notes.push(format!(
                "component {release} is installed but profile {} does not name it; --prune removes it",
                input.spec.profile.name
            ));
        }
    }
}

/// The values a chart gets: the component file's and the user's, and the name of the Secret that
/// `pipe` makes.
pub fn chart_values(component: &Component) -> Value {
    let mut values = component.chart_values();
    if let Some(credentials) = &component.definition.credentials {
        values["credentials"]["existingSecret"] = json!(credentials.secret);
    }
    values
}

/// Changes whenever a release would: chart files, values, namespace or an image's name.
pub fn release_hash(input: &Input<'_>, component: &Component) -> String {
    // The image's name stands for its content here: a built image that changes is loaded again
    // under the same name, and the name carries the version.
    let text = json!({
        "chart": input.charts.get(&component.definition.chart),
        "values": chart_values(component),
        "namespace": component.namespace,
        "images": component.definition.images,
    });
    let digest = Sha256::digest(text.to_string());
    digest::hex(digest.get(..8).unwrap_or_default())
}
