//! The name of one backup: when it began, and something that tells it from another of that second.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `20261122T020000Z-1a2b3c4d`; names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

/// Of the time in an id.
const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Digits behind the time.
const UNIQUE: usize = 8;

impl BackupId {
    /// A backup that begins now.
    pub fn new(now: Timestamp) -> BackupId {
        BackupId::with(now, rand::random::<u32>())
    }

    /// The same, with a number of the caller's choice.
    pub fn with(now: Timestamp, unique: u32) -> BackupId {
        BackupId(format!("{}-{unique:08x}", now.strftime(FORMAT)))
    }

    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<BackupId, String> {
        let fault = || format!("{text:?} is no name of a backup such as 20261122T020000Z-1a2b3c4d");
        let (time, unique) = text.split_once('-').ok_or_else(fault)?;
        let digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        let parsed = jiff::fmt::strtime::parse(FORMAT, time).and_then(|time| time.to_datetime());
        let whole = time.len() == "20261122T020000Z".len();
        if !whole || parsed.is_err() || unique.len() != UNIQUE || !unique.chars().all(digit) {
            return Err(fault());
        }
        Ok(BackupId(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BackupId {
    type Error = String;

    fn try_from(text: String) -> Result<BackupId, String> {
        BackupId::parse(&text)
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> String {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_times_and_sort_by_them() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let one = BackupId::with(at("2026-11-22T02:00:00Z"), 0xffff_ffff);
        let next = BackupId::with(at("2026-11-22T02:00:01Z"), 1);
        assert_eq!(one.as_str(), "20261122T020000Z-ffffffff");
        assert!(one < next);
        assert_eq!(BackupId::parse(next.as_str()), Ok(next));
    }

    #[test]
    fn nothing_else_is_a_name() {
        for bad in [
            "",
            "..",
            "20261122T020000Z",
            "20261122T020000Z-1A2B3C4D",
            "20261122T020000Z-1a2b3c4",
            "20261322T020000Z-1a2b3c4d",
            "20261122T020000Z-1a2b3c4d/..",
            "2026112T020000Z-1a2b3c4d",
            "lost+found",
        ] {
            assert!(BackupId::parse(bad).is_err(), "{bad}");
        }
    }
}
