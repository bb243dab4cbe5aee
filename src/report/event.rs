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
        /// `up`, `teardown`.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A plan that goes wrong, as (seconds, event); every kind of event is in it.
    pub(crate) fn script() -> Vec<(f64, Event)> {
        let steps = [
            ("network", "make the network"),
            ("volume/core", "make the volume of core"),
            ("image/nats", "import the image nats-2.15.2"),
            ("boot/core", "boot node core"),
            ("join/edge", "join node edge"),
            ("install/nats", "install nats"),
        ];
        let lines =
            steps.map(|(id, title)| StepLine { id: id.to_owned(), title: title.to_owned() }).into();
        let started = |id: &str| Event::StepStarted { id: id.to_owned() };
        let progress = |id: &str, message: &str, bytes| Event::StepProgress {
            id: id.to_owned(),
            message: message.to_owned(),
            bytes,
        };
        let finished = |id: &str, seconds, outcome| Event::StepFinished {
            id: id.to_owned(),
            seconds,
            outcome,
        };
        let error = Error::timed_out("node-not-ready", "node edge never became ready")
            .because("kubelet: not found\nsecond line")
            .hint("run pipe doctor");
        let undone = |id: &str, error| Event::UndoFinished { id: id.to_owned(), error };
        vec![
            (
                0.0,
                Event::PlanStarted { operation: "up".into(), cluster: "dev".into(), steps: lines },
            ),
            (0.0, started("network")),
            (0.1, finished("network", 0.1, Outcome::Done)),
            (0.1, started("volume/core")),
            (0.3, finished("volume/core", 0.2, Outcome::Done)),
            (0.3, started("boot/core")),
            (0.3, started("image/nats")),
            (1.0, progress("image/nats", "reading", Some((1_500_000, 6_000_000)))),
            (
                1.5,
                Event::Note {
                    level: Level::Info,
                    message: "port 9000 is taken, using 40001".into(),
                },
            ),
            (2.0, progress("boot/core", "etcd is starting", None)),
            (2.5, progress("boot/core", "the API server is starting", None)),
            (3.0, progress("image/nats", "reading", Some((4_500_000, 6_000_000)))),
            (4.2, finished("image/nats", 3.9, Outcome::Done)),
            (12.0, progress("boot/core", "the API server is starting", None)),
            (14.0, finished("boot/core", 13.7, Outcome::Done)),
            (14.0, started("join/edge")),
            (75.0, finished("join/edge", 61.0, Outcome::Failed { error })),
            (75.0, finished("install/nats", 0.0, Outcome::Cancelled)),
            (
                75.0,
                Event::UndoStarted {
                    reason: "node edge never became ready".into(),
                    steps: vec!["boot/core".into(), "network".into()],
                },
            ),
            (76.0, undone("boot/core", None)),
            (76.5, undone("network", Some(Error::failed("network-busy", "the network is in use")))),
            (
                76.5,
                Event::Note { level: Level::Warning, message: "the network kind was left".into() },
            ),
            (76.6, Event::PlanFinished { done: 4, seconds: 76.6, ok: false }),
        ]
    }
}
