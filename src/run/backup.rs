//! `backup` and `restore`: which components, where they are reached, and what came of it. No engine is
//! asked: a component that answers at its port is all that is needed.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

use super::up::Environment;
use crate::backup::{self, BackupId, Draft, Manifest, Place, Progress, Saved, manifest, shelf};
use crate::report::{Event, Events, Outcome, StepLine};
use crate::spec::{ClusterName, ComponentName, Keep};
use crate::state::reservation;
use crate::{Error, Result};

mod chosen;
mod places;
pub mod prune;
mod restore;
pub mod schedule;

use chosen::{Chosen, Subject, choose};
pub use places::PlaceName;
use prune::Going;
pub use restore::{Request, Restored, restore};

/// What came of a backup.
#[derive(Debug, Serialize)]
pub struct BackedUp {
    /// Whose.
    pub cluster: ClusterName,
    /// Where they lie.
    pub place: String,
    /// Each complete.
    pub backups: Vec<Made>,
    /// Components that there is no backup of, although none failed.
    pub left_out: Vec<LeftOut>,
    /// Components of which none could be made.
    pub failed: Vec<Failure>,
    /// Older backups that retention let go.
    pub pruned: Vec<Going>,
}

/// One backup that was made.
#[derive(Debug, Serialize)]
pub struct Made {
    /// Of which component.
    pub component: ComponentName,
    /// Its name.
    pub id: BackupId,
    /// What is in it.
    pub holds: String,
    /// What of the component is not, and why.
    pub left_out: Vec<String>,
    /// Bytes stored.
    pub bytes: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// A component that was not backed up.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// Which.
    pub component: ComponentName,
    /// Why.
    pub why: String,
}

/// A component that could not be backed up or restored.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Which.
    pub component: ComponentName,
    /// Why.
    pub error: Error,
}

impl BackedUp {
    /// The error of all that failed; `None` if none did.
    pub fn error(&self) -> Option<Error> {
        together(&self.failed, "backup-failed", "could not be backed up")
    }
}

/// Backs up `names`, or every component that has a driver, side by side.
///
/// # Errors
/// There is no such cluster, component or place. What failed of single components is in the result.
pub async fn back_up(
    environment: &Environment<'_>,
    cluster: &ClusterName,
    names: &[String],
    to: &PlaceName,
) -> Result<BackedUp> {
    let mut chosen = choose(environment, cluster, names)?;
    let place = to.open(cluster, &chosen.all)?;
    chosen.keep_out_of_itself(to, &place, names)?;
    chosen.warn(environment);
    make(environment, cluster, chosen, place).await
}

/// Backs up what was chosen, and lets go what retention does not keep.
async fn make(
    environment: &Environment<'_>,
    cluster: &ClusterName,
    chosen: Chosen,
    place: Place,
) -> Result<BackedUp> {
    let events = &environment.events;
    if let (Place::Bucket(bucket), true) = (&place, !chosen.names.is_empty()) {
        bucket.ensure().await?;
    }
    let subjects: Vec<&Subject> = chosen.subjects().collect();
    announce(events, "backup", cluster, subjects.iter().map(|s| step("backup", &s.name)));
    let started = Instant::now();
    let all = subjects.iter().map(|subject| one(environment, cluster, subject, &place));
    let all = futures::future::join_all(all).await;
    let (mut backups, mut failed) = (Vec::new(), Vec::new());
    for (subject, made) in subjects.iter().zip(all) {
        match made {
            Ok(made) => backups.push(made),
            Err(error) => failed.push(Failure { component: subject.name.clone(), error }),
        }
    }
    for made in &backups {
        for what in &made.left_out {
            events.warn(format!("not in the backup of {}: {what}", made.component));
        }
    }
    finish(events, started, backups.len(), failed.is_empty());
    if environment.cancel.is_cancelled() {
        return Err(Error::interrupted());
    }
    let made: Vec<&ComponentName> = backups.iter().map(|made| &made.component).collect();
    let pruned = match let_go(&place, cluster, &made, &chosen).await {
        Ok(pruned) => pruned,
        Err(error) => {
            events.warn(format!("older backups could not be let go: {error}"));
            Vec::new()
        }
    };
    let (cluster, place) = (cluster.clone(), place.to_string());
    Ok(BackedUp { cluster, place, backups, left_out: chosen.left_out, failed, pruned })
}

/// Applies retention to the components that there is a new backup of.
async fn let_go(
    place: &Place,
    cluster: &ClusterName,
    made: &[&ComponentName],
    chosen: &Chosen,
) -> Result<Vec<Going>> {
    let mut entries = shelf::entries(place).await?;
    entries.retain(|entry| entry.cluster == *cluster && made.contains(&&entry.component));
    let keep = chosen.all.iter().map(|subject| (subject.name.clone(), subject.keep)).collect();
    let going = prune::going(&entries, &keep, false);
    prune::remove(place, &entries, &going).await?;
    Ok(going)
}

