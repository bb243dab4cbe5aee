//! `pipe.lock`: which bytes each image name of the profiles stands for, where they were had, and why
//! they are believed. Written by `pipe images lock`, meant to be committed and read by people:
//! entries sorted by name, one fact a line, the same bytes as long as nothing changed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::problem::Problems;
use super::read::Cursor;
use super::{ImageName, ProfileName, yaml};
use crate::trust::policy::Verdict;

mod read;
mod write;

use read::read_image;
use write::write_image;

/// The file's name, beside `clusters/`.
pub const NAME: &str = "pipe.lock";

/// Every key of the file.
pub const KEYS: &[&str] = &["apiVersion", "kind", "images"];

/// Keys of one image.
pub const IMAGE_KEYS: &[&str] = &[
    "profiles",
    "source",
    "digest",
    "mediaType",
    "anchoredBy",
    "config",
    "platforms",
    "evidence",
    "at",
];

/// Keys of `evidence`.
pub const EVIDENCE_KEYS: &[&str] = &["class", "words", "by", "standIn"];

const REMEDY: &str = "restore the file, or write it anew: pipe images lock";

/// Every locked image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LockFile {
    /// By upstream name with its tag.
    pub images: BTreeMap<ImageName, Locked>,
}

/// What one name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Locked {
    /// The profiles that need it.
    pub profiles: BTreeSet<ProfileName>,
    /// Where its bytes were had.
    pub source: Source,
    /// What holds it to its bytes.
    pub anchor: Anchor,
    /// Digest of the image for each platform, `linux/amd64`; of an image that is not an index, its own.
    pub platforms: BTreeMap<String, String>,
    /// Why it is believed.
    pub evidence: Verdict,
    /// When that was found.
    pub at: Timestamp,
}

/// What holds a name to bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Anchor {
    /// The digest of the manifest that upstream serves: of the index, where it has one.
    Digest {
        /// `sha256:…`
        digest: String,
        /// Of the manifest.
        media_type: String,
    },
    /// The digest of the configuration: the engine's store packs layers anew, so that the manifest is
    /// not upstream's, while the configuration names what is in the layers.
    Config {
        /// `sha256:…`
        config: String,
        /// The manifest under which the cache serves it, once it does.
        #[serde(skip_serializing_if = "Option::is_none")]
        served: Option<String>,
        /// Of that manifest.
        media_type: Option<String>,
    },
}

/// Where bytes were had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The registry that its name says, or a mirror of it.
    Upstream,
    /// The engine's own store.
    Engine,
    /// An OCI archive.
    Archive,
    /// Our own registry, from earlier.
    Cache,
}

impl Source {
    /// Every one, with its word.
    pub const ALL: [(&str, Source); 4] = [
        ("upstream", Source::Upstream),
        ("engine", Source::Engine),
        ("archive", Source::Archive),
        ("cache", Source::Cache),
    ];

    /// The word in files.
    pub fn as_str(self) -> &'static str {
        Source::ALL.iter().find(|(_, source)| *source == self).map_or("", |(word, _)| word)
    }
}

impl Locked {
    /// The manifest under which nodes get it, where that is known.
    pub fn manifest(&self) -> Option<&str> {
        match &self.anchor {
            Anchor::Digest { digest, .. } => Some(digest),
            Anchor::Config { served, .. } => served.as_deref(),
        }
    }

    /// What must not change: the digest of the manifest, or of the configuration.
    pub fn held_to(&self) -> &str {
        match &self.anchor {
            Anchor::Digest { digest, .. } => digest,
            Anchor::Config { config, .. } => config,
        }
    }

    /// Whether that is what a manifest and its configuration for this machine hold, by their digests;
    /// who cannot say what the configuration is, is believed.
    pub fn is(&self, manifest: &str, config: Option<&str>) -> bool {
        match &self.anchor {
            Anchor::Digest { digest, .. } => digest == manifest,
            Anchor::Config { config: locked, .. } => {
                config.is_none_or(|config| hex(config) == hex(locked))
            }
        }
    }

