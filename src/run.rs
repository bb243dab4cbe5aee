//! Runs a [`Plan`]: independent steps at once, intent in the journal before each deed, the first
//! error stops what has not started, and what this run made is undone in reverse.
//!
//! ```text
//!   waiting ──needs done──▶ running ──▶ done ──────────────┐
//!      │                       └──────▶ failed ─┐          ├─▶ undone (newest first)
//!      └── a step failed / Ctrl-C ─▶ cancelled  └──────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::plan::{Action, Operation, Phase, Plan, Step, StepId};
use crate::report::{Event, Events, Outcome};
use crate::spec::ComponentName;
use crate::state::journal::{Entry, Journal, RunOutcome};
use crate::{Error, Kind, Result};

mod admission;
mod api_fault;
pub mod backup;
mod balancer;
mod buckets;
pub mod cache;
mod canary;
mod carry_out;
mod collect;
pub mod components;
pub mod configure;
pub mod context;
mod control_plane;
mod credentials;
mod diagnosis;
pub mod doctor;
mod drain;
pub mod evidence;
mod fit;
mod handed_files;
pub mod images;
mod in_cluster;
mod kubelet;
pub mod licences;
pub mod list;
pub mod logs;
pub mod node;
mod nodes;
pub mod observe;
mod own_pod;
mod perform;
mod platform;
mod pod_fault;
pub mod power;
mod preconditions;
pub mod prepare;
pub mod prove;
mod pull_fault;
mod ranges;
pub mod registry;
mod removal;
pub mod reserve;
mod room;
pub mod serve;
mod service_addresses;
pub mod settings;
pub mod smoke;
pub mod status;
pub mod summary;
pub mod surroundings;
pub mod teardown;
#[cfg(test)]
mod tests;
pub mod trust;
pub mod up;
mod users;
mod verifier;
pub mod wait;

/// Does and undoes single steps; the executor knows only order, errors and the journal.
pub trait Perform: Send + Sync + 'static {
    /// Does one step. Must be safe to repeat.
    fn perform(&self, step: &Step) -> impl Future<Output = Result<()>> + Send;
    /// Takes back what `perform` did or began to do; "already gone" is success.
    fn undo(&self, step: &Step) -> impl Future<Output = Result<()>> + Send;
    /// Mends what broke under the run, so that there is evidence and deeds can be undone; the error
    /// with what was found.
    fn recover(&self, error: Error) -> impl Future<Output = Error> + Send;
    /// Keeps what explains a failure, before anything is undone; says where.
    fn evidence(&self, error: &Error) -> impl Future<Output = Option<PathBuf>> + Send;
}

/// How to run a plan.
pub struct Runner<P> {
    /// The deeds.
    pub performer: Arc<P>,
    /// Where progress goes.
    pub events: Events,
    /// Where intent goes.
    pub journal: Journal,
    /// Cancelled by the user's first Ctrl-C.
    pub cancel: CancellationToken,
    /// Cancelled when nothing new shall start; waits inside steps watch it.
    pub stop: CancellationToken,
    /// Leave what was made after a failure.
    pub keep: bool,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Finished {
    /// Steps that were done, in the order they ended, with their seconds.
    pub done: Vec<(StepId, f64)>,
    /// The first error, closest to the root cause.
    pub error: Option<Error>,
    /// Errors of steps that failed after it.
    pub later: Vec<Error>,
    /// What could not be undone.
    pub undo_errors: Vec<Error>,
}

impl Finished {
    /// The first error with the later ones as causes below it, or nothing.
    pub fn into_result(self) -> Result<Vec<(StepId, f64)>> {
        let Some(mut error) = self.error else { return Ok(self.done) };
        for later in self.later {
            error = error.because(format!("also: {later}"));
        }
        for undo in self.undo_errors {
            error = error.because(format!("could not undo: {undo}"));
        }
        Err(error)
    }
}

/// Where each step of a run is.
struct Progress<'a> {
    plan: &'a Plan,
    waiting: BTreeSet<usize>,
    running: BTreeMap<usize, Instant>,
    done: BTreeSet<&'a str>,
    /// Steps that were begun, in order: done, failed or cut off.
    begun: Vec<usize>,
}

