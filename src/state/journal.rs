//! What was done to a cluster, as it happens: append-only JSON lines, intent before effect.
//!
//! The journal explains; it is never asked what exists. It therefore reads leniently: a last line
//! torn by `kill -9`, and lines of a newer `pipe`, are skipped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use super::file::{self, PRIVATE, unwritable};
use crate::report::Mask;
use crate::spec::{ComponentName, ProfileName};
use crate::{Error, Result};

/// Version of a line.
const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the line.
    pub v: u32,
    /// When it was written.
    pub at: Timestamp,
    /// Which run of a plan it belongs to, counted from 1.
    pub run: u64,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Something that happened, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "entry")]
pub enum Entry {
    /// A plan begins.
    RunStarted {
        /// `up`, `teardown`.
        operation: String,
        /// Version of `pipe`.
        version: String,
        /// The profile asked for, if the operation has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<ProfileName>,
    },
    /// A step is about to change something.
    Intent {
        /// Its id: `join/edge`.
        step: String,
        /// What it does, in words, without secrets.
        summary: String,
        /// The component it works on, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        component: Option<ComponentName>,
    },
    /// A step did what it says.
    Done {
        /// Its id.
        step: String,
    },
    /// A step failed.
    Failed {
        /// Its id.
        step: String,
        /// The error's stable code.
        code: String,
        /// What failed.
        what: String,
    },
    /// A step is about to be undone.
    Undoing {
        /// Its id.
        step: String,
    },
    /// A step was undone, or could not be.
    Undone {
        /// Its id.
        step: String,
        /// Why it could not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A component of the profile was left out.
    Skipped {
        /// Which.
        component: ComponentName,
        /// Why, for people.
        why: String,
    },
    /// A component was uninstalled on purpose.
    ComponentRemoved {
        /// Which.
        component: ComponentName,
    },
    /// The plan ended.
    RunFinished {
        /// How.
        outcome: RunOutcome,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Every step was done.
    Done,
    /// A step failed.
    Failed,
    /// The user stopped it.
    Interrupted,
    /// It never said: killed, or still running.
    Unfinished,
}

/// The journal of one run, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    run: u64,
    mask: Mask,
}

impl Journal {
    /// Opens the journal at `path` and begins the next run in it. Needs the cluster's lock.
    pub fn begin(
        path: &Path,
        operation: &str,
        profile: Option<&ProfileName>,
        mask: Mask,
    ) -> Result<Journal> {
        let last = read(path)?.iter().map(|record| record.run).max().unwrap_or(0);
        if let Some(folder) = path.parent() {
            file::make_folder(folder)?;
        }
        let file = open(path).map_err(|e| unwritable(path, &e))?;
        let run = last.saturating_add(1);
        let journal = Journal { path: path.to_owned(), file, run, mask };
        journal.write(Entry::RunStarted {
            operation: operation.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: profile.cloned(),
        })?;
        Ok(journal)
    }

    /// Appends one entry; it survives this process from then on.
    pub fn write(&self, entry: Entry) -> Result<()> {
        let at = Timestamp::now();
        let at = at.round(Unit::Millisecond).unwrap_or(at);
        let record = Record { v: VERSION, at, run: self.run, entry: self.masked(entry) };
        let mut line = serde_json::to_string(&record)
            .map_err(|e| Error::bug("a journal line cannot be written as JSON").because(e))?;
        line.push('\n');
        // One write, so that lines of steps that run at the same time never mix.
        (&self.file).write_all(line.as_bytes()).map_err(|e| unwritable(&self.path, &e))
    }

    /// Ends the run and makes it survive a power failure.
    pub fn finish(self, outcome: RunOutcome) -> Result<()> {
        self.write(Entry::RunFinished { outcome })?;
        self.file.sync_data().map_err(|e| unwritable(&self.path, &e))
    }

    fn masked(&self, entry: Entry) -> Entry {
        let hide = |text: String| self.mask.apply(&text).into_owned();
        match entry {
            Entry::Intent { step, summary, component } => {
                Entry::Intent { step, summary: hide(summary), component }
            }
            Entry::Failed { step, code, what } => Entry::Failed { step, code, what: hide(what) },
            Entry::Skipped { component, why } => Entry::Skipped { component, why: hide(why) },
            Entry::Undone { step, error } => Entry::Undone { step, error: error.map(hide) },
            other => other,
        }
    }
}

/// Opens for appending, behind a line break if the last line was torn.
fn open(path: &Path) -> io::Result<File> {
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(PRIVATE).open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Every readable line, in order; empty if there is no journal.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    // A power failure may leave any bytes where a line should be.
    let bytes = file::read_bytes(path)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    Ok(records.filter(|record| record.v == VERSION).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(step: &str, summary: &str) -> Entry {
        Entry::Intent { step: step.into(), summary: summary.into(), component: None }
    }

    #[test]
    fn runs_are_counted_and_secrets_hidden() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("dev/journal.jsonl");
        let mask = Mask::default();
        mask.add("hunter2");
        let profile = ProfileName::parse("laptop").unwrap();
        let journal = Journal::begin(&path, "up", Some(&profile), mask.clone()).unwrap();
        journal.write(intent("install/nats", "install nats with hunter2")).unwrap();
        journal
            .write(Entry::Failed {
                step: "install/nats".into(),
                code: "chart-failed".into(),
                what: "hunter2 refused".into(),
            })
            .unwrap();
        journal.finish(RunOutcome::Failed).unwrap();
        Journal::begin(&path, "up", None, mask).unwrap().finish(RunOutcome::Done).unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("hunter2"));
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r#""at":"[^"]*""#, r#""at":"TIME""#);
        settings.add_filter(r#""version":"[^"]*""#, r#""version":"VERSION""#);
        settings.bind(|| insta::assert_snapshot!(text, @r#"
        {"v":1,"at":"TIME","run":1,"entry":"run-started","operation":"up","version":"VERSION","profile":"laptop"}
        {"v":1,"at":"TIME","run":1,"entry":"intent","step":"install/nats","summary":"install nats with •••"}
        {"v":1,"at":"TIME","run":1,"entry":"failed","step":"install/nats","code":"chart-failed","what":"••• refused"}
        {"v":1,"at":"TIME","run":1,"entry":"run-finished","outcome":"failed"}
        {"v":1,"at":"TIME","run":2,"entry":"run-started","operation":"up","version":"VERSION"}
        {"v":1,"at":"TIME","run":2,"entry":"run-finished","outcome":"done"}
        "#));
        assert_eq!(read(&path).unwrap().len(), 6);
    }

    #[test]
    fn a_torn_line_and_a_newer_one_are_skipped() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("journal.jsonl");
        let journal = Journal::begin(&path, "up", None, Mask::default()).unwrap();
        journal.write(intent("a", "make a")).unwrap();
        drop(journal);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += "{\"v\":2,\"at\":\"2026-11-21T09:12:00Z\",\"run\":1,\"entry\":\"done\",\"step\":\"a\"}\n";
        text += "{\"v\":1,\"at\":\"2026-11-21T09:1";
        let bytes = [text.as_bytes(), b"\xff\0\0\0"].concat();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2);
        Journal::begin(&path, "up", None, Mask::default()).unwrap();
        let records = read(&path).unwrap();
        assert_eq!(records.len(), 3, "the line after the torn one is whole");
        assert_eq!(records[2].run, 2);
    }
}