    /// The same bytes, found again: what was known of them stays where nothing new is.
    fn after(mut self, old: &Locked) -> Locked {
        if let (
            Anchor::Config { config, served, media_type },
            Anchor::Config { config: old_config, served: old_served, media_type: old_type },
        ) = (&mut self.anchor, &old.anchor)
            && config == old_config
            && served.is_none()
        {
            served.clone_from(old_served);
            media_type.clone_from(old_type);
        }
        self.profiles.extend(old.profiles.iter().cloned());
        let at = self.at;
        self.at = old.at;
        if self != *old {
            self.at = at;
        }
        self
    }
}

impl LockFile {
    /// Puts what `profiles` need in place of what was there for them; what only others need stays.
    /// What is found again as it was keeps its time, so that nothing changes where nothing did.
    pub fn renew(&mut self, profiles: &BTreeSet<ProfileName>, found: BTreeMap<ImageName, Locked>) {
        for locked in self.images.values_mut() {
            locked.profiles.retain(|profile| !profiles.contains(profile));
        }
        for (name, mut locked) in found {
            if let Some(old) = self.images.get(&name) {
                let mut old = old.clone();
                old.profiles.extend(locked.profiles.iter().cloned());
                locked = locked.after(&old);
            }
            self.images.insert(name, locked);
        }
        self.images.retain(|_, locked| !locked.profiles.is_empty());
    }

    /// Whether an image of a profile is locked.
    pub fn knows(&self, profile: &ProfileName) -> bool {
        self.images.values().any(|locked| locked.profiles.contains(profile))
    }

    /// Adds what was found, in place of what was there of it; everything else stays.
    pub fn extend(&mut self, found: BTreeMap<ImageName, Locked>) {
        for (name, mut locked) in found {
            if let Some(old) = self.images.get(&name) {
                locked = locked.after(old);
            }
            self.images.insert(name, locked);
        }
    }

    /// The manifest under which the cache serves an image of the engine's store. `false` if no such
    /// image is locked.
    pub fn serve(&mut self, image: &ImageName, digest: &str, kind: &str) -> bool {
        match self.images.get_mut(image).map(|locked| &mut locked.anchor) {
            Some(Anchor::Config { served, media_type, .. }) => {
                *served = Some(digest.to_owned());
                *media_type = Some(kind.to_owned());
                true
            }
            _ => false,
        }
    }

    /// As it is written.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# Which bytes each image stands for, and why they are believed (docs/lock.md).\n\
             # Written by `pipe images lock`, checked by `pipe images lock --check`. Commit it.\n\
             apiVersion: pipe.dev/v1alpha1\nkind: Lock\n",
        );
        text += if self.images.is_empty() { "images: {}\n" } else { "images:\n" };
        for (name, locked) in &self.images {
            // Writing to a String cannot fail.
            let _infallible = write_image(&mut text, name, locked);
        }
        text
    }

    /// Reads the file; every problem is noted, and then there is nothing.
    pub fn read(shown: &str, bytes: &[u8], problems: &Problems) -> Option<LockFile> {
        let part = yaml::parse(shown, bytes, problems)?;
        let fields = Cursor::new(shown, problems, &part).fields(KEYS, &[])?;
        super::read::kind(&fields, "Lock");
        let mut images = BTreeMap::new();
        for (name, mark, cursor) in fields.required("images", "{}")?.entries()? {
            let parsed = ImageName::parse(name).map_err(|fault| mark.problem(fault, REMEDY)).ok();
            let locked = read_image(cursor);
            if let (Some(name), Some(locked)) = (parsed, locked) {
                images.insert(name, locked);
            }
        }
        Some(LockFile { images })
    }
}

/// A digest without its algorithm, as engines name images.
pub fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// SHA-256, the only one that is locked.
pub fn digest_of(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    match hex.len() == 64 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no digest")),
    }
}

/// Whether it is a platform, such as `linux/amd64` or `linux/arm/v7`.
pub fn is_platform(text: &str) -> bool {
    let usable =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let parts: Vec<&str> = text.split('/').collect();
    (2..=3).contains(&parts.len())
        && parts.iter().all(|it| !it.is_empty() && it.chars().all(usable))
}

#[cfg(test)]
mod tests;
