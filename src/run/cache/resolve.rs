//! A name to bytes, with what is known of it: what was built here for it, else the digest that its
//! registry serves, else what the engine's own store has, else what is in an archive. Nothing is stored here; filling the cache and writing `pipe.lock` begin so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, Os};
use tokio_util::sync::CancellationToken;

use super::keyless::{self, Subject};
use super::places::{self, Place};
use super::shelf::{Archived, Shelf};
use super::{archives, signatures};
use crate::spec::lock_file::{self, Anchor, Locked, Source};
use crate::spec::{Arch, ImageName};
use crate::trust::PublicKey;
use crate::trust::forbidden::Forbidden;
use crate::trust::policy::{Demand, Finding, Policies, Verdict};
use crate::world::World;
use crate::world::built::{BuiltImage, BuiltImages};
use crate::world::engine::{Engine, ImageInfo};
use crate::world::env::Env;
use crate::world::registry::{Manifest, Shape};
use crate::{Error, Kind, Result};

/// For all that one registry is asked about one image. A network that swallows packets would
/// otherwise hold every image for minutes before the engine is asked.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(60);

/// Largest configuration of an image that is read.
const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// Who resolves names, and by what rules.
#[derive(Clone, Copy)]
pub struct Resolver<'a> {
    /// Proxies, mirrors, logins, programs.
    pub env: &'a Env,
    /// The engine, whose store has what no registry gives.
    pub engine: Option<&'a Engine>,
    /// What was built on this host.
    pub built: &'a BuiltImages,
    /// What must not be.
    pub forbidden: &'a Forbidden,
    /// What is enough to believe an image.
    pub policies: &'a Policies,
    /// The nodes' CPU, for which an image must be made.
    pub arch: Arch,
    /// Ends it early.
    pub cancel: &'a CancellationToken,
}

/// Where an image was seen.
enum Seen<'a> {
    /// In a registry that is not ours.
    Upstream { place: &'a Place, digest: &'a str },
    /// In the engine's store, where it was built.
    Built(&'a BuiltImage),
    /// In the engine's store, however it came there.
    Store,
    /// In a file of the user's.
    Archive { archived: &'a Archived, digest: &'a str },
}

/// What the engine's store has for a name.
struct Stored<'a> {
    image: ImageInfo,
    /// Where it was built here.
    built: Option<&'a BuiltImage>,
}

