//! `pipe backup`.

use clap::Subcommand;
use serde::Serialize;

use super::app::App;
use super::cluster_name;
use crate::backup::shelf::{self, Entry, State};
use crate::report::{Table, format};
use crate::run::backup::prune::{self, Going};
use crate::run::backup::{Made, PlaceName, back_up, look, schedule};
use crate::{Error, Result};

/// Back up the data of a cluster's components, with each service's own means
///
/// A backup is whole or it is none: its manifest, with the hash of every file, is written last.
/// `pipe restore` puts it back.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "Examples:\n  pipe backup dev\n  pipe backup dev minio --to /mnt/backups\n  \
                        pipe backup dev nats --to s3:minio\n  pipe backup list"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Prune(Prune),
    Schedule(Schedule),
}

#[derive(Debug, clap::Args)]
struct Make {
    /// The cluster
    #[arg(default_value = "dev")]
    cluster: String,
    /// Only these components
    #[arg(value_name = "COMPONENT")]
    components: Vec<String>,
    /// Where to: a folder, or s3:COMPONENT[/BUCKET], a store of the cluster itself [default:
    /// ~/.local/share/pipe/backups]
    #[arg(long, value_name = "PLACE", value_parser = PlaceName::parse)]
    to: Option<PlaceName>,
}

/// List backups: of which component, from when, and whether they are whole
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls")]
struct List {
    /// Only this cluster's
    cluster: Option<String>,
    /// Where they are, as for --to [default: ~/.local/share/pipe/backups]
    #[arg(long, value_name = "PLACE", value_parser = PlaceName::parse)]
    from: Option<PlaceName>,
}

/// Remove backups that retention does not keep
///
/// Kept are of each of the last 7 days, 4 weeks and 3 months the newest, or what a component's file says
/// (`backup: {keep: …}`), and always the newest. `pipe backup` does this by itself for what it backed up.
#[derive(Debug, clap::Args)]
struct Prune {
    /// Only this cluster's
    #[arg(default_value = "dev")]
    cluster: String,
    /// Where they are, as for --to [default: ~/.local/share/pipe/backups]
    #[arg(long, value_name = "PLACE", value_parser = PlaceName::parse)]
    from: Option<PlaceName>,
    /// Also what was broken off and is no backup; no other `pipe backup` may be at work there
    #[arg(long)]
    incomplete: bool,
    /// Only show what would go
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Have the cluster back itself up every night, into a store of its own; or say what it does
///
/// A CronJob with pipe's own program as its image does what `pipe backup` does, retention too.
/// `pipe backup list --from s3:` shows what it made. A store is not backed up into itself.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  pipe backup schedule dev\n  pipe backup schedule dev nats --at '30 */6 * * *'\n  \
                        pipe backup schedule dev --show\n  pipe backup schedule dev --off"
)]
struct Schedule {
    /// The cluster
    #[arg(default_value = "dev")]
    cluster: String,
    /// Only these components
    #[arg(value_name = "COMPONENT", conflicts_with_all = ["show", "off"])]
    components: Vec<String>,
    /// When: minute, hour, day, month and day of the week, as cron has them, in UTC
    #[arg(long, value_name = "TIMES", default_value = schedule::NIGHTLY)]
    at: String,
    /// Where to: s3:COMPONENT[/BUCKET], a store of the cluster itself
    #[arg(long, value_name = "PLACE", default_value = "s3:", value_parser = PlaceName::parse)]
    to: PlaceName,
    /// Only say what the cluster does
    #[arg(long)]
    show: bool,
    /// No more; what was made stays
    #[arg(long, conflicts_with = "show")]
    off: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<u8> {
    match args.command {
        None => make(app, args.make).await,
        Some(Command::List(args)) => list(app, args).await.map(|()| 0),
        Some(Command::Prune(args)) => remove(app, args).await.map(|()| 0),
        Some(Command::Schedule(args)) => plan(app, args).await.map(|()| 0),
    }
}

/// The place that was typed, or the user's own folder for backups.
pub(super) fn place_name(app: &App, typed: Option<PlaceName>) -> Result<PlaceName> {
    Ok(match typed {
        // Relative to where the user is, not to the project.
        Some(PlaceName::Folder(folder)) => PlaceName::Folder(app.env.cwd.join(folder)),
        Some(store) => store,
        None => PlaceName::Folder(app.paths.backups()?),
    })
}

async fn make(app: &App, args: Make) -> Result<u8> {
    let cluster = cluster_name(&args.cluster)?;
    let to = place_name(app, args.to)?;
    let done = app.narrated(async |events| {
        let sources = app.sources()?;
        let _lock = app.lock(&cluster, "backup", events).await?;
        back_up(&app.environment(&sources, events), &cluster, &args.components, &to).await
    });
    let done = done.await?;
    for made in &done.backups {
        app.say(&line(made))?;
    }
    if !done.pruned.is_empty() {
        app.say(&format!("{} let go", format::count(done.pruned.len(), "older backup")))?;
    }
    let error = done.error();
    if app.global.json {
        app.report.result_line("backup", Some(&done), error.as_ref())?;
        return Ok(error.map_or(0, |error| error.kind.exit_code()));
    }
    match error {
        Some(error) => Err(error),
        None if done.backups.is_empty() => {
            Err(Error::failed("nothing-to-back-up", format!("{cluster} has nothing to back up"))
                .because("none of its components has a way to be backed up"))
        }
        None => {
            app.say(&format!("in {}", done.place))?;
            Ok(0)
        }
    }
}

/// `minio: 20261122T020000Z-1a2b3c4d, 2 buckets, 14 objects, 3.1 MiB in 0.4s`.
fn line(made: &Made) -> String {
    let Made { component, id, holds, bytes, seconds, .. } = made;
    format!("{component}: {id}, {holds}, {} in {seconds:.1} s", format::bytes(*bytes))
}

async fn plan(app: &App, args: Schedule) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    let now = app.narrated(async |events| {
        let sources = app.sources()?;
        let environment = app.environment(&sources, events);
        if args.show {
            return schedule::look(&environment, &cluster).await;
        }
        let _lock = app.lock(&cluster, "backup schedule", events).await?;
        match args.off {
            true => schedule::unschedule(&environment, &cluster).await,
            false => {
                let Schedule { components, to, at, .. } = &args;
                schedule::schedule(&environment, &cluster, components, to, at).await
            }
        }
    });
    let now = now.await?;
    if app.global.json {
        return app.report.result("backup schedule", Ok(&now));
    }
    app.print(&match &now.at {
        None => format!("{cluster} makes no backups by itself\n"),
        Some(at) => {
            let told = |time: Option<jiff::Timestamp>| {
                time.map_or_else(|| "never".to_owned(), |time| time.to_string())
            };
            let (last, whole) = (told(now.last), told(now.last_whole));
            format!(
                "{cluster} backs itself up at {at} (UTC); last begun: {last}; last whole: {whole}\n"
            )
        }
    })
}

