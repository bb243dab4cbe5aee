//! One image archive from the engine, and what each node still needs of it.
//!
//! ```text
//!  engine ── Docker archive ──▶ split ──▶ OCI layout without what node 1 has
//!            (config, layers,     └─────▶ OCI layout without what node 2 has …
//!             manifest.json)
//! ```
//!
//! `ctr images import` asks of a Docker archive that every layer is in it, and of an OCI layout only
//! that the store has every blob in the end. So the engine's archive is read once, and each node is
//! sent the layers that it lacks, in the second form. Layers are uncompressed in both, hence called
//! by the same digest wherever they have been.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::engine::Engine;
use crate::digest;
use crate::{Error, Result};

/// Bytes that are handed on at once.
const CHUNK: usize = 128 << 10;

/// Tar's unit.
const BLOCK: usize = 512;

/// Largest configuration or manifest that is read into memory.
const DOCUMENT_MAX: u64 = 32 << 20;

/// A reader of one archive: a node that imports it.
pub struct Sink {
    /// Images that it wants: id (without `sha256:`) to the names it shall know them by.
    pub images: BTreeMap<String, Vec<String>>,
    /// Digests (`sha256:…`) of what it has.
    pub has: BTreeSet<String>,
    /// Where its archive goes; an error on it says that there will be no more.
    pub out: Sender<io::Result<Bytes>>,
}

/// What is known of one file of the archive.
struct Blob {
    size: u64,
    /// A configuration; layers are not kept.
    content: Option<Vec<u8>>,
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    layers: Vec<String>,
}

/// Reads a Docker archive to its end and writes an OCI layout to each sink. Blocks: run it on a
/// thread of its own. A sink whose reader went away is left out; its reader knows why.
///
/// Gives the bytes of layers that were sent, over all sinks.
///
/// # Errors
/// The archive breaks off or is not one; every sink is told.
pub fn split(archive: impl Read, mut sinks: Vec<Sink>) -> io::Result<u64> {
    let result = forward(archive, &mut sinks);
    if let Err(error) = &result {
        for sink in sinks {
            let told = io::Error::new(error.kind(), error.to_string());
            let _reader_gone = sink.out.blocking_send(Err(told));
        }
    }
    result
}

/// Exports images of the engine, once, and splits them for `sinks`; gives the bytes of layers that were
/// sent. `what` is said in the error.
///
/// # Errors
/// The engine cannot export them.
pub async fn export(engine: &Engine, ids: &[&str], sinks: Vec<Sink>, what: &str) -> Result<u64> {
    let archive = StreamReader::new(engine.export(ids).map_err(io::Error::other).boxed());
    let archive = SyncIoBridge::new(archive);
    let split = tokio::task::spawn_blocking(move || split(archive, sinks)).await;
    split.map_err(|died| Error::bug(died.to_string()))?.map_err(|error| {
        Error::failed("image-export", format!("the engine cannot export {what}")).because(error)
    })
}

/// What a sink is sent, as a stream.
pub fn parts(out: Receiver<io::Result<Bytes>>) -> impl Stream<Item = io::Result<Bytes>> {
    futures::stream::unfold(out, async |mut out| Some((out.recv().await?, out)))
}

fn forward(archive: impl Read, sinks: &mut Vec<Sink>) -> io::Result<u64> {
    let mut blobs = BTreeMap::new();
    let mut images: Option<Vec<Image>> = None;
    let mut sent = 0;
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        // Podman adds links under the names of an older form; nothing refers to them.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path()?.to_string_lossy().into_owned();
        let size = entry.size();
        if name == "manifest.json" {
            images = Some(serde_json::from_slice(&document(&mut entry)?)?);
        } else if name.ends_with(".tar") {
            let digest = digest_of(&name);
            sent += send_layer(&mut entry, &digest, size, sinks)?;
            if sinks.is_empty() {
                return Ok(sent);
            }
            blobs.insert(name, Blob { size, content: None });
        } else if size <= DOCUMENT_MAX {
            let content = Some(document(&mut entry)?);
            blobs.insert(name, Blob { size, content });
        }
    }
    let images = images.ok_or_else(|| broken("it has no manifest.json"))?;
    for sink in sinks.iter() {
        finish(sink, &images, &blobs)?;
    }
    Ok(sent)
}