impl<'a> Resolver<'a> {
    /// One that asks everything there is, for nodes of this host's CPU.
    ///
    /// # Errors
    /// Nodes cannot run on this CPU.
    pub fn of(
        world: &'a World,
        forbidden: &'a Forbidden,
        policies: &'a Policies,
        cancel: &'a CancellationToken,
    ) -> Result<Resolver<'a>> {
        let (env, engine, built) = (&world.env, Some(&world.engine), &world.built);
        Ok(Resolver { env, engine, built, forbidden, policies, arch: Arch::of_host()?, cancel })
    }

    /// What a name stands for now, without the profiles that need it. Where nothing of the policy
    /// holds, that is what is known of it ([`Verdict::is_enough`]); what is done then is the caller's.
    ///
    /// # Errors
    /// It is forbidden ([`Kind::Signature`]), made for another CPU, or nowhere to be had.
    pub async fn resolve(&self, image: &ImageName, stand_ins: bool) -> Result<Locked> {
        if let Some(rule) = self.forbidden.matches(image.as_str()) {
            let what = format!("{image} was refused");
            return Err(Error::new(Kind::Signature, "image-forbidden", what)
                .because(rule.reason(image.tagged()))
                .hint(rule.remedy()));
        }
        let stored = self.in_engine(image).await?;
        let stand_in = stored.as_ref().and_then(|it| it.built?.stand_in()).filter(|_| !stand_ins);
        let unused = match stand_in {
            None => "the engine's own store does not have it".to_owned(),
            Some(what) => format!("{what}, is there, but a profile that needs it refuses it"),
        };
        let stored = stored.filter(|_| stand_in.is_none());
        // As the cache is filled: whoever builds an image means it to be run.
        if let Some(stored) = stored.as_ref().filter(|stored| stored.built.is_some()) {
            return self.stored(image, stored, stand_ins).await;
        }
        let tried = match self.upstream(image, stand_ins).await? {
            Ok(locked) => return Ok(locked),
            Err(tried) => tried,
        };
        if let Some(stored) = &stored {
            return self.stored(image, stored, stand_ins).await;
        }
        let mut tried = tried;
        tried.push(unused);
        if let Some(locked) = self.archived(image, stand_ins, &mut tried).await? {
            return Ok(locked);
        }
        let error = Error::failed("image-unresolved", format!("{image} cannot be had"));
        let error = tried.into_iter().fold(error, Error::because);
        Err(error.hint("connect to its registry, name a mirror in config.yaml, or build it: in a clone of pipe, scripts/images/factory build"))
    }

    /// The digest that the image's registry serves under its name now; `None` where it serves none.
    ///
    /// # Errors
    /// No registry can be asked, with what each said.
    pub async fn served(&self, image: &ImageName) -> Result<Option<String>> {
        let unreachable = |tried: Vec<String>| {
            let what = format!("nobody says what {image} is now");
            tried.into_iter().fold(Error::host("registry-unreachable", what), Error::because)
        };
        let mut tried = Vec::new();
        for place in places::of(self.env, image, &mut tried).await {
            match self.ask(&place, image.tag()).await? {
                Ok(found) => return Ok(found.map(|manifest| manifest.digest)),
                Err(why) => tried.push(why),
            }
        }
        Err(unreachable(tried))
    }

    /// What a registry has under a tag or a digest, or why it does not say.
    async fn ask(
        &self,
        place: &Place,
        reference: &str,
    ) -> Result<Result<Option<Manifest>, String>> {
        let late =
            format!("{}: it did not answer within {} s", place.shown, REGISTRY_DEADLINE.as_secs());
        tokio::select! {
            answer = tokio::time::timeout(REGISTRY_DEADLINE, place.repository.manifest(reference)) => {
                Ok(match answer {
                    Ok(Ok(found)) => Ok(found),
                    Ok(Err(error)) => Err(format!("{}: {error}", place.shown)),
                    Err(_elapsed) => Err(late),
                })
            }
            () = self.cancel.cancelled() => Err(Error::interrupted()),
        }
    }

    async fn upstream(
        &self,
        image: &ImageName,
        stand_ins: bool,
    ) -> Result<Result<Locked, Vec<String>>> {
        let mut tried = Vec::new();
        for place in places::of(self.env, image, &mut tried).await {
            let reference = image.digest().unwrap_or(image.tag());
            let manifest = match self.ask(&place, reference).await? {
                Ok(Some(manifest)) => manifest,
                Ok(None) => {
                    tried.push(format!("{} does not have it", place.shown));
                    continue;
                }
                Err(why) => {
                    tried.push(why);
                    continue;
                }
            };
            let platforms = self.platforms(image, &place.repository, &manifest).await?;
            let seen = Seen::Upstream { place: &place, digest: &manifest.digest };
            let evidence = self.evidence(image, &seen, stand_ins).await?;
            return Ok(Ok(by_digest(Source::Upstream, manifest, platforms, evidence)));
        }
        Ok(Err(tried))
    }

    async fn archived(
        &self,
        image: &ImageName,
        stand_ins: bool,
        tried: &mut Vec<String>,
    ) -> Result<Option<Locked>> {
        let reference = image.digest().unwrap_or(image.tag());
        let found = archives::find(self.env, image, reference, tried).await;
        let Some((archived, manifest)) = found else { return Ok(None) };
        let platforms = self.platforms(image, &archived, &manifest).await?;
        let seen = Seen::Archive { archived: &archived, digest: &manifest.digest };
        let evidence = self.evidence(image, &seen, stand_ins).await?;
        Ok(Some(by_digest(Source::Archive, manifest, platforms, evidence)))
    }

    /// The image of each platform, of which one is for the nodes.
    async fn platforms(
        &self,
        image: &ImageName,
        shelf: &impl Shelf,
        manifest: &Manifest,
    ) -> Result<BTreeMap<String, String>> {
        let platforms = match manifest.shape()? {
            Shape::Index(index) => of_index(&index),
            Shape::Image(shape) => of_image(shelf, manifest, &shape).await?,
        };
        let wanted = format!("linux/{}", self.arch);
        let is_wanted =
            |platform: &String| *platform == wanted || platform.starts_with(&format!("{wanted}/"));
        if platforms.keys().any(is_wanted) {
            return Ok(platforms);
        }
        let has: Vec<&str> = platforms.keys().map(String::as_str).collect();
        Err(self.not_for_us(image, &manifest.digest, &has))
    }

    fn not_for_us(&self, image: &ImageName, what: &str, has: &[&str]) -> Error {
        Error::failed("image-platform", format!("{image} is not made for linux/{}", self.arch))
            .because(format!("{what} is for {}", has.join(", ")))
            .hint("choose a tag that is made for this CPU")
    }

    /// The first demand of the policy that holds, or why none does.
    async fn evidence(
        &self,
        image: &ImageName,
        seen: &Seen<'_>,
        stand_ins: bool,
    ) -> Result<Verdict> {
        let mut why = Vec::new();
        let demands = self.policies.of(image.repository()).map(|policy| &policy.accept);
        for demand in demands.into_iter().flatten() {
            // What could be built here is no matter where a registry has it.
            let beside = matches!((demand, seen), (Demand::Built { .. }, Seen::Upstream { .. }));
            match demand.judge(&self.look(seen, demand).await?, stand_ins) {
                Ok(verdict) => return Ok(verdict),
                Err(_refused) if beside => {}
                Err(refused) => why.push(refused),
            }
        }
        Ok(Verdict::refused(&why))
    }

    async fn look(&self, seen: &Seen<'_>, demand: &Demand) -> Result<Finding> {
        let (place, digest) = match seen {
            Seen::Upstream { place, digest } => (place, digest),
            Seen::Archive { archived, digest } => {
                return Ok(match demand {
                    Demand::Key(key) => signed(*archived, digest, key).await,
                    Demand::DigestOnly { .. } => Finding::Bytes,
                    Demand::Built { .. } => Finding::Nothing("it was not built here".to_owned()),
                    _ => Finding::Nothing(
                        "of an archive, only signatures with a key are looked at".to_owned(),
                    ),
                });
            }
            Seen::Built(built) => {
                let stand_in = built.stand_in().map(str::to_owned);
                return Ok(Finding::Built { recipe: built.recipe.clone(), stand_in });
            }
            Seen::Store => {
                return Ok(match demand {
                    Demand::DigestOnly { .. } => Finding::Bytes,
                    Demand::Built { .. } => Finding::Nothing("it was not built here".to_owned()),
                    _ => Finding::Nothing("the engine's store keeps no signatures".to_owned()),
                });
            }
        };
        Ok(match demand {
            Demand::Keyless { .. } | Demand::Attestation { .. } => {
                let name = format!("{}@{digest}", place.name);
                let subject = Subject { name, plain: place.plain };
                keyless::look(self.env, &subject, demand, self.cancel).await?
            }
            Demand::Key(key) => signed(&place.repository, digest, key).await,
            Demand::Built { .. } | Demand::DigestOnly { .. } => Finding::Bytes,
        })
    }

    /// The digest of the configuration that the engine's store has under a name, or of what was built
    /// here for it.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn held(&self, image: &ImageName) -> Result<Option<String>> {
        Ok(self.in_engine(image).await?.map(|stored| config_digest(&stored.image)))
    }

    async fn in_engine(&self, image: &ImageName) -> Result<Option<Stored<'_>>> {
        let Some(engine) = self.engine else { return Ok(None) };
        let built = self.built.find(image.tagged());
        let local = match built {
            Some(built) => engine.image(&built.local).await?,
            None => None,
        };
        Ok(match engine.image(image.tagged()).await? {
            Some(found) => {
                // The same bytes under both names: it is the one that was built.
                let same = local.is_some_and(|local| local.id == found.id);
                Some(Stored { image: found, built: built.filter(|_| same) })
            }
            None => local.map(|image| Stored { image, built }),
        })
    }

    async fn stored(
        &self,
        image: &ImageName,
        stored: &Stored<'_>,
        stand_ins: bool,
    ) -> Result<Locked> {
        let Stored { image: found, built } = stored;
        if !found.arch.is_empty() && found.arch != self.arch.as_str() {
            return Err(self.not_for_us(image, "what the engine's store has", &[&found.arch]));
        }
        let seen = built.map_or(Seen::Store, Seen::Built);
        let mut evidence = self.evidence(image, &seen, stand_ins).await?;
        if built.is_none() && evidence.is_enough() {
            evidence.words += "; taken as the engine's store has it";
        }
        let os = if found.os.is_empty() { "linux" } else { &found.os };
        let config = config_digest(found);
        Ok(Locked {
            profiles: BTreeSet::new(),
            source: Source::Engine,
            platforms: BTreeMap::from([(format!("{os}/{}", found.arch), config.clone())]),
            anchor: Anchor::Config { config, served: None, media_type: None },
            evidence,
            at: now(),
        })
    }
}

