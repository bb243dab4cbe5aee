//! The part of a plan that fills the local cache, from which nodes pull.

use std::collections::BTreeSet;

use super::input::Input;
use super::observed::{CachedFacts, ImageFacts};
use super::{Action, Phase, Plan};
use crate::spec::lock_file::{self, Anchor};
use crate::spec::{ImageName, ImagePolicy};

/// The registry, and every image of the profile that it lacks or that nobody signed.
pub(super) fn add(input: &Input<'_>, plan: &mut Plan) {
    let Some(address) =
        input.reservation.registry.filter(|_| input.spec.profile.policy.is_cached())
    else {
        return;
    };
    let running = input.observed.registry.as_ref().is_some_and(|registry| registry.running);
    if !running {
        let image = input.registry_image;
        if !input.observed.images.contains_key(image.as_str()) {
            let action = Action::PullImage { image: image.clone() };
            plan.add("image/registry", Phase::Cluster, [], action);
        }
        let action = Action::StartRegistry { address };
        plan.add("registry", Phase::Cluster, ["network", "image/registry"], action);
    }
    for component in &input.spec.profile.components {
        for image in &component.definition.images {
            let id = format!("cache/{}", image.short());
            if plan.step(&id).is_none() && !is_whole(input, image) {
                let action = Action::CacheImage { image: image.clone() };
                plan.add(id, Phase::Cluster, ["registry"], action);
            }
        }
    }
}

/// The API server refuses names of images, as the profile wants it now.
pub(super) fn restrict(input: &Input<'_>, new_cluster: bool, plan: &mut Plan) {
    let live = input.observed.live.as_ref();
    let found = live.and_then(|live| live.admission.as_deref()).filter(|_| !new_cluster);
    if (new_cluster || live.is_some()) && found != input.admission {
        plan.add("admission", Phase::Cluster, ["init", "kubeconfig"], Action::RestrictImages);
    }
}

/// The proof that nodes refuse what nobody signed, on those that did not give it yet.
pub(super) fn prove(input: &Input<'_>, fresh: &BTreeSet<String>, plan: &mut Plan) {
    if input.spec.profile.policy != ImagePolicy::Enforce {
        return;
    }
    let wanted = &input.surroundings.told.verifier;
    let nodes = &input.spec.cluster.nodes;
    let unproven = |host: &&String| {
        let facts = input.observed.nodes.get(*host);
        fresh.contains(*host) || facts.is_none_or(|facts| facts.told.proven != *wanted)
    };
    let hosts: Vec<String> =
        nodes.iter().map(|node| &node.host).filter(unproven).cloned().collect();
    if hosts.is_empty() {
        return;
    }
    let each = nodes.iter().flat_map(|node| {
        ["ready", "label", "surroundings"].map(|step| format!("{step}/{}", node.name))
    });
    let needs: Vec<String> = each.chain(["registry".to_owned(), "kubeconfig".to_owned()]).collect();
    let needs = needs.iter().map(String::as_str);
    plan.add("canary", Phase::Component, needs, Action::ProveVerifier { hosts });
}

/// The id by which nodes are to know an image: of what is locked, where the id is known of that; else
/// of what the engine has, else of what the cache has.
pub(super) fn id<'a>(input: &Input<'a>, image: &ImageName) -> Option<&'a str> {
    let cached = cached(input, image).and_then(|cached| cached.id.as_deref());
    match input.locked.get(image).map(|locked| &locked.anchor) {
        None => {
            let facts = input.observed.images.get(image.as_str());
            facts.map(|facts| facts.id.as_str()).or(cached)
        }
        Some(Anchor::Config { config, .. }) => Some(lock_file::hex(config)),
        Some(Anchor::Digest { .. }) => cached.filter(|_| is_whole(input, image)),
    }
}

fn cached<'a>(input: &Input<'a>, image: &ImageName) -> Option<&'a CachedFacts> {
    let registry = input.observed.registry.as_ref()?;
    registry.images.get(image.as_str())
}

/// Whether the cache has an image, signed: the locked one, or, where none is locked yet, the one that
/// was built here.
fn is_whole(input: &Input<'_>, image: &ImageName) -> bool {
    let Some(cached) = cached(input, image).filter(|cached| cached.signed_by.is_some()) else {
        return false;
    };
    if let Some(locked) = input.locked.get(image) {
        return locked.is(&cached.digest, cached.id.as_deref());
    }
    let facts = input.observed.images.get(image.as_str());
    let made_here = facts.and_then(ImageFacts::made_here);
    made_here.is_none_or(|made| cached.id.as_deref().is_none_or(|id| id == made))
}
