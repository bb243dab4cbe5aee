//! What a script in the pod says, and its programs: words of ours, and lines of theirs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Error;
use crate::report::format;

/// Lines of its programs that an error shows.
const LAST_WORDS: usize = 3;

/// Begins the lines of our own scripts.
const OURS: &str = "pipe: ";

/// Ends what stands before the age of an error, in seconds.
const AGE: &[char] = &['s', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

/// What was said so far, as far as it matters.
#[derive(Debug)]
pub(super) struct Words {
    /// The last lines of its programs.
    said: VecDeque<String>,
    /// What the script named as its end.
    fault: Option<String>,
    /// The last word of the script, and of its programs.
    last: [String; 2],
    /// Since when both are the same.
    since: Instant,
}

/// Why a script ended before it was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    why: String,
    hint: Option<&'static str>,
}

impl Words {
    pub(super) fn new() -> Words {
        let (said, last, since) = (VecDeque::new(), Default::default(), Instant::now());
        Words { said, fault: None, last, since }
    }

    /// Takes a line of standard error.
    pub(super) fn note(&mut self, line: &str) {
        let [ours, theirs] = &mut self.last;
        let (last, at) = match word(line) {
            Some(("fault", rest)) => {
                self.fault = Some(rest.to_owned());
                return;
            }
            Some(_) => (ours, line),
            None if line.is_empty() => return,
            None => {
                if self.said.len() == LAST_WORDS {
                    self.said.pop_front();
                }
                self.said.push_back(line.to_owned());
                // The age of an error grows while nothing else does.
                (theirs, line.split(" ago.").next().unwrap_or_default().trim_end_matches(AGE))
            }
        };
        if last != at {
            *last = at.to_owned();
            self.moved();
        }
    }

    /// Something else than words came.
    pub(super) fn moved(&mut self) {
        self.since = Instant::now();
    }

    /// How long nothing new was said.
    pub(super) fn still(&self) -> Duration {
        self.since.elapsed()
    }

    /// What it is at.
    pub(super) fn last(&self) -> &str {
        self.said.back().map(String::as_str).unwrap_or_default()
    }

    /// Why the script ended with `code`.
    pub(super) fn failure(&self, code: i32) -> Failure {
        let said: Vec<&str> = self.said.iter().map(String::as_str).collect();
        Failure::of(self.fault.as_deref().unwrap_or_default(), code, &said.join("; "))
    }
}

impl Failure {
    /// `fault` is what the script named.
    fn of(fault: &str, code: i32, said: &str) -> Failure {
        let mut words = fault.split(' ');
        let word = words.next().unwrap_or_default();
        let mut size = || {
            let kibibytes = words.next().and_then(|word| word.parse::<u64>().ok());
            format::bytes(kibibytes.unwrap_or_default().saturating_mul(1024))
        };
        let why = match word {
            "full" => {
                let (free, needed) = (size(), size());
                let why = format!("its node's disk has {free} left, and {needed} must be");
                let hint = Some("free some disk space, then run the command again");
                return Failure { why, hint };
            }
            "agent" => "backup_agent ended in the middle".to_owned(),
            "archive" => "the archive broke off on the way".to_owned(),
            "folder" => "its pod has no folder to write to".to_owned(),
            "empty" => "fdbbackup wrote nothing, it was ended from elsewhere".to_owned(),
            "unusable" => "fdbrestore cannot use the backup".to_owned(),
            "clear" => "the database could not be emptied".to_owned(),
            "program" => "the database's own program gave up".to_owned(),
            _ => format!("the script in its pod ended with code {code}"),
        };
        let why = if said.is_empty() { why } else { format!("{why}: {said}") };
        Failure { why, hint: None }
    }

    /// The error that `of` makes of the reason.
    pub(super) fn error(self, of: impl FnOnce(String) -> Error) -> Error {
        let error = of(self.why);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// A word of our own scripts, and what stands behind it.
pub(super) fn word(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix(OURS)?;
    Some(line.split_once(' ').unwrap_or((line, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_lines_of_programs() {
        assert_eq!(word("pipe: full 3 4"), Some(("full", "3 4")));
        assert_eq!(word("pipe: send"), Some(("send", "")));
        assert_eq!(word("ERROR: Backup error"), None);
    }

    #[test]
    fn each_failure_says_what_its_program_said() {
        let why = |fault: &str, said: &str| Failure::of(fault, 1, said).why;
        assert_eq!(
            why("full 2048 65536", "x"),
            "its node's disk has 2.0 MiB left, and 64.0 MiB must be"
        );
        assert!(Failure::of("full", 1, "").hint.is_some(), "whatever it could count");
        assert_eq!(
            why(
                "program",
                "ERROR: A backup is already running on tag `pipe'; Fatal Error: Backup error"
            ),
            "the database's own program gave up: ERROR: A backup is already running on tag `pipe'; \
             Fatal Error: Backup error"
        );
        assert_eq!(why("agent", ""), "backup_agent ended in the middle");
        assert_eq!(why("", ""), "the script in its pod ended with code 1");
    }

    #[test]
    fn what_only_grows_older_does_not_move() {
        let mut words = Words::new();
        let progress = |bytes: u32, age: u32| {
            format!("Tag: pipe  BytesWritten: {bytes}  LastError: 'Input/output error' {age}s ago.")
        };
        let mut moves = |line: &str| {
            let before = words.since;
            words.note(line);
            words.since != before
        };
        assert!(moves("pipe: at 4") && moves(&progress(10, 1)));
        assert!(!moves("pipe: at 4") && !moves(&progress(10, 2)) && !moves(&progress(10, 31)));
        assert!(moves("pipe: at 8") && moves(&progress(12, 32)));
        moves("");
        assert_eq!(words.last(), progress(12, 32));
        let failure = words.failure(1);
        assert_eq!(
            failure,
            Failure::of("", 1, &[progress(10, 2), progress(10, 31), progress(12, 32)].join("; "))
        );
    }
}
