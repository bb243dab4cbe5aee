//! The executor over plans whose deeds are recorded, with an error injected at every step.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::{Perform, Runner};
use crate::plan::{Action, Operation, Phase, Plan, Step};
use crate::report::{Event, Events, Mask};
use crate::spec::source::Sources;
use crate::spec::{Arch, ClusterName, Component};
use crate::state::journal::{self, Entry, Journal};
use crate::{Error, Kind, Result};

/// Writes down what it is told to do; fails where it is told to.
#[derive(Default)]
struct Recorder {
    log: Mutex<Vec<String>>,
    fail_at: Option<&'static str>,
    fail_undo: bool,
    cancel_at: Option<(&'static str, CancellationToken)>,
}

impl Recorder {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }
}

impl Perform for Recorder {
    async fn perform(&self, step: &Step) -> Result<()> {
        tokio::task::yield_now().await;
        self.note(format!("do {}", step.id));
        if let Some((at, cancel)) = &self.cancel_at
            && *at == step.id
        {
            cancel.cancel();
        }
        match self.fail_at {
            Some(at) if at == step.id => Err(Error::failed("injected", format!("{at} failed"))),
            _ => Ok(()),
        }
    }

    async fn undo(&self, step: &Step) -> Result<()> {
        self.note(format!("undo {}", step.id));
        if self.fail_undo {
            Err(Error::failed("stuck", format!("{} stays", step.id)))
        } else {
            Ok(())
        }
    }

    async fn recover(&self, error: Error) -> Error {
        self.note("recover".to_owned());
        error
    }

    async fn evidence(&self, _error: &Error) -> Option<PathBuf> {
        self.note("evidence".to_owned());
        None
    }
}

fn component() -> Box<Component> {
    let spec = crate::spec::load(&Sources::built_in(), "single", Some("quickstart"), Arch::Amd64);
    Box::new(spec.unwrap().profile.components.remove(0))
}

/// node → init → kubeconfig, then install → ready → smoke of one component.
fn sample() -> Plan {
    let mut plan = Plan::new(Operation::Up, ClusterName::parse("one").unwrap());
    let host = || "one-control-plane".to_owned();
    plan.add("boot", Phase::Cluster, [], Action::AwaitBoot { host: host() });
    plan.add("init", Phase::Cluster, ["boot"], Action::InitControlPlane { host: host() });
    plan.add("kubeconfig", Phase::Cluster, ["init"], Action::WriteKubeconfig);
    let install =
        Action::InstallRelease { component: component(), hash: "h".to_owned(), first: true };
    plan.add("install/nats", Phase::Component, ["kubeconfig"], install);
    let ready = Action::AwaitComponent { component: component() };
    plan.add("serve/nats", Phase::Component, ["install/nats"], ready);
    let smoke = Action::Smoke { component: component() };
    plan.add("smoke/nats", Phase::Smoke, ["serve/nats"], smoke);
    plan
}

/// Runs `plan`; gives what was done, what came of it, and the journal.
async fn run(plan: &Plan, recorder: Recorder, keep: bool) -> (Vec<String>, Result<()>, Vec<Entry>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let (events, mut received) = Events::channel();
    let cancel = recorder.cancel_at.as_ref().map(|(_, cancel)| cancel.clone()).unwrap_or_default();
    let runner = Runner {
        performer: Arc::new(recorder),
        events,
        journal: Journal::begin(&path, "up", None, Mask::default()).unwrap(),
        cancel,
        stop: CancellationToken::new(),
        keep,
    };
    let finished = runner.run(plan).await;
    let log = runner.performer.log.lock().unwrap().clone();
    drop(runner);
    let mut last = None;
    while let Ok(event) = received.try_recv() {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::PlanFinished { .. })), "{last:?}");
    let entries = journal::read(&path).unwrap().into_iter().map(|record| record.entry).collect();
    (log, finished.into_result().map(drop), entries)
}

