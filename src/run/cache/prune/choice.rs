//! What of the cache is needed, and what goes: arithmetic on what was read.
//!
//! ```text
//!  name ─▶ index ─▶ image ─▶ layers, configuration      a name is needed by a lock or a cluster,
//!             │        │                                and with it everything that it leads to
//!             └────────┴──◀ referrers, sha256-<hex>[.sig]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::spec::ClusterName;
use crate::spec::lock_file::LockFile;
use crate::spec::name::cached;
use crate::state::cache_use::{self, CacheUse};

/// A repository of the cache.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// In the cache: `docker.io/library/nats`.
    pub repository: String,
    /// As pods have it.
    pub upstream: String,
    /// Tag to digest.
    pub names: BTreeMap<String, String>,
    /// Every manifest that a name, a signature or a lock leads to, by digest.
    pub manifests: BTreeMap<String, Stored>,
    /// Tags that belong to a digest: signatures, lists of referrers, pins.
    pub marks: BTreeMap<String, Mark>,
}

/// A manifest or an index.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// What an index names, here or not; of anything else nothing.
    pub children: BTreeSet<String>,
    /// What refers to it.
    pub referrers: BTreeSet<String>,
    /// Of an index, the image for this machine.
    pub for_here: Option<String>,
    /// Digest of its configuration.
    pub config: Option<String>,
    /// Sizes of its blobs and of itself, by digest.
    pub blobs: BTreeMap<String, u64>,
}

/// A tag that belongs to a digest.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Whose it is.
    pub subject: String,
    /// Where it leads.
    pub digest: String,
    /// Manifests that the one it leads to names.
    pub children: BTreeSet<String>,
    /// Sizes of its blobs and of itself, by digest.
    pub blobs: BTreeMap<String, u64>,
}

/// What speaks for an image.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Lock files that are known.
    pub locks: BTreeMap<PathBuf, LockFile>,
    /// What clusters were given.
    pub known: CacheUse,
    /// Clusters that there are.
    pub clusters: BTreeSet<ClusterName>,
}

/// Something that goes: a name, or a manifest without one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Goer {
    /// Of the cache.
    pub repository: String,
    /// None for what has lost its name to another image.
    pub tag: Option<String>,
    /// What it leads to.
    pub digest: String,
}

/// What goes of one repository.
#[derive(Clone, Debug, Default)]
pub struct Parting {
    /// What is shown, and asked about.
    pub goers: BTreeSet<Goer>,
    /// Manifests that go.
    pub gone: BTreeSet<String>,
    /// Manifests that stay.
    pub kept: BTreeSet<String>,
}

impl Claims {
    /// Whether a name is needed for what it leads to.
    pub fn need(&self, held: &Held, tag: &str, digest: &str) -> bool {
        let key = cache_use::key_of(&held.repository, tag);
        let used = self.known.images.get(&key);
        let used = used.is_some_and(|used| !used.clusters.is_disjoint(&self.clusters));
        used || self.is_locked(held, Some(tag), digest)
    }

    /// Whether a lock names these bytes, under `tag` or under any.
    fn is_locked(&self, held: &Held, tag: Option<&str>, digest: &str) -> bool {
        let id = held.id(digest);
        let mut images = self.locks.values().flat_map(|lock| &lock.images);
        images.any(|(image, locked)| {
            // Under any name, who cannot say what its configuration is, is not believed.
            let is = match (tag, id) {
                (None, None) => locked.manifest() == Some(digest),
                _ => locked.is(digest, id) || locked.manifest() == Some(digest),
            };
            tag.is_none_or(|tag| tag == image.tag())
                && is
                && cached::repository(image.as_str()).is_ok_and(|it| it == held.repository)
        })
    }
}

impl Held {
    /// Digest of the configuration for this machine.
    fn id(&self, digest: &str) -> Option<&str> {
        let stored = self.manifests.get(digest)?;
        let image = stored.for_here.as_ref().and_then(|child| self.manifests.get(child));
        image.unwrap_or(stored).config.as_deref()
    }

