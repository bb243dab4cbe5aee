//! `pipe probe`: what the Job of `pipe smoke --in-cluster` runs; nobody types it.

use std::path::PathBuf;

use futures::FutureExt as _;

use super::app::App;
use super::errand;
use crate::smoke::{self, Errand, Surroundings};
use crate::{Error, Result};

/// Run the checks of a file, and print each report as a line of JSON
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// What is to be checked
    file: PathBuf,
}

/// Runs the command. A failed check is in its report: only what kept the checks from being made is an
/// error.
pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let errands: Vec<Errand> = errand::read(&args.file, "probe-file")?;
    for errand in errands {
        let surroundings = Surroundings {
            restart: Box::new(|| {
                async { Err(Error::bug("a pod that checks restarts nothing")) }.boxed()
            }),
            exec: None,
            // Who sent it asks the cluster.
            evidence: Box::new(|| async { String::new() }.boxed()),
        };
        let report =
            smoke::run(errand.driver, &errand.target, errand.options(), &surroundings).await?;
        let line = serde_json::to_string(&report).map_err(|why| Error::bug(why.to_string()))?;
        app.print(&format!("{line}\n"))?;
    }
    Ok(())
}
