//! `pipe.lock` written, and held against the profiles and the registries of now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures::StreamExt as _;
use futures::stream;
use serde::Serialize;

use super::resolve::Resolver;
use crate::report::Events;
use crate::run::context::shared_lock;
use crate::spec::lock_file::{Anchor, LockFile, Locked};
use crate::spec::source::{Folder, Sources};
use crate::spec::{
    ImageName, ImagePolicy, Profile, ProfileName, StandIns, WhenUnavailable, load_profile,
};
use crate::state::cache_use;
use crate::state::paths::Paths;
use crate::{Error, Kind, Result};

mod place;

pub use place::Place;

/// Images that are looked up at once.
const AT_ONCE: usize = 4;

/// What the profiles need.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The profiles that were looked at.
    pub profiles: BTreeSet<ProfileName>,
    /// Every image of their components.
    pub images: BTreeMap<ImageName, Need>,
}

/// Who needs an image, and how much.
#[derive(Clone, Debug)]
pub struct Need {
    /// By these.
    pub profiles: BTreeSet<ProfileName>,
    /// Whether another product may stand in: every one of them allows it.
    pub stand_ins: bool,
    /// Whether all of them do without where it cannot be had.
    pub optional: bool,
    /// Whether one of them refuses what is not believed.
    pub enforced: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The file.
    pub file: PathBuf,
    /// Whether it was written.
    pub changed: bool,
    /// What the profiles need, as it is locked.
    pub images: BTreeMap<ImageName, Locked>,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Need {
    /// Before the first profile is looked at.
    fn unneeded() -> Need {
        Need { profiles: BTreeSet::new(), stand_ins: true, optional: true, enforced: false }
    }
}

impl Needs {
    /// Of one profile, or of all that there are.
    ///
    /// # Errors
    /// [`Kind::Files`] with every problem of the first that is invalid.
    pub fn of(sources: &Sources, profile: Option<&str>) -> Result<Needs> {
        let names = match profile {
            Some(name) => vec![name.to_owned()],
            None => sources.names(Folder::Profiles)?.into_keys().collect(),
        };
        let mut needs = Needs::default();
        for name in names {
            needs.add(&load_profile(sources, &name)?);
        }
        Ok(needs)
    }

    /// Adds a profile's.
    pub fn add(&mut self, profile: &Profile) {
        let allows = profile.stand_ins == StandIns::Allow;
        self.profiles.insert(profile.name.clone());
        for component in &profile.components {
            let optional = component.when_unavailable == WhenUnavailable::Skip;
            for image in &component.definition.images {
                let need = self.images.entry(image.clone()).or_insert_with(Need::unneeded);
                need.profiles.insert(profile.name.clone());
                need.stand_ins &= allows;
                need.optional &= optional;
                need.enforced |= profile.policy == ImagePolicy::Enforce;
            }
        }
    }
}

/// Looks every image up, and writes what was found: all of it, or nothing.
///
/// # Errors
/// [`Kind::Signature`] where one is forbidden, or not believed and a profile enforces that, else [`Kind::Failed`], with a cause for each image
/// that cannot be locked; the file is invalid, or cannot be written.
pub async fn lock(
    resolver: &Resolver<'_>,
    place: &Place,
    needs: &Needs,
    paths: &Paths,
    events: &Events,
) -> Result<Outcome> {
    // What is wrong with it is said before anybody is asked.
    place.read()?;
    let mut notes = Vec::new();
    let Found { images: found, left_out } = find(resolver, needs, &mut notes).await?;
    notes.extend(
        left_out.into_values().map(|why| format!("left out, as its profiles allow: {why}")),
    );
    let held = shared_lock(paths, "pipe images lock", resolver.cancel, events).await?;
    // Another `pipe` may have written meanwhile.
    let mut file = place.read()?.unwrap_or_default();
    file.renew(&needs.profiles, found.clone());
    let changed = place.write(&file)?;
    match place.remember(paths, &held) {
        Ok(note) => notes.extend(note),
        Err(error) => notes.push(cache_use::unwritten(&error)),
    }
    drop(held);
    let images = file.images.into_iter().filter(|(name, _)| found.contains_key(name)).collect();
    Ok(Outcome { file: place.path.clone(), changed, images, notes })
}

/// What names stand for.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What can be had.
    pub images: BTreeMap<ImageName, Locked>,
    /// What cannot, and why, where every profile does without.
    pub left_out: BTreeMap<ImageName, String>,
}

