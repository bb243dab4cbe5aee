//! `images prune`: out of the cache goes what no known lock names and no cluster uses.
//!
//! Looking, and asking, holds nobody up. What was agreed to is looked at once more under the locks, so that
//! nothing goes that somebody came to need meanwhile, and nothing that was not shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::lock::Place;
use super::{Cache, for_here, walk};
use crate::provider::registry::{self, Software};
use crate::run::registry::{With, software_of};
use crate::run::{collect, list, users};
use crate::spec::ClusterName;
use crate::spec::lock_file::LockFile;
use crate::state::cache_use::{self, CacheUse};
use crate::state::paths::Paths;
use crate::trust::attached;
use crate::world::registry::{Manifest, Repository, Shape};
use crate::{Error, Result};

pub mod choice;

use choice::{Claims, Goer, Held, Mark, Parting, Stored};

/// What goes, before anything does.
#[derive(Debug, Serialize)]
pub struct Looked {
    /// Ordered by name.
    pub goes: Vec<Going>,
    /// Names that stay.
    pub kept: usize,
    /// Bytes that nobody else needs.
    pub bytes: u64,
    /// Lock files that were gone by.
    pub locks: Vec<PathBuf>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Whether an earlier run was cut off before its space was free.
    pub uncollected: bool,
}

/// One thing that goes.
#[derive(Clone, Debug, Serialize)]
pub struct Going {
    /// As pods have it; without its tag where another image has that now.
    pub name: String,
    /// Of its manifest or index.
    pub digest: String,
    /// Bytes of all that it leads to, some of which others may share.
    pub size: u64,
    #[serde(skip)]
    goer: Goer,
}

/// What was removed.
#[derive(Debug, Default, Serialize)]
pub struct Pruned {
    /// Ordered by name.
    pub removed: Vec<Going>,
    /// Bytes that are free for it.
    pub freed: u64,
    /// Whether the registry frees them by itself, in its own time.
    pub later: bool,
}

/// What would go. `own` is the lock of the project that is asked from.
///
/// # Errors
/// The cache does not run or cannot be read; a lock file cannot be read; it is not known what a cluster
/// uses.
pub async fn look(with: With<'_>, own: &Place) -> Result<Looked> {
    let cache = Cache::running(with.world, with.paths).await?;
    let (claims, notes) = claims(with, own).await?;
    let all = part(&cache, &claims, |_| true).await?;
    let names: usize = all.iter().map(|(held, _)| held.names.len()).sum();
    let goes = going(&all);
    let named = goes.iter().filter(|going| going.goer.tag.is_some()).count();
    Ok(Looked {
        kept: names - named,
        bytes: choice::freed(&all),
        locks: claims.locks.into_keys().collect(),
        notes,
        uncollected: claims.known.uncollected,
        goes,
    })
}

/// Removes what was shown, as far as it still goes, and frees its space. The caller holds the locks of all
/// clusters.
///
/// # Errors
/// As for [`look`]; the registry refuses, or does not start again.
pub async fn remove(with: With<'_>, own: &Place, shown: &Looked) -> Result<Pruned> {
    let lock = with.lock("pipe images prune").await?;
    let cache = Cache::running(with.world, with.paths).await?;
    let container = with.world.engine.inspect(registry::NAME).await?;
    let gone = || Error::failed("cache-gone", "the image cache's container disappeared");
    let container = container.ok_or_else(gone)?;
    let (claims, _) = claims(with, own).await?;
    let agreed: BTreeSet<&Goer> = shown.goes.iter().map(|going| &going.goer).collect();
    let all = part(&cache, &claims, |goer| agreed.contains(goer)).await?;
    if with.stop.is_cancelled() {
        return Err(Error::interrupted());
    }
    let mut pruned = Pruned { removed: going(&all), freed: choice::freed(&all), later: false };
    // Cut off from here on, the next run knows that there is something left to do.
    CacheUse::change(with.paths, &lock, |known| known.uncollected = true)?;
    let collects = software_of(&container) == Some(Software::Distribution);
    for (held, parting) in &all {
        let repository = cache.registry.repository(&held.repository);
        if collects {
            for digest in held.pins(parting) {
                pin(&repository, &digest).await?;
            }
        }
        apply(&repository, held, parting).await?;
    }
    match collects {
        true => {
            let before = collect::stored(with).await?;
            collect::collect(with, &lock, &container).await?;
            let after = collect::stored(with).await?;
            // Where its folder can be looked into, that says it better: what broke off went too.
            if let Some(freed) = before.zip(after).and_then(|(was, is)| was.checked_sub(is)) {
                pruned.freed = freed;
            }
        }
        false => pruned.later = pruned.freed > 0,
    }
    let gone = all.iter().flat_map(|(_, parting)| &parting.goers);
    let gone: BTreeSet<String> = gone
        .filter_map(|goer| Some(cache_use::key_of(&goer.repository, goer.tag.as_ref()?)))
        .collect();
    CacheUse::change(with.paths, &lock, |known| {
        known.uncollected = false;
        known.images.retain(|key, _| !gone.contains(key));
        known.locks.retain(|path| claims.locks.contains_key(path));
    })?;
    Ok(pruned)
}

