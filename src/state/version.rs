//! Versions of what outlives a process: stored files and the labels of a cluster.
//!
//! A form that this `pipe` does not know is refused before anything is touched: writing it back
//! would lose what a newer `pipe` keeps there. What older ones wrote must stay readable.

use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result};

/// Code of everything that a newer `pipe` left.
pub const NEWER: &str = "made-by-newer-pipe";

/// The version of a stored form; every other field is its own affair.
#[derive(Deserialize)]
struct Form {
    schema: u32,
}

/// Refuses `text`, the content of `path`, if its form is newer than `known`. Text without a version
/// is broken, which its reader says.
pub(super) fn check(path: &Path, text: &str, known: u32) -> Result<()> {
    match serde_json::from_str::<Form>(text) {
        Ok(form) if form.schema > known => {
            let found = format!("its form is {}, this pipe reads up to {known}", form.schema);
            Err(newer(format!("{} was written by a newer pipe", path.display()), found))
        }
        _ => Ok(()),
    }
}

/// The error of everything that a newer `pipe` left; `why` names the two versions.
pub fn newer(what: impl Into<String>, why: impl std::fmt::Display) -> Error {
    Error::failed(NEWER, what).because(why).hint(format!(
        "update pipe (this is {}), then run the command again",
        env!("CARGO_PKG_VERSION")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_newer_forms_are_refused_here() {
        let path = Path::new("/state/reservation.json");
        for text in [r#"{"schema": 1, "a": 2}"#, r#"{"schema": 0}"#, "{", "[]", r#"{"a": 1}"#] {
            check(path, text, 1).unwrap();
        }
        let error = check(path, r#"{"schema": 2, "form": "unknown"}"#, 1).unwrap_err();
        assert_eq!((error.kind, error.code), (crate::Kind::Failed, "made-by-newer-pipe"));
        assert!(error.what.contains("reservation.json") && error.hints[0].contains("update pipe"));
    }
}
