//! What `up` holds images to: `pipe.lock`, written for a profile the first time it is used.

use std::collections::{BTreeMap, BTreeSet};

use super::lock::{self, Needs, Place};
use super::resolve::Resolver;
use crate::run::context::{Context, shared_lock};
use crate::run::up::Environment;
use crate::spec::lock_file::{LockFile, Locked};
use crate::spec::{Arch, ImageName, ImagePolicy, Spec, forbidden, policies};
use crate::trust::policy::Class;
use crate::world::World;
use crate::world::registry::Manifest;
use crate::{Error, Kind, Result};

/// What is locked of the images of a profile, for a run.
#[derive(Clone, Debug, Default)]
pub(in crate::run) struct Held {
    /// By upstream name.
    pub images: BTreeMap<ImageName, Locked>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Reads the lock, and locks what a profile needs and nobody locked yet, and what was built anew here.
/// With `write` false nothing is looked up: what is not locked is left open. A profile that does not
/// use the cache has no lock.
///
/// # Errors
/// The file is invalid; under `enforce` a project's lock lacks an image of a profile that it knows, or
/// has a stand-in that the profile refuses; an image cannot be locked.
pub(in crate::run) async fn hold(
    environment: &Environment<'_>,
    world: &World,
    spec: &Spec,
    write: bool,
) -> Result<Held> {
    let profile = &spec.profile;
    if !profile.policy.is_cached() {
        return Ok(Held::default());
    }
    let place = Place::of(environment.sources, environment.paths);
    let file = place.read()?.unwrap_or_default();
    let mut needs = Needs::default();
    needs.add(profile);
    let open = unlocked(&file, &needs);
    if place.in_project() && profile.policy == ImagePolicy::Enforce && file.knows(&profile.name) {
        refuse(&place, &open, profile.name.as_str())?;
    }
    if !write {
        return Ok(Held { images: file.images, notes: Vec::new() });
    }
    let (forbidden, policies) = (forbidden(environment.sources)?, policies(environment.sources)?);
    let resolver = Resolver {
        env: &world.env,
        engine: Some(&world.engine),
        built: &world.built,
        forbidden: &forbidden,
        policies: &policies,
        arch: Arch::of_host()?,
        cancel: &environment.cancel,
    };
    let mut wanted = needs.clone();
    let rebuilt = rebuilt(&resolver, &file, &needs).await?;
    wanted.images.retain(|image, _| open.contains_key(image) || rebuilt.contains(image));
    if wanted.images.is_empty() {
        return Ok(Held { images: file.images, notes: Vec::new() });
    }
    let mut notes = Vec::new();
    let found = lock::find(&resolver, &wanted, &mut notes).await?;
    let (paths, events) = (environment.paths, &environment.events);
    let _lock = shared_lock(paths, "pipe up", &environment.cancel, events).await?;
    // Another `pipe` may have written meanwhile.
    let mut file = place.read()?.unwrap_or_default();
    file.extend(found);
    if place.write(&file)? {
        let images: Vec<&str> = wanted.images.keys().map(ImageName::as_str).collect();
        let place = place.path.display();
        events.info(format!(
            "locked in {place}, which says why each is believed: {}",
            images.join(", ")
        ));
    }
    Ok(Held { images: file.images, notes })
}

/// What a profile needs and the lock does not have as the profile takes it, and why.
fn unlocked(file: &LockFile, needs: &Needs) -> BTreeMap<ImageName, String> {
    let open = needs.images.iter().filter_map(|(image, need)| {
        let why = match file.images.get(image) {
            None => format!("{image} is not in it"),
            Some(locked) => match locked.evidence.stand_in.as_ref().filter(|_| !need.stand_ins) {
                None => return None,
                Some(what) => format!("{image} is a stand-in, {what}, which the profile refuses"),
            },
        };
        Some((image.clone(), why))
    });
    open.collect()
}

/// What was locked as it had been built on this host, and was built anew since: whoever builds an
/// image means it to be run.
async fn rebuilt(
    resolver: &Resolver<'_>,
    file: &LockFile,
    needs: &Needs,
) -> Result<BTreeSet<ImageName>> {
    let mut found = BTreeSet::new();
    for image in needs.images.keys() {
        let Some(locked) = file.images.get(image) else { continue };
        if locked.evidence.class == Class::Built
            && let Some(now) = resolver.held(image).await?
            && now != locked.held_to()
        {
            found.insert(image.clone());
        }
    }
    Ok(found)
}

/// A project's lock is a decision that is reviewed: what it lacks is not added in passing.
fn refuse(place: &Place, open: &BTreeMap<ImageName, String>, profile: &str) -> Result<()> {
    if open.is_empty() {
        return Ok(());
    }
    let what = format!("{} does not have what profile {profile} enforces", place.path.display());
    let error = Error::new(Kind::Signature, "lock-stale", what);
    let error = open.values().fold(error, Error::because);
    Err(error
        .hint(format!("lock it, and look at what changed: pipe images lock --profile {profile}")))
}

/// Writes down under which manifest the cache serves an image that is held to its configuration.
///
/// # Errors
/// The file cannot be read or written.
pub(in crate::run) async fn served(
    context: &Context,
    image: &ImageName,
    manifest: &Manifest,
) -> Result<()> {
    let place = Place::of(&context.sources, &context.paths);
    let _lock = context.shared_lock("pipe up").await?;
    let Some(mut file) = place.read()? else { return Ok(()) };
    if file.serve(image, &manifest.digest, &manifest.media_type) {
        place.write(&file)?;
    }
    Ok(())
}