/// What speaks for images: lock files, and what clusters use.
async fn claims(with: With<'_>, own: &Place) -> Result<(Claims, Vec<String>)> {
    let known = CacheUse::load(with.paths)?;
    let (locks, notes) = locks(with.paths, &known, own)?;
    let clusters: BTreeSet<ClusterName> =
        list::clusters(with.world, with.paths).await?.into_iter().collect();
    let mut unknown = Vec::new();
    for cluster in clusters.difference(&known.clusters) {
        if users::pulls(with, cluster).await? {
            unknown.push(cluster);
        }
    }
    if !unknown.is_empty() {
        return Err(unknown_use(&unknown));
    }
    Ok((Claims { locks, known, clusters }, notes))
}

fn unknown_use(clusters: &[&ClusterName]) -> Error {
    let error =
        Error::failed("cache-use-unknown", "what clusters use of the image cache is not known");
    let error = clusters.iter().fold(error, |error, cluster| {
        error.because(format!(
            "nodes of cluster {cluster} pull from it, and no `up` of this pipe wrote down what"
        ))
    });
    let first = clusters.first().map_or("dev", |cluster| cluster.as_str());
    error
        .hint(format!("have it written down: pipe up {first}"))
        .hint("if another user's pipe, or one with another state folder, made it: prune with that")
}

/// Every lock that is known, the project's and that of embedded files too.
fn locks(
    paths: &Paths,
    known: &CacheUse,
    own: &Place,
) -> Result<(BTreeMap<PathBuf, LockFile>, Vec<String>)> {
    let (mut found, mut notes) = (BTreeMap::new(), Vec::new());
    let mut places: BTreeSet<PathBuf> = known.locks.clone();
    places.extend([own.path.clone(), Place::of_embedded(paths).path]);
    for path in places {
        let read = Place::at(path.clone()).read().map_err(|error| {
            error.because("nothing is removed from the cache while a lock cannot be read")
        });
        match read? {
            Some(lock) => {
                found.insert(path, lock);
            }
            None if known.locks.contains(&path) => {
                notes.push(format!("{} is gone: what it named is not kept for it", path.display()));
            }
            None => {}
        }
    }
    Ok((found, notes))
}

/// Everything in the cache, and what of it goes.
async fn part(
    cache: &Cache,
    claims: &Claims,
    may_go: impl Fn(&Goer) -> bool,
) -> Result<Vec<(Held, Parting)>> {
    let mut all = Vec::new();
    for held in read(cache, claims).await? {
        let parting = held.part(claims, &may_go);
        all.push((held, parting));
    }
    Ok(all)
}

/// Reads everything that the cache holds under names of images.
///
/// # Errors
/// The registry does not answer, or a manifest in it cannot be read.
pub async fn read(cache: &Cache, claims: &Claims) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    for place in walk::places(cache).await? {
        let repository = &place.repository;
        let mut held = Held {
            repository: repository.name().to_owned(),
            upstream: place.upstream,
            ..Held::default()
        };
        for tag in place.tags {
            if let Some(manifest) = repository.manifest(&tag).await? {
                held.names.insert(tag, manifest.digest.clone());
                add(repository, &mut held, manifest.digest).await?;
            }
        }
        for tag in place.of_digests {
            let Some(subject) = choice::subject(&tag) else { continue };
            if let Some(manifest) = repository.manifest(&tag).await? {
                let Stored { children, blobs, .. } = stored(&manifest);
                let mark =
                    Mark { subject: subject.clone(), digest: manifest.digest, children, blobs };
                held.marks.insert(tag, mark);
                add(repository, &mut held, subject).await?;
            }
        }
        let locked = claims.locks.values().flat_map(|lock| &lock.images);
        for (image, locked) in locked {
            let is_here = cache_use::key(image)
                .is_some_and(|key| key == cache_use::key_of(&held.repository, image.tag()));
            if let Some(digest) = locked.manifest().filter(|_| is_here) {
                add(repository, &mut held, digest.to_owned()).await?;
            }
        }
        all.push(held);
    }
    Ok(all)
}

