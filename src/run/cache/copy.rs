//! An image from one registry into another, by digest: the same bytes under the same names.
//!
//! Blobs before the manifests that name them, images before their index, the tag last: whatever
//! breaks off in the middle, nothing half-written is served, and what has come is not sent again.

use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use oci_spec::image::{Descriptor, ImageManifest};

use super::meter::Meter;
use super::shelf::Shelf;
use crate::trust::attached;
use crate::world::registry::{Download, Manifest, Repository, Shape};
use crate::{Error, Result};

/// Blobs of one image on their way at once.
const AT_ONCE: usize = 4;

/// What is copied, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Freight<'a> {
    /// `sha256:…` of an image or an index.
    pub digest: &'a str,
    /// The tag it gets, if any.
    pub tag: Option<&'a str>,
    /// CPU architectures, in Go's spelling, of which an index' images are needed.
    pub arches: &'a [&'a str],
}

/// What a copy cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// Bytes of blobs that were there already.
    pub there: u64,
}

impl std::ops::AddAssign for Copied {
    fn add_assign(&mut self, more: Copied) {
        self.sent += more.sent;
        self.there += more.there;
    }
}

/// Copies an image with what refers to it. An index keeps its digest, and so names images that are
/// not here; where the registry refuses such a list, all of them are copied.
///
/// # Errors
/// A registry does not answer or refuses, or bytes are not what their digest names.
pub async fn copy(
    from: &impl Shelf,
    to: &Repository,
    freight: Freight<'_>,
    meter: &Meter,
) -> Result<Copied> {
    let manifest = whole(from, freight.digest).await?;
    let mut copied = Copied::default();
    match manifest.shape()? {
        Shape::Image(shape) => {
            copied += blobs(from, to, &shape, meter).await?;
            to.put_manifest(&manifest, None).await?;
        }
        Shape::Index(index) => {
            let (needed, others): (Vec<_>, Vec<_>) =
                index.manifests().iter().partition(|child| is_needed(child, freight.arches));
            if needed.is_empty() && !others.is_empty() {
                return Err(not_for(from, &freight, index.manifests()));
            }
            for child in needed {
                copied += image(from, to, child.digest().as_ref(), meter).await?;
            }
            if to.put_manifest(&manifest, None).await.is_err() {
                for child in others {
                    copied += image(from, to, child.digest().as_ref(), meter).await?;
                }
                to.put_manifest(&manifest, None).await?;
            }
        }
    }
    copied += referrers(from, to, freight.digest, meter).await?;
    // From here on it is found.
    if freight.tag.is_some() {
        to.put_manifest(&manifest, freight.tag).await?;
    }
    Ok(copied)
}

/// Whether an entry of an index is needed: of an architecture that is, or of none, as attestations
/// are written by some builders.
fn is_needed(child: &Descriptor, arches: &[&str]) -> bool {
    child.platform().as_ref().is_none_or(|platform| {
        let arch = platform.architecture().to_string();
        arch == "unknown"
            || (platform.os().to_string() == "linux" && arches.contains(&arch.as_str()))
    })
}

fn not_for(from: &impl Shelf, freight: &Freight<'_>, children: &[Descriptor]) -> Error {
    let has: Vec<String> = children
        .iter()
        .filter_map(|child| child.platform().as_ref())
        .map(|platform| format!("{}/{}", platform.os(), platform.architecture()))
        .collect();
    let wanted = freight.arches.join(", ");
    Error::failed("image-platform", format!("{} is not made for {wanted}", from.shown()))
        .because(format!("{} is for {}", freight.digest, has.join(", ")))
        .hint("choose a tag that is made for this CPU: without it, pods end with \"exec format error\"")
}

async fn whole(from: &impl Shelf, digest: &str) -> Result<Manifest> {
    from.manifest(digest).await?.ok_or_else(|| {
        Error::failed("manifest-unknown", format!("{digest} cannot be copied"))
            .because(format!("it is not (any more) with {}", from.shown()))
            .hint("if its publisher has removed it, choose another tag and lock it anew")
    })
}

/// One image with its referrers, without a tag.
async fn image(from: &impl Shelf, to: &Repository, digest: &str, meter: &Meter) -> Result<Copied> {
    let manifest = whole(from, digest).await?;
    let Shape::Image(shape) = manifest.shape()? else {
        let what = format!("{digest}, of {}, cannot be copied", from.shown());
        return Err(Error::failed("manifest-invalid", what).because("an index in an index"));
    };
    let mut copied = blobs(from, to, &shape, meter).await?;
    to.put_manifest(&manifest, None).await?;
    copied += referrers(from, to, digest, meter).await?;
    Ok(copied)
}

/// What its publisher hung on it: signatures, provenance, lists of what is in it.
async fn referrers(
    from: &impl Shelf,
    to: &Repository,
    digest: &str,
    meter: &Meter,
) -> Result<Copied> {
    let mut copied = Copied::default();
    for referrer in from.referrers(digest).await? {
        let manifest = whole(from, referrer.digest().as_ref()).await?;
        let Ok(Shape::Image(shape)) = manifest.shape() else { continue };
        copied += blobs(from, to, &shape, meter).await?;
        let kind = referrer.artifact_type().as_ref().map(ToString::to_string).unwrap_or_default();
        to.put_referrer(&manifest, digest, &kind).await?;
    }
    let tag = attached::signature_tag(digest);
    if let Some(manifest) = from.manifest(&tag).await?
        && let Ok(Shape::Image(shape)) = manifest.shape()
        // Ours, with signatures of this very key, stay.
        && to.manifest(&tag).await?.is_none()
    {
        copied += blobs(from, to, &shape, meter).await?;
        to.put_manifest(&manifest, Some(&tag)).await?;
    }
    Ok(copied)
}

async fn blobs(
    from: &impl Shelf,
    to: &Repository,
    image: &ImageManifest,
    meter: &Meter,
) -> Result<Copied> {
    let all = image.layers().iter().chain([image.config()]);
    // Made one by one: a closure over borrowed entries would not do for a task on several threads.
    let mut copies = Vec::new();
    for blob in all {
        meter.expect(blob.size());
        copies.push(one(from, to, blob, meter).boxed());
    }
    stream::iter(copies)
        .buffer_unordered(AT_ONCE)
        .try_fold(Copied::default(), async |mut sum, copied| {
            sum += copied;
            Ok(sum)
        })
        .await
}

async fn one(
    from: &impl Shelf,
    to: &Repository,
    blob: &Descriptor,
    meter: &Meter,
) -> Result<Copied> {
    let (digest, size) = (blob.digest().as_ref(), blob.size());
    if to.blob_size(digest).await?.is_some() {
        meter.advance(size);
        return Ok(Copied { sent: 0, there: size });
    }
    let parts = from.parts(digest, size).await?;
    let meter = meter.clone();
    let counted = parts.inspect_ok(move |chunk| meter.advance(chunk.len() as u64));
    to.upload(digest, counted).await?;
    Ok(Copied { sent: size, there: 0 })
}

/// What comes, as a stream.
pub(super) fn chunks(download: Download) -> BoxStream<'static, Result<bytes::Bytes>> {
    stream::try_unfold(download, async |mut download| {
        Ok(download.chunk().await?.map(|chunk| (chunk, download)))
    })
    .boxed()
}
