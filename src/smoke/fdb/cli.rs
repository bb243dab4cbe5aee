//! What `fdbcli` says, as it prints it (`fdbcli/fdbcli.actor.cpp` of FoundationDB 7.3).

use crate::world::kube::Said;

/// Longest piece of an answer that a report shows.
const BRIEF: usize = 300;

/// Everything that one run said. Errors go to standard error, and so do warnings.
#[derive(Debug)]
pub(crate) struct Answer {
    stdout: String,
    text: String,
}

impl Answer {
    /// An answer that was cut off by the time limit is none.
    pub(crate) fn of(said: Said) -> Result<Answer, String> {
        let text = format!("{}\n{}", said.stdout.trim(), said.stderr.trim());
        let answer = Answer { text: text.trim().to_owned(), stdout: said.stdout };
        match answer.text.contains("Specified timeout reached") {
            true => Err(format!("fdbcli gave up: {}", answer.brief())),
            false if answer.text.is_empty() => {
                Err(format!("fdbcli said nothing and ended with code {}", said.code))
            }
            false => Ok(answer),
        }
    }

    /// Both streams.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Standard output alone: JSON, where that was asked for.
    pub(crate) fn stdout(&self) -> &str {
        &self.stdout
    }

    /// On one line, shortened.
    pub(crate) fn brief(&self) -> String {
        let words: Vec<&str> = self.text.split_whitespace().collect();
        let line = words.join(" ");
        match line.char_indices().nth(BRIEF) {
            Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
            None => line,
        }
    }

    /// `Committed (123)`: the version.
    pub(super) fn committed(&self) -> Option<u64> {
        let versions = self
            .lines()
            .filter_map(|line| line.strip_prefix("Committed (")?.strip_suffix(')')?.parse().ok());
        versions.last()
    }

    /// `getversion`: a line with a number alone.
    pub(super) fn read_version(&self) -> Option<u64> {
        self.lines().find_map(|line| line.parse().ok())
    }

    /// `ERROR: Key outside legal range (2004)`: the code.
    pub(super) fn error_code(&self) -> Option<u32> {
        self.lines().find_map(|line| {
            let (_, code) = line.strip_prefix("ERROR: ")?.rsplit_once('(')?;
            code.strip_suffix(')')?.parse().ok()
        })
    }

    /// The first line that says that something failed.
    pub(crate) fn error(&self) -> Option<&str> {
        self.lines().find(|line| line.starts_with("ERROR: "))
    }

    /// `getrangekeys`: `` `key' ``, in order.
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.lines().filter_map(|line| line.strip_prefix('`')?.strip_suffix('\'')).collect()
    }

    /// `` `key' is `value' ``, in order.
    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        let pair = |line: &'_ str| -> Option<(usize, usize)> {
            let rest = line.strip_prefix('`')?.strip_suffix('\'')?;
            let at = rest.find("' is `")?;
            Some((at, rest.len()))
        };
        self.lines()
            .filter_map(|line| {
                let (at, length) = pair(line)?;
                let rest = line.get(1..=length)?;
                Some((rest.get(..at)?, rest.get(at + "' is `".len()..)?))
            })
            .collect()
    }

    /// `` `key': not found ``.
    pub(super) fn is_not_found(&self, key: &str) -> bool {
        let wanted = format!("`{key}': not found");
        self.lines().any(|line| line == wanted)
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(str::trim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stdout: &str, stderr: &str) -> Answer {
        let said = Said { stdout: stdout.into(), stderr: stderr.into(), code: 0 };
        Answer::of(said).unwrap()
    }

    // The shapes are those that FoundationDB's own test of fdbcli expects: fdbcli/tests/fdbcli_tests.py
    // at release-7.3.

    #[test]
    fn a_transaction_is_read_from_its_words() {
        let said = answer(
            ">>> begin\nTransaction started\n>>> getversion\n2186\n>>> set key value\n>>> get key\n\
             `key' is `value'\n>>> commit\nCommitted (2190)\n",
            "",
        );
        assert_eq!((said.committed(), said.read_version()), (Some(2190), Some(2186)));
        assert_eq!(said.pairs(), [("key", "value")]);
        assert!(!said.is_not_found("key"));
        let range = answer("\nRange limited to 25 keys\n`a' is `1'\n`b' is `it's `2''\n\n", "");
        assert_eq!(range.pairs(), [("a", "1"), ("b", "it's `2'")]);
        assert_eq!(range.read_version(), None);
        assert!(answer("`key': not found", "").is_not_found("key"));
    }

    #[test]
    fn refusals_are_told_apart() {
        let refused = "ERROR: writemode must be enabled to set or clear keys in the database.";
        let said = answer("", refused);
        assert_eq!((said.committed(), said.error_code()), (None, None));
        assert_eq!(said.brief(), refused);
        let said = answer("", "ERROR: Key outside legal range (2004)\n");
        assert_eq!((said.committed(), said.error_code()), (None, Some(2004)));
    }

    #[test]
    fn silence_and_a_time_limit_are_no_answers() {
        let said = |stderr: &str, code| Said { stdout: "\n".into(), stderr: stderr.into(), code };
        let late = Answer::of(said("Specified timeout reached -- exiting...", 1)).unwrap_err();
        assert_eq!(late, "fdbcli gave up: Specified timeout reached -- exiting...");
        let silent = Answer::of(said("", 0)).unwrap_err();
        assert_eq!(silent, "fdbcli said nothing and ended with code 0");
    }

    #[test]
    fn a_long_answer_is_shortened_between_characters() {
        assert_eq!(answer(&"ü".repeat(400), "").brief().chars().count(), BRIEF + 1);
    }
}
