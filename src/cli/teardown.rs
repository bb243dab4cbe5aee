//! `pipe teardown`.

use std::sync::Arc;

use serde::Serialize;

use super::app::App;
use super::cluster_name;
use crate::Result;
use crate::run::teardown;
use crate::spec::source::Sources;

/// Remove a cluster and everything of it; needs no files
///
/// Goes on after failures and lists them all; run again, it does what is left. The cache of images,
/// charts and tools stays (`pipe purge` removes that).
#[derive(Debug, clap::Args)]
#[command(visible_alias = "down")]
pub struct Args {
    /// The cluster
    #[arg(default_value = "dev", conflicts_with = "all")]
    cluster: String,
    /// Remove every cluster that pipe made
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Removed {
    clusters: Vec<String>,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let removed = app.narrated(async |events| {
        let world = Arc::new(app.world().await?);
        // Nothing is read from files, so a broken file cannot keep a cluster alive.
        let sources = Sources::built_in();
        let clusters = if args.all {
            crate::run::list::clusters(&world, &app.paths).await?
        } else {
            vec![cluster_name(&args.cluster)?]
        };
        let mut removed = Vec::new();
        for cluster in clusters {
            let _lock = app.lock(&cluster, "teardown", events).await?;
            let environment = app.environment(&sources, events);
            let plan = teardown::teardown(&environment, &world, &cluster).await?;
            if plan.is_empty() {
                events.info(format!("there is no cluster {cluster}"));
            } else {
                removed.push(cluster.to_string());
            }
        }
        teardown::release_engine(&world).await?;
        Ok(Removed { clusters: removed })
    });
    app.report.result("teardown", Ok(&removed.await?))
}
