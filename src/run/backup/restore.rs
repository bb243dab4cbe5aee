//! Back into the services: everything is checked before anything is touched, and what is wrong is said
//! all at once.
//!
//! ```text
//! which backup of each ─▶ every hash ─▶ what would be lost ─▶ restore, one service after the other
//!       └─────────── refused here, with all that is wrong ──┘
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::Serialize;

use super::{Failure, PlaceName, Subject, announce, choose, ended, finish, step, together};
use crate::backup::shelf::{self, Entry, State};
use crate::backup::{self, BackupId, Manifest, Place, Progress, Shelf, verify};
use crate::report::{Event, Events};
use crate::run::up::Environment;
use crate::spec::{ClusterName, ComponentName};
use crate::{Error, Kind, Result};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Into which cluster.
    pub cluster: ClusterName,
    /// Which components; none: all that there is a backup of.
    pub names: Vec<String>,
    /// Where backups lie.
    pub from: PlaceName,
    /// Whose backups, where they are another cluster's.
    pub of: ClusterName,
    /// Which backup; none: the newest of each component.
    pub id: Option<BackupId>,
    /// Go on where data would be lost.
    pub replace: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// Into which cluster.
    pub cluster: ClusterName,
    /// Where the backups lie.
    pub place: String,
    /// Each whole.
    pub restored: Vec<One>,
    /// Components that are half restored.
    pub failed: Vec<Failure>,
}

/// One component that was restored.
#[derive(Debug, Serialize)]
pub struct One {
    /// Which.
    pub component: ComponentName,
    /// From which backup.
    pub id: BackupId,
    /// What was put back.
    pub holds: String,
    /// What there was no backup of.
    pub left_out: Vec<String>,
    /// Bytes read.
    pub bytes: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// A component and its backup.
struct Pair<'a> {
    subject: &'a Subject,
    entry: &'a Entry,
    manifest: &'a Manifest,
}

impl Restored {
    /// The error of all that failed; `None` if none did.
    pub fn error(&self) -> Option<Error> {
        together(&self.failed, "restore-failed", "could not be restored")
    }
}

/// Restores the newest backup of each component, or the one named.
///
/// # Errors
/// There is no such cluster, component or backup; one is damaged; data would be lost. Nothing was touched
/// then. What failed of single components later is in the result.
pub async fn restore(environment: &Environment<'_>, request: &Request) -> Result<Restored> {
    let Request { cluster, names, of, .. } = request;
    let chosen = choose(environment, cluster, names)?;
    let place = request.from.open(cluster, &chosen.all)?;
    let subjects: Vec<&Subject> = chosen.subjects().collect();
    let mut entries = shelf::entries(&place).await?;
    entries.retain(|entry| entry.cluster == *of);
    let pairs = pairs(&subjects, &entries, request, &place)?;
    let events = &environment.events;
    let began = Instant::now();
    let steps = ["check", "restore"];
    let steps = steps.iter().flat_map(|verb| pairs.iter().map(|p| step(verb, &p.subject.name)));
    announce(events, "restore", cluster, steps);
    let checked = AtomicUsize::new(0);
    let work = async {
        check(&pairs, &place, events).await?;
        checked.store(pairs.len(), Ordering::Relaxed);
        survey(&pairs, request).await?;
        Ok(put_back(&pairs, &place, events).await)
    };
    let worked = tokio::select! {
        worked = work => worked,
        () = environment.cancel.cancelled() => {
            Err(Error::interrupted().hint("what was begun is half restored: run it again, with --replace"))
        }
    };
    let restored = worked.as_ref().map_or(0, |(restored, _)| restored.len());
    let done = checked.load(Ordering::Relaxed) + restored;
    let ok = worked.as_ref().is_ok_and(|(_, failed)| failed.is_empty());
    finish(events, began, done, ok);
    let (restored, failed) = worked?;
    Ok(Restored { cluster: cluster.clone(), place: place.to_string(), restored, failed })
}