/// Opens a place that may be in a store of `cluster`; gives each component's retention where the cluster is
/// known.
///
/// # Errors
/// There is no such store.
pub fn look(
    environment: &Environment<'_>,
    cluster: &ClusterName,
    name: &PlaceName,
) -> Result<(Place, BTreeMap<ComponentName, Keep>)> {
    let known = reservation::load(environment.paths, cluster)?.is_some();
    if let (PlaceName::Folder(_), false) = (name, known) {
        return Ok((name.open(cluster, &[])?, BTreeMap::new()));
    }
    let chosen = choose(environment, cluster, &[])?;
    let keep = chosen.all.iter().map(|subject| (subject.name.clone(), subject.keep)).collect();
    Ok((name.open(cluster, &chosen.all)?, keep))
}

/// Backs up one component; nothing of it stays if that fails.
async fn one(
    environment: &Environment<'_>,
    cluster: &ClusterName,
    subject: &Subject,
    place: &Place,
) -> Result<Made> {
    let id = format!("backup/{}", subject.name);
    let events = &environment.events;
    events.send(Event::StepStarted { id: id.clone() });
    let began = Instant::now();
    let started = Timestamp::now();
    let name = BackupId::new(started);
    let mut draft = Draft::new(place, cluster, &subject.name, &name);
    let progress = Progress::new(events, &id, None);
    let saved = tokio::select! {
        saved = backup::save(subject.driver, &subject.target, &mut draft, &progress) => saved,
        () = environment.cancel.cancelled() => Err(Error::interrupted()),
    };
    let made = async {
        let Saved { product, contents, left_out } = match saved {
            Ok(saved) => saved,
            Err(error) => return Err(discarded(draft, error).await),
        };
        let manifest = Manifest {
            schema: manifest::SCHEMA,
            id: name.clone(),
            pipe: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: cluster.clone(),
            component: subject.name.clone(),
            product,
            started,
            finished: Timestamp::now(),
            contents,
            left_out,
            files: draft.files().to_vec(),
        };
        draft.commit(&manifest).await?;
        Ok(Made {
            component: subject.name.clone(),
            id: name,
            holds: manifest.contents.summary(),
            bytes: manifest.bytes(),
            left_out: manifest.left_out,
            seconds: began.elapsed().as_secs_f64(),
        })
    };
    let made = made.await;
    ended(events, id, began, &made);
    made
}

/// Removes what was written of a backup that failed; its files have no manifest, so what stays is none.
async fn discarded(draft: Draft<'_>, error: Error) -> Error {
    match draft.discard().await {
        Ok(()) => error,
        Err(left) => error
            .because(format!("what was written of it stays behind: {left}"))
            .hint("remove what was broken off when there is room: pipe backup prune --incomplete"),
    }
}

/// `backup/minio`, and what it does.
fn step(verb: &str, component: &ComponentName) -> StepLine {
    let title = match verb {
        "backup" => format!("back up {component}"),
        "check" => format!("check the backup of {component}"),
        _ => format!("{verb} {component}"),
    };
    StepLine { id: format!("{verb}/{component}"), title }
}

fn announce(
    events: &Events,
    operation: &str,
    cluster: &ClusterName,
    steps: impl Iterator<Item = StepLine>,
) {
    events.send(Event::PlanStarted {
        operation: operation.to_owned(),
        cluster: cluster.to_string(),
        steps: steps.collect(),
    });
}

fn ended<T>(events: &Events, id: String, began: Instant, outcome: &Result<T>) {
    let seconds = began.elapsed().as_secs_f64();
    let outcome = match outcome {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Failed { error: error.clone() },
    };
    events.send(Event::StepFinished { id, seconds, outcome });
}

fn finish(events: &Events, began: Instant, done: usize, ok: bool) {
    let seconds = began.elapsed().as_secs_f64();
    events.send(Event::PlanFinished { done, seconds, ok });
}

/// One error of several; the first one's class and code where it is alone.
fn together(failed: &[Failure], code: &'static str, what: &str) -> Option<Error> {
    let (first, others) = failed.split_first()?;
    if others.is_empty() {
        return Some(first.error.clone());
    }
    let names: Vec<&str> = failed.iter().map(|failure| failure.component.as_str()).collect();
    let mut error = Error::new(first.error.kind, code, format!("{} {what}", names.join(", ")));
    for Failure { error: one, .. } in failed {
        error = error.because(one);
        for hint in &one.hints {
            if !error.hints.contains(hint) {
                error.hints.push(hint.clone());
            }
        }
    }
    Some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_failures_are_one_error_with_each_hint_once() {
        let failure = |name: &str, hint: &str| Failure {
            component: ComponentName::parse(name).unwrap(),
            error: Error::host("full", format!("{name} does not fit")).hint(hint),
        };
        assert!(together(&[], "x", "y").is_none());
        let alone = together(&[failure("nats", "free space")], "x", "y").unwrap();
        assert_eq!((alone.code, alone.kind), ("full", crate::Kind::Host));
        let both = [failure("nats", "free space"), failure("minio", "free space")];
        let both = together(&both, "backup-failed", "could not be backed up").unwrap();
        assert_eq!(
            both.to_string(),
            "nats, minio could not be backed up: nats does not fit: minio does not fit"
        );
        assert_eq!(both.hints, ["free space"]);
    }
}