/// Adds a manifest with everything that it leads to, as far as it is here.
async fn add(repository: &Repository, held: &mut Held, digest: String) -> Result<()> {
    let mut next = vec![digest];
    while let Some(digest) = next.pop() {
        if held.manifests.contains_key(&digest) {
            continue;
        }
        let Some(manifest) = repository.manifest(&digest).await? else { continue };
        let mut stored = stored(&manifest);
        let referrers = repository.referrers(&digest).await?;
        stored.referrers = referrers.iter().map(|it| it.digest().to_string()).collect();
        next.extend(stored.children.iter().chain(&stored.referrers).cloned());
        held.manifests.insert(digest, stored);
    }
    Ok(())
}

/// What a manifest says by itself: who refers to it, it does not know.
fn stored(manifest: &Manifest) -> Stored {
    let own = (manifest.digest.clone(), manifest.bytes.len() as u64);
    let mut stored = Stored { blobs: BTreeMap::from([own]), ..Stored::default() };
    match manifest.shape() {
        Ok(Shape::Index(index)) => {
            let children = index.manifests().iter().map(|child| child.digest().to_string());
            stored.children = children.collect();
            stored.for_here = for_here(&index).ok().flatten();
        }
        Ok(Shape::Image(image)) => {
            let all = image.layers().iter().chain([image.config()]);
            stored.blobs.extend(all.map(|blob| (blob.digest().to_string(), blob.size())));
            stored.config = Some(image.config().digest().to_string());
        }
        // Of a kind that nobody here knows: it goes alone, or stays alone.
        Err(_) => {}
    }
    stored
}

fn going(all: &[(Held, Parting)]) -> Vec<Going> {
    let mut going = Vec::new();
    for (held, parting) in all {
        for goer in &parting.goers {
            // Its bytes stay, under another name.
            let stays = parting.kept.contains(&goer.digest);
            let name = match &goer.tag {
                Some(tag) => format!("{}:{tag}", held.upstream),
                None => held.upstream.clone(),
            };
            let size = if stays { 0 } else { held.size(&goer.digest) };
            going.push(Going { name, digest: goer.digest.clone(), size, goer: goer.clone() });
        }
    }
    going.sort_by(|a, b| (&a.name, &a.digest).cmp(&(&b.name, &b.digest)));
    going
}

/// Has a tag lead to what stays although none does, before somebody removes all that has none.
async fn pin(repository: &Repository, digest: &str) -> Result<()> {
    if let Some(manifest) = repository.manifest(digest).await? {
        repository.put_manifest(&manifest, Some(&attached::pin_tag(digest))).await?;
    }
    Ok(())
}

/// Removes what goes from one repository. Names first, so that nothing half is found under one; what
/// leads from a digest to its signatures last, so that a run which is cut off is gone on with.
///
/// # Errors
/// The registry does not answer or refuses.
pub async fn apply(repository: &Repository, held: &Held, parting: &Parting) -> Result<()> {
    for tag in parting.goers.iter().filter_map(|goer| goer.tag.as_ref()) {
        repository.remove_manifest(tag).await?;
    }
    let is_index = |digest: &&String| {
        held.manifests.get(*digest).is_some_and(|stored| !stored.children.is_empty())
    };
    // An index before what it names: some registries keep what an index names.
    let (indexes, others): (Vec<&String>, Vec<&String>) = parting.gone.iter().partition(is_index);
    for digest in indexes.into_iter().chain(others) {
        repository.remove_manifest(digest).await?;
    }
    for (tag, mark) in &held.marks {
        if parting.kept.contains(&mark.subject) {
            continue;
        }
        repository.remove_manifest(tag).await?;
        if !parting.kept.contains(&mark.digest) {
            repository.remove_manifest(&mark.digest).await?;
        }
    }
    Ok(())
}