/// The backup of each component; every component that has none is named.
fn pairs<'a>(
    subjects: &[&'a Subject],
    entries: &'a [Entry],
    request: &Request,
    place: &Place,
) -> Result<Vec<Pair<'a>>> {
    let (mut pairs, mut faults) = (Vec::new(), Vec::new());
    for subject in subjects.iter().copied() {
        let own = |entry: &&Entry| entry.component == subject.name;
        let named = |entry: &&Entry| request.id.as_ref().is_none_or(|id| entry.id == *id);
        let candidates = || entries.iter().filter(own).filter(named);
        let chosen = candidates().rev().find_map(|entry| Some((entry, entry.manifest()?)));
        match (chosen, candidates().next_back()) {
            (Some((entry, manifest)), _) if manifest.contents.driver() == subject.driver => {
                pairs.push(Pair { subject, entry, manifest });
            }
            (Some((entry, _)), _) => {
                faults.push(format!("{} of {} is of another service", entry.id, subject.name));
            }
            (None, Some(entry)) => {
                let why = match &entry.state {
                    State::Unusable(why) => why.clone(),
                    state => state.as_str().to_owned(),
                };
                faults.push(format!("{} of {}: {why}", entry.id, subject.name));
            }
            // Only what was asked for by name must be there.
            (None, None) if request.names.is_empty() => {}
            (None, None) => faults.push(format!("there is none of {}", subject.name)),
        }
    }
    if pairs.is_empty() || !faults.is_empty() {
        let what = match &request.id {
            Some(id) => format!("there is no whole backup {id} of {} in {place}", request.of),
            None => format!("there is no whole backup of {} in {place}", request.of),
        };
        let error = Error::failed("no-backup", what);
        let error = faults.into_iter().fold(error, Error::because);
        return Err(error.hint("see what there is: pipe backup list"));
    }
    Ok(pairs)
}

/// Reads every file of every backup.
async fn check(pairs: &[Pair<'_>], place: &Place, events: &Events) -> Result<()> {
    let mut faults = Vec::new();
    for Pair { subject, entry, manifest } in pairs {
        let id = format!("check/{}", subject.name);
        events.send(Event::StepStarted { id: id.clone() });
        let began = Instant::now();
        let progress = Progress::new(events, &id, Some(manifest.bytes()));
        let found = verify::faults(manifest, &Shelf::of(place, entry), &progress).await;
        let outcome = match found.is_empty() {
            true => Ok(()),
            false => Err(damaged(found.clone())),
        };
        ended(events, id, began, &outcome);
        faults.extend(found);
    }
    if faults.is_empty() { Ok(()) } else { Err(damaged(faults)) }
}

fn damaged(faults: Vec<String>) -> Error {
    let error = Error::failed("backup-damaged", "the backup is damaged; nothing was touched");
    let error = faults.into_iter().fold(error, Error::because);
    error.hint("choose another: pipe backup list, then pipe restore --backup ID")
}

/// Asks every service what would be lost.
async fn survey(pairs: &[Pair<'_>], request: &Request) -> Result<()> {
    let mut lost = Vec::new();
    for Pair { subject, manifest, .. } in pairs {
        let found = backup::survey(&subject.target, manifest).await.map_err(|mut error| {
            // It was only asked.
            error.hints = vec!["see how it is: pipe status".to_owned()];
            error
        })?;
        lost.extend(found.into_iter().map(|what| format!("{}: {what}", subject.name)));
    }
    if lost.is_empty() || request.replace {
        return Ok(());
    }
    let what = "there is data that would be lost; nothing was touched";
    let error = lost.into_iter().fold(Error::failed("restore-refused", what), Error::because);
    Err(error
        .hint("keep it first: pipe backup")
        .hint("or put the backup in its place: pipe restore --replace; so, too, where a restore was cut off"))
}

async fn put_back(pairs: &[Pair<'_>], place: &Place, events: &Events) -> (Vec<One>, Vec<Failure>) {
    let (mut restored, mut failed) = (Vec::new(), Vec::new());
    for Pair { subject, entry, manifest } in pairs {
        let id = format!("restore/{}", subject.name);
        events.send(Event::StepStarted { id: id.clone() });
        let began = Instant::now();
        let progress = Progress::new(events, &id, Some(manifest.bytes()));
        let shelf = Shelf::of(place, entry);
        let outcome = backup::restore(&subject.target, manifest, &shelf, &progress).await;
        ended(events, id, began, &outcome);
        match outcome {
            Ok(()) => restored.push(One {
                component: subject.name.clone(),
                id: entry.id.clone(),
                holds: manifest.contents.summary(),
                left_out: manifest.left_out.clone(),
                bytes: manifest.bytes(),
                seconds: began.elapsed().as_secs_f64(),
            }),
            Err(error) => {
                failed.push(Failure { component: subject.name.clone(), error: half(error) });
            }
        }
    }
    (restored, failed)
}

/// Whatever failed once a service was touched, it may have half of its data.
fn half(error: Error) -> Error {
    match error.kind {
        Kind::Bug => error,
        _ if error.code == "restore-service" => error,
        _ => error.hint("it may be half restored now: run the command again, with --replace"),
    }
}