fn config_digest(image: &ImageInfo) -> String {
    format!("sha256:{}", image.id.trim_start_matches("sha256:"))
}

/// To the second: a lock file is for people.
fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

fn by_digest(
    source: Source,
    manifest: Manifest,
    platforms: BTreeMap<String, String>,
    evidence: Verdict,
) -> Locked {
    let Manifest { digest, media_type, .. } = manifest;
    let anchor = Anchor::Digest { digest, media_type };
    Locked { profiles: BTreeSet::new(), source, anchor, platforms, evidence, at: now() }
}

async fn signed(shelf: &impl Shelf, digest: &str, key: &PublicKey) -> Finding {
    match signatures::verify(shelf, digest, std::slice::from_ref(key)).await {
        Ok(id) => Finding::Key(id),
        Err(error) => Finding::Nothing(error.causes.join("; ")),
    }
}

/// Without what builders attach as images for `unknown/unknown`, and what is no platform at all: what
/// a registry sends ends up in a file of ours.
fn of_index(index: &ImageIndex) -> BTreeMap<String, String> {
    let entry = |it: &Descriptor| {
        let platform = it.platform().as_ref()?;
        let variant = platform.variant().as_deref();
        let name = platform_name(platform.os(), platform.architecture(), variant)?;
        let digest = lock_file::digest_of(it.digest().as_ref()).ok()?;
        Some((name, digest))
    };
    index.manifests().iter().filter_map(entry).collect()
}