#[tokio::test]
async fn a_plan_runs_in_order_and_intent_comes_first() {
    let (log, result, journal) = run(&sample(), Recorder::default(), false).await;
    result.unwrap();
    assert_eq!(
        log,
        [
            "do boot",
            "do init",
            "do kubeconfig",
            "do install/nats",
            "do serve/nats",
            "do smoke/nats"
        ]
    );
    for step in &sample().steps {
        let at = |wanted: &dyn Fn(&Entry) -> bool| journal.iter().position(wanted).unwrap();
        let intent = at(&|e| matches!(e, Entry::Intent { step: id, .. } if *id == step.id));
        let done = at(&|e| matches!(e, Entry::Done { step: id } if *id == step.id));
        assert!(intent < done);
    }
}

#[tokio::test]
async fn a_failure_undoes_what_its_phase_says_newest_first() {
    let expected: [(&str, &[&str]); 6] = [
        ("boot", &["undo boot"]),
        ("init", &["undo init", "undo boot"]),
        ("kubeconfig", &["undo kubeconfig", "undo init", "undo boot"]),
        ("install/nats", &["undo install/nats"]),
        ("serve/nats", &["undo install/nats"]),
        ("smoke/nats", &[]),
    ];
    for (step, undone) in expected {
        let recorder = Recorder { fail_at: Some(step), ..Recorder::default() };
        let (log, result, _) = run(&sample(), recorder, false).await;
        assert_eq!(result.unwrap_err().what, format!("{step} failed"));
        let after: Vec<_> = log.iter().skip_while(|line| *line != "evidence").skip(1).collect();
        assert_eq!(after, undone, "{step}");
        let recorder = Recorder { fail_at: Some(step), ..Recorder::default() };
        let (log, ..) = run(&sample(), recorder, true).await;
        assert!(!log.iter().any(|line| line.starts_with("undo")), "--keep undoes nothing: {log:?}");
    }
}

#[tokio::test]
async fn the_first_error_is_the_error_and_failed_undos_are_listed() {
    let recorder = Recorder { fail_at: Some("init"), fail_undo: true, ..Recorder::default() };
    let (_, result, _) = run(&sample(), recorder, false).await;
    let error = result.unwrap_err();
    assert_eq!(error.what, "init failed");
    assert_eq!(error.causes, ["could not undo: init stays", "could not undo: boot stays"]);
}

#[tokio::test]
async fn an_interruption_starts_nothing_new_and_undoes() {
    let cancel = CancellationToken::new();
    let recorder = Recorder { cancel_at: Some(("init", cancel)), ..Recorder::default() };
    let (log, result, journal) = run(&sample(), recorder, false).await;
    assert_eq!(result.unwrap_err().kind, Kind::Interrupted);
    assert_eq!(log, ["do boot", "do init", "undo init", "undo boot"]);
    let outcome = journal.last().unwrap();
    assert!(matches!(
        outcome,
        Entry::RunFinished { outcome: crate::state::journal::RunOutcome::Interrupted }
    ));
}

#[tokio::test]
async fn a_removal_goes_on_after_a_failure_but_not_past_it() {
    let mut plan = Plan::new(Operation::Teardown, ClusterName::parse("one").unwrap());
    for host in ["a", "b"] {
        let action = Action::RemoveNode { host: host.to_owned(), registered: false };
        plan.add(format!("remove/{host}"), Phase::Removal, [], action);
    }
    plan.add("kubeconfig", Phase::Removal, [], Action::RemoveKubeconfig);
    plan.add("state", Phase::Removal, ["remove/a", "kubeconfig"], Action::RemoveState);
    let recorder = Recorder { fail_at: Some("remove/a"), ..Recorder::default() };
    let (mut log, result, _) = run(&plan, recorder, true).await;
    assert_eq!(result.unwrap_err().what, "remove/a failed");
    log.retain(|line| line.starts_with("do"));
    log.sort();
    assert_eq!(log, ["do kubeconfig", "do remove/a", "do remove/b"]);
}
