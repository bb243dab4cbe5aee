//! `pipe trust`.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::app::App;
use crate::report::Events;
use crate::run::trust::{self, Trusted};
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
    match args.command {
        Command::Export(args) => export(app, args.private).await,
        Command::List => {
            let trusted = trust::list(&app.paths)?;
            app.show(&trusted, || text(&trusted))
        }
        Command::Import(args) => {
            let pem = std::fs::read_to_string(&args.file).map_err(|error| {
                Error::usage("trust-file", format!("{} cannot be read", args.file.display()))
                    .because(error)
            })?;
            let done = app.narrated(async |events| trust::import(with(app, events), &pem).await);
            changed(app, "trust import", &done.await?)
        }
        Command::Rotate => {
            let done = app.narrated(async |events| trust::rotate(with(app, events)).await);
            changed(app, "trust rotate", &done.await?)
        }
        Command::Remove(args) => {
            let done =
                app.narrated(async |events| trust::remove(with(app, events), &args.id).await);
            changed(app, "trust remove", &done.await?)
        }
    }
}

fn with<'a>(app: &'a App, events: &'a Events) -> trust::With<'a> {
    trust::With { paths: &app.paths, cancel: &app.cancel, events }
}

fn changed(app: &App, operation: &str, trusted: &Trusted) -> Result<()> {
    for line in text(trusted).lines() {
        app.say(line)?;
    }
    app.say("clusters follow with their next `pipe up`")?;
    app.report.result(operation, Ok(trusted))
}

fn text(trusted: &Trusted) -> String {
    if trusted.keys.is_empty() {
        return "there is no key yet: one is made when it is first needed\n".to_owned();
    }
    trusted.keys.iter().map(|key| format!("{key}\n")).collect()
}

async fn export(app: &App, private: bool) -> Result<()> {
    let key = app.narrated(async |events| trust::signing(with(app, events)).await).await?;
    let pem = if private { key.to_pem()? } else { key.public().to_pem()? };
    let exported = Exported { id: key.public().id().to_string(), pem };
    app.show(&exported, || exported.pem.clone())
}
