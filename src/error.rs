//! The one error that reaches the user: what failed, where, why, and what to do now.

use std::fmt;

/// What class of failure this is; decides the exit code and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The thing asked for failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// A file the user wrote is invalid.
    Files,
    /// This host cannot do it: engine, disk, port, kernel.
    Host,
    /// A smoke check failed; nothing was undone for it.
    Smoke,
    /// A wait reached its deadline.
    TimedOut,
    /// A signature was refused.
    Signature,
    /// A defect in `pipe` itself.
    Bug,
    /// The user interrupted.
    Interrupted,
}

impl Kind {
    /// The process exit code, a documented contract (README, "Exit codes").
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Files => 3,
            Kind::Host => 4,
            Kind::Smoke => 5,
            Kind::TimedOut => 6,
            Kind::Signature => 7,
            Kind::Bug => 70,
            Kind::Interrupted => 130,
        }
    }
}

/// A failure with everything a user needs to act on it.
///
/// `what` is a lower-case fragment that says what did not happen: `node dev-worker did not become
/// Ready within 180 s`. Causes go from near to far; hints are imperative sentences.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Error {
    /// The class, which decides the exit code.
    pub kind: Kind,
    /// Stable, greppable name of the failure, such as `engine-unreachable`.
    pub code: &'static str,
    /// What failed, with the object's name in it.
    pub what: String,
    /// Why, nearest cause first; each may span lines (program output).
    pub causes: Vec<String>,
    /// What to do now.
    pub hints: Vec<String>,
}

/// Shorthand used throughout the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error of `kind`; `code` is its stable name.
    pub fn new(kind: Kind, code: &'static str, what: impl Into<String>) -> Error {
        Error { kind, code, what: what.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// [`Kind::Failed`].
    pub fn failed(code: &'static str, what: impl Into<String>) -> Error {
        Error::new(Kind::Failed, code, what)
    }

    /// [`Kind::Usage`].
    pub fn usage(code: &'static str, what: impl Into<String>) -> Error {
        Error::new(Kind::Usage, code, what)
    }

    /// [`Kind::Host`].
    pub fn host(code: &'static str, what: impl Into<String>) -> Error {
        Error::new(Kind::Host, code, what)
    }

    /// [`Kind::TimedOut`].
    pub fn timed_out(code: &'static str, what: impl Into<String>) -> Error {
        Error::new(Kind::TimedOut, code, what)
    }

    /// [`Kind::Bug`]: an invariant of ours did not hold.
    pub fn bug(what: impl Into<String>) -> Error {
        Error::new(Kind::Bug, "bug", what)
            .hint("this is a defect in pipe; please report it with the command that showed it")
    }

    /// [`Kind::Interrupted`]: the user asked to stop.
    pub fn interrupted() -> Error {
        Error::new(Kind::Interrupted, "interrupted", "interrupted")
    }

    /// Adds the next cause down the chain.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Error {
        let cause = cause.to_string();
        if !cause.trim().is_empty() {
            self.causes.push(cause.trim_end().to_owned());
        }
        self
    }

    /// Adds a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