/// What each name stands for now, or one error for all that cannot be locked.
pub(super) async fn find(
    resolver: &Resolver<'_>,
    needs: &Needs,
    notes: &mut Vec<String>,
) -> Result<Found> {
    let asked = needs
        .images
        .iter()
        .map(async |(image, need)| (image, need, resolver.resolve(image, need.stand_ins).await));
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let mut found = Found::default();
    let mut refused: Vec<Error> = Vec::new();
    for (image, need, answer) in answers {
        match answer {
            Ok(mut locked) => {
                if need.enforced && !locked.evidence.is_enough() {
                    refused.push(unbelieved(image, &locked));
                    continue;
                }
                locked.profiles.clone_from(&need.profiles);
                if !locked.evidence.is_enough() {
                    notes.push(format!("{image} is not believed: {}", locked.evidence.words));
                }
                found.images.insert(image.clone(), locked);
            }
            Err(error) if error.kind == Kind::Interrupted => return Err(error),
            Err(error) if need.optional && error.kind != Kind::Signature => {
                found.left_out.insert(image.clone(), error.to_string());
            }
            Err(error) => refused.push(error),
        }
    }
    match refused.len() {
        0 => Ok(found),
        count => Err(together(refused, count)),
    }
}

/// A profile enforces that there is evidence.
pub fn unbelieved(image: &ImageName, locked: &Locked) -> Error {
    Error::new(Kind::Signature, "evidence-refused", format!("{image} is not believed"))
        .because(&locked.evidence.words)
        .hint(format!(
            "say what is enough for {} in a file of profiles/trust/, kind: TrustPolicy",
            image.repository()
        ))
}

/// One error for all images that cannot be locked.
fn together(mut refused: Vec<Error>, count: usize) -> Error {
    if count == 1
        && let Some(only) = refused.pop()
    {
        return only;
    }
    let is_forbidden = refused.iter().any(|error| error.kind == Kind::Signature);
    let kind = if is_forbidden { Kind::Signature } else { Kind::Failed };
    let mut error = Error::new(kind, "lock-incomplete", format!("{count} images cannot be locked"));
    for one in refused {
        error = error.because(&one);
        for hint in one.hints {
            if !error.hints.contains(&hint) {
                error.hints.push(hint);
            }
        }
    }
    error
}

/// Holds the file against what the profiles need and, where they can be asked, the registries.
///
/// # Errors
/// `lock-stale`, with a cause for each difference and the command that mends it.
pub async fn check(
    resolver: &Resolver<'_>,
    place: &Place,
    needs: &Needs,
    repair: &str,
) -> Result<Outcome> {
    let Some(file) = place.read()? else {
        let what = format!("there is no {}", place.path.display());
        return Err(Error::failed("lock-stale", what).hint(format!("write it: {repair}")));
    };
    let mut stale = differences(&file, needs);
    let mut notes = Vec::new();
    let locked = file.images.iter().filter(|(name, _)| needs.images.contains_key(name));
    let asked = locked.map(async |(image, locked)| (image, moved(resolver, image, locked).await));
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (image, answer) in answers {
        match answer {
            Ok(None) => {}
            Ok(Some(difference)) => stale.push(format!("{image} {difference}")),
            Err(error) if error.kind == Kind::Interrupted => return Err(error),
            Err(error) => notes.push(format!("not looked up: {error}")),
        }
    }
    if stale.is_empty() {
        let images = file.images.into_iter();
        let images = images.filter(|(name, _)| needs.images.contains_key(name)).collect();
        return Ok(Outcome { file: place.path.clone(), changed: false, images, notes });
    }
    let error = Error::failed("lock-stale", format!("{} is stale", place.path.display()));
    let error = stale.into_iter().fold(error, Error::because);
    Err(error.hint(format!("write it anew, and look at what changed: {repair}")))
}

