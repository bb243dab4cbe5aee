//! Images in the engine's own store.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::{CreateImageOptionsBuilder, TagImageOptionsBuilder};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::Engine;
use super::container::null_is_default;
use super::error::{EngineError, EngineResult, Fault, optional};

/// Longest silence of a pull: Podman reports while bytes flow.
const PULL_SILENCE: Duration = Duration::from_secs(180);

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"))]
pub struct ImageInfo {
    /// Id: the configuration's digest, without `sha256:`.
    pub id: String,
    /// Digest of its manifest: `sha256:…`.
    #[serde(default)]
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
    #[serde(default)]
    pub created: String,
    /// Operating system: `linux`.
    #[serde(default)]
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

/// How far a pull is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// What the engine last said.
    pub status: String,
    /// Bytes of all layers seen so far that have arrived.
    pub done: u64,
    /// Bytes of all layers seen so far.
    pub total: u64,
}

/// Bytes that the engine's objects take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskUsage {
    /// Images, shared layers counted once.
    pub images: u64,
    /// What containers wrote.
    pub containers: u64,
    /// Volumes.
    pub volumes: u64,
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

    /// Pulls `name`, which must be fully qualified, and says how far it is.
    pub async fn pull(
        &self,
        name: &str,
        mut on_progress: impl FnMut(&PullProgress) + Send,
    ) -> EngineResult<()> {
        let action = format!("pull image {name}");
        let options = CreateImageOptionsBuilder::default().from_image(name).build();
        let mut lines = self.docker.create_image(Some(options), None, None);
        let mut layers = Layers::default();
        let silent = |_| {
            let message = format!("the engine said nothing for {PULL_SILENCE:?}");
            EngineError::new(Fault::TimedOut, &action, message)
        };
        while let Some(line) =
            tokio::time::timeout(PULL_SILENCE, lines.next()).await.map_err(silent)?
        {
            let line = line.map_err(|error| EngineError::from_bollard(&action, error))?;
            on_progress(&layers.update(line));
        }
        Ok(())
    }

    /// Gives `name` (or id) the further name `repository:tag`.
    pub async fn tag(&self, name: &str, repository: &str, tag: &str) -> EngineResult<()> {
        let action = format!("tag image {name} as {repository}:{tag}");
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let tagged = self.docker.tag_image(name, Some(options)).await;
        tagged.map_err(|error| EngineError::from_bollard(&action, error))
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

    /// What the engine's objects take on disk. Slow: the engine adds up every file.
    pub async fn disk_usage(&self) -> EngineResult<DiskUsage> {
        let usage: Usage = self.libpod.get("measure disk usage", "system/df", &[]).await?;
        Ok(usage.total())
    }
}

/// Progress by layer.
#[derive(Default)]
struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    fn update(&mut self, line: CreateImageInfo) -> PullProgress {
        let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
        if let (Some(layer), Some(detail)) = (line.id, line.progress_detail)
            && let (Some(done), Some(total)) = (bytes(detail.current), bytes(detail.total))
        {
            self.0.insert(layer, (done, total));
        }
        PullProgress {
            status: line.status.unwrap_or_default(),
            done: sum(self.0.values().map(|(done, _)| *done)),
            total: sum(self.0.values().map(|(_, total)| *total)),
        }
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    /// From Podman 5 on; layers counted once.
    images_size: Option<u64>,
    #[serde(default, deserialize_with = "null_is_default")]
    images: Vec<UsageImage>,
    #[serde(default, deserialize_with = "null_is_default")]
    containers: Vec<UsageContainer>,
    #[serde(default, deserialize_with = "null_is_default")]
    volumes: Vec<UsageVolume>,
}

#[derive(Deserialize)]
struct UsageImage {
    #[serde(rename = "ImageID")]
    id: String,
    #[serde(rename = "UniqueSize")]
    unique: u64,
    #[serde(rename = "SharedSize")]
    shared: u64,
}

#[derive(Deserialize)]
struct UsageContainer {
    #[serde(rename = "RWSize")]
    written: u64,
}

#[derive(Deserialize)]
struct UsageVolume {
    #[serde(rename = "Size")]
    size: u64,
}

impl Usage {
    fn total(&self) -> DiskUsage {
        let mut seen = HashSet::new();
        let once = self.images.iter().filter(|image| seen.insert(&image.id));
        // Which layers are shared with which image is not said: the largest share is a lower bound.
        let (unique, shared) = once.fold((0, 0), |(unique, shared): (u64, u64), image| {
            (unique.saturating_add(image.unique), shared.max(image.shared))
        });
        DiskUsage {
            images: self.images_size.unwrap_or(unique.saturating_add(shared)),
            containers: sum(self.containers.iter().map(|container| container.written)),
            volumes: sum(self.volumes.iter().map(|volume| volume.size)),
        }
    }
}

/// A sum of numbers that came from outside.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_numbers_do_not_overflow() {
        let mut layers = Layers::default();
        let mut progress = PullProgress::default();
        for layer in ["a", "b", "c"] {
            let detail = format!(r#"{{"current":{0},"total":{0}}}"#, i64::MAX);
            let line = format!(r#"{{"id":"{layer}","progressDetail":{detail}}}"#);
            progress = layers.update(serde_json::from_str(&line).unwrap());
        }
        assert_eq!((progress.done, progress.total), (u64::MAX, u64::MAX));
        let usage: Usage = serde_json::from_str(&format!(
            r#"{{"Images":[{{"ImageID":"1","UniqueSize":{0},"SharedSize":{0}}},
                {{"ImageID":"2","UniqueSize":{0},"SharedSize":{0}}}],
                "Containers":[{{"RWSize":{0}}},{{"RWSize":1}}]}}"#,
            u64::MAX
        ))
        .unwrap();
        assert_eq!((usage.total().images, usage.total().containers), (u64::MAX, u64::MAX));
    }
}
