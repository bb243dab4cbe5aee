//! What `up` holds images to: `pipe.lock`, written for a profile the first time it is used.

use std::collections::{BTreeMap, BTreeSet};

use super::lock::{self, Needs, Place};
use super::resolve::Resolver;
use crate::run::context::{Context, shared_lock};
use crate::run::up::Environment;
use crate::spec::lock_file::{LockFile, Locked};
use crate::spec::{ImageName, ImagePolicy, Spec, forbidden, policies};
use crate::trust::policy::Class;
use crate::world::World;
use crate::world::registry::Manifest;
use crate::{Error, Kind, Result};

/// What is locked of the images of a profile, for a run.
#[derive(Clone, Debug, Default)]
pub(in crate::run) struct Held {
    /// By upstream name.
    pub images: BTreeMap<ImageName, Locked>,
    /// Images that cannot be had, and why, where the profile does without what needs them.
    pub left_out: BTreeMap<ImageName, String>,
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
    let mut open = unlocked(&file, &needs);
    let mut left_out = BTreeMap::new();
    if place.in_project() && profile.policy == ImagePolicy::Enforce && file.knows(&profile.name) {
        // A project's lock is a decision that is reviewed: what it lacks is not added in passing.
        let is_optional = |image: &ImageName| needs.images.get(image).is_some_and(|it| it.optional);
        (left_out, open) = open.into_iter().partition(|(image, _)| is_optional(image));
        refuse(&place, &open, profile.name.as_str())?;
    }
    if !write {
        return Ok(Held { images: file.images, left_out, notes: Vec::new() });
    }
    let (forbidden, policies) = (forbidden(environment.sources)?, policies(environment.sources)?);
    let resolver = Resolver::of(world, &forbidden, &policies, &environment.cancel)?;
    let mut wanted = needs.clone();
    let rebuilt = rebuilt(&resolver, &file, &needs).await?;
    wanted.images.retain(|image, _| open.contains_key(image) || rebuilt.contains(image));
    if wanted.images.is_empty() {
        return Ok(Held { images: file.images, left_out, notes: Vec::new() });
    }
    for image in wanted.images.keys() {
        environment.events.info(format!("looking for {image}"));
    }
    let mut notes = Vec::new();
    let found = lock::find(&resolver, &wanted, &mut notes).await?;
    left_out.extend(found.left_out);
    let found = found.images;
    let (paths, events) = (environment.paths, &environment.events);
    let _lock = shared_lock(paths, "pipe up", &environment.cancel, events).await?;
    // Another `pipe` may have written meanwhile.
    let mut file = place.read()?.unwrap_or_default();
    let names: Vec<String> = found.keys().map(ImageName::to_string).collect();
    file.extend(found);
    if place.write(&file)? {
        let place = place.path.display();
        events.info(format!(
            "locked in {place}, which says why each is believed: {}",
            names.join(", ")
        ));
    }
    Ok(Held { images: file.images, left_out, notes })
}

/// What a profile needs and the lock does not have as the profile takes it, and why.
fn unlocked(file: &LockFile, needs: &Needs) -> BTreeMap<ImageName, String> {
    let open = needs.images.iter().filter_map(|(image, need)| {
        let Some(locked) = file.images.get(image) else {
            return Some((image.clone(), format!("{image} is not in it")));
        };
        let evidence = &locked.evidence;
        let stand_in = evidence.stand_in.as_ref().filter(|_| !need.stand_ins);
        let why = match stand_in {
            Some(what) => format!("{image} is a stand-in, {what}, which the profile refuses"),
            None if need.enforced && !evidence.is_enough() => {
                format!("{image} is not believed: {}", evidence.words)
            }
            None => return None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::cache::lock::Need;
    use crate::spec::ProfileName;
    use crate::spec::lock_file::{Anchor, Source};
    use crate::trust::policy::Verdict;

    #[test]
    fn what_the_lock_has_is_taken_where_the_profile_takes_it() {
        let image = |name: &str| ImageName::parse(name).unwrap();
        let locked = |class: Class, stand_in: Option<&str>| Locked {
            profiles: BTreeSet::from([ProfileName::parse("other").unwrap()]),
            source: Source::Engine,
            anchor: Anchor::Config { config: String::new(), served: None, media_type: None },
            platforms: BTreeMap::new(),
            evidence: Verdict {
                class,
                words: "nobody signed it".to_owned(),
                by: None,
                stand_in: stand_in.map(str::to_owned),
            },
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        let file = LockFile {
            images: BTreeMap::from([
                (image("r.io/good:1"), locked(Class::Built, None)),
                (image("r.io/other:1"), locked(Class::Built, Some("another"))),
                (image("r.io/unknown:1"), locked(Class::None, None)),
            ]),
        };
        let open = |stand_ins: bool, enforced: bool| {
            let need = Need { profiles: BTreeSet::new(), stand_ins, optional: false, enforced };
            let names = ["r.io/good:1", "r.io/other:1", "r.io/unknown:1", "r.io/new:1"];
            let images = names.map(|name| (image(name), need.clone())).into();
            let needs = Needs { profiles: BTreeSet::new(), images };
            unlocked(&file, &needs).into_values().collect::<Vec<_>>().join("\n")
        };
        assert_eq!(open(true, false), "r.io/new:1 is not in it");
        insta::assert_snapshot!(open(false, true), @r"
        r.io/new:1 is not in it
        r.io/other:1 is a stand-in, another, which the profile refuses
        r.io/unknown:1 is not believed: nobody signed it
        ");
    }
}
