//! `pipe purge`.

use serde::Serialize;

use super::app::App;
use crate::provider::registry;
use crate::run::{list, serve};
use crate::world::World;
use crate::{Error, Result};

/// Remove the cache: images built from source, tools, charts, evidence archives
///
/// Clusters must be gone first. What is removed is downloaded or built again when it is needed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Keep images that were built from source: they take about 20 minutes to build again
    #[arg(long)]
    keep_images: bool,
}

/// What was removed.
#[derive(Default, Serialize)]
struct Purged {
    removed: Vec<String>,
    bytes: u64,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let images = app.looking(async |world| built_images(app, world).await).await?;
    let images = if args.keep_images { Vec::new() } else { images };
    let kept = app.paths.kept(args.keep_images)?;
    let volume = app.looking(async |world| Ok(world.engine.volume(registry::NAME).await?)).await?;
    if kept.is_empty() && images.is_empty() && volume.is_none() {
        app.say("there is nothing to remove")?;
        return app.report.result("purge", Ok(&Purged::default()));
    }
    for entry in &kept {
        app.say(&format!("{} ({} MB)", entry.path.display(), entry.bytes / 1_000_000))?;
    }
    for image in &images {
        app.say(&format!("image {image}"))?;
    }
    if volume.is_some() {
        app.say(&format!("volume {} (cached images)", registry::NAME))?;
    }
    if !args.yes && !app.confirmed("purge")? {
        app.say("nothing was removed")?;
        return app.report.result("purge", Ok(&Purged::default()));
    }
    let removal = app.narrated(async |events| {
        app.looking(async |world| {
            // Its image is among those that go.
            serve::stop(app.registry(world, events), true).await?;
            for image in &images {
                world.engine.remove_image(image).await?;
            }
            if volume.is_some() {
                world.engine.remove_volume(registry::NAME).await?;
            }
            Ok(())
        })
        .await
    });
    removal.await?;
    app.paths.purge(&kept)?;
    let paths = kept.iter().map(|kept| kept.path.display().to_string());
    let bytes = kept.iter().map(|kept| kept.bytes).sum();
    app.report.result("purge", Ok(&Purged { removed: paths.chain(images).collect(), bytes }))
}

/// Built images in the engine, by our name for them.
///
/// # Errors
/// A cluster is still there.
async fn built_images(app: &App, world: &World) -> Result<Vec<String>> {
    if let Some(cluster) = list::clusters(world, &app.paths).await?.first() {
        return Err(Error::failed("cluster-left", format!("cluster {cluster} is still there"))
            .hint("remove clusters first: pipe teardown --all"));
    }
    let mut images = Vec::new();
    for built in &world.built.images {
        if world.engine.image(&built.local).await?.is_some() {
            images.push(built.local.clone());
        }
    }
    Ok(images)
}
