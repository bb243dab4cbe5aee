//! `pipe stop`.

use super::app::App;
use super::cluster_name;
use crate::Result;
use crate::run::power;
use crate::spec::source::Sources;

/// Stop a cluster's nodes and keep everything; needs no files
///
/// Workers first, then the control plane; programs are asked to end, so that databases write what
/// they hold. `pipe start` brings all of it back.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster
    #[arg(default_value = "dev")]
    cluster: String,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    let stopped = app.narrated(async |events| {
        let sources = Sources::built_in();
        let _lock = app.lock(&cluster, "stop", events).await?;
        power::stop(&app.environment(&sources, events), &cluster).await
    });
    let stopped = stopped.await?;
    let state = if stopped.nodes.is_empty() { "is stopped already" } else { "is stopped" };
    app.say(&format!("cluster {cluster} {state}; start it again: pipe start {cluster}"))?;
    app.report.result("stop", Ok(&stopped))
}
