//! Images in a file or a folder: an OCI image layout, as `podman save --format oci-archive`,
//! `skopeo copy … oci-archive:…` and `docker buildx … --output type=oci` write it.
//!
//! Nothing is unpacked: of an archive only is kept where in it each file begins.

use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use oci_spec::image::{Descriptor, ImageIndex};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::registry::{Manifest, Shape};
use crate::digest;
use crate::{Error, Result};

/// Largest index or manifest that is read, as registries bound them.
const DOCUMENT_MAX: u64 = 4 << 20;

/// What annotations call an image by: Podman and skopeo write a whole name into the first, Docker into
/// the second.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// Begins a file that was compressed as a whole, which cannot be read from the middle.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A layout that was opened.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
    /// Of an archive: where in it each file begins, and its size.
    files: Option<BTreeMap<String, (u64, u64)>>,
    index: ImageIndex,
}

impl Layout {
    /// Reads what is in the archive or the folder `path`.
    ///
    /// # Errors
    /// `archive-unreadable`: it cannot be read, or is no OCI layout.
    pub async fn open(path: &Path) -> Result<Layout> {
        let owned = path.to_owned();
        let listed = tokio::task::spawn_blocking(move || list(&owned)).await;
        let files = listed.map_err(|died| Error::bug(died.to_string()))?;
        let files = files.map_err(|why| unreadable(path, why))?;
        let mut layout = Layout { path: path.to_owned(), files, index: ImageIndex::default() };
        let Some(text) = layout.document("index.json").await? else {
            let docker = layout.document("manifest.json").await?.is_some();
            let why = if docker { "it is in Docker's own form" } else { "it has no index.json" };
            return Err(unreadable(path, why)
                .hint("write it as an OCI archive: podman save --format oci-archive"));
        };
        layout.index = serde_json::from_slice(&text).map_err(|why| unreadable(path, why))?;
        Ok(layout)
    }

    /// For people.
    pub fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// Digests of the images and indexes that are called `name` here; `is_same` compares names.
    pub fn named(&self, is_same: impl Fn(&str) -> bool) -> Vec<String> {
        let is_named = |entry: &&Descriptor| {
            let notes = entry.annotations().as_ref();
            NAMES.iter().any(|key| notes.and_then(|it| it.get(*key)).is_some_and(|it| is_same(it)))
        };
        self.index.manifests().iter().filter(is_named).map(|it| it.digest().to_string()).collect()
    }

    /// A manifest or an index; `None` if it is not here.
    ///
    /// # Errors
    /// It cannot be read, or is not what its digest names.
    pub async fn manifest(&self, digest: &str) -> Result<Option<Manifest>> {
        let Some(path) = blob_path(digest) else { return Ok(None) };
        let Some(bytes) = self.document(&path).await? else { return Ok(None) };
        let media_type = media_type(&bytes).unwrap_or_default();
        let manifest = Manifest::new(media_type, bytes);
        if manifest.digest != digest {
            return Err(unreadable(&self.path, format!("what it has as {digest} is other bytes")));
        }
        Ok(Some(manifest))
    }

