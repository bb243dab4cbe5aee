//! Images in the engine's own store.

use std::collections::BTreeMap;

use bollard::query_parameters::TagImageOptionsBuilder;
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::Engine;
use super::container::null_is_default;
use super::error::{EngineError, EngineResult, optional};

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"))]
pub struct ImageInfo {
    /// Id: the configuration's digest, without `sha256:`.
    pub id: String,
    /// Digest of its manifest: `sha256:…`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub digest: String,
    /// Bytes on disk, unpacked.
    pub size: u64,
    /// CPU architecture in Go's spelling.
    #[serde(rename(deserialize = "Architecture"))]
    pub arch: String,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// When it was made, RFC 3339.
    #[serde(default, deserialize_with = "null_is_default")]
    pub created: String,
    /// Operating system: `linux`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// Every name it has here.
    #[serde(default, rename(deserialize = "RepoTags"), deserialize_with = "null_is_default")]
    pub names: Vec<String>,
    /// Digests of its layers, uncompressed, base first.
    #[serde(default, rename(deserialize = "RootFS"), deserialize_with = "layers")]
    pub layers: Vec<String>,
}

/// One line of the engine's list of images.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageLine {
    /// Id, without `sha256:`.
    pub id: String,
    /// Every name it has; none for one that another took the name of.
    #[serde(default, rename = "RepoTags", deserialize_with = "null_is_default")]
    pub names: Vec<String>,
}

impl Engine {
    /// The image `name` (or id), or `None`.
    pub async fn image(&self, name: &str) -> EngineResult<Option<ImageInfo>> {
        let action = format!("inspect image {name}");
        optional(self.libpod.get(&action, &format!("images/{name}/json"), &[]).await)
    }

    /// Every image in the store.
    pub async fn images(&self) -> EngineResult<Vec<ImageLine>> {
        self.libpod.get("list images", "images/json", &[]).await
    }

    /// Gives `name` (or id) the further name `repository:tag`.
    pub async fn tag(&self, name: &str, repository: &str, tag: &str) -> EngineResult<()> {
        let action = format!("tag image {name} as {repository}:{tag}");
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let tagged = self.docker.tag_image(name, Some(options)).await;
        tagged.map_err(|error| EngineError::from_bollard(&action, error))
    }

    /// Takes one of its names from an image that has another.
    pub async fn untag(&self, name: &str) -> EngineResult<()> {
        let Some((repository, tag)) = name.rsplit_once(':') else { return Ok(()) };
        let query = [("repo", repository), ("tag", tag)];
        let action = format!("take the name {name} from its image");
        self.libpod.post_stream(&action, &format!("images/{name}/untag"), &query, None).await?;
        Ok(())
    }

    /// Removes an image from the store; one that is gone is success.
    pub async fn remove_image(&self, name: &str) -> EngineResult<()> {
        let query = [("force", "true")];
        self.libpod.delete(&format!("remove image {name}"), &format!("images/{name}"), &query).await
    }

    /// Images as one archive in Docker's format, layers that they share once. No deadline.
    pub fn export(&self, names: &[&str]) -> impl Stream<Item = EngineResult<Bytes>> + use<> {
        let action = format!("export image {}", names.join(", "));
        let chunks = self.docker.export_images(names);
        chunks.map_err(move |error| EngineError::from_bollard(&action, error))
    }
}

/// `RootFS`: the layers of an image.
fn layers<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct RootFs {
        #[serde(default, deserialize_with = "null_is_default")]
        layers: Vec<String>,
    }
    Ok(Option::<RootFs>::deserialize(from)?.unwrap_or_default().layers)
}

/// A sum of numbers that came from outside.
pub(super) fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_may_lack_its_date() {
        let text = r#"{"Id":"1","Size":2,"Architecture":"amd64","Created":null,"Labels":null}"#;
        let image: ImageInfo = serde_json::from_str(text).unwrap();
        assert_eq!((image.created.as_str(), image.layers.len()), ("", 0));
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        assert_eq!(sum([u64::MAX, 1].into_iter()), u64::MAX);
    }
}
