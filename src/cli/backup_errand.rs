//! `pipe backup-errand`: what the CronJob of `pipe backup schedule` runs; nobody types it.

use std::path::PathBuf;

use super::app::App;
use super::errand;
use crate::Result;
use crate::run::backup::schedule::{self, Errand};

/// Back up what a file names into the store that it names
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// What is to be backed up
    file: PathBuf,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let errand: Errand = errand::read(&args.file, "errand-file")?;
    let sources = app.sources()?;
    let done = app.narrated(async |events| {
        schedule::carry_out(&app.environment(&sources, events), errand).await
    });
    done.await?.error().map_or(Ok(()), Err)
}
