//! Deeds on images: into the engine's store, and from there into nodes.

use futures::future::try_join_all;

use super::cache::meter::Meter;
use super::cache::{Cache, fill, hold};
use super::context::Context;
use super::pull_fault::explained;
use crate::plan::observed::{ImageFacts, Kept};
use crate::report::Event;
use crate::spec::ImageName;
use crate::world::built::BuiltImage;
use crate::world::engine::{Exec, PullProgress};
use crate::{Error, Result};

pub mod add;
mod fetch;
pub mod inventory;
pub(super) mod made;
pub mod manage;
pub mod names;
pub mod node_store;
mod through;
pub mod transfer;

pub use fetch::fetch;
use transfer::Cargo;

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
        pulled = fetch(&context.world.engine, &context.world.env, image, progress) => pulled,
        () = context.stop.cancelled() => return Err(Error::interrupted()),
    };
    let Err(error) = pulled else { return Ok(()) };
    let error = explained(&context.world.engine, image, &error).await;
    let built = context.world.built.find(image.tagged());
    Err(match built.and_then(BuiltImage::stand_in) {
        Some(what) => error.because(format!("{what}, is there, but this profile refuses it")).hint(
            "to try things out, use a profile that has images: {standIns: allow}, as quickstart has",
        ),
        None => error,
    })
}

/// Makes sure that the cache has an image, signed.
pub(super) async fn cache(context: &Context, id: &str, image: &ImageName) -> Result<()> {
    let cache = open_cache(context).await?;
    let locked = context.locked.get(image);
    let (events, step, name) = (context.events.clone(), id.to_owned(), image.short());
    let meter = Meter::new(move |done, total| {
        let (id, message) = (step.clone(), format!("copying {name}"));
        events.send(Event::StepProgress { id, message, bytes: Some((done, total)) });
    });
    let fill = async {
        match locked {
            Some(locked) => fill::locked(&context.world, &cache, image, locked, &meter).await,
            None => {
                let facts = context.observed.images.get(image.as_str());
                let built = facts.and_then(ImageFacts::made_here);
                fill::fill(&context.world, &cache, image, built, &meter).await
            }
        }
    };
    let filled = tokio::select! {
        filled = fill => filled?,
        () = context.stop.cancelled() => return Err(Error::interrupted()),
    };
    if locked.is_some_and(|locked| locked.manifest() != Some(&filled.digest))
        && let Some(manifest) = cache.repository(image)?.manifest(&filled.digest).await?
    {
        hold::served(context, image, &manifest).await?;
    }
    let from = match filled.source {
        fill::Source::Cache => "it was there",
        fill::Source::Upstream => "from its registry",
        fill::Source::Engine => "from the engine's store",
        fill::Source::Archive => "from an archive",
    };
    context.events.progress(id, format!("{}, {from}", filled.digest));
    Ok(())
}

pub(super) async fn open_cache(context: &Context) -> Result<Cache> {
    let cache = Cache::open(&context.world, &context.paths).await?;
    cache.ok_or_else(|| {
        Error::failed("cache-stopped", "the image cache does not run")
            .hint(format!("start it: pipe up {}", context.cluster))
    })
}

/// Lets nodes pull an image from the cache, as a kubelet would, and before it does.
pub(super) async fn pull_on_nodes(
    context: &Context,
    image: &ImageName,
    hosts: &[String],
) -> Result<()> {
    let facts = context.observed.images.get(image.as_str());
    let stands_in = facts.is_some_and(|facts| facts.stand_in.is_some());
    let engine = &context.world.engine;
    let pulls =
        try_join_all(hosts.iter().map(|host| node_store::pull(engine, host, image.tagged())));
    tokio::select! {
        pulled = pulls => pulled.map(drop)?,
        () = context.stop.cancelled() => return Err(Error::interrupted()),
    }
    for host in hosts {
        mark(context, image, host, stands_in).await?;
    }
    Ok(())
}

/// Leaves in a node whether what it now has under a name is a stand-in.
async fn mark(context: &Context, image: &ImageName, host: &str, stands_in: bool) -> Result<()> {
    let engine = &context.world.engine;
    let mark = image.stand_in_mark();
    let marked = context.observed.live.as_ref().and_then(|live| live.node_images.get(host));
    let marked = marked.is_some_and(|images| images.contains_key(&mark));
    let ctr = ["ctr", "--namespace=k8s.io", "images"];
    let command = match (stands_in, marked) {
        (true, _) => [&ctr[..], &["tag", "--force", image.tagged(), &mark]].concat(),
        (false, true) => [&ctr[..], &["remove", &mark]].concat(),
        (false, false) => return Ok(()),
    };
    engine.exec(host, Exec::new(command)).await?.checked()?;
    Ok(())
}

/// Copies an image from the engine's store into nodes, under the name that pods use.
pub(super) async fn load(context: &Context, image: &ImageName, hosts: &[String]) -> Result<()> {
    let facts = context.observed.images.get(image.as_str());
    let stands_in = facts.is_some_and(|facts| facts.stand_in.is_some());
    let id = match facts {
        Some(facts) => facts.id.clone(),
        // A step of this run has pulled it.
        None => {
            let found = context.world.engine.image(image.tagged()).await?;
            let gone = || Error::failed("image-unknown", format!("the engine has no {image}"));
            found.ok_or_else(gone)?.id
        }
    };
    let names = vec![image.tagged().to_owned()];
    copy(context, Cargo { id, names, hosts: hosts.to_vec(), kept: None }).await?;
    for host in hosts {
        mark(context, image, host, stands_in).await?;
    }
    Ok(())
}

/// Copies an image of the user's into nodes that were made after it was loaded.
pub(super) async fn keep(
    context: &Context,
    id: &str,
    names: &[String],
    kept: Kept,
    hosts: &[String],
) -> Result<()> {
    let (id, names, hosts) = (id.to_owned(), names.to_vec(), hosts.to_vec());
    copy(context, Cargo { id, names, hosts, kept: Some(kept) }).await
}

async fn copy(context: &Context, cargo: Cargo) -> Result<()> {
    let cached = context.spec()?.profile.policy.is_cached();
    let cache = if cached { Some(open_cache(context).await?) } else { None };
    let cargo = [cargo];
    tokio::select! {
        sent = through::send(&context.world, cache.as_ref(), &cargo) => sent.map(drop),
        () = context.stop.cancelled() => Err(Error::interrupted()),
    }
}