/// Pure: what is missing in the file, and what is in it that nobody needs.
fn differences(file: &LockFile, needs: &Needs) -> Vec<String> {
    let mut found = Vec::new();
    for (image, need) in needs.images.iter().filter(|(_, need)| !need.optional) {
        let has = file.images.get(image).map(|locked| &locked.profiles);
        let lacking: Vec<&str> = need
            .profiles
            .iter()
            .filter(|profile| has.is_none_or(|has| !has.contains(profile)))
            .map(ProfileName::as_str)
            .collect();
        if !lacking.is_empty() {
            found.push(format!("{image}, which {} needs, is not in it", lacking.join(", ")));
        }
    }
    for (image, _) in needs.images.iter().filter(|(_, need)| !need.stand_ins) {
        let locked = file.images.get(image);
        if let Some(what) = locked.and_then(|locked| locked.evidence.stand_in.as_ref()) {
            found.push(format!("{image} is a stand-in, {what}, which a profile refuses"));
        }
    }
    for (image, locked) in &file.images {
        let unneeded: Vec<&str> = locked
            .profiles
            .intersection(&needs.profiles)
            .filter(|it| needs.images.get(image).is_none_or(|need| !need.profiles.contains(*it)))
            .map(ProfileName::as_str)
            .collect();
        if !unneeded.is_empty() {
            found.push(format!(
                "{image} is in it for {}, which does not name it",
                unneeded.join(", ")
            ));
        }
    }
    found
}

/// How an image differs now from what was locked.
async fn moved(
    resolver: &Resolver<'_>,
    image: &ImageName,
    locked: &Locked,
) -> Result<Option<String>> {
    let held = locked.held_to();
    match &locked.anchor {
        Anchor::Digest { .. } => Ok(match resolver.served(image).await? {
            Some(now) if now == held => None,
            Some(now) => Some(format!("has moved: it was {held}, and is {now} now")),
            None => Some(format!("is gone: its registry served {held}, and has no such tag now")),
        }),
        Anchor::Config { .. } => Ok(match resolver.held(image).await? {
            Some(now) if now == held => None,
            Some(now) => Some(format!("was made anew: the engine has {now}, and {held} is locked")),
            // The cache may have it still, whoever filled it.
            None => None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::lock_file::Source;
    use crate::trust::policy::Verdict;

    fn names(names: &[&str]) -> BTreeSet<ProfileName> {
        names.iter().map(|name| ProfileName::parse(name).unwrap()).collect()
    }

    fn image(name: &str) -> ImageName {
        ImageName::parse(name).unwrap()
    }

    fn locked(profiles: &[&str]) -> Locked {
        Locked {
            profiles: names(profiles),
            source: Source::Upstream,
            anchor: Anchor::Config { config: String::new(), served: None, media_type: None },
            platforms: BTreeMap::new(),
            evidence: Verdict::refused(&[]),
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_missing_and_what_is_too_much() {
        let need = |profiles: &[&str], optional| Need {
            profiles: names(profiles),
            stand_ins: false,
            optional,
            enforced: false,
        };
        let needs = Needs {
            profiles: names(&["ci", "laptop"]),
            images: BTreeMap::from([
                (image("r.io/a:1"), need(&["ci", "laptop"], false)),
                (image("r.io/b:1"), need(&["ci"], false)),
                (image("r.io/optional:1"), need(&["ci"], true)),
            ]),
        };
        let file = LockFile {
            images: BTreeMap::from([
                (image("r.io/a:1"), locked(&["ci", "other"])),
                (image("r.io/b:1"), {
                    let mut locked = locked(&["ci", "laptop"]);
                    locked.evidence.stand_in = Some("another".to_owned());
                    locked
                }),
                (image("r.io/gone:1"), locked(&["ci", "other"])),
                (image("r.io/others:1"), locked(&["other"])),
            ]),
        };
        insta::assert_snapshot!(differences(&file, &needs).join("\n"), @r"
        r.io/a:1, which laptop needs, is not in it
        r.io/b:1 is a stand-in, another, which a profile refuses
        r.io/b:1 is in it for laptop, which does not name it
        r.io/gone:1 is in it for ci, which does not name it
        ");
        assert_eq!(differences(&LockFile::default(), &needs).len(), 2);
    }
}
