//! `pipe logs`.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::app::App;
use super::cluster_name;
use crate::run::evidence::{self, Scene};
use crate::run::list::clusters;
use crate::run::logs::{self, Choice, Said};
use crate::run::status::no_cluster;
use crate::run::teardown::release_engine;
use crate::spec::duration;
use crate::{Error, Result, state};

/// Gather evidence of a cluster into one archive, or show what one node or component says
///
/// Without NAME: everything that engine, nodes, cluster and pipe know of the cluster, secrets
/// masked, in one tar.gz; its path is printed, and its index.md says what is where. A failing `up`
/// makes the same by itself, before it undoes anything.
///
/// With NAME: the journal of that node, or what the component's pods say, each line behind its
/// pod's name where there are several. -f goes on until Ctrl-C, through restarts.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  pipe logs                     an archive of cluster dev\n  pipe logs -c ci -o ci.tar.gz  an archive of cluster ci, in a file of that name\n  pipe logs nats                what the pods of component nats said\n  pipe logs -f core --since 5m  the journal of node core, and what comes"
)]
pub struct Args {
    /// A node, by its own or its container's name, or a component
    name: Option<String>,
    /// The cluster
    #[arg(short, long, default_value = "dev")]
    cluster: String,
    /// Write the archive to this file [default: kept in the state folder, the last ten]
    #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
    output: Option<PathBuf>,
    /// Go on with what is said from now on
    #[arg(short, long, requires = "name")]
    follow: bool,
    /// Only what was said in the last time, such as 90s, 5m, 2h
    #[arg(long, value_name = "TIME", requires = "name", value_parser = duration::parse)]
    since: Option<Duration>,
    /// Only the last lines of each
    #[arg(long, value_name = "LINES", requires = "name")]
    tail: Option<u32>,
}

/// Where an archive is.
#[derive(Serialize)]
struct Archive {
    cluster: String,
    path: PathBuf,
    bytes: usize,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    match &args.name {
        None => archive(app, &cluster, args.output.as_deref()).await,
        Some(name) => show(app, &cluster, name, &args).await,
    }
}

async fn archive(
    app: &App,
    cluster: &crate::spec::ClusterName,
    output: Option<&std::path::Path>,
) -> Result<()> {
    let at = Timestamp::now();
    let gathered = app.looking(async |world| {
        if !clusters(world, &app.paths).await?.contains(cluster) {
            return Err(no_cluster(cluster));
        }
        app.say(&format!("gathering evidence of cluster {cluster}"))?;
        let (paths, mask) = (&app.paths, app.report.mask());
        let scene = Scene { world, paths, cluster, mask, error: None };
        tokio::select! {
            archive = evidence::gather(&scene, at) => archive,
            () = app.cancel.cancelled() => Err(Error::interrupted()),
        }
    });
    let bytes = gathered.await?;
    let path = match output {
        Some(path) => {
            let path = app.env.cwd.join(path);
            state::evidence::write_to(&path, &bytes)?;
            path
        }
        None => state::evidence::keep(&app.paths, cluster, at, &bytes)?,
    };
    let document = Archive { cluster: cluster.to_string(), path, bytes: bytes.len() };
    app.show(&document, || format!("{}\n", document.path.display()))
}

async fn show(
    app: &App,
    cluster: &crate::spec::ClusterName,
    name: &str,
    args: &Args,
) -> Result<()> {
    let world = app.world().await?;
    let choice = Choice { tail: args.tail, since: args.since, follow: args.follow };
    let listened = async {
        let sources = app.sources()?;
        let speaker = logs::find(&world, &app.paths, &sources, cluster, name).await?;
        let say = |said: Said| print(app, &said);
        logs::listen(&world, &app.paths, cluster, &speaker, choice, &app.cancel, say).await
    }
    .await;
    release_engine(&world).await?;
    listened
}

fn print(app: &App, said: &Said) -> Result<()> {
    if app.global.json {
        let line = serde_json::to_string(said);
        let line = line.map_err(|e| Error::bug("a line cannot be written as JSON").because(e))?;
        return app.print(&format!("{line}\n"));
    }
    match said.ambiguous {
        true => app.print(&format!("{} | {}\n", said.source, said.line)),
        false => app.print(&format!("{}\n", said.line)),
    }
}
