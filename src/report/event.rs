//! Everything the executor can say, as data; terminal, plain lines and JSON are its consumers.

use serde::Serialize;
use tokio::sync::mpsc;

use crate::Error;

/// One step as announced at the start of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct StepLine {
    /// Stable, readable id: `join/edge`.
    pub id: String,
    /// What it does, in the imperative: `join node edge`.
    pub title: String,
}

/// How a step ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It did what it says.
    Done,
    /// It failed.
    Failed {
        /// The whole error.
        error: Error,
    },
    /// It never started, because another step failed or the user interrupted.
    Cancelled,
}

/// How loud a note is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Something the user should look at.
    Warning,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Event {
    /// A plan is about to run.
    PlanStarted {
        /// `up`, `teardown`, `start`.
        operation: String,
        /// The cluster's name.
        cluster: String,
        /// Every step, in a valid order.
        steps: Vec<StepLine>,
    },
    /// A step began.
    StepStarted {
        /// Its id.
        id: String,
    },
    /// A step says where it is; the newest replaces the one before.
    StepProgress {
        /// Its id.
        id: String,
        /// What it waits for or does: `etcd is starting`.
        message: String,
        /// Done and total bytes, where known.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<(u64, u64)>,
    },
    /// A step ended.
    StepFinished {
        /// Its id.
        id: String,
        /// Wall-clock seconds since it started.
        seconds: f64,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// Undo of finished steps begins.
    UndoStarted {
        /// Why: the first error, or the interruption.
        reason: String,
        /// Ids of the steps to undo, in order.
        steps: Vec<String>,
    },
    /// One step was undone, or could not be.
    UndoFinished {
        /// Its id.
        id: String,
        /// Why it could not.
        error: Option<Error>,
    },
    /// The plan ended.
    PlanFinished {
        /// Steps that were done.
        done: usize,
        /// Wall-clock seconds of the whole plan.
        seconds: f64,
        /// Whether every step was done.
        ok: bool,
    },
    /// A line for people, outside any step.
    Note {
        /// How loud.
        level: Level,
        /// The text; a sentence fragment without full stop.
        message: String,
    },
}

/// The sending end of the event stream; cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub struct Events(mpsc::UnboundedSender<Event>);

impl Events {
    /// A stream and the end that reads it.
    pub fn channel() -> (Events, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Events(sender), receiver)
    }

    /// Sends one event; a reader that went away is no error.
    pub fn send(&self, event: Event) {
        let _gone = self.0.send(event);
    }

    /// An informational note.
    pub fn info(&self, message: impl Into<String>) {
        self.send(Event::Note { level: Level::Info, message: message.into() });
    }

    /// A warning.
    pub fn warn(&self, message: impl Into<String>) {
        self.send(Event::Note { level: Level::Warning, message: message.into() });
    }

    /// Progress of one step.
    pub fn progress(&self, id: &str, message: impl Into<String>) {
        self.send(Event::StepProgress { id: id.to_owned(), message: message.into(), bytes: None });
    }
}
