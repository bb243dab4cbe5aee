//! Images from an archive (OCI layout) into the cache: every layer is sent as it is read, and what
//! names it only after it.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::Bytes;
use futures::stream;
use oci_spec::image::ImageIndex;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::meter::Meter;
use crate::world::registry::{Manifest, Repository, Shape};
use crate::{Error, Result};

/// Up to this a blob may be a manifest or a configuration, and is kept until that is known.
const DOCUMENT_MAX: u64 = 4 << 20;

/// Bytes that are handed on at once.
const CHUNK: usize = 128 << 10;

/// Chunks that wait for the registry; no more are read until they are taken.
const WAITING: usize = 16;

/// A blob on its way: its digest and its content.
struct Blob {
    digest: String,
    size: u64,
    chunks: Receiver<io::Result<Bytes>>,
}

/// What the reader found besides layers.
#[derive(Default)]
struct Documents {
    /// By digest.
    small: BTreeMap<String, Vec<u8>>,
    index: Option<Vec<u8>>,
}

/// An image that was stored.
#[derive(Debug)]
pub struct Uploaded {
    /// Its manifest, which has no tag yet.
    pub manifest: Manifest,
    /// Bytes of layers that were sent.
    pub sent: u64,
}

/// Stores the one image that `archive` holds in `repository`. Layers that are there are not sent again.
///
/// # Errors
/// The archive breaks off, is no OCI layout or holds none or several images; the registry does not
/// answer or refuses. Nothing half-written is served.
pub async fn upload(
    repository: &Repository,
    archive: impl Read + Send + 'static,
    meter: &Meter,
) -> Result<Uploaded> {
    let (out, mut blobs) = mpsc::channel(1);
    let reading = tokio::task::spawn_blocking(move || read(archive, &out));
    let (mut sent, mut failed) = (0, None);
    while let Some(blob) = blobs.recv().await {
        meter.expect(blob.size);
        match one(repository, blob, meter).await {
            Ok(bytes) => sent += bytes,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(blobs);
    let read = reading.await.map_err(|died| Error::bug(died.to_string()))?;
    // A reader whose taker went away only says so: why is known here.
    if let Some(error) = failed {
        return Err(error);
    }
    let documents = read.map_err(|error| broken().because(error))?;
    let (manifest, more) = finish(repository, documents).await?;
    Ok(Uploaded { manifest, sent: sent + more })
}

async fn one(repository: &Repository, blob: Blob, meter: &Meter) -> Result<u64> {
    if repository.blob_size(&blob.digest).await?.is_some() {
        let mut chunks = blob.chunks;
        // Read to its end: the archive goes on behind it.
        while let Some(chunk) = chunks.recv().await {
            meter.advance(chunk.map_err(|error| broken().because(error))?.len() as u64);
        }
        return Ok(0);
    }
    let content = stream::unfold(blob.chunks, async |mut chunks| {
        let chunk = chunks.recv().await?.map_err(|error| broken().because(error));
        meter.advance(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64));
        Some((chunk, chunks))
    });
    repository.upload(&blob.digest, content).await?;
    Ok(blob.size)
}

/// Manifest last: from then on it is served.
async fn finish(repository: &Repository, documents: Documents) -> Result<(Manifest, u64)> {
    let mut sent = 0;
    let index = documents.index.ok_or_else(|| broken().because("it has no index.json"))?;
    let index: ImageIndex =
        serde_json::from_slice(&index).map_err(|error| broken().because(error))?;
    let mut digests: Vec<(String, String)> = index
        .manifests()
        .iter()
        .map(|it| (it.digest().to_string(), it.media_type().to_string()))
        .collect();
    digests.dedup();
    let [(digest, media_type)] = &digests[..] else {
        return Err(broken().because(format!("it holds {} images, not one", digests.len())));
    };
    let missing = |digest: &str| broken().because(format!("it lacks {digest}"));
    let content = documents.small.get(digest).ok_or_else(|| missing(digest))?;
    let manifest = Manifest::new(media_type.clone(), content.clone());
    if manifest.digest != *digest {
        return Err(broken().because(format!("what it calls {digest} is {}", manifest.digest)));
    }
    let Shape::Image(shape) = manifest.shape()? else {
        return Err(broken().because("it holds images of several platforms"));
    };
    for blob in shape.layers().iter().chain([shape.config()]) {
        let digest = blob.digest().to_string();
        match documents.small.get(&digest) {
            Some(content) => {
                if repository.put_blob(&digest, content).await? {
                    sent += content.len() as u64;
                }
            }
            None if repository.blob_size(&digest).await?.is_some() => {}
            None => return Err(missing(&digest)),
        }
    }
    repository.put_manifest(&manifest, None).await?;
    Ok((manifest, sent))
}

fn broken() -> Error {
    Error::failed("image-archive", "the image archive cannot be used")
}

/// Blocks: on a thread of its own.
fn read(archive: impl Read, out: &Sender<Blob>) -> io::Result<Documents> {
    let mut documents = Documents::default();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let size = entry.size();
        if path == "index.json" {
            documents.index = Some(whole(&mut entry, size)?);
        } else if let Some(hex) = path.strip_prefix("blobs/sha256/").filter(|hex| is_hex(hex)) {
            let digest = format!("sha256:{hex}");
            if size <= DOCUMENT_MAX {
                documents.small.insert(digest, whole(&mut entry, size)?);
            } else {
                hand_on(&mut entry, size, digest, out)?;
            }
        }
    }
    Ok(documents)
}

fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn whole(entry: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    entry.take(DOCUMENT_MAX.min(size)).read_to_end(&mut content)?;
    Ok(content)
}

fn hand_on(entry: &mut impl Read, size: u64, digest: String, out: &Sender<Blob>) -> io::Result<()> {
    let gone = || io::Error::other("nobody takes the archive any more");
    let (sender, chunks) = mpsc::channel(WAITING);
    out.blocking_send(Blob { digest, size, chunks }).map_err(|_| gone())?;
    let mut left = size;
    while left > 0 {
        let mut chunk = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
        if let Err(error) = entry.read_exact(&mut chunk) {
            let told = io::Error::new(error.kind(), error.to_string());
            let _taker_gone = sender.blocking_send(Err(told));
            return Err(error);
        }
        left -= chunk.len() as u64;
        sender.blocking_send(Ok(chunk.into())).map_err(|_| gone())?;
    }
    Ok(())
}
