//! What the cache holds, name by name: for those who list it, read it again or remove from it.

use oci_spec::image::{ImageManifest, Platform};
use serde::Deserialize;

use super::Cache;
use crate::Result;
use crate::provider::registry::ON_DEMAND;
use crate::spec::Arch;
use crate::spec::name::cached;
use crate::world::registry::{Manifest, Repository, Shape};

/// Tags that begin so are no names: signatures, and lists of what refers to an image.
const OF_DIGESTS: &str = "sha256-";

/// A configuration that is larger says nothing that is shown.
const CONFIG_MAX: u64 = 1 << 20;

/// A repository that is named after an upstream one.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Registry and path, as pods have them.
    pub upstream: String,
    /// Where it is.
    pub repository: Repository,
    /// Names.
    pub tags: Vec<String>,
    /// Tags that begin with [`OF_DIGESTS`].
    pub of_digests: Vec<String>,
    /// Whether Zot fetched what is in it by itself, and removes it by itself.
    pub on_demand: bool,
}

/// An image of one platform.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// `linux/amd64`, where anything says so.
    pub platform: Option<String>,
    /// What it is made of.
    pub image: Box<ImageManifest>,
}

/// What is here below a manifest.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// Every image that an index names, here or not.
    pub children: Vec<String>,
    /// Images that are here.
    pub parts: Vec<Part>,
    /// What cannot be read.
    pub faults: Vec<String>,
}

/// Every repository that `pipe` fills, named after an upstream one, in the order of their names.
///
/// # Errors
/// The registry does not answer or refuses.
pub(super) async fn places(cache: &Cache) -> Result<Vec<Place>> {
    let mut places = everywhere(cache).await?;
    places.retain(|place| !place.on_demand);
    Ok(places)
}

/// The same, with those that Zot fills by itself.
///
/// # Errors
/// As for [`places`].
pub(super) async fn everywhere(cache: &Cache) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for name in cache.registry.catalog().await? {
        let folder = name.strip_prefix(ON_DEMAND).and_then(|rest| rest.strip_prefix('/'));
        let on_demand = folder.is_some();
        let Some(upstream) = cached::upstream(folder.unwrap_or(&name)) else { continue };
        let repository = cache.registry.repository(&name);
        let all = repository.tags().await?.into_iter();
        let (of_digests, mut tags): (Vec<_>, Vec<_>) =
            all.partition(|tag| tag.starts_with(OF_DIGESTS));
        tags.sort();
        places.push(Place { upstream, repository, tags, of_digests, on_demand });
    }
    places.sort_by(|a, b| a.upstream.cmp(&b.upstream));
    Ok(places)
}

impl Content {
    /// What is here below `manifest`. An index stays whole, while only the platforms that are needed
    /// are here.
    pub(super) async fn of(repository: &Repository, manifest: &Manifest) -> Content {
        let mut content = Content::default();
        let index = match manifest.shape() {
            Ok(Shape::Index(index)) => index,
            Ok(Shape::Image(image)) => {
                let platform = platform_of(repository, &image).await;
                content.parts.push(Part { platform, image });
                return content;
            }
            Err(error) => {
                content.faults.push(error.to_string());
                return content;
            }
        };
        for child in index.manifests() {
            let digest = child.digest().to_string();
            content.children.push(digest.clone());
            match repository.manifest(&digest).await {
                Ok(None) => {}
                Ok(Some(found)) => {
                    if let Ok(Shape::Image(image)) = found.shape() {
                        let platform = child.platform().as_ref().map(shown);
                        content.parts.push(Part { platform, image });
                    }
                }
                Err(error) => content.faults.push(error.to_string()),
            }
        }
        content
    }

    /// Platforms whose images are here; not those of attestations, which are for none.
    pub(super) fn platforms(&self) -> Vec<String> {
        let known = self.parts.iter().filter_map(|part| part.platform.clone());
        known.filter(|platform| !platform.contains("unknown")).collect()
    }

    /// Bytes of layers that are here.
    pub(super) fn size(&self) -> u64 {
        let layers = self.parts.iter().flat_map(|part| part.image.layers());
        layers.map(|layer| layer.size()).sum()
    }

    /// Digest of the configuration for this machine: what the engine and nodes know the image by.
    pub(super) fn id(&self, arch: Arch) -> Option<String> {
        let here = format!("linux/{arch}");
        let part = match &self.parts[..] {
            [only] if self.children.is_empty() => Some(only),
            parts => parts.iter().find(|part| part.platform.as_ref() == Some(&here)),
        };
        part.map(|part| part.image.config().digest().to_string())
    }
}

fn shown(platform: &Platform) -> String {
    format!("{}/{}", platform.os(), platform.architecture())
}

/// What the configuration of an image says that it is for.
async fn platform_of(repository: &Repository, image: &ImageManifest) -> Option<String> {
    #[derive(Deserialize)]
    struct For {
        os: String,
        architecture: String,
    }
    let config = image.config();
    if config.size() > CONFIG_MAX {
        return None;
    }
    // What cannot be read is found by those who read everything.
    let text = repository.blob(config.digest().as_ref(), config.size()).await.ok()?;
    let said: For = serde_json::from_slice(&text).ok()?;
    let known = !said.os.is_empty() && !said.architecture.is_empty();
    known.then(|| format!("{}/{}", said.os, said.architecture))
}
