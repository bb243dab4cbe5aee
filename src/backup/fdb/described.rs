//! What `fdbbackup describe --json` says of what was written (`BackupDescription::toJSON` in
//! `fdbclient/BackupContainer.actor.cpp` of FoundationDB 7.3).

use serde::Deserialize;

/// What is needed of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// The latest version that it can bring back.
    pub(super) version: u64,
    /// Of keys and values.
    pub(super) bytes: u64,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Restorable", default)]
    restorable: bool,
    #[serde(rename = "Partitioned", default)]
    partitioned: bool,
    #[serde(rename = "MaxRestorablePoint")]
    latest: Option<Point>,
    #[serde(rename = "TotalSnapshotBytes", default)]
    bytes: u64,
}

#[derive(Deserialize)]
struct Point {
    #[serde(rename = "Version")]
    version: u64,
}

impl Described {
    /// Reads the document; one of something that cannot be restored is refused.
    pub(super) fn parse(text: &str) -> Result<Described, String> {
        let document: Document = serde_json::from_str(text)
            .map_err(|error| format!("what fdbbackup says of it cannot be read: {error}"))?;
        match document {
            Document { restorable: true, partitioned: false, latest: Some(point), bytes } => {
                Ok(Described { version: point.version, bytes })
            }
            // An agent elsewhere writes what is asked of it to a disk of its own.
            _ => Err("what fdbbackup wrote cannot be restored: it was ended from elsewhere, or \
                      another backup_agent has part of it"
                .to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(restorable: bool, point: &str) -> Result<Described, String> {
        Described::parse(&format!(
            r#"{{"SchemaVersion":"1.0.0","URL":"file:///tmp/pipe-backup/backup-2026-11-22-02-00-00.123456/",
            "Restorable":{restorable},"Partitioned":false,"FileLevelEncryption":false,
            "Snapshots":[{{"Start":{{"Version":990,"RelativeDays":-1.2e-07}},"Restorable":true,
            "TotalBytes":348,"PercentageExpired":0}}],"TotalSnapshotBytes":348{point}}}"#
        ))
    }

    #[test]
    fn only_what_can_be_restored_is_a_backup() {
        let point = r#","MaxRestorablePoint":{"Version":123456789,"RelativeDays":-1e-05}"#;
        assert_eq!(described(true, point), Ok(Described { version: 123_456_789, bytes: 348 }));
        for broken in [described(false, point), described(true, "")] {
            assert!(broken.unwrap_err().contains("cannot be restored"));
        }
        assert!(Described::parse("ERROR: File not found").unwrap_err().contains("cannot be read"));
    }
}
