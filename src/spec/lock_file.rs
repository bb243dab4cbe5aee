//! `pipe.lock`: which bytes each image name of the profiles stands for, where they were had, and why
//! they are believed. Written by `pipe images lock`, meant to be committed and read by people:
//! entries sorted by name, one fact a line, the same bytes as long as nothing changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::problem::Problems;
use super::read::{self, Cursor, Fields};
use super::{ImageName, ProfileName, yaml};
use crate::trust::policy::{Class, Verdict};

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
        read::kind(&fields, "Lock");
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

fn write_image(text: &mut String, name: &ImageName, locked: &Locked) -> std::fmt::Result {
    let Locked { profiles, source, anchor, platforms, evidence, at } = locked;
    let profiles: Vec<String> =
        profiles.iter().map(|name| plain_or_quoted(name.as_str())).collect();
    writeln!(text, "  {name}:")?;
    writeln!(text, "    profiles: [{}]", profiles.join(", "))?;
    writeln!(text, "    source: {}", source.as_str())?;
    match anchor {
        Anchor::Digest { digest, media_type } => {
            writeln!(text, "    digest: {digest}")?;
            writeln!(text, "    mediaType: {media_type}")?;
        }
        Anchor::Config { config, served, media_type } => {
            writeln!(text, "    anchoredBy: config")?;
            writeln!(text, "    config: {config}")?;
            if let (Some(served), Some(media_type)) = (served, media_type) {
                writeln!(text, "    digest: {served}")?;
                writeln!(text, "    mediaType: {media_type}")?;
            }
        }
    }
    if platforms.is_empty() {
        writeln!(text, "    platforms: {{}}")?;
    } else {
        writeln!(text, "    platforms:")?;
    }
    for (platform, digest) in platforms {
        writeln!(text, "      {platform}: {digest}")?;
    }
    writeln!(text, "    evidence:")?;
    writeln!(text, "      class: {}", evidence.class.as_str())?;
    writeln!(text, "      words: {}", quoted(&evidence.words))?;
    if let Some(by) = &evidence.by {
        writeln!(text, "      by: {}", quoted(by))?;
    }
    if let Some(stand_in) = &evidence.stand_in {
        writeln!(text, "      standIn: {}", quoted(stand_in))?;
    }
    writeln!(text, "    at: \"{at}\"")
}

/// A name without quotes, unless YAML would read something else.
fn plain_or_quoted(name: &str) -> String {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    match name.starts_with(|c: char| c.is_ascii_lowercase()) && !words.contains(&name) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// JSON's way of writing text is one of YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn read_image(cursor: Cursor<'_>) -> Option<Locked> {
    let fields = cursor.fields(IMAGE_KEYS, &[])?;
    let profiles = fields.required("profiles", "[NAME]").and_then(|c| c.items());
    let profiles: BTreeSet<ProfileName> = profiles
        .into_iter()
        .flatten()
        .filter_map(|c| c.parsed(ProfileName::parse, REMEDY))
        .collect();
    let source = fields.required("source", "upstream").and_then(|c| c.choice(&Source::ALL, &[]));
    let anchor = read_anchor(&fields);
    let mut platforms = BTreeMap::new();
    for (platform, mark, digest) in
        fields.required("platforms", "{}").and_then(|c| c.entries()).into_iter().flatten()
    {
        if !is_platform(platform) {
            mark.problem(format!("{platform:?} is no platform"), "write linux/amd64");
        }
        if let Some(digest) = digest.parsed(digest_of, REMEDY) {
            platforms.insert(platform.to_owned(), digest);
        }
    }
    let evidence = fields.required("evidence", "{class: …, words: …}").and_then(read_evidence);
    let at = fields.required("at", "\"2026-01-31T12:00:00Z\"").and_then(|c| {
        c.parsed(
            |text| text.parse::<Timestamp>().map_err(|_| format!("{text:?} is no time")),
            REMEDY,
        )
    });
    Some(Locked {
        profiles,
        source: source?,
        anchor: anchor?,
        platforms,
        evidence: evidence?,
        at: at?,
    })
}

