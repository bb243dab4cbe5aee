//! `pipe status`.

use super::app::App;
use super::cluster_name;
use crate::Result;
use crate::run::status;

/// Show a cluster: nodes, how real they are, components, and how to connect
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster
    #[arg(default_value = "dev")]
    cluster: String,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    let sources = app.sources()?;
    let status = app
        .looking(async |world| status::status(world, &app.paths, &sources, &cluster).await)
        .await?;
    app.show(&status, || status.to_text())
}
