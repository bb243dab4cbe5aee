//! Deeds on images: into the engine's store, and from there into nodes.

use std::io;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};

use super::context::Context;
use crate::report::Event;
use crate::spec::ImageName;
use crate::world::built::BuiltImage;
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
    pulled.map_err(|error| {
        let error = unavailable(image, &error);
        let built = context.world.built.find(image.tagged());
        match built.and_then(BuiltImage::stand_in) {
            Some(what) => error.because(format!("{what}, is there, but this profile refuses it")).hint(
                "to try things out, use a profile that has images: {standIns: allow}, as quickstart has",
            ),
            None => error,
        }
    })
}

/// Leaves in a node whether what it now has under a name is a stand-in.
async fn mark(context: &Context, image: &ImageName, host: &str, stands_in: bool) -> Result<()> {
    let engine = &context.world.engine;
    let mark = image.stand_in_mark();
    let marked = context.observed.live.as_ref().and_then(|live| live.node_images.get(host));
    let marked = marked.is_some_and(|images| images.contains(&mark));
    let ctr = ["ctr", "--namespace=k8s.io", "images"];
    let command = match (stands_in, marked) {
        (true, _) => [&ctr[..], &["tag", "--force", image.tagged(), &mark]].concat(),
        (false, true) => [&ctr[..], &["remove", &mark]].concat(),
        (false, false) => return Ok(()),
    };
    engine.exec(host, Exec::new(command)).await?.checked()?;
    Ok(())
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
    let facts = context.observed.images.get(image.as_str());
    let reference = facts.map_or(image.tagged(), |facts| facts.reference.as_str());
    let stands_in = facts.is_some_and(|facts| facts.stand_in.is_some());
    for (index, host) in hosts.iter().enumerate() {
        context.events.progress(id, format!("{host} ({} of {})", index + 1, hosts.len()));
        let loaded = tokio::select! {
            loaded = load_one(context, reference, image, host) => loaded,
            () = context.stop.cancelled() => return Err(Error::interrupted()),
        };
        loaded?;
        mark(context, image, host, stands_in).await?;
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