/// `sha256:…` from `<hexadecimal digits>.tar`.
fn digest_of(name: &str) -> String {
    format!("sha256:{}", name.split('.').next().unwrap_or_default())
}

fn document(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    entry.take(DOCUMENT_MAX).read_to_end(&mut content)?;
    Ok(content)
}

/// Hands a layer on to the sinks that lack it, as it is read.
fn send_layer(
    layer: &mut impl Read,
    digest: &str,
    size: u64,
    sinks: &mut Vec<Sink>,
) -> io::Result<u64> {
    let lacks = |sink: &Sink| !sink.has.contains(digest);
    if !sinks.iter().any(lacks) {
        return Ok(0);
    }
    let header = header(&blob_path(digest), size)?;
    let mut sent = 0;
    let mut send = |chunk: Bytes, sinks: &mut Vec<Sink>| {
        let mut read = 0u64;
        sinks.retain(|sink| {
            if !lacks(sink) {
                return true;
            }
            read += chunk.len() as u64;
            sink.out.blocking_send(Ok(chunk.clone())).is_ok()
        });
        sent += read;
    };
    send(header, sinks);
    let mut left = size;
    while left > 0 {
        let mut chunk = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
        layer.read_exact(&mut chunk)?;
        left -= chunk.len() as u64;
        send(chunk.into(), sinks);
    }
    send(padding(size), sinks);
    Ok(sent)
}

/// Configurations, manifests and index: what turns blobs into images.
fn finish(sink: &Sink, images: &[Image], blobs: &BTreeMap<String, Blob>) -> io::Result<()> {
    let mut tail = Vec::new();
    let mut put = |path: &str, content: &[u8]| -> io::Result<()> {
        tail.extend_from_slice(&header(path, content.len() as u64)?);
        tail.extend_from_slice(content);
        tail.extend_from_slice(&padding(content.len() as u64));
        Ok(())
    };
    let mut entries = Vec::new();
    for image in images {
        let id = image.config.split('.').next().unwrap_or_default();
        let Some(names) = sink.images.get(id) else { continue };
        let config = blobs.get(&image.config).and_then(|blob| blob.content.as_ref());
        let config = config.ok_or_else(|| broken("a configuration is missing in it"))?;
        put(&blob_path(&digest_of(&image.config)), config)?;
        let mut layers = Vec::new();
        for layer in &image.layers {
            let blob = blobs.get(layer).ok_or_else(|| broken("a layer is missing in it"))?;
            layers.push(json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest_of(layer),
                "size": blob.size,
            }));
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest_of(&image.config),
                "size": config.len(),
            },
            "layers": layers,
        });
        let manifest = serde_json::to_vec(&manifest)?;
        let digest = format!("sha256:{}", digest::hex(&Sha256::digest(&manifest)));
        put(&blob_path(&digest), &manifest)?;
        entries.extend(names.iter().map(|name| index_entry(&digest, manifest.len(), name)));
    }
    put("index.json", &serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": entries}))?)?;
    put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tail.extend_from_slice(&[0; 2 * BLOCK]);
    let _reader_gone = sink.out.blocking_send(Ok(tail.into()));
    Ok(())
}

/// containerd takes an image's whole name from this annotation.
fn index_entry(digest: &str, size: usize, name: &str) -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": size,
        "annotations": {"io.containerd.image.name": name},
    })
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn header(path: &str, size: u64) -> io::Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path)?;
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

fn padding(size: u64) -> Bytes {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    Bytes::from(vec![0; (BLOCK - over) % BLOCK])
}

