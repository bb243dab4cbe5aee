//! Names of buckets: what every S3 store takes.

use std::fmt;

use serde::Serialize;

/// Shortest and longest name.
const LEAST: usize = 3;
const MOST: usize = 63;

/// A bucket of an S3 store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct BucketName(String);

impl BucketName {
    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<BucketName, String> {
        let usable = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.');
        let outer = |c: char| matches!(c, 'a'..='z' | '0'..='9');
        let fault = if !(LEAST..=MOST).contains(&text.len()) {
            format!("has {} characters, not {LEAST} to {MOST}", text.len())
        } else if let Some(c) = text.chars().find(|c| !usable(*c)) {
            format!("contains {c:?}; only a-z, 0-9, '-' and '.' may stand in it")
        } else if !text.starts_with(outer) || !text.ends_with(outer) {
            "starts or ends with '-' or '.'".to_owned()
        } else if text.contains("..") || text.parse::<std::net::Ipv4Addr>().is_ok() {
            "has two dots together, or is an IP address".to_owned()
        } else {
            return Ok(BucketName(text.to_owned()));
        };
        Err(format!("{text:?} {fault}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_every_store_takes() {
        let longest = "a".repeat(63);
        for good in ["abc", "backups", "a-b.c9", "2026", longest.as_str()] {
            assert_eq!(BucketName::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(64);
        for bad in
            ["", "ab", "Abc", "a_b_c", "-ab", "ab.", "a..b", "10.0.0.1", "ü-b", long.as_str()]
        {
            assert!(BucketName::parse(bad).unwrap_err().contains(bad), "{bad}");
        }
    }
}
