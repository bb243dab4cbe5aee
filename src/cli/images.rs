//! `pipe images`.

use clap::Subcommand;
use serde::Serialize;

use super::app::App;
use super::cluster_name;
use crate::Result;
use crate::report::{Table, format};
use crate::run::images::add;
use crate::run::images::inventory::{From, Row, inventory};
use crate::run::images::manage::{self, Outcome, Request};

mod cached;
mod lock;
mod prune;
mod serve;
mod stop;
mod verify;

/// Run your own images: load, add, list, lock them; serve the local cache
///
/// What is loaded or added stays with the cluster: a node that joins later gets it from `pipe up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Load(LoadArgs),
    Add(AddArgs),
    List(ListArgs),
    Lock(lock::Args),
    Verify(verify::Args),
    Serve(serve::Args),
    Stop(stop::Args),
    Prune(prune::Args),
}

/// Copy images of the engine's own store (podman build) into the nodes
///
/// Only what is missing is copied: an image that was built again under the same tag replaces the
/// older one, an unchanged one costs nothing. An image that Podman calls localhost/app:dev is found
/// by pods as localhost/app:dev and as app:dev.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  podman build -t app:dev . && pipe images load app:dev\n  \
                        kubectl rollout restart deployment/app")]
struct LoadArgs {
    /// Images, as `podman images` shows them or as pods name them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// Pull images into the engine where it lacks them, and copy them into the nodes
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Images of a registry, as pods name them
    #[arg(required = true, value_name = "REF")]
    names: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// Where images go.
#[derive(Debug, clap::Args)]
struct Place {
    /// The cluster
    #[arg(short, long, default_value = "dev")]
    cluster: String,
    /// Only this node, by its name in the cluster's file or its container's; others never get it
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

/// List the images of a cluster's nodes, where they are from, and whether the engine has them still; or,
/// with --cache, what the local cache holds
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls")]
struct ListArgs {
    /// The cluster
    #[arg(short, long, default_value = "dev")]
    cluster: String,
    /// Also those that came with the node's image, or that a kubelet pulled
    #[arg(short, long)]
    all: bool,
    /// What the local cache holds, for any cluster: digest, evidence, signature, last use
    #[arg(long, conflicts_with_all = ["cluster", "all"])]
    cache: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    match args.command {
        Command::Load(args) => put(app, "images load", args.names, args.place).await,
        Command::Add(args) => put(app, "images add", args.names, args.place).await,
        Command::List(args) => list(app, args).await,
        Command::Verify(args) => verify::run(app, args).await,
        Command::Lock(args) => lock::run(app, args).await,
        Command::Serve(args) => serve::run(app, args).await,
        Command::Stop(args) => stop::run(app, args).await,
        Command::Prune(args) => prune::run(app, args).await,
    }
}

async fn put(app: &App, operation: &str, names: Vec<String>, place: Place) -> Result<()> {
    let sources = app.sources()?;
    let cluster = cluster_name(&place.cluster)?;
    let request = Request {
        // What is loaded was made by whoever loads it.
        enforced: operation == "images add" && add::is_enforced(&sources, &app.paths, &cluster)?,
        forbidden: crate::spec::forbidden(&sources)?,
        policies: crate::spec::policies(&sources)?,
        cluster,
        node: place.node,
        names,
    };
    request.permitted()?;
    let done = app.narrated(async |events| {
        // Another `pipe` may be replacing the nodes at this moment.
        let _lock = app.lock(&request.cluster, operation, events).await?;
        app.looking(async |world| match operation {
            "images add" => add::add(world, &app.paths, &request, events, &app.cancel).await,
            _ => interruptible(app, manage::load(world, &app.paths, &request, events)).await,
        })
        .await
    });
    let done = done.await?;
    summary(app, &done)?;
    app.report.result(operation, Ok(&done))
}

async fn interruptible<T>(app: &App, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = app.cancel.cancelled() => Err(crate::Error::interrupted()),
    }
}

fn summary(app: &App, done: &Outcome) -> Result<()> {
    for image in &done.images {
        let name = image.names.join(" and as ");
        let line = match (&image.loaded[..], &image.unchanged[..]) {
            ([], unchanged) => format!("{name}: unchanged on {}", unchanged.join(", ")),
            (loaded, []) => format!("{name}: loaded into {}", loaded.join(", ")),
            (loaded, unchanged) => format!(
                "{name}: loaded into {}; unchanged on {}",
                loaded.join(", "),
                unchanged.join(", ")
            ),
        };
        app.say(&line)?;
    }
    if !done.stopped.is_empty() {
        let stopped = done.stopped.join(", ");
        app.say(&format!(
            "not running: {stopped}; `pipe up {}` gives them what they lack",
            done.cluster
        ))?;
    }
    if done.sent > 0 {
        app.say(&format!("{} sent in {:.1} s", format::bytes(done.sent), done.seconds))?;
    }
    Ok(())
}

/// `images list --json`.
#[derive(Serialize)]
struct Listed {
    cluster: String,
    images: Vec<Row>,
}

async fn list(app: &App, args: ListArgs) -> Result<()> {
    if args.cache {
        return cached::list(app).await;
    }
    let cluster = cluster_name(&args.cluster)?;
    let mut images = app.looking(async |world| inventory(world, &cluster).await).await?;
    images.retain(|row| args.all || row.from != From::Node);
    let listed = Listed { cluster: cluster.to_string(), images };
    app.show(&listed, || {
        if listed.images.is_empty() {
            return "no images but those of the nodes; --all shows them\n".to_owned();
        }
        let mut table = Table::new(["NAME", "ID", "SIZE", "PLATFORM", "NODES", "FROM", "ENGINE"]);
        for row in &listed.images {
            let id = row.id.as_deref().and_then(|id| id.get(..12)).unwrap_or("-");
            table.row([
                row.name.clone(),
                id.to_owned(),
                format::bytes(row.size),
                row.platform.clone(),
                row.nodes.join(","),
                row.from.as_str().to_owned(),
                row.engine.as_str().to_owned(),
            ]);
        }
        table.to_string()
    })
}