/// `backup list --json`.
#[derive(Serialize)]
struct Listed {
    place: String,
    backups: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    cluster: String,
    component: String,
    id: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    left_out: Vec<String>,
}

impl Row {
    fn new(entry: &Entry) -> Row {
        let manifest = entry.manifest();
        let why = match &entry.state {
            State::Unusable(why) => Some(why.clone()),
            _ => None,
        };
        Row {
            cluster: entry.cluster.to_string(),
            component: entry.component.to_string(),
            id: entry.id.to_string(),
            state: entry.state.as_str(),
            why,
            started: entry.started(),
            product: manifest.map(|manifest| manifest.product.clone()),
            holds: manifest.map(|manifest| manifest.contents.summary()),
            bytes: manifest.map(|manifest| manifest.bytes()),
            left_out: manifest.map(|manifest| manifest.left_out.clone()).unwrap_or_default(),
        }
    }
}

async fn list(app: &App, args: List) -> Result<()> {
    let cluster = args.cluster.as_deref().map(cluster_name).transpose()?;
    let from = place_name(app, args.from)?;
    let asked = cluster.clone().map_or_else(|| cluster_name("dev"), Ok)?;
    let sources = app.sources()?;
    let place = app
        .narrated(async |events| Ok(look(&app.environment(&sources, events), &asked, &from)?.0))
        .await?;
    let mut entries = shelf::entries(&place).await?;
    entries.retain(|entry| cluster.as_ref().is_none_or(|cluster| entry.cluster == *cluster));
    let backups: Vec<Row> = entries.iter().map(Row::new).collect();
    let listed = Listed { place: place.to_string(), backups };
    app.show(&listed, || {
        if listed.backups.is_empty() {
            return format!("no backups in {}\n", listed.place);
        }
        let mut table = Table::new(["CLUSTER", "COMPONENT", "BACKUP", "STATE", "SIZE", "HOLDS"]);
        for row in &listed.backups {
            let state = match row.left_out.is_empty() {
                true => row.state.to_owned(),
                false => format!("{}, {} left out", row.state, row.left_out.len()),
            };
            table.row([
                row.cluster.clone(),
                row.component.clone(),
                row.id.clone(),
                state,
                row.bytes.map(format::bytes).unwrap_or_default(),
                row.holds.clone().or_else(|| row.why.clone()).unwrap_or_default(),
            ]);
        }
        table.to_string()
    })
}

/// `backup prune --json`.
#[derive(Serialize)]
struct Pruned<'a> {
    place: String,
    removed: &'a [Going],
}

async fn remove(app: &App, args: Prune) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    let from = place_name(app, args.from)?;
    let sources = app.sources()?;
    let looked =
        app.narrated(async |events| look(&app.environment(&sources, events), &cluster, &from));
    let (place, keep) = looked.await?;
    let mut entries = shelf::entries(&place).await?;
    entries.retain(|entry| entry.cluster == cluster);
    let going = prune::going(&entries, &keep, args.incomplete);
    let result = |removed| Pruned { place: place.to_string(), removed };
    if args.dry_run {
        return app.show(&result(&going), || shown(&going));
    }
    if going.is_empty() {
        app.say(&format!("there is nothing to remove in {place}"))?;
        return app.report.result("backup prune", Ok(&result(&[])));
    }
    for line in shown(&going).lines() {
        app.say(line)?;
    }
    if !args.yes && !app.confirmed("backup prune")? {
        app.say("nothing was removed")?;
        return app.report.result("backup prune", Ok(&result(&[])));
    }
    let removed = app.narrated(async |events| {
        // No backup of this cluster is made here meanwhile.
        let _lock = app.lock(&cluster, "backup prune", events).await?;
        prune::remove(&place, &entries, &going).await
    });
    removed.await?;
    app.say(&format!("{} removed", format::count(going.len(), "backup")))?;
    app.report.result("backup prune", Ok(&result(&going)))
}

fn shown(going: &[Going]) -> String {
    if going.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["CLUSTER", "COMPONENT", "BACKUP", "WHY", "SIZE"]);
    for Going { cluster, component, id, why, bytes } in going {
        table.row([
            cluster.to_string(),
            component.to_string(),
            id.to_string(),
            (*why).to_owned(),
            bytes.map(format::bytes).unwrap_or_default(),
        ]);
    }
    table.to_string()
}
