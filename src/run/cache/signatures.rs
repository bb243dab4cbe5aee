//! Signatures of an image in a registry: written in both forms, read in both.

use std::collections::BTreeSet;

use oci_spec::image::Descriptor;

use super::shelf::Shelf;
use crate::trust::attached::{self, Attachment};
use crate::trust::{KeyId, PublicKey, SigningKey, bundle, simple};
use crate::world::registry::{Manifest, Repository, Shape};
use crate::{Error, Kind, Result};

/// How an image is signed: a repository's name for the documents, the key, and the time (RFC 3339).
#[derive(Clone, Copy, Debug)]
pub struct Pen<'a> {
    /// What pods call it, without tag: `docker.io/library/nats`.
    pub name: &'a str,
    /// Ours.
    pub key: &'a SigningKey,
    /// When.
    pub now: &'a str,
}

/// Signs `digest`, and where it is an index every image of it that is here: containerd asks about
/// the one, Podman about the other. What this key signed already is left alone.
///
/// # Errors
/// The registry does not answer or refuses, or does not have it.
pub async fn sign(repository: &Repository, digest: &str, pen: Pen<'_>) -> Result<()> {
    let Some(manifest) = repository.manifest(digest).await? else {
        let what = format!("{}@{digest} cannot be signed", repository.name());
        return Err(
            Error::failed("manifest-unknown", what).because("the registry does not have it")
        );
    };
    sign_one(repository, &manifest, pen).await?;
    if let Shape::Index(index) = manifest.shape()? {
        for child in index.manifests() {
            // An index stays whole, while only the platforms that are needed are copied.
            if let Some(child) = repository.manifest(child.digest().as_ref()).await? {
                sign_one(repository, &child, pen).await?;
            }
        }
    }
    Ok(())
}

async fn sign_one(repository: &Repository, subject: &Manifest, pen: Pen<'_>) -> Result<()> {
    let trusted = [pen.key.public().clone()];
    let digest = subject.digest.as_str();
    let there = bundles(repository, digest).await?;
    if !there.iter().any(|it| bundle::verify(it, digest, &trusted).is_ok()) {
        let bundle = bundle::sign(pen.key, digest);
        let attachment = attached::referrer(bundle, &subject.descriptor()?, pen.now)?;
        let manifest = put(repository, &attachment).await?;
        repository.put_referrer(&manifest, digest, bundle::MEDIA_TYPE).await?;
    }
    let there = documents(repository, digest).await?;
    let signed =
        |(_, it): &(Descriptor, simple::Signed)| simple::verify(it, digest, &trusted).is_ok();
    if !there.iter().any(signed) {
        let kept: Vec<(Descriptor, Vec<u8>)> =
            there.into_iter().map(|(layer, it)| (layer, it.payload)).collect();
        let signed = simple::sign(pen.key, pen.name, digest);
        let attachment = attached::legacy(&signed, &kept)?;
        let manifest = put(repository, &attachment).await?;
        repository.put_manifest(&manifest, Some(&attached::signature_tag(digest))).await?;
    }
    Ok(())
}

/// Stores the blobs; the manifest is the caller's to store, where it belongs.
async fn put(repository: &Repository, attachment: &Attachment) -> Result<Manifest> {
    for blob in &attachment.blobs {
        repository.put_blob(&blob.digest, &blob.content).await?;
    }
    let manifest = &attachment.manifest;
    Ok(Manifest::new(manifest.media_type.clone(), manifest.content.clone()))
}

/// The key that signed `digest`, in either form.
///
/// # Errors
/// [`Kind::Signature`] with why none of what is there counts; the registry does not answer.
pub async fn verify(repository: &impl Shelf, digest: &str, keys: &[PublicKey]) -> Result<KeyId> {
    // Both forms are often refused for the same reason.
    let mut refused = BTreeSet::new();
    for it in bundles(repository, digest).await? {
        match bundle::verify(&it, digest, keys) {
            Ok(key) => return Ok(key),
            Err(why) => refused.insert(why.to_string()),
        };
    }
    for (_, it) in documents(repository, digest).await? {
        match simple::verify(&it, digest, keys) {
            Ok(key) => return Ok(key),
            Err(why) => refused.insert(why.to_string()),
        };
    }
    let what = format!("no signature counts for {digest}, {}", repository.shown());
    let error = Error::new(Kind::Signature, "signature-refused", what);
    let error = match refused.is_empty() {
        true => error.because("it has none"),
        false => refused.into_iter().fold(error, Error::because),
    };
    Err(error)
}

/// The bundles that refer to `digest`. What else refers to it is passed over.
async fn bundles(repository: &impl Shelf, digest: &str) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for referrer in repository.referrers(digest).await? {
        let Some(manifest) = repository.manifest(referrer.digest().as_ref()).await? else {
            continue;
        };
        // Some registries rewrite what a list says of its entries: only the manifest counts.
        let Ok(Shape::Image(manifest)) = manifest.shape() else { continue };
        for layer in attached::bundles(&manifest) {
            found.push(repository.blob(layer.digest().as_ref(), layer.size()).await?);
        }
    }
    Ok(found)
}

/// The older form, with the layers it came in.
async fn documents(
    repository: &impl Shelf,
    digest: &str,
) -> Result<Vec<(Descriptor, simple::Signed)>> {
    let Some(manifest) = repository.manifest(&attached::signature_tag(digest)).await? else {
        return Ok(Vec::new());
    };
    let Ok(Shape::Image(manifest)) = manifest.shape() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (layer, signature) in attached::documents(&manifest) {
        let payload = repository.blob(layer.digest().as_ref(), layer.size()).await?;
        found.push((layer.clone(), simple::Signed { payload, signature }));
    }
    Ok(found)
}