impl<'a> Progress<'a> {
    fn new(plan: &'a Plan) -> Progress<'a> {
        Progress {
            plan,
            waiting: (0..plan.steps.len()).collect(),
            running: BTreeMap::new(),
            done: BTreeSet::new(),
            begun: Vec::new(),
        }
    }

    /// Steps whose needs are all done.
    fn ready(&self) -> Vec<usize> {
        let ready = |index: &usize| {
            self.plan
                .steps
                .get(*index)
                .is_some_and(|step| step.needs.iter().all(|need| self.done.contains(need.as_str())))
        };
        self.waiting.iter().copied().filter(ready).collect()
    }
}

impl<P: Perform> Runner<P> {
    /// Runs `plan` to its end, whatever that is.
    pub async fn run(&self, plan: &Plan) -> Finished {
        let began = Instant::now();
        self.events.send(Event::PlanStarted {
            operation: plan.operation.as_str().to_owned(),
            cluster: plan.cluster.to_string(),
            steps: plan.lines(),
        });
        let mut finished = Finished::default();
        let mut progress = Progress::new(plan);
        let mut tasks: JoinSet<(usize, Result<()>)> = JoinSet::new();
        loop {
            if self.cancel.is_cancelled() && finished.error.is_none() {
                finished.error = Some(Error::interrupted());
                self.stop.cancel();
            }
            if !self.stop.is_cancelled() || plan.operation == Operation::Teardown {
                for index in progress.ready() {
                    self.start(&mut progress, index, &mut tasks);
                }
            }
            let joined = tokio::select! {
                joined = tasks.join_next() => joined,
                () = self.cancel.cancelled(), if finished.error.is_none() => continue,
            };
            let Some(joined) = joined else { break };
            match joined {
                Ok((index, result)) => self.finish(&mut progress, index, result, &mut finished),
                Err(panic) => {
                    let error = Error::bug(format!("a step panicked: {panic}"));
                    finished.error.get_or_insert(error);
                    self.stop.cancel();
                }
            }
        }
        for index in &progress.waiting {
            if let Some(step) = plan.steps.get(*index) {
                let (id, outcome) = (step.id.clone(), Outcome::Cancelled);
                self.events.send(Event::StepFinished { id, seconds: 0.0, outcome });
            }
        }
        if let Some(error) = finished.error.take_if(|error| error.kind != Kind::Interrupted) {
            let error = self.performer.recover(error).await;
            let kept = self.performer.evidence(&error).await;
            let hint = |path: PathBuf| format!("the evidence is in {}", path.display());
            finished.error = Some(kept.map(hint).into_iter().fold(error, Error::hint));
        }
        self.undo(&progress, &mut finished).await;
        let outcome = match &finished.error {
            None => RunOutcome::Done,
            Some(error) if error.kind == Kind::Interrupted => RunOutcome::Interrupted,
            Some(_) => RunOutcome::Failed,
        };
        self.note(Entry::RunFinished { outcome });
        self.events.send(Event::PlanFinished {
            done: finished.done.len(),
            seconds: began.elapsed().as_secs_f64(),
            ok: finished.error.is_none(),
        });
        finished
    }

    fn start(
        &self,
        progress: &mut Progress<'_>,
        index: usize,
        tasks: &mut JoinSet<(usize, Result<()>)>,
    ) {
        let Some(step) = progress.plan.steps.get(index) else { return };
        progress.waiting.remove(&index);
        progress.running.insert(index, Instant::now());
        progress.begun.push(index);
        let written = self.journal.write(Entry::Intent {
            step: step.id.clone(),
            summary: step.title.clone(),
            component: step.action.component().cloned(),
        });
        self.events.send(Event::StepStarted { id: step.id.clone() });
        let performer = Arc::clone(&self.performer);
        let step = step.clone();
        tasks.spawn(async move {
            let result = match written {
                Ok(()) => performer.perform(&step).await,
                Err(error) => Err(error),
            };
            (index, result)
        });
    }

