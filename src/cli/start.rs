//! `pipe start`.

use super::app::App;
use super::cluster_name;
use crate::Result;
use crate::run::power;
use crate::spec::source::Sources;

/// Start a stopped cluster and wait until everything serves again; needs no files
///
/// Addresses, ports and data are what they were. To bring it to its files as well, use `pipe up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster
    #[arg(default_value = "dev")]
    cluster: String,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    let started = app.narrated(async |events| {
        let sources = Sources::built_in();
        let _lock = app.lock(&cluster, "start", events).await?;
        power::start(&app.environment(&sources, events), &cluster).await
    });
    let started = started.await?;
    let state = if started.nodes.is_empty() { "runs already" } else { "runs" };
    app.say(&format!("cluster {cluster} {state} (context {})", started.context))?;
    app.report.result("start", Ok(&started))
}
