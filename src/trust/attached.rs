//! The manifests that carry signatures in a registry, next to what they sign.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_spec::image::{
    Descriptor, DescriptorBuilder, Digest, ImageManifest, ImageManifestBuilder, MediaType,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{bundle, simple};
use crate::digest;
use crate::{Error, Result};

/// Bytes that a registry stores by their digest, with their type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Media type.
    pub media_type: String,
    /// `sha256:…` of the content.
    pub digest: String,
    /// The content.
    pub content: Vec<u8>,
}

impl Blob {
    /// Content with its digest.
    pub fn new(media_type: impl Into<String>, content: Vec<u8>) -> Blob {
        Blob { media_type: media_type.into(), digest: sha256(&content), content }
    }

    fn descriptor(&self) -> Result<DescriptorBuilder> {
        let digest: Digest = self.digest.parse().map_err(unbuildable)?;
        Ok(DescriptorBuilder::default()
            .media_type(MediaType::from(self.media_type.as_str()))
            .digest(digest)
            .size(self.content.len() as u64))
    }
}

/// `sha256:…` of some bytes.
pub fn sha256(content: &[u8]) -> String {
    format!("sha256:{}", digest::hex(&Sha256::digest(content)))
}

/// A manifest with the blobs that must be there before it.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The manifest.
    pub manifest: Blob,
    /// Its blobs.
    pub blobs: Vec<Blob>,
}

/// Largest signature worth reading: ours have under two thousand bytes, those with certificates and
/// a log's proof some twenty thousand.
pub const SIZE_MAX: u64 = 1 << 20;

/// The layers of a manifest that are bundles.
pub fn bundles(manifest: &ImageManifest) -> impl Iterator<Item = &Descriptor> {
    layers(manifest, bundle::MEDIA_TYPE)
}

/// The layers of a manifest that are documents of the older form, with their signatures.
pub fn documents(manifest: &ImageManifest) -> impl Iterator<Item = (&Descriptor, Vec<u8>)> {
    layers(manifest, simple::MEDIA_TYPE).filter_map(|layer| {
        let text = layer.annotations().as_ref()?.get(simple::SIGNATURE)?;
        Some((layer, BASE64_STANDARD.decode(text).ok()?))
    })
}

fn layers<'a>(
    manifest: &'a ImageManifest,
    media_type: &'static str,
) -> impl Iterator<Item = &'a Descriptor> {
    let is_wanted = move |layer: &&Descriptor| {
        layer.media_type().to_string() == media_type && layer.size() <= SIZE_MAX
    };
    manifest.layers().iter().filter(is_wanted)
}

/// The tag under which the older form lies: `sha256:ab…` → `sha256-ab….sig`.
pub fn signature_tag(digest: &str) -> String {
    format!("{}.sig", digest.replacen(':', "-", 1))
}

/// The tag under which registries without the referrers API keep what refers to `digest`
/// (OCI distribution specification 1.1, "Referrers Tag Schema").
pub fn referrers_tag(digest: &str) -> String {
    digest.replacen(':', "-", 1)
}

/// A tag by which `digest` is kept, where nothing else leads to it.
pub fn pin_tag(digest: &str) -> String {
    format!("{}.kept", digest.replacen(':', "-", 1))
}

/// The older form, with the signatures that are there already: their keys may be valid still.
///
/// # Errors
/// None for digests that are digests.
pub fn legacy(signed: &simple::Signed, there: &[(Descriptor, Vec<u8>)]) -> Result<Attachment> {
    let payload = Blob::new(simple::MEDIA_TYPE, signed.payload.clone());
    let signature = BASE64_STANDARD.encode(&signed.signature);
    let annotations = HashMap::from([(simple::SIGNATURE.to_owned(), signature)]);
    let layer = payload.descriptor()?.annotations(annotations).build().map_err(unbuildable)?;
    let mut layers: Vec<Descriptor> = there.iter().map(|(layer, _)| layer.clone()).collect();
    layers.push(layer);
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.digest().to_string()).collect();
    // As cosign writes it: an image of no system, made at no time.
    let config = json!({
        "architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = Blob::new(MediaType::ImageConfig.to_string(), config.to_string().into_bytes());
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(config.descriptor()?.build().map_err(unbuildable)?)
        .layers(layers)
        .build()
        .map_err(unbuildable)?;
    let mut blobs = vec![config, payload];
    let again = |(layer, content): &(Descriptor, Vec<u8>)| {
        Blob::new(layer.media_type().to_string(), content.clone())
    };
    blobs.extend(there.iter().map(again));
    Ok(Attachment { manifest: written(&manifest)?, blobs })
}

/// A bundle that refers to `subject`. `created` is RFC 3339.
///
/// # Errors
/// None for a subject that was read from a registry.
pub fn referrer(bundle: Vec<u8>, subject: &Descriptor, created: &str) -> Result<Attachment> {
    let content = Blob::new(bundle::MEDIA_TYPE, bundle);
    let empty = Blob::new(MediaType::EmptyJSON.to_string(), b"{}".to_vec());
    let annotations = HashMap::from([
        ("org.opencontainers.image.created".to_owned(), created.to_owned()),
        (bundle::CONTENT.to_owned(), "dsse-envelope".to_owned()),
        (bundle::PREDICATE.to_owned(), bundle::SIGNED.to_owned()),
    ]);
    let subject = DescriptorBuilder::default()
        .media_type(subject.media_type().clone())
        .digest(subject.digest().clone())
        .size(subject.size())
        .build()
        .map_err(unbuildable)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .artifact_type(MediaType::from(bundle::MEDIA_TYPE))
        .config(empty.descriptor()?.build().map_err(unbuildable)?)
        .layers(vec![content.descriptor()?.build().map_err(unbuildable)?])
        .subject(subject)
        .annotations(annotations)
        .build()
        .map_err(unbuildable)?;
    Ok(Attachment { manifest: written(&manifest)?, blobs: vec![empty, content] })
}

fn written(manifest: &ImageManifest) -> Result<Blob> {
    // Through a value, whose keys are sorted: annotations have no order of their own, and a second
    // signature of the same image must not get another digest for that.
    let value = serde_json::to_value(manifest).map_err(unbuildable)?;
    Ok(Blob::new(MediaType::ImageManifest.to_string(), value.to_string().into_bytes()))
}

fn unbuildable(error: impl std::fmt::Display) -> Error {
    Error::bug("the manifest of a signature cannot be written").because(error)
}