    fn finish(
        &self,
        progress: &mut Progress<'_>,
        index: usize,
        result: Result<()>,
        finished: &mut Finished,
    ) {
        let plan = progress.plan;
        let Some(step) = plan.steps.get(index) else { return };
        let seconds =
            progress.running.remove(&index).map_or(0.0, |began| began.elapsed().as_secs_f64());
        let id = step.id.clone();
        match result {
            Ok(()) => {
                progress.done.insert(&step.id);
                finished.done.push((id.clone(), seconds));
                self.note(Entry::Done { step: id.clone() });
                if let Action::UninstallRelease { release, .. } = &step.action
                    && let Ok(component) = ComponentName::parse(release)
                {
                    self.note(Entry::ComponentRemoved { component });
                }
                self.events.send(Event::StepFinished { id, seconds, outcome: Outcome::Done });
            }
            // A wait that was cut short because of another failure is not a failure of its own.
            Err(error) if error.kind == Kind::Interrupted => {
                self.note(failed(&id, &error));
                self.events.send(Event::StepFinished { id, seconds, outcome: Outcome::Cancelled });
                finished.error.get_or_insert(error);
            }
            Err(error) => {
                self.note(failed(&id, &error));
                let outcome = Outcome::Failed { error: error.clone() };
                self.events.send(Event::StepFinished { id, seconds, outcome });
                match &finished.error {
                    None => finished.error = Some(error),
                    Some(_) => finished.later.push(error),
                }
                // A failed proof stops nothing: the other components deserve theirs.
                if step.phase < Phase::Smoke {
                    self.stop.cancel();
                }
            }
        }
    }

    /// Undoes, newest first, what the phase of the failure says must go.
    async fn undo(&self, progress: &Progress<'_>, finished: &mut Finished) {
        let Some(error) = &finished.error else { return };
        let reason = error.to_string();
        let undo = if self.keep { Vec::new() } else { undo_order(progress) };
        if undo.is_empty() {
            return;
        }
        let steps = undo.iter().map(|step| step.id.clone()).collect();
        self.events.send(Event::UndoStarted { reason, steps });
        for step in undo {
            self.note(Entry::Undoing { step: step.id.clone() });
            let result = self.performer.undo(step).await;
            let error = result.err();
            let why = error.as_ref().map(Error::to_string);
            self.note(Entry::Undone { step: step.id.clone(), error: why });
            self.events.send(Event::UndoFinished { id: step.id.clone(), error: error.clone() });
            finished.undo_errors.extend(error);
        }
    }

    /// The journal explains; work that is done stays done when it cannot be written to.
    fn note(&self, entry: Entry) {
        if let Err(error) = self.journal.write(entry) {
            self.events.warn(error.to_string());
        }
    }
}

/// The journal's line for a step that failed.
fn failed(step: &str, error: &Error) -> Entry {
    Entry::Failed { step: step.to_owned(), code: error.code.to_owned(), what: error.what.clone() }
}

/// Which steps to undo, newest first.
///
/// While the cluster is being made, everything this run began. Later, only releases that were not
/// there before and never became ready; the cluster stays. Proofs and removals have no undo.
fn undo_order<'a>(progress: &Progress<'a>) -> Vec<&'a Step> {
    let plan = progress.plan;
    let unfinished = |phase: Phase| {
        plan.steps.iter().any(|s| s.phase == phase && !progress.done.contains(s.id.as_str()))
    };
    let newest_first = progress.begun.iter().rev().filter_map(|index| plan.steps.get(*index));
    if unfinished(Phase::Cluster) {
        return newest_first.filter(|step| step.phase < Phase::Smoke).collect();
    }
    let never_ready = |step: &&Step| match &step.action {
        Action::InstallRelease { component, first: true, .. } => {
            !progress.done.contains(format!("serve/{}", component.name).as_str())
        }
        _ => false,
    };
    newest_first.filter(never_ready).collect()
}
