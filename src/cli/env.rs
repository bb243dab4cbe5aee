//! `pipe env`.

use clap::ValueEnum;

use super::app::App;
use super::cluster_name;
use crate::Result;
use crate::report::Level;
use crate::run::settings::settings;

/// Print connection settings and credentials of a cluster's components
///
/// For a shell: `eval "$(pipe env)"`. Settings that name a file (FDB_CLUSTER_FILE) are left out where this
/// host does not reach the address in it, and a warning says so.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster
    #[arg(default_value = "dev")]
    cluster: String,
    /// How to print them; --json is the same as json
    #[arg(long, value_enum, default_value_t = Format::Shell)]
    format: Format,
}

/// Formats of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// export NAME='value'
    Shell,
    /// NAME="value", for --env-file and the like
    Dotenv,
    /// One JSON object
    Json,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    let sources = app.sources()?;
    let (settings, notes) = settings(&app.paths, &sources, &cluster).await?;
    // One document is what programs ask for: there a setting that is left out is not there.
    if !app.global.json {
        for note in &notes {
            app.report.note(Level::Warning, note)?;
        }
    }
    let format = if app.global.json { Format::Json } else { args.format };
    match format {
        Format::Json => app.report.document(&settings),
        Format::Shell => {
            let lines = settings
                .iter()
                .map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', r"'\''")));
            app.print(&lines.collect::<String>())
        }
        Format::Dotenv => {
            let lines = settings.iter().map(|(name, value)| {
                let quoted = value.replace('\\', r"\\").replace('"', "\\\"").replace('$', "\\$");
                format!("{name}=\"{quoted}\"\n")
            });
            app.print(&lines.collect::<String>())
        }
    }
}
