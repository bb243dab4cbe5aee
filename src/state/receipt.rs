//! The journal, folded: what the last run did, and what became of each component.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::file;
use super::journal::{self, Entry, Record, RunOutcome};
use super::paths::ClusterFolder;
use crate::Result;
use crate::spec::{ComponentName, ProfileName};

/// Version of the file.
const SCHEMA: u32 = 1;

/// What is known of a cluster's past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this form.
    pub schema: u32,
    /// The profile that the cluster was last brought up with.
    pub profile: Option<ProfileName>,
    /// The last run, if there was any.
    pub run: Option<Run>,
    /// Every component that was ever installed and not removed since.
    pub components: BTreeMap<ComponentName, ComponentReceipt>,
    /// What the last `up` left out, and why; earlier versions did not say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<ComponentName, String>,
}

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Counted from 1.
    pub number: u64,
    /// `up`, `teardown`.
    pub operation: String,
    /// Version of `pipe` that did it.
    pub version: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, if it did.
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Its steps, in the order they began.
    pub steps: Vec<StepReceipt>,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReceipt {
    /// Its id.
    pub id: String,
    /// What it does, in words.
    pub summary: String,
    /// What became of it.
    pub outcome: StepOutcome,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, if it ended.
    pub seconds: Option<f64>,
    /// What failed: the step or its undo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It did what it says.
    Done,
    /// It failed.
    Failed,
    /// It began and never said more: it may have changed something or not.
    Unfinished,
    /// It was undone.
    Undone,
    /// Its undo failed or never ended.
    NotUndone,
}

/// What became of a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentReceipt {
    /// The worst of its steps in the run that last worked on it.
    pub outcome: StepOutcome,
    /// When that was said.
    pub at: Timestamp,
    /// Seconds that its steps took together.
    pub seconds: f64,
    /// The run.
    pub run: u64,
}

impl Receipt {
    /// Folds the journal of a cluster.
    pub fn load(folder: &ClusterFolder) -> Result<Receipt> {
        Ok(Receipt::fold(&journal::read(&folder.journal())?))
    }

    /// Writes it beside the journal, for people and evidence; `pipe` itself reads the journal.
    pub fn save(&self, folder: &ClusterFolder) -> Result<()> {
        file::write_json(&folder.receipt(), self)
    }

    /// Folds records in their order.
    pub fn fold(records: &[Record]) -> Receipt {
        let mut receipt = Receipt {
            schema: SCHEMA,
            profile: None,
            run: None,
            components: BTreeMap::new(),
            skipped: BTreeMap::new(),
        };
        // The component of each step, and the steps of each component, within one run.
        let mut owners: BTreeMap<&str, &ComponentName> = BTreeMap::new();
        for record in records {
            if let Entry::RunStarted { profile, .. } = &record.entry {
                owners.clear();
                // Only who chooses components leaves some out.
                if profile.is_some() {
                    receipt.skipped.clear();
                }
                receipt.profile = profile.clone().or(receipt.profile);
            }
            if let Entry::Skipped { component, why } = &record.entry {
                receipt.skipped.insert(component.clone(), why.clone());
            }
            if let Entry::Intent { step, component: Some(component), .. } = &record.entry {
                owners.insert(step, component);
            }
            if let Entry::ComponentRemoved { component } = &record.entry {
                receipt.components.remove(component);
            }
            let changed = receipt.follow(record);
            if let Some(component) = changed.and_then(|step| owners.get(step)) {
                receipt.follow_component(record, component, &owners);
            }
        }
        receipt
    }