fn platform_name(os: &Os, arch: &oci_spec::image::Arch, variant: Option<&str>) -> Option<String> {
    let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
    let name = format!("{os}/{arch}{variant}");
    (lock_file::is_platform(&name) && !name.starts_with("unknown/")).then_some(name)
}

/// Its configuration says it.
async fn of_image(
    shelf: &impl Shelf,
    manifest: &Manifest,
    image: &ImageManifest,
) -> Result<BTreeMap<String, String>> {
    let config = image.config();
    let unreadable = |why: String| {
        let what =
            format!("the configuration of {}, {}, cannot be read", manifest.digest, shelf.shown());
        Error::failed("manifest-invalid", what).because(why)
    };
    if config.size() > CONFIG_BYTES_MAX {
        return Err(unreadable(format!("it is said to have {} bytes", config.size())));
    }
    let bytes = shelf.blob(config.digest().as_ref(), config.size()).await?;
    let config: ImageConfiguration =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let name = platform_name(config.os(), config.architecture(), config.variant().as_deref());
    Ok(name.map(|name| (name, manifest.digest.clone())).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_cannot_write_what_it_likes_into_the_lock() {
        let entry = |os: &str, arch: &str, digest: &str| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2, "digest": digest,
                "platform": {"os": os, "architecture": arch, "variant": "v7"},
            })
        };
        let good = format!("sha256:{}", "a".repeat(64));
        let long = format!("sha512:{}", "a".repeat(128));
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [
            entry("linux", "arm", &good),
            entry("linux", "amd64: x\n  evil", &good),
            entry("unknown", "unknown", &good),
            entry("linux", "s390x", &long),
        ]});
        let index: ImageIndex = serde_json::from_value(index).unwrap();
        assert_eq!(of_index(&index), BTreeMap::from([("linux/arm/v7".to_owned(), good)]));
    }
}