fn read_anchor(fields: &Fields<'_>) -> Option<Anchor> {
    let text = |key: &str| fields.optional(key).map(|c| c.parsed(digest_of, REMEDY));
    let media_type = fields.optional("mediaType").and_then(|c| c.text()).map(str::to_owned);
    if let Some(by) = fields.optional("anchoredBy") {
        by.choice(&[("config", ())], &[])?;
        fields.required("config", "sha256:…");
        let served = text("digest");
        return Some(Anchor::Config {
            config: text("config")??,
            served: served.flatten(),
            media_type,
        });
    }
    if let Some(config) = fields.optional("config") {
        config.problem("stands without anchoredBy: config", REMEDY);
        return None;
    }
    fields.required("digest", "sha256:…");
    fields.required("mediaType", "application/vnd.oci.image.index.v1+json");
    Some(Anchor::Digest { digest: text("digest")??, media_type: media_type? })
}

fn read_evidence(cursor: Cursor<'_>) -> Option<Verdict> {
    let fields = cursor.fields(EVIDENCE_KEYS, &[])?;
    let class = fields.required("class", "digest-only").and_then(|c| c.choice(&Class::ALL, &[]));
    let words = fields.required("words", "WHAT is known").and_then(|c| c.text());
    let by = fields.optional("by").and_then(|c| c.text()).map(str::to_owned);
    let stand_in = fields.optional("standIn").and_then(|c| c.text()).map(str::to_owned);
    Some(Verdict { class: class?, words: words?.to_owned(), by, stand_in })
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(c: char) -> String {
        format!("sha256:{}", c.to_string().repeat(64))
    }

    fn profiles(names: &[&str]) -> BTreeSet<ProfileName> {
        names.iter().map(|name| ProfileName::parse(name).unwrap()).collect()
    }

    fn image(name: &str) -> ImageName {
        ImageName::parse(name).unwrap()
    }

    fn upstream(c: char, of: &[&str], at: &str) -> Locked {
        Locked {
            profiles: profiles(of),
            source: Source::Upstream,
            anchor: Anchor::Digest {
                digest: digest(c),
                media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            },
            platforms: BTreeMap::from([
                ("linux/amd64".to_owned(), digest('a')),
                ("linux/arm/v7".to_owned(), digest('b')),
            ]),
            evidence: Verdict {
                class: Class::DigestOnly,
                words: "held to its digest alone: \"why\": a # b".to_owned(),
                by: None,
                stand_in: None,
            },
            at: at.parse().unwrap(),
        }
    }

    fn engine(c: char, of: &[&str], at: &str) -> Locked {
        Locked {
            source: Source::Engine,
            anchor: Anchor::Config { config: digest(c), served: None, media_type: None },
            evidence: Verdict {
                class: Class::Built,
                words: "built on this host".to_owned(),
                by: Some("0123".to_owned()),
                stand_in: None,
            },
            ..upstream(c, of, at)
        }
    }

    fn lock() -> LockFile {
        let mut lock = LockFile::default();
        let found = BTreeMap::from([
            (
                image("docker.io/library/nats:2.15.2"),
                upstream('1', &["ci"], "2026-11-21T20:00:00Z"),
            ),
            (image("quay.io/minio/minio:X"), engine('2', &["ci"], "2026-11-21T20:00:00Z")),
        ]);
        lock.renew(&profiles(&["ci"]), found);
        lock
    }

    fn read(text: &str) -> Result<LockFile, String> {
        let problems = Problems::default();
        let lock = LockFile::read(NAME, text.as_bytes(), &problems);
        match problems.into_result() {
            Ok(()) => Ok(lock.unwrap()),
            Err(error) => Err(error.causes.join("\n")),
        }
    }

    #[test]
    fn what_people_read_in_a_diff() {
        let mut lock = lock();
        assert!(lock.serve(
            &image("quay.io/minio/minio:X"),
            &digest('3'),
            "application/vnd.oci.image.manifest.v1+json"
        ));
        assert!(!lock.serve(&image("docker.io/library/nats:2.15.2"), &digest('3'), "x"));
        insta::assert_snapshot!(lock.text());
        assert_eq!(read(&lock.text()).unwrap(), lock);
        assert_eq!(read(&LockFile::default().text()).unwrap(), LockFile::default());
    }

    #[test]
    fn nothing_changes_where_nothing_did() {
        let mut lock = lock();
        let minio = image("quay.io/minio/minio:X");
        lock.serve(&minio, &digest('3'), "t");
        let before = lock.text();
        let found = BTreeMap::from([
            (
                image("docker.io/library/nats:2.15.2"),
                upstream('1', &["ci"], "2027-01-01T00:00:00Z"),
            ),
            (minio.clone(), engine('2', &["ci"], "2027-01-01T00:00:00Z")),
        ]);
        lock.renew(&profiles(&["ci"]), found);
        assert_eq!(lock.text(), before);
        // Built anew: what the cache serves is another image's.
        lock.renew(
            &profiles(&["ci"]),
            BTreeMap::from([(minio.clone(), engine('4', &["ci"], "2027-01-01T00:00:00Z"))]),
        );
        assert_eq!(lock.images.len(), 1, "what the profile needs no more is gone");
        assert_eq!(lock.images[&minio].manifest(), None);
        assert_eq!(lock.images[&minio].at.to_string(), "2027-01-01T00:00:00Z");
    }

    #[test]
    fn profiles_share_entries_and_leave_each_others_alone() {
        let mut lock = lock();
        let (nats, minio) =
            (image("docker.io/library/nats:2.15.2"), image("quay.io/minio/minio:X"));
        let found =
            BTreeMap::from([(nats.clone(), upstream('1', &["laptop"], "2027-01-01T00:00:00Z"))]);
        lock.renew(&profiles(&["laptop"]), found);
        assert_eq!(lock.images[&nats].profiles, profiles(&["ci", "laptop"]));
        lock.renew(&profiles(&["ci"]), BTreeMap::new());
        assert_eq!(lock.images[&nats].profiles, profiles(&["laptop"]));
        assert!(!lock.images.contains_key(&minio));
    }

    #[test]
    fn every_problem_at_once() {
        let text = "apiVersion: pipe.dev/v1\nkind: Lock\nmore: 1\nimages:\n  nats:2: {}\n\
            \x20 docker.io/a:1:\n    profiles: [X]\n    source: here\n    digest: sha256:0\n    mediaType: t\n\
            \x20   platforms: {amd64: x}\n    evidence: {class: signed, words: w, who: me}\n    at: today\n\
            \x20 docker.io/b:1: {profiles: [a], source: engine, config: x, platforms: {}, evidence: {class: none, words: w}, at: '2026-01-01T00:00:00Z'}\n";
        insta::assert_snapshot!(read(text).unwrap_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            words in ".{0,60}", by in prop::option::of(".{0,40}"),
            stand_in in prop::option::of(".{0,40}"), seconds in 0i64..4_000_000_000,
            names in prop::collection::btree_set("[a-z]{1,5}", 1..4), config in any::<bool>(),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut locked = if config { engine('7', &names, "2026-01-01T00:00:00Z") } else { upstream('7', &names, "2026-01-01T00:00:00Z") };
            locked.evidence = Verdict { words, by, stand_in, ..locked.evidence };
            locked.at = Timestamp::from_second(seconds).unwrap();
            let lock = LockFile { images: BTreeMap::from([(image("r.io/x:1"), locked)]) };
            prop_assert_eq!(read(&lock.text()).unwrap(), lock);
        }

        #[test]
        fn nothing_that_is_read_makes_it_fail(text in ".{0,300}") {
            let _read = read(&text);
        }
    }
}
