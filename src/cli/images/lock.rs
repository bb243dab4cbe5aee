//! `pipe images lock`.

use super::cached::short;
use crate::Result;
use crate::cli::app::App;
use crate::report::Table;
use crate::run::cache::lock::{self, Needs, Outcome, Place};
use crate::run::cache::resolve::Resolver;
use crate::spec::{forbidden, policies};

/// Write down which bytes the images of profiles are and why they are believed: pipe.lock
///
/// Each name is looked up in its registry, or one of its mirrors, else in the engine's own store,
/// else in the archives of config.yaml. The file lies beside `clusters/`; commit it. What did not
/// change stays as it is, to the byte.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  pipe images lock --profile laptop\n  pipe images lock --check   # in CI"
)]
pub(super) struct Args {
    /// Only the images of this profile [default: of every profile]
    #[arg(short, long)]
    profile: Option<String>,
    /// Write nothing; fail if an image is missing, no longer named, or another one now
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let sources = app.sources()?;
    let needs = Needs::of(&sources, args.profile.as_deref())?;
    let (forbidden, policies) = (forbidden(&sources)?, policies(&sources)?);
    let place = Place::of(&sources, &app.paths);
    let repair = match &args.profile {
        Some(profile) => format!("pipe images lock --profile {profile}"),
        None => "pipe images lock".to_owned(),
    };
    let done = app.narrated(async |events| {
        app.looking(async |world| {
            let resolver = Resolver::of(world, &forbidden, &policies, &app.cancel)?;
            match args.check {
                true => lock::check(&resolver, &place, &needs, &repair).await,
                false => lock::lock(&resolver, &place, &needs, &app.paths, events).await,
            }
        })
        .await
    });
    let done = done.await?;
    for note in &done.notes {
        app.say(note)?;
    }
    let file = done.file.display();
    app.say(&match (args.check, done.changed) {
        (true, _) => format!("{file} is what the profiles and the registries say"),
        (false, true) => format!("{file} was written"),
        (false, false) => format!("{file} stays as it was"),
    })?;
    app.show(&done, || table(&done))
}

fn table(done: &Outcome) -> String {
    let mut table = Table::new(["NAME", "DIGEST", "PLATFORMS", "FROM", "EVIDENCE"]);
    for (name, locked) in &done.images {
        let platforms: Vec<&str> = locked.platforms.keys().map(String::as_str).collect();
        table.row([
            name.to_string(),
            short(locked.held_to()),
            platforms.join(","),
            locked.source.as_str().to_owned(),
            match &locked.evidence.stand_in {
                None => locked.evidence.class.as_str().to_owned(),
                Some(_) => format!("{}, stand-in", locked.evidence.class.as_str()),
            },
        ]);
    }
    table.to_string()
}