    /// Follows one record; the id of the step that changed, if one did.
    fn follow<'a>(&mut self, record: &'a Record) -> Option<&'a str> {
        if let Entry::RunStarted { operation, version, .. } = &record.entry {
            self.run = Some(Run {
                number: record.run,
                operation: operation.clone(),
                version: version.clone(),
                started: record.at,
                finished: None,
                outcome: RunOutcome::Unfinished,
                steps: Vec::new(),
            });
            return None;
        }
        let run = self.run.as_mut()?;
        match &record.entry {
            Entry::RunStarted { .. } | Entry::ComponentRemoved { .. } | Entry::Skipped { .. } => {
                None
            }
            Entry::RunFinished { outcome } => {
                run.outcome = *outcome;
                run.finished = Some(record.at);
                None
            }
            Entry::Intent { step, summary, .. } => {
                // A step that is tried again starts over.
                run.steps.retain(|known| known.id != *step);
                run.steps.push(StepReceipt {
                    id: step.clone(),
                    summary: summary.clone(),
                    outcome: StepOutcome::Unfinished,
                    started: record.at,
                    seconds: None,
                    error: None,
                });
                Some(step)
            }
            Entry::Done { step } => run.end(record.at, step, StepOutcome::Done, None),
            Entry::Failed { step, what, .. } => {
                run.end(record.at, step, StepOutcome::Failed, Some(what))
            }
            Entry::Undoing { step } => run.change(step, StepOutcome::NotUndone, None),
            Entry::Undone { step, error: None } => run.change(step, StepOutcome::Undone, None),
            Entry::Undone { step, error } => {
                run.change(step, StepOutcome::NotUndone, error.as_ref())
            }
        }
    }

    fn follow_component(
        &mut self,
        record: &Record,
        component: &ComponentName,
        owners: &BTreeMap<&str, &ComponentName>,
    ) {
        let Some(run) = &self.run else { return };
        let steps =
            || run.steps.iter().filter(|step| owners.get(step.id.as_str()) == Some(&component));
        let Some(outcome) = steps().map(|step| step.outcome).max_by_key(|o| o.badness()) else {
            return;
        };
        if steps().all(|step| step.outcome == StepOutcome::Undone) {
            self.components.remove(component);
            return;
        }
        let seconds = steps().filter_map(|step| step.seconds).sum();
        let (at, run) = (record.at, run.number);
        self.components.insert(component.clone(), ComponentReceipt { outcome, at, seconds, run });
    }
}

impl Run {
    fn end<'a>(
        &mut self,
        at: Timestamp,
        id: &'a str,
        outcome: StepOutcome,
        error: Option<&String>,
    ) -> Option<&'a str> {
        let step = self.steps.iter_mut().find(|step| step.id == id)?;
        step.seconds = Some(at.duration_since(step.started).as_secs_f64());
        self.change(id, outcome, error)
    }

    fn change<'a>(
        &mut self,
        id: &'a str,
        outcome: StepOutcome,
        error: Option<&String>,
    ) -> Option<&'a str> {
        let step = self.steps.iter_mut().find(|step| step.id == id)?;
        step.outcome = outcome;
        step.error = error.cloned().or(step.error.take());
        Some(id)
    }
}