    /// What is listed here and refers to `digest`: signatures, provenance.
    ///
    /// # Errors
    /// As for [`Layout::manifest`].
    pub async fn referrers(&self, digest: &str) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        for entry in self.index.manifests() {
            let Some(manifest) = self.manifest(entry.digest().as_ref()).await? else { continue };
            let Ok(Shape::Image(image)) = manifest.shape() else { continue };
            if image.subject().as_ref().is_some_and(|it| it.digest().as_ref() == digest) {
                found.push(entry.clone());
            }
        }
        Ok(found)
    }

    /// A blob in parts, which end only where they were what its digest names.
    ///
    /// # Errors
    /// It is not here, or cannot be read.
    pub async fn blob(&self, digest: &str, size: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        let gone = || unreadable(&self.path, format!("it does not have {digest}, which it names"));
        let path = blob_path(digest).ok_or_else(gone)?;
        let (file, has) = self.file(&path).await?.ok_or_else(gone)?;
        if has != size {
            let why = format!("{digest} has {has} bytes here, and not {size}");
            return Err(unreadable(&self.path, why));
        }
        let (shown, digest) = (self.path.clone(), digest.to_owned());
        let parts = ReaderStream::with_capacity(file.take(size), 128 << 10);
        let parts = parts.map_err({
            let shown = shown.clone();
            move |why| unreadable(&shown, why)
        });
        let checked = stream::try_unfold((parts, Sha256::new()), move |(mut parts, mut hash)| {
            let (shown, digest) = (shown.clone(), digest.clone());
            async move {
                if let Some(part) = parts.try_next().await? {
                    hash.update(&part);
                    return Ok(Some((part, (parts, hash))));
                }
                match format!("sha256:{}", digest::hex(&hash.finalize())) == digest {
                    true => Ok(None),
                    false => {
                        Err(unreadable(&shown, format!("what it has as {digest} is other bytes")))
                    }
                }
            }
        });
        Ok(checked.boxed())
    }

    async fn document(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let Some((file, size)) = self.file(path).await? else { return Ok(None) };
        if size > DOCUMENT_MAX {
            return Err(unreadable(&self.path, format!("{path} has {size} bytes")));
        }
        let mut bytes = Vec::new();
        let read = file.take(size).read_to_end(&mut bytes).await;
        read.map_err(|why| unreadable(&self.path, why))?;
        Ok(Some(bytes))
    }

    /// A file of the layout, at its beginning, and its size.
    async fn file(&self, path: &str) -> Result<Option<(File, u64)>> {
        let failed = |why: io::Error| unreadable(&self.path, why);
        let Some(files) = &self.files else {
            let file = match File::open(self.path.join(path)).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file.map_err(failed)?,
            };
            let size = file.metadata().await.map_err(failed)?.len();
            return Ok(Some((file, size)));
        };
        let Some((begin, size)) = files.get(path) else { return Ok(None) };
        let mut file = File::open(&self.path).await.map_err(failed)?;
        file.seek(SeekFrom::Start(*begin)).await.map_err(failed)?;
        Ok(Some((file, *size)))
    }
}

/// The layouts of `path`: itself, or, of a folder that is none, every archive in it, by name.
///
/// # Errors
/// `archive-unreadable`: there is no such file or folder.
pub fn layouts(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |why: io::Error| unreadable(path, why);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() || path.join("index.json").exists() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|it| it == "tar") || path.join("index.json").exists() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Where in an archive its files are; `None` of a folder.
fn list(path: &Path) -> io::Result<Option<BTreeMap<String, (u64, u64)>>> {
    if std::fs::metadata(path)?.is_dir() {
        return Ok(None);
    }
    let mut file = std::fs::File::open(path)?;
    let mut magic = [0; 2];
    io::Read::read_exact(&mut file, &mut magic)?;
    if magic == GZIP {
        return Err(io::Error::other("it is compressed; gunzip it"));
    }
    io::Seek::rewind(&mut file)?;
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(file).entries_with_seek()? {
        let entry =
            entry.map_err(|why| io::Error::other(format!("it is no whole tar file: {why}")))?;
        if entry.header().entry_type().is_file() {
            let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            files.insert(name, (entry.raw_file_position(), entry.size()));
        }
    }
    Ok(Some(files))
}

fn blob_path(digest: &str) -> Option<String> {
    let hex = digest.strip_prefix("sha256:")?;
    let is_hex = hex.len() == 64 && hex.bytes().all(|it| it.is_ascii_hexdigit());
    is_hex.then(|| format!("blobs/sha256/{hex}"))
}

