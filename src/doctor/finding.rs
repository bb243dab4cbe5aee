//! One finding: what, on which evidence, and what to do.

use serde::Serialize;

use super::codes::Code;
use crate::{Error, Kind};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A cluster cannot be made here.
    Error,
    /// It can, and something may fail later.
    Warning,
    /// Worth knowing.
    Info,
    /// As it should be.
    Ok,
}

impl Severity {
    /// As reports show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
            Severity::Ok => "ok",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name, listed in `docs/doctor.md`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Which part of the host it is about.
    pub topic: &'static str,
    /// What was found, with the object's name in it.
    pub what: String,
    /// The value seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// The value needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<String>,
    /// What to do, each a command that can be pasted or one sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<String>,
}

impl Finding {
    /// A finding of `code`.
    pub fn new(code: Code, what: impl Into<String>) -> Finding {
        Finding {
            code: code.name,
            severity: code.severity,
            topic: code.topic,
            what: what.into(),
            seen: None,
            needed: None,
            remedies: Vec::new(),
        }
    }

    /// The value seen.
    #[must_use]
    pub fn seen(mut self, seen: impl Into<String>) -> Finding {
        self.seen = Some(seen.into());
        self
    }

    /// The value needed.
    #[must_use]
    pub fn needed(mut self, needed: impl Into<String>) -> Finding {
        self.needed = Some(needed.into());
        self
    }

    /// Adds something to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Finding {
        self.remedies.push(remedy.into());
        self
    }

    /// `what [code]`.
    pub fn line(&self) -> String {
        format!("{} [{}]", self.what, self.code)
    }

    /// The evidence in one line: `9.1 GB, and 5.5 GB are needed`.
    pub fn evidence(&self) -> Option<String> {
        match (&self.seen, &self.needed) {
            (Some(seen), Some(needed)) => Some(format!("{seen}; needed: {needed}")),
            (Some(one), None) => Some(one.clone()),
            (None, Some(one)) => Some(format!("needed: {one}")),
            (None, None) => None,
        }
    }

    /// What a plan says of one that stands in the way, in one line.
    pub fn forecast(&self) -> Option<String> {
        let stands = self.severity == Severity::Error;
        let evidence = self.evidence().map(|evidence| format!(" ({evidence})")).unwrap_or_default();
        let remedies = self.remedies.join("; ").replace('\n', "; ");
        stands.then(|| format!("up will refuse: {}{evidence}: {remedies}", self.line()))
    }

    /// This finding alone as the error of a command.
    pub fn to_error(&self) -> Error {
        let error = Error::new(Kind::Host, self.code, &self.what);
        let error = self.evidence().into_iter().fold(error, Error::because);
        self.remedies.iter().fold(error, |error, remedy| error.hint(remedy))
    }

    /// This finding as one cause of an error that has several.
    pub(super) fn add_to(&self, error: Error) -> Error {
        let evidence = self.evidence().map(|evidence| format!("\n{evidence}")).unwrap_or_default();
        let error = error.because(format!("{}{evidence}", self.line()));
        // Several of a kind have the same remedies.
        let fresh = |error: Error, remedy: &String| match error.hints.contains(remedy) {
            true => error,
            false => error.hint(remedy),
        };
        self.remedies.iter().fold(error, fresh)
    }
}
