//! `pipe purge`.

use std::io::BufRead as _;

use super::app::App;
use crate::run::status;
use crate::{Error, Result};

/// Remove the cache: tools, charts, evidence archives
///
/// Clusters must be gone first. Images in the engine's store that pipe built stay in the engine
/// unless --images is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Also remove images that pipe built (localhost/pipe/…) from the engine's store
    #[arg(long)]
    images: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let (clusters, images) = app
        .looking(async |world| {
            let clusters = status::clusters(world, &app.paths).await?;
            let built = world.built.images.iter();
            Ok((clusters, built.map(|image| image.local.clone()).collect::<Vec<_>>()))
        })
        .await?;
    if let Some(cluster) = clusters.first() {
        return Err(Error::failed("cluster-left", format!("cluster {cluster} is still there"))
            .hint("remove clusters first: pipe teardown --all"));
    }
    let kept = app.paths.kept()?;
    let total: u64 = kept.iter().map(|kept| kept.bytes).sum();
    if kept.is_empty() && (!args.images || images.is_empty()) {
        return app.say("there is nothing to remove");
    }
    let megabytes = total / 1_000_000;
    for entry in &kept {
        app.say(&format!("{} ({} MB)", entry.path.display(), entry.bytes / 1_000_000))?;
    }
    if !args.yes {
        if !app.env.terminal.stdin {
            return Err(Error::usage(
                "not-confirmed",
                "purge asks first, and there is no terminal",
            )
            .hint("add --yes"));
        }
        app.say(&format!("remove {megabytes} MB? [y/N]"))?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        if read.is_err() || !matches!(answer.trim(), "y" | "Y" | "yes") {
            return app.say("nothing was removed");
        }
    }
    if args.images {
        let removed = app.looking(async |world| {
            for image in &images {
                world.engine.remove_image(image).await?;
            }
            Ok(())
        });
        removed.await?;
    }
    app.paths.purge()?;
    let removed: Vec<String> = kept.iter().map(|kept| kept.path.display().to_string()).collect();
    app.report.result("purge", Ok(&serde_json::json!({"removed": removed, "bytes": total})))
}
