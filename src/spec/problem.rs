//! What is wrong with the user's files: every fault, with its place and its remedy.

use std::cell::RefCell;
use std::fmt;

use crate::{Error, Kind};

/// Longest text of one problem, in characters; a file may hold a name of a megabyte.
const TEXT_MAX: usize = 400;

/// Most problems listed in one error; a broken file may hold a hundred thousand.
const LISTED_MAX: usize = 100;

/// A place in a file, counted from 1 as editors do; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// One fault in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user knows it: `clusters/dev.yaml`.
    pub file: String,
    /// Where in it; none where the file as a whole is meant.
    pub at: Option<Position>,
    /// What is wrong: `unknown key "rol"`.
    pub what: String,
    /// What to write instead: `did you mean "role"?`.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(at) = self.at {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        write!(f, ": {}: {}", self.what, self.remedy)
    }
}

/// Every problem found so far. Shared by all readers of one load, so adding needs no `&mut`.
#[derive(Debug, Default)]
pub struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// Notes a problem; over-long texts are cut.
    pub fn add(
        &self,
        file: &str,
        at: Option<Position>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.borrow_mut().push(Problem {
            file: file.to_owned(),
            at,
            what: shortened(what.into()),
            remedy: shortened(remedy.into()),
        });
    }

    /// Every problem, in the order they were found.
    pub fn into_inner(self) -> Vec<Problem> {
        self.0.into_inner()
    }

    /// Nothing, or one [`Kind::Files`] error with a cause for each problem: files in the order they
    /// were read, problems in the order of their place.
    pub fn into_result(self) -> Result<(), Error> {
        let mut problems = self.0.into_inner();
        if problems.is_empty() {
            return Ok(());
        }
        let mut files: Vec<String> = Vec::new();
        for problem in &problems {
            if !files.contains(&problem.file) {
                files.push(problem.file.clone());
            }
        }
        problems.sort_by_key(|problem| {
            (files.iter().position(|file| *file == problem.file), problem.at)
        });
        let count = match problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        let mut error =
            Error::new(Kind::Files, "files-invalid", format!("{count} in {}", files.join(", ")));
        for problem in problems.iter().take(LISTED_MAX) {
            error = error.because(problem);
        }
        if let Some(unlisted) = problems.len().checked_sub(LISTED_MAX).filter(|more| *more > 0) {
            error = error.because(format!("and {unlisted} more"));
        }
        Err(error.hint("correct the files and run the command again; nothing was touched"))
    }
}

/// `text`, cut to [`TEXT_MAX`] characters, on one line.
fn shortened(text: String) -> String {
    let cut = text.char_indices().nth(TEXT_MAX).map(|(index, _)| index);
    let text = match cut.and_then(|index| text.get(..index)) {
        Some(start) => format!("{start}…"),
        None => text,
    };
    if text.contains(char::is_control) { text.escape_debug().to_string() } else { text }
}

/// The remedy for a word that is none of `known`: the nearest one, or all of them.
pub fn suggestion(word: &str, known: &[&str]) -> String {
    match (nearest(word, known), known) {
        (Some(near), _) => format!("did you mean {near:?}?"),
        (None, []) => "none is known here".to_owned(),
        (None, [only]) => format!("use {only}"),
        (None, _) => format!("use one of {}", known.join(", ")),
    }
}

/// The known word that `word` was probably meant to be.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A word this long was not mistyped, and the distance costs time in its length.
    if word.len() > 64 {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let word = plain(word);
    let allowed = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|candidate| (distance(&word, &plain(candidate)), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: a character put in, left out, changed, or swapped with its neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (line, from) in left.iter().enumerate() {
        let mut row = vec![line + 1];
        for (column, to) in right.iter().enumerate() {
            let above = &rows[line];
            let mut best = (above[column] + usize::from(from != to))
                .min(above[column + 1] + 1)
                .min(row[column] + 1);
            if line > 0 && column > 0 && left[line - 1] == *to && right[column - 1] == *from {
                best = best.min(rows[line - 1][column - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Option<Position> {
        Some(Position { line, column })
    }

    #[test]
    fn one_error_lists_every_problem_in_order() {
        let problems = Problems::default();
        problems.add("clusters/dev.yaml", at(9, 1), "later", "fix it");
        problems.add("profiles/laptop.yaml", at(1, 1), "other file", "fix it");
        problems.add(
            "clusters/dev.yaml",
            at(7, 12),
            "unknown key \"rol\"",
            "did you mean \"role\"?",
        );
        let error = problems.into_result().unwrap_err();
        assert_eq!(error.kind, Kind::Files);
        insta::assert_snapshot!(error.causes.join("\n"), @r#"
        clusters/dev.yaml:7:12: unknown key "rol": did you mean "role"?
        clusters/dev.yaml:9:1: later: fix it
        profiles/laptop.yaml:1:1: other file: fix it
        "#);
        assert_eq!(error.what, "3 problems in clusters/dev.yaml, profiles/laptop.yaml");
    }

    #[test]
    fn a_flood_is_cut() {
        let problems = Problems::default();
        for line in 0..500 {
            problems.add("f", at(line, 1), "x".repeat(10_000), "y");
        }
        let error = problems.into_result().unwrap_err();
        assert_eq!(error.causes.len(), LISTED_MAX + 1);
        assert_eq!(error.causes.last().unwrap(), "and 400 more");
        assert!(error.causes.iter().all(|cause| cause.chars().count() < TEXT_MAX + 50));
    }

    #[test]
    fn suggests_the_nearest_word_or_lists_all() {
        let known = ["role", "zone", "controlPlane"];
        assert_eq!(suggestion("rol", &known), "did you mean \"role\"?");
        assert_eq!(suggestion("control_plane", &known), "did you mean \"controlPlane\"?");
        assert_eq!(suggestion("flavour", &known), "use one of role, zone, controlPlane");
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("nmae", "name"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }
}