    /// What some manifests lead to, themselves included.
    fn reach<'a>(&self, from: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<String> = from.into_iter().cloned().collect();
        while let Some(digest) = next.pop() {
            if let Some(stored) = self.manifests.get(&digest)
                && reached.insert(digest)
            {
                next.extend(stored.children.iter().chain(&stored.referrers).cloned());
            }
        }
        reached
    }

    /// What goes, and what stays. `may_go` says of a thing whether it was agreed that it goes.
    pub fn part(&self, claims: &Claims, may_go: impl Fn(&Goer) -> bool) -> Parting {
        let goer = |tag: Option<&str>, digest: &str| Goer {
            repository: self.repository.clone(),
            tag: tag.map(str::to_owned),
            digest: digest.to_owned(),
        };
        let mut parting = Parting::default();
        let mut roots = BTreeSet::new();
        for (tag, digest) in &self.names {
            let goer = goer(Some(tag), digest);
            if !claims.need(self, tag, digest) && may_go(&goer) {
                parting.goers.insert(goer);
            } else {
                roots.insert(digest.clone());
            }
        }
        let all = self.manifests.keys();
        roots.extend(all.filter(|digest| claims.is_locked(self, None, digest)).cloned());
        let kept = self.reach(&roots);
        // What only a signature leads to: an image that was built again under its name, say.
        let named = self.reach(parting.goers.iter().map(|goer| &goer.digest));
        let nameless: BTreeSet<&String> = self
            .manifests
            .keys()
            .filter(|digest| !kept.contains(*digest) && !named.contains(*digest))
            .collect();
        for digest in &nameless {
            let mut others = nameless.iter().filter(|other| *other != digest);
            if others.any(|other| self.reach([*other]).contains(*digest)) {
                continue;
            }
            let goer = goer(None, digest);
            if may_go(&goer) {
                parting.goers.insert(goer);
            } else {
                roots.insert((*digest).clone());
            }
        }
        parting.kept = self.reach(&roots);
        // Nothing but what was named: what cannot be reached from there is nobody's to remove.
        let reached = self.reach(parting.goers.iter().map(|goer| &goer.digest));
        parting.gone = &reached - &parting.kept;
        parting
    }

    /// What stays although no tag that stays leads to it, for who removes everything that has none.
    pub fn pins(&self, parting: &Parting) -> BTreeSet<String> {
        let goes = |tag: &str| parting.goers.iter().any(|goer| goer.tag.as_deref() == Some(tag));
        let names = self.names.iter().filter(|(tag, _)| !goes(tag)).map(|(_, digest)| digest);
        let marks = self.marks.values().filter(|mark| parting.kept.contains(&mark.subject));
        let mut next: Vec<&String> = names
            .chain(marks.flat_map(|mark| mark.children.iter().chain([&mark.digest])))
            .collect();
        let mut tagged = BTreeSet::new();
        while let Some(digest) = next.pop() {
            if tagged.insert(digest) {
                next.extend(self.manifests.get(digest).iter().flat_map(|stored| &stored.children));
            }
        }
        parting.kept.iter().filter(|digest| !tagged.contains(digest)).cloned().collect()
    }

    /// Bytes of everything that a manifest leads to.
    pub fn size(&self, digest: &String) -> u64 {
        let reached = self.reach([digest]);
        let blobs = reached.iter().filter_map(|digest| self.manifests.get(digest));
        let blobs: BTreeMap<&String, &u64> = blobs.flat_map(|stored| &stored.blobs).collect();
        blobs.values().copied().sum()
    }

    /// Blobs of what goes, and of what stays.
    fn blobs(&self, parting: &Parting) -> (BTreeMap<&String, u64>, BTreeSet<&String>) {
        let manifests = self.manifests.iter().map(|(digest, stored)| (digest, &stored.blobs));
        let marks = self.marks.values().map(|mark| (&mark.subject, &mark.blobs));
        let (mut gone, mut kept) = (BTreeMap::new(), BTreeSet::new());
        for (subject, blobs) in manifests.chain(marks) {
            match parting.kept.contains(subject) {
                true => kept.extend(blobs.keys()),
                false => gone.extend(blobs.iter().map(|(digest, size)| (digest, *size))),
            }
        }
        (gone, kept)
    }
}

/// Bytes of what goes and is part of nothing that stays, over all repositories: they share blobs.
pub fn freed(all: &[(Held, Parting)]) -> u64 {
    let (mut gone, mut kept) = (BTreeMap::new(), BTreeSet::new());
    for (held, parting) in all {
        let (of_gone, of_kept) = held.blobs(parting);
        gone.extend(of_gone);
        kept.extend(of_kept);
    }
    gone.iter().filter(|(digest, _)| !kept.contains(*digest)).map(|(_, size)| size).sum()
}

/// The digest that a tag such as `sha256-<hex>.sig` belongs to.
pub fn subject(tag: &str) -> Option<String> {
    let hex = tag.strip_prefix("sha256-")?;
    let (hex, rest) = hex.split_at_checked(64)?;
    let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && (rest.is_empty() || rest.starts_with('.'))).then(|| format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests;
