//! `pipe restore`.

use super::app::App;
use super::backup::place_name;
use super::cluster_name;
use crate::backup::BackupId;
use crate::report::format;
use crate::run::backup::{PlaceName, Request, restore};
use crate::{Error, Result};

/// Put a backup's data back into the components of a cluster
///
/// Every file of it is read and compared with its hash before any service is touched. Where data would be
/// lost, it is named and nothing is done, unless --replace says so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pipe restore dev\n  pipe restore dev minio --replace\n  \
                        pipe restore test --of dev --from /mnt/backups")]
pub struct Args {
    /// The cluster
    #[arg(default_value = "dev")]
    cluster: String,
    /// Only these components
    #[arg(value_name = "COMPONENT")]
    components: Vec<String>,
    /// Where backups are: a folder, or s3:COMPONENT[/BUCKET], a store of the cluster itself [default:
    /// ~/.local/share/pipe/backups]
    #[arg(long, value_name = "PLACE", value_parser = PlaceName::parse)]
    from: Option<PlaceName>,
    /// Another cluster's backup
    #[arg(long, value_name = "CLUSTER")]
    of: Option<String>,
    /// Which one, as `pipe backup list` shows it [default: the newest of each component]
    #[arg(long = "backup", value_name = "ID")]
    id: Option<String>,
    /// Put it in the place of what is there under the same names, which is lost
    #[arg(long)]
    replace: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<u8> {
    let cluster = cluster_name(&args.cluster)?;
    let of = args.of.as_deref().map(cluster_name).transpose()?;
    let id = args.id.as_deref().map(BackupId::parse).transpose().map_err(|fault| {
        Error::usage("backup-name", fault).hint("see which there are: pipe backup list")
    })?;
    let request = Request {
        of: of.unwrap_or_else(|| cluster.clone()),
        cluster,
        names: args.components,
        from: place_name(app, args.from)?,
        id,
        replace: args.replace,
    };
    let done = app.narrated(async |events| {
        let sources = app.sources()?;
        let _lock = app.lock(&request.cluster, "restore", events).await?;
        restore(&app.environment(&sources, events), &request).await
    });
    let done = done.await?;
    for one in &done.restored {
        let (bytes, seconds) = (format::bytes(one.bytes), one.seconds);
        let (component, id, holds) = (&one.component, &one.id, &one.holds);
        app.say(&format!("{component}: {id}, {holds}, {bytes} in {seconds:.1} s"))?;
    }
    let error = done.error();
    if app.global.json {
        app.report.result_line("restore", Some(&done), error.as_ref())?;
        return Ok(error.map_or(0, |error| error.kind.exit_code()));
    }
    error.map_or(Ok(0), Err)
}
