//! `pipe images prune`.

use super::cached::short;
use crate::Result;
use crate::cli::app::App;
use crate::report::{Table, format};
use crate::run::cache::lock::Place;
use crate::run::cache::prune::{self, Going, Looked, Pruned};
use crate::run::list;

/// Remove from the local cache what no lock names and no cluster uses
///
/// Known are the locks by which `pipe up` and `pipe images lock` went, and the one of this project.
/// Shows what goes, and asks. The registry that stands in for Zot does not serve while space is freed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only show what would go
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let own = Place::of(&app.sources()?, &app.paths);
    let looked = app.narrated(async |events| {
        app.looking(async |world| prune::look(app.registry(world, events), &own).await).await
    });
    let looked = looked.await?;
    for note in &looked.notes {
        app.say(note)?;
    }
    if args.dry_run {
        app.show(&looked, || shown(&looked))?;
        return app.say(&summary(&looked));
    }
    if looked.goes.is_empty() && !looked.uncollected {
        app.say("there is nothing to remove: every image in the cache is needed")?;
        return app.report.result("images prune", Ok(&Pruned::default()));
    }
    for line in shown(&looked).lines() {
        app.say(line)?;
    }
    app.say(&summary(&looked))?;
    if !args.yes && !app.confirmed("images prune")? {
        app.say("nothing was removed")?;
        return app.report.result("images prune", Ok(&Pruned::default()));
    }
    let pruned = app.narrated(async |events| {
        app.looking(async |world| {
            // Nobody fills the cache meanwhile, or lets nodes pull from it.
            let mut locks = Vec::new();
            for cluster in list::clusters(world, &app.paths).await? {
                locks.push(app.lock(&cluster, "images prune", events).await?);
            }
            prune::remove(app.registry(world, events), &own, &looked).await
        })
        .await
    });
    let pruned = pruned.await?;
    let freed = format::bytes(pruned.freed);
    let removed = format::count(pruned.removed.len(), "image");
    app.say(&match pruned.later {
        true => format!("{removed} removed; the registry frees {freed} by itself within a day"),
        false => format!("{removed} removed, {freed} freed"),
    })?;
    app.report.result("images prune", Ok(&pruned))
}

fn summary(looked: &Looked) -> String {
    let named: Vec<String> = looked.locks.iter().map(|path| path.display().to_string()).collect();
    let locks = match named.is_empty() {
        true => "no lock is known".to_owned(),
        false => format!("known locks: {}", named.join(", ")),
    };
    let (goes, kept) = (format::count(looked.goes.len(), "image"), looked.kept);
    format!("{goes} with {} of their own; {kept} stay; {locks}", format::bytes(looked.bytes))
}

fn shown(looked: &Looked) -> String {
    if looked.goes.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["NAME", "DIGEST", "SIZE"]);
    for Going { name, digest, size, .. } in &looked.goes {
        table.row([name.clone(), short(digest), format::bytes(*size)]);
    }
    table.to_string()
}
