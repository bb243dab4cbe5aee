//! An image of one layer that is made here, byte for byte: what `pipe` itself runs in a cluster.

use oci_spec::image::MediaType;
use serde_json::{Value, json};

use crate::spec::Arch;
use crate::trust::attached::sha256;
use crate::world::engine::FileToPut;
use crate::world::registry::{Manifest, Repository};
use crate::{Error, Result};

/// An image, whole.
#[derive(Debug)]
pub(in crate::run) struct Made {
    /// Its layer and its configuration.
    blobs: [Blob; 2],
    /// Names both.
    pub manifest: Manifest,
}

/// Bytes under their digest, which takes time to find for as many as a program has.
#[derive(Debug)]
struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn of(content: Vec<u8>) -> Blob {
        Blob { digest: sha256(&content), content }
    }

    fn descriptor(&self, kind: &MediaType) -> Value {
        json!({"mediaType": kind.to_string(), "digest": self.digest, "size": self.content.len()})
    }
}

impl Made {
    /// An image of `files`. `config` is what OCI calls so: entry point, labels.
    ///
    /// # Errors
    /// None that a user can cause.
    pub(in crate::run) fn of(arch: Arch, files: Vec<FileToPut>, config: &Value) -> Result<Made> {
        let layer =
            layer(files).map_err(|error| Error::bug("an image cannot be made").because(error))?;
        let layer = Blob::of(layer);
        let config = json!({
            "architecture": arch.as_str(),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        })
        .to_string()
        .into_bytes();
        let config = Blob::of(config);
        let kind = MediaType::ImageManifest.to_string();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": config.descriptor(&MediaType::ImageConfig),
            "layers": [layer.descriptor(&MediaType::ImageLayer)],
        });
        let manifest = Manifest::new(kind, manifest.to_string().into());
        Ok(Made { blobs: [layer, config], manifest })
    }

    /// Puts its blobs where they lack, and its manifest, which only `tag` leads to if there is one.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub(in crate::run) async fn put(
        &self,
        repository: &Repository,
        tag: Option<&str>,
    ) -> Result<()> {
        for Blob { digest, content } in &self.blobs {
            repository.put_blob(digest, content).await?;
        }
        repository.put_manifest(&self.manifest, tag).await
    }

    /// It as an OCI archive that containerd imports under `name`.
    ///
    /// # Errors
    /// None that a user can cause.
    pub(in crate::run) fn archive(&self, name: &str) -> Result<Vec<u8>> {
        let manifest = &self.manifest;
        let index = json!({"schemaVersion": 2, "manifests": [{
            "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len(),
            "annotations": {"io.containerd.image.name": name},
        }]})
        .to_string()
        .into_bytes();
        let blob = |digest: &str, content: &[u8]| {
            FileToPut::new(format!("blobs/{}", digest.replace(':', "/")), 0o644, content)
        };
        let blobs = self.blobs.iter().map(|it| blob(&it.digest, &it.content));
        let mut files: Vec<FileToPut> = blobs.collect();
        files.push(blob(&manifest.digest, &manifest.bytes));
        files.push(FileToPut::new("index.json", 0o644, index));
        files.push(FileToPut::new("oci-layout", 0o644, r#"{"imageLayoutVersion":"1.0.0"}"#));
        layer(files).map_err(|error| Error::bug("an archive cannot be made").because(error))
    }
}

/// The same bytes for the same files: no times, no owners.
fn layer(files: Vec<FileToPut>) -> std::io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(file.mode);
        header.set_size(file.content.len() as u64);
        layer.append_data(&mut header, file.path.trim_start_matches('/'), &file.content[..])?;
    }
    layer.into_inner()
}
