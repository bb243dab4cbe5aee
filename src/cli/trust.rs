//! `pipe trust`.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::app::App;
use crate::report::Events;
use crate::run::trust;
use crate::{Error, Result};

/// Show and change the keys whose signatures count
///
/// Images in the local cache are signed with a key of this installation, which is made when it is
/// first needed. Signatures of other keys count too once they are imported.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the keys that are trusted
    #[command(visible_alias = "ls")]
    List,
    /// Print the public key, for cosign and others who shall check what is signed here
    Export(ExportArgs),
    /// Trust a public key, or sign with a private key from now on
    Import(ImportArgs),
    /// Sign with a new key from now on; the one before it stays trusted
    Rotate,
    /// Trust a key no longer
    Remove(RemoveArgs),
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// The private key: whoever has it signs as you
    #[arg(long)]
    private: bool,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// A key of the kind P-256 in PEM
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// Its id, as `pipe trust list` shows it
    id: String,
}

/// The printed key.
#[derive(Serialize)]
struct Exported {
    id: String,
    pem: String,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let paths = &app.paths;
    let (name, done) = match args.command {
        Command::Export(args) => return export(app, args.private).await,
        Command::List => ("trust list", trust::list(paths)?),
        Command::Import(args) => {
            let pem = std::fs::read_to_string(&args.file).map_err(|error| {
                Error::usage("trust-file", format!("{} cannot be read", args.file.display()))
                    .because(error)
            })?;
            let done = app.narrated(async |events| trust::import(app_of(app, events), &pem).await);
            ("trust import", done.await?)
        }
        Command::Rotate => {
            let done = app.narrated(async |events| trust::rotate(app_of(app, events)).await);
            ("trust rotate", done.await?)
        }
        Command::Remove(args) => {
            let done =
                app.narrated(async |events| trust::remove(app_of(app, events), &args.id).await);
            ("trust remove", done.await?)
        }
    };
    if done.keys.is_empty() {
        app.say("there is no key yet: one is made when the first image is cached")?;
    }
    for key in &done.keys {
        app.say(&key.to_string())?;
    }
    app.report.result(name, Ok(&done))
}

fn app_of<'a>(app: &'a App, events: &'a Events) -> trust::With<'a> {
    trust::With { paths: &app.paths, cancel: &app.cancel, events }
}

async fn export(app: &App, private: bool) -> Result<()> {
    let key = app.narrated(async |events| trust::signing(app_of(app, events)).await).await?;
    let pem = if private { key.to_pem()? } else { key.public().to_pem()? };
    app.say(pem.trim_end())?;
    app.report.result("trust export", Ok(&Exported { id: key.public().id().to_string(), pem }))
}