fn broken(why: &str) -> io::Error {
    io::Error::other(format!("the engine's image archive cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Docker archive as Podman writes it, and the digests of its two layers.
    fn docker_archive() -> (Vec<u8>, String, [String; 2]) {
        let layers = [vec![1; 1000], vec![2; CHUNK * 2 + 7]];
        let hex = |bytes: &[u8]| digest::hex(&Sha256::digest(bytes));
        let config = br#"{"architecture":"amd64","os":"linux"}"#;
        let id = hex(config);
        let mut archive = tar::Builder::new(Vec::new());
        let mut put = |name: String, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content).unwrap();
        };
        for layer in &layers {
            put(format!("{}.tar", hex(layer)), layer);
        }
        put(format!("{id}.json"), config);
        put("old/VERSION".to_owned(), b"1.0");
        let names = layers.each_ref().map(|layer| format!("{}.tar", hex(layer)));
        let manifest = json!([
            {"Config": format!("{id}.json"), "RepoTags": ["x:1"], "Layers": names}
        ]);
        put("manifest.json".to_owned(), manifest.to_string().as_bytes());
        let digests = layers.each_ref().map(|layer| format!("sha256:{}", hex(layer)));
        (archive.into_inner().unwrap(), id, digests)
    }

    /// The files that a sink gets; the archive must be whole.
    fn read(
        mut receiver: tokio::sync::mpsc::Receiver<io::Result<Bytes>>,
    ) -> BTreeMap<String, Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = receiver.blocking_recv() {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(name, content);
        }
        files
    }

    #[test]
    fn each_sink_gets_what_it_lacks_and_can_make_whole_images_of_it() {
        let (archive, id, [first, second]) = docker_archive();
        let names = vec!["localhost/x:1".to_owned(), "docker.io/library/x:1".to_owned()];
        let images = BTreeMap::from([(id.clone(), names)]);
        let (new, new_reader) = tokio::sync::mpsc::channel(100);
        let (warm, warm_reader) = tokio::sync::mpsc::channel(100);
        let has = BTreeSet::from([first.clone()]);
        let sinks = vec![
            Sink { images: images.clone(), has: BTreeSet::new(), out: new },
            Sink { images, has, out: warm },
        ];
        let sent = split(&archive[..], sinks).unwrap();
        let (new, warm) = (read(new_reader), read(warm_reader));
        assert!(new.contains_key(&blob_path(&first)) && new.contains_key(&blob_path(&second)));
        assert!(!warm.contains_key(&blob_path(&first)) && warm.contains_key(&blob_path(&second)));
        assert_eq!(sent, 512 + 1024 + 2 * (512 + 2 * CHUNK as u64 + 512));
        for files in [new, warm] {
            // Every blob is called by its digest, and every name leads to the two layers.
            for (path, content) in &files {
                if let Some(hex) = path.strip_prefix("blobs/sha256/") {
                    assert_eq!(hex, digest::hex(&Sha256::digest(content)));
                }
            }
            let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
            let named: Vec<&str> = index["manifests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["annotations"]["io.containerd.image.name"].as_str().unwrap())
                .collect();
            assert_eq!(named, ["localhost/x:1", "docker.io/library/x:1"]);
            let manifest = blob_path(index["manifests"][0]["digest"].as_str().unwrap());
            let manifest: Value = serde_json::from_slice(&files[&manifest]).unwrap();
            assert_eq!(manifest["config"]["digest"], format!("sha256:{id}"));
            assert_eq!(manifest["layers"][0]["digest"], first);
            assert_eq!(manifest["layers"][1]["size"], 2 * CHUNK + 7);
            assert!(files.contains_key("oci-layout"));
        }
    }

    #[test]
    fn an_archive_that_breaks_off_is_told_to_every_reader() {
        let (archive, id, _) = docker_archive();
        let images = BTreeMap::from([(id, vec!["localhost/x:1".to_owned()])]);
        let (out, mut reader) = tokio::sync::mpsc::channel(100);
        let sinks = vec![Sink { images, has: BTreeSet::new(), out }];
        split(&archive[..5000], sinks).unwrap_err();
        let mut last = None;
        while let Some(chunk) = reader.blocking_recv() {
            last = Some(chunk);
        }
        assert!(last.unwrap().is_err());
    }

    #[test]
    fn a_reader_that_goes_away_stops_nobody_else() {
        let (archive, id, [first, _]) = docker_archive();
        let images = BTreeMap::from([(id, vec!["localhost/x:1".to_owned()])]);
        let (gone, reader) = tokio::sync::mpsc::channel(1);
        drop(reader);
        let (out, kept) = tokio::sync::mpsc::channel(100);
        let sink = |out| Sink { images: images.clone(), has: BTreeSet::new(), out };
        split(&archive[..], vec![sink(gone), sink(out)]).unwrap();
        assert!(read(kept).contains_key(&blob_path(&first)));
    }
}
