//! Deeds on images: into the engine's store, and from there into nodes.

use std::io;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};

use super::context::Context;
use crate::report::Event;
use crate::spec::ImageName;
use crate::world::engine::{Engine, Exec, PullProgress, Stdin};
use crate::{Error, Result};

/// For one image into one node.
const IMPORT: Duration = Duration::from_secs(600);

/// Gets an image into the engine's store under its upstream name.
pub(super) async fn pull(context: &Context, id: &str, image: &ImageName) -> Result<()> {
    let events = context.events.clone();
    let step = id.to_owned();
    let progress = move |pull: &PullProgress| {
        let bytes = (pull.total > 0).then_some((pull.done, pull.total));
        let (id, message) = (step.clone(), pull.status.clone());
        events.send(Event::StepProgress { id, message, bytes });
    };
    let pulled = tokio::select! {
        pulled = fetch(&context.world.engine, image, progress) => pulled,
        () = context.stop.cancelled() => return Err(Error::interrupted()),
    };
    pulled.map_err(|error| unavailable(image, &error))
}

/// Pulls an image by its digest where one is known, and gives it the name that pods and nodes use.
pub async fn fetch(
    engine: &Engine,
    image: &ImageName,
    progress: impl FnMut(&PullProgress) + Send,
) -> Result<()> {
    let Some(digest) = image.digest() else {
        return Ok(engine.pull(image.as_str(), progress).await?);
    };
    let by_digest = format!("{}@{digest}", image.repository());
    engine.pull(&by_digest, progress).await?;
    Ok(engine.tag(&by_digest, image.repository(), image.tag()).await?)
}

/// The error of an image that cannot be had, with both ways out.
pub fn unavailable(image: &ImageName, error: &Error) -> Error {
    Error::failed("image-unavailable", format!("image {image} cannot be had"))
        .because(error)
        .hint("check the network and, behind a proxy, HTTPS_PROXY of the engine's service")
        .hint("without a registry, build it from packages: scripts/images/factory ensure --images build")
}

/// Copies an image from the engine's store into nodes, under the name that pods use.
pub(super) async fn load(
    context: &Context,
    id: &str,
    image: &ImageName,
    hosts: &[String],
) -> Result<()> {
    let reference = context
        .observed
        .images
        .get(image.as_str())
        .map_or(image.tagged(), |facts| facts.reference.as_str());
    for (index, host) in hosts.iter().enumerate() {
        context.events.progress(id, format!("{host} ({} of {})", index + 1, hosts.len()));
        let loaded = tokio::select! {
            loaded = load_one(context, reference, image, host) => loaded,
            () = context.stop.cancelled() => return Err(Error::interrupted()),
        };
        loaded?;
    }
    Ok(())
}

async fn load_one(context: &Context, reference: &str, image: &ImageName, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    let archive = engine.export(&[reference]).map_err(io::Error::other).boxed();
    let import = Exec::new([
        "ctr",
        "--namespace=k8s.io",
        "images",
        "import",
        "--digests",
        "--snapshotter=overlayfs",
        "-",
    ]);
    let import = import.within(IMPORT).stdin(Stdin::Stream(archive));
    engine.exec(host, import).await?.checked()?;
    if reference != image.tagged() {
        let tag =
            ["ctr", "--namespace=k8s.io", "images", "tag", "--force", reference, image.tagged()];
        engine.exec(host, Exec::new(tag)).await?.checked()?;
    }
    Ok(())
}