/// What a manifest says that it is, or is seen to be: Podman leaves it out of OCI's own forms.
fn media_type(bytes: &[u8]) -> Option<String> {
    let said: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    if let Some(said) = said.get("mediaType").and_then(|it| it.as_str()) {
        return Some(said.to_owned());
    }
    let kind = if said.get("manifests").is_some() { "index" } else { "manifest" };
    Some(format!("application/vnd.oci.image.{kind}.v1+json"))
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> Error {
    let what = format!("the image archive {} cannot be read", path.display());
    Error::failed("archive-unreadable", what).because(why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trust::attached::sha256;

    /// One image with one layer, as Podman writes it; gives the digests of manifest and layer.
    fn write(folder: &Path) -> (String, String) {
        let put = |content: &[u8]| {
            let digest = sha256(content);
            let path = folder.join(blob_path(&digest).unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
            json!({"mediaType": "application/octet-stream", "digest": digest, "size": content.len()})
        };
        let (config, layer) = (put(b"{}"), put(&[7; 300_000]));
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
        let mut entry = put(manifest.as_bytes());
        entry["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
        entry["annotations"] = json!({NAMES[0]: "docker.io/library/app:1"});
        let digest = entry["digest"].as_str().unwrap().to_owned();
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        std::fs::write(folder.join("index.json"), index).unwrap();
        std::fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}").unwrap();
        (digest, layer["digest"].as_str().unwrap().to_owned())
    }

    fn pack(folder: &Path, into: &Path) {
        let mut archive = tar::Builder::new(std::fs::File::create(into).unwrap());
        archive.append_dir_all(".", folder).unwrap();
        archive.finish().unwrap();
    }

    async fn whole(layout: &Layout, digest: &str) -> Result<Vec<u8>> {
        let parts: Vec<Bytes> = layout.blob(digest, 300_000).await?.try_collect().await?;
        Ok(parts.concat())
    }

    #[tokio::test]
    async fn a_folder_and_an_archive_of_it_give_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (image, layer) = write(&folder.path().join("one"));
        pack(&folder.path().join("one"), &folder.path().join("two.tar"));
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        let found = layouts(folder.path()).unwrap();
        assert_eq!(found, ["one", "two.tar"].map(|name| folder.path().join(name)));
        for path in found {
            let layout = Layout::open(&path).await.unwrap();
            assert_eq!(
                layout.named(|name| name == "docker.io/library/app:1"),
                std::slice::from_ref(&image)
            );
            assert!(layout.named(|name| name == "docker.io/library/app:2").is_empty());
            let manifest = layout.manifest(&image).await.unwrap().unwrap();
            assert!(matches!(manifest.shape().unwrap(), Shape::Image(_)), "{manifest:?}");
            assert_eq!(whole(&layout, &layer).await.unwrap(), [7; 300_000]);
            let other = sha256(b"another");
            assert!(layout.manifest(&other).await.unwrap().is_none());
            let missing = whole(&layout, &other).await.unwrap_err().to_string();
            assert!(missing.contains("does not have"), "{missing}");
        }
    }

    /// Nothing is believed to be what it is called.
    #[tokio::test]
    async fn other_bytes_than_a_digest_names_are_no_blob_and_no_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let (image, layer) = write(folder.path());
        let change = |digest: &str| {
            let path = folder.path().join(blob_path(digest).unwrap());
            let mut bytes = std::fs::read(&path).unwrap();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            std::fs::write(path, bytes).unwrap();
        };
        let layout = Layout::open(folder.path()).await.unwrap();
        change(&layer);
        let error = whole(&layout, &layer).await.unwrap_err().to_string();
        assert!(error.contains("other bytes"), "{error}");
        change(&image);
        let error = layout.manifest(&image).await.unwrap_err().to_string();
        assert!(error.contains("other bytes"), "{error}");
        let outside = "sha256:../../../../../../etc/passwd";
        assert!(layout.manifest(outside).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_no_layout_is_said_to_be_none_with_what_helps() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("docker")).unwrap();
        std::fs::write(path("docker/manifest.json"), "[]").unwrap();
        pack(&path("docker"), &path("docker.tar"));
        std::fs::write(path("packed.tar"), [GZIP[0], GZIP[1], 8, 0]).unwrap();
        std::fs::write(path("text.tar"), "hello").unwrap();
        let mut seen = String::new();
        for name in ["docker.tar", "packed.tar", "text.tar", "gone.tar"] {
            let error = Layout::open(&path(name)).await.unwrap_err();
            assert_eq!(error.code, "archive-unreadable", "{error}");
            seen += &format!("{name}: {} | {}\n", error.causes.join("; "), error.hints.join("; "));
        }
        insta::assert_snapshot!(seen);
    }
}
