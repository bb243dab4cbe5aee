//! Secrets never leave through the report.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::event::{Event, Outcome, StepLine};
use crate::Error;

/// What stands in place of a secret.
const HIDDEN: &str = "•••";

/// Shorter strings are not hidden: they occur by chance and would garble every line.
const SHORTEST: usize = 4;

/// A growing set of secrets to hide; clones share the set.
#[derive(Clone, Default)]
pub struct Mask(Arc<RwLock<Vec<String>>>);

impl Mask {
    /// Hides `secret` from now on, as it is and in base64 (as Kubernetes shows it). Strings of
    /// fewer than four characters are ignored.
    pub fn add(&self, secret: &str) {
        if secret.chars().count() < SHORTEST {
            return;
        }
        let mut secrets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for text in [secret.to_owned(), BASE64_STANDARD.encode(secret)] {
            if !secrets.contains(&text) {
                secrets.push(text);
            }
        }
        // The longest first, or a secret that contains another would be hidden in part only.
        secrets.sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// A set of its own that begins with the same secrets.
    #[must_use]
    pub fn copy(&self) -> Mask {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        Mask(Arc::new(RwLock::new(secrets)))
    }

    /// `text` without secrets.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret.as_str()) {
                Cow::Owned(text.replace(secret.as_str(), HIDDEN))
            } else {
                text
            }
        })
    }

    /// `error` without secrets.
    pub fn error(&self, error: &Error) -> Error {
        Error {
            kind: error.kind,
            code: error.code,
            what: self.owned(&error.what),
            causes: error.causes.iter().map(|cause| self.owned(cause)).collect(),
            hints: error.hints.iter().map(|hint| self.owned(hint)).collect(),
        }
    }

    /// `event` without secrets. Ids are names of ours and stay.
    pub fn event(&self, event: Event) -> Event {
        match event {
            Event::PlanStarted { operation, cluster, steps } => {
                let hide = |step: StepLine| StepLine { title: self.owned(&step.title), ..step };
                Event::PlanStarted {
                    operation,
                    cluster,
                    steps: steps.into_iter().map(hide).collect(),
                }
            }
            Event::StepProgress { id, message, bytes } => {
                Event::StepProgress { id, message: self.owned(&message), bytes }
            }
            Event::StepFinished { id, seconds, outcome } => {
                let outcome = match outcome {
                    Outcome::Failed { error } => Outcome::Failed { error: self.error(&error) },
                    Outcome::Done | Outcome::Cancelled => outcome,
                };
                Event::StepFinished { id, seconds, outcome }
            }
            Event::UndoStarted { reason, steps } => {
                Event::UndoStarted { reason: self.owned(&reason), steps }
            }
            Event::UndoFinished { id, error } => {
                Event::UndoFinished { id, error: error.map(|error| self.error(&error)) }
            }
            Event::Note { level, message } => Event::Note { level, message: self.owned(&message) },
            Event::StepStarted { .. } | Event::PlanFinished { .. } => event,
        }
    }

    fn owned(&self, text: &str) -> String {
        self.apply(text).into_owned()
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_whole_secrets_and_their_base64() {
        let mask = Mask::default();
        mask.add("hunter2");
        mask.add("hunter2-longer");
        mask.add("abc");
        assert_eq!(mask.apply("pass hunter2-longer or hunter2, abc"), "pass ••• or •••, abc");
        assert_eq!(mask.apply("data: aHVudGVyMg=="), "data: •••");
        assert!(matches!(mask.apply("nothing here"), Cow::Borrowed(_)));
        assert_eq!(format!("{mask:?}"), "Mask");
    }

    #[test]
    fn reaches_every_text_of_every_event() {
        let mask = Mask::default();
        mask.add("hunter2");
        let text = || "a hunter2 b".to_owned();
        let error = || Error::failed("c", text()).because(text()).hint(text());
        let events = [
            Event::PlanStarted {
                operation: "up".into(),
                cluster: "dev".into(),
                steps: vec![StepLine { id: "a".into(), title: text() }],
            },
            Event::StepProgress { id: "a".into(), message: text(), bytes: None },
            Event::StepFinished {
                id: "a".into(),
                seconds: 1.0,
                outcome: Outcome::Failed { error: error() },
            },
            Event::UndoStarted { reason: text(), steps: vec![] },
            Event::UndoFinished { id: "a".into(), error: Some(error()) },
            Event::Note { level: super::super::Level::Info, message: text() },
        ];
        for event in events {
            let line = serde_json::to_string(&mask.event(event)).unwrap();
            assert!(line.contains("•••") && !line.contains("hunter2"), "{line}");
        }
    }
}