impl StepOutcome {
    /// Orders outcomes of several steps of one component.
    fn badness(self) -> u8 {
        match self {
            StepOutcome::Done => 0,
            StepOutcome::Undone => 1,
            StepOutcome::Unfinished => 2,
            StepOutcome::Failed => 3,
            StepOutcome::NotUndone => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records one second apart, numbered by the runs they start.
    fn records(entries: Vec<Entry>) -> Vec<Record> {
        let start: Timestamp = "2026-11-21T09:12:00Z".parse().unwrap();
        let mut run = 0;
        let numbered = entries.into_iter().enumerate().map(|(second, entry)| {
            run += u64::from(matches!(entry, Entry::RunStarted { .. }));
            let at = start + jiff::SignedDuration::from_secs(second as i64);
            Record { v: 1, at, run, entry }
        });
        numbered.collect()
    }

    fn started(profile: Option<&str>) -> Entry {
        let profile = profile.map(|name| ProfileName::parse(name).unwrap());
        Entry::RunStarted { operation: "up".into(), version: "0.1.0".into(), profile }
    }

    fn intent(step: &str, component: Option<&str>) -> Entry {
        let component = component.map(|name| ComponentName::parse(name).unwrap());
        Entry::Intent { step: step.into(), summary: format!("do {step}"), component }
    }

    fn done(step: &str) -> Entry {
        Entry::Done { step: step.into() }
    }

    fn failed(step: &str) -> Entry {
        Entry::Failed { step: step.into(), code: "c".into(), what: "it broke".into() }
    }

    fn undone(step: &str) -> Entry {
        Entry::Undone { step: step.into(), error: None }
    }

    #[test]
    fn an_empty_journal_is_an_empty_receipt() {
        let receipt = Receipt::fold(&[]);
        assert_eq!((receipt.run, receipt.profile), (None, None));
    }

    #[test]
    fn what_the_last_up_left_out() {
        let skipped = |name: &str| Entry::Skipped {
            component: ComponentName::parse(name).unwrap(),
            why: "no AVX2".into(),
        };
        let mut entries = vec![started(Some("laptop")), skipped("nats"), skipped("minio")];
        let names = |entries: &[Entry]| {
            let receipt = Receipt::fold(&records(entries.to_vec()));
            receipt.skipped.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&entries), "minio nats");
        // A stop and a start choose nothing.
        entries.push(started(None));
        assert_eq!(names(&entries), "minio nats");
        entries.extend([started(Some("laptop")), skipped("nats")]);
        assert_eq!(names(&entries), "nats");
    }

    #[test]
    fn timings_outcomes_and_components() {
        let receipt = Receipt::fold(&records(vec![
            started(Some("laptop")),
            intent("boot/core", None),
            done("boot/core"),
            intent("install/nats", Some("nats")),
            intent("install/minio", Some("minio")),
            done("install/nats"),
            failed("install/minio"),
            Entry::Undoing { step: "install/minio".into() },
            undone("install/minio"),
            intent("ready/nats", Some("nats")),
            done("ready/nats"),
            Entry::RunFinished { outcome: RunOutcome::Failed },
        ]));
        insta::assert_json_snapshot!(receipt, @r#"
        {
          "schema": 1,
          "profile": "laptop",
          "run": {
            "number": 1,
            "operation": "up",
            "version": "0.1.0",
            "started": "2026-11-21T09:12:00Z",
            "finished": "2026-11-21T09:12:11Z",
            "outcome": "failed",
            "steps": [
              {
                "id": "boot/core",
                "summary": "do boot/core",
                "outcome": "done",
                "started": "2026-11-21T09:12:01Z",
                "seconds": 1.0
              },
              {
                "id": "install/nats",
                "summary": "do install/nats",
                "outcome": "done",
                "started": "2026-11-21T09:12:03Z",
                "seconds": 2.0
              },
              {
                "id": "install/minio",
                "summary": "do install/minio",
                "outcome": "undone",
                "started": "2026-11-21T09:12:04Z",
                "seconds": 2.0,
                "error": "it broke"
              },
              {
                "id": "ready/nats",
                "summary": "do ready/nats",
                "outcome": "done",
                "started": "2026-11-21T09:12:09Z",
                "seconds": 1.0
              }
            ]
          },
          "components": {
            "nats": {
              "outcome": "done",
              "at": "2026-11-21T09:12:10Z",
              "seconds": 3.0,
              "run": 1
            }
          }
        }
        "#);
    }

    #[test]
    fn killed_runs_are_unfinished_and_keep_the_profile() {
        let receipt = Receipt::fold(&records(vec![
            started(Some("laptop")),
            intent("install/nats", Some("nats")),
            done("install/nats"),
            Entry::RunFinished { outcome: RunOutcome::Done },
            started(None),
            intent("upgrade/nats", Some("nats")),
        ]));
        let run = receipt.run.unwrap();
        assert_eq!((run.number, run.outcome), (2, RunOutcome::Unfinished));
        assert_eq!(receipt.profile.unwrap().as_str(), "laptop");
        let nats = receipt.components.values().next().unwrap();
        assert_eq!((nats.outcome, nats.run), (StepOutcome::Unfinished, 2));
    }

    #[test]
    fn a_removed_component_is_forgotten() {
        let receipt = Receipt::fold(&records(vec![
            started(None),
            intent("install/nats", Some("nats")),
            done("install/nats"),
            started(None),
            intent("uninstall/nats", None),
            done("uninstall/nats"),
            Entry::ComponentRemoved { component: ComponentName::parse("nats").unwrap() },
        ]));
        assert!(receipt.components.is_empty());
    }
}
