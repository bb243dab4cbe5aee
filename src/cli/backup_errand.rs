//! `pipe backup-errand`: what the CronJob of `pipe backup schedule` runs; nobody types it.

use std::path::PathBuf;

use super::app::App;
use crate::run::backup::schedule::{self, Errand};
use crate::{Error, Result};

/// Back up what a file names into the store that it names
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// What is to be backed up
    file: PathBuf,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::failed("errand-file", format!("{} cannot be read", args.file.display()))
            .because(error)
    };
    let text = std::fs::read(&args.file).map_err(|error| unreadable(&error))?;
    let errand: Errand = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
    let sources = app.sources()?;
    let done = app.narrated(async |events| {
        schedule::carry_out(&app.environment(&sources, events), errand).await
    });
    done.await?.error().map_or(Ok(()), Err)
}
