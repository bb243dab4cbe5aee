//! What a backup says of itself: `manifest.json`, written last. Where it is missing there is no backup,
//! only files; where a single byte of it is not as it was written, neither.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{BackupId, Driver, clickhouse, cql, fdb, nats, s3};
use crate::digest::hex;
use crate::spec::{ClusterName, ComponentName};
use crate::state::version;
use crate::{Error, Result};

/// The file's name; its presence makes a backup one.
pub const NAME: &str = "manifest.json";

/// Version of the form that this `pipe` writes and reads up to.
pub const SCHEMA: u32 = 1;

/// The key under which the hash of all others stands.
const CHECKSUM: &str = "checksum";

/// One whole backup of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`] of whoever wrote it.
    pub schema: u32,
    /// Its name.
    pub id: BackupId,
    /// The version of `pipe` that made it.
    pub pipe: String,
    /// Whose data it is.
    pub cluster: ClusterName,
    /// Which component's.
    pub component: ComponentName,
    /// The service by its own account.
    pub product: String,
    /// When the first byte was asked for.
    pub started: Timestamp,
    /// When the last one was stored.
    pub finished: Timestamp,
    /// What is in the files, in the driver's own words.
    pub contents: Contents,
    /// What of the component's data is in no file, and why.
    pub left_out: Vec<String>,
    /// Every file beside this one.
    pub files: Vec<File>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// In the backup's folder; see [`is_file_name`].
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// What is in a backup, as its driver needs it to put it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "lowercase")]
pub enum Contents {
    /// Databases and tables.
    ClickHouse(clickhouse::Contents),
    /// Keyspaces.
    Cql(cql::Contents),
    /// Every key.
    Fdb(fdb::Contents),
    /// Streams.
    Nats(nats::Contents),
    /// Buckets.
    S3(s3::Contents),
}

impl Contents {
    /// Whose words these are.
    pub const fn driver(&self) -> Driver {
        match self {
            Contents::ClickHouse(_) => Driver::ClickHouse,
            Contents::Cql(_) => Driver::Cql,
            Contents::Fdb(_) => Driver::Fdb,
            Contents::Nats(_) => Driver::Nats,
            Contents::S3(_) => Driver::S3,
        }
    }

    /// For people: `2 buckets, 14 objects`.
    pub fn summary(&self) -> String {
        match self {
            Contents::ClickHouse(contents) => contents.summary(),
            Contents::Cql(contents) => contents.summary(),
            Contents::Fdb(contents) => contents.summary(),
            Contents::Nats(contents) => contents.summary(),
            Contents::S3(contents) => contents.summary(),
        }
    }

    /// The files that it speaks of.
    fn files(&self) -> Vec<&str> {
        match self {
            Contents::ClickHouse(contents) => contents.files(),
            Contents::Cql(contents) => contents.files(),
            Contents::Fdb(contents) => contents.files(),
            Contents::Nats(contents) => contents.files(),
            Contents::S3(contents) => contents.files(),
        }
    }
}

/// Whether `name` can be a file of a backup: nothing that leads out of its folder.
pub fn is_file_name(name: &str) -> bool {
    let usable = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.');
    !name.is_empty() && name.len() <= 64 && name.chars().all(usable) && !name.starts_with('.')
}

impl Manifest {
    /// Bytes in all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The file called `name`.
    pub fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The text of `manifest.json`.
    ///
    /// # Errors
    /// A defect of ours.
    pub fn to_text(&self) -> Result<String> {
        let unwritable = |error| Error::bug("a manifest cannot be written").because(error);
        let mut value = serde_json::to_value(self).map_err(unwritable)?;
        let checksum = checksum(&value).map_err(unwritable)?;
        if let Value::Object(fields) = &mut value {
            fields.insert(CHECKSUM.to_owned(), checksum.into());
        }
        let mut text = serde_json::to_string_pretty(&value).map_err(unwritable)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads `manifest.json`; `shown` is where it lies, for the error.
    ///
    /// # Errors
    /// `made-by-newer-pipe`, or `backup-damaged`: torn, changed, or not in agreement with itself.
    pub fn parse(text: &str, shown: &str) -> Result<Manifest> {
        let damaged = |why: String| {
            Error::failed("backup-damaged", format!("{shown} is damaged"))
                .because(why)
                .hint("use another backup: pipe backup list")
        };
        let mut value: Value = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        let schema = value.get("schema").and_then(Value::as_u64).unwrap_or_default();
        if schema > u64::from(SCHEMA) {
            let found = format!("its form is {schema}, this pipe reads up to {SCHEMA}");
            return Err(version::newer(format!("{shown} was written by a newer pipe"), found));
        }
        let said = value.as_object_mut().and_then(|fields| fields.remove(CHECKSUM));
        let is = checksum(&value).map_err(|e| damaged(e.to_string()))?;
        if said.as_ref().and_then(Value::as_str) != Some(&is) {
            return Err(damaged("it is not what was written: its checksum differs".to_owned()));
        }
        let manifest: Manifest =
            serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        match manifest.fault() {
            Some(fault) => Err(damaged(fault)),
            None => Ok(manifest),
        }
    }

    /// In what it contradicts itself.
    fn fault(&self) -> Option<String> {
        let hash = |text: &str| text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
        let mut names = std::collections::BTreeSet::new();
        for File { name, sha256, .. } in &self.files {
            if !is_file_name(name) || name == NAME || !names.insert(name.as_str()) {
                return Some(format!("{name:?} cannot be a file of a backup, or stands twice"));
            }
            if !hash(sha256) {
                return Some(format!("{name} has no hash"));
            }
        }
        let missing = self.contents.files().into_iter().find(|name| !names.contains(name));
        missing.map(|name| format!("it speaks of {name}, which is not among its files"))
    }
}

/// SHA-256 of a document's one form without spaces, keys in their order.
fn checksum(value: &Value) -> serde_json::Result<String> {
    Ok(hex(Sha256::digest(serde_json::to_vec(value)?).as_slice()))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A backup of a store with one bucket.
    pub(in crate::backup) fn manifest(files: Vec<File>) -> Manifest {
        let at: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let buckets = files
            .iter()
            .map(|file| s3::Bucket {
                name: "artifacts".into(),
                versioning: crate::world::s3::Versioning::Off,
                objects: 1,
                file: file.name.clone(),
            })
            .collect();
        Manifest {
            schema: SCHEMA,
            id: BackupId::with(at, 7),
            pipe: "0.1.0".into(),
            cluster: ClusterName::parse("dev").unwrap(),
            component: ComponentName::parse("minio").unwrap(),
            product: "MinIO".into(),
            started: at,
            finished: at + jiff::SignedDuration::from_secs(3),
            contents: Contents::S3(s3::Contents { buckets }),
            left_out: vec![],
            files,
        }
    }

    fn file(name: &str) -> File {
        File { name: name.into(), bytes: 3, sha256: "0a".repeat(32) }
    }

    #[test]
    fn the_form() {
        insta::assert_snapshot!(manifest(vec![file("0001.tar")]).to_text().unwrap());
    }

    #[test]
    fn what_is_written_is_read() {
        for files in [vec![], vec![file("0001.tar"), file("0002.tar")]] {
            let manifest = manifest(files);
            let text = manifest.to_text().unwrap();
            assert_eq!(Manifest::parse(&text, "x").unwrap(), manifest);
        }
    }

    #[test]
    fn contradictions_and_newer_forms_are_refused() {
        let refused = |manifest: &Manifest| {
            let error = Manifest::parse(&manifest.to_text().unwrap(), "x/manifest.json");
            error.unwrap_err().to_string()
        };
        for name in ["../passwd", ".hidden", "a/b", "", "manifest.json", "A"] {
            assert!(refused(&manifest(vec![file(name)])).contains("cannot be a file"), "{name}");
        }
        let twice = manifest(vec![file("a"), file("a")]);
        assert!(refused(&twice).contains("stands twice"));
        let mut lacks = manifest(vec![file("a")]);
        lacks.files.clear();
        assert!(refused(&lacks).contains("speaks of a, which is not among"));
        let mut newer = manifest(vec![]);
        newer.schema = SCHEMA + 1;
        let error = Manifest::parse(&newer.to_text().unwrap(), "x").unwrap_err();
        assert_eq!(error.code, "made-by-newer-pipe");
    }

    proptest! {
        /// No change of a single byte, and no cut, leaves a manifest that is believed and differs.
        #[test]
        fn changed_manifests_are_never_believed(at in 0usize..1200, byte in any::<u8>(), cut: bool) {
            let whole = manifest(vec![file("0001.tar")]);
            let mut bytes = whole.to_text().unwrap().into_bytes();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let text = String::from_utf8_lossy(&bytes);
            if let Ok(read) = Manifest::parse(&text, "x") {
                prop_assert_eq!(read, whole);
            }
        }
    }
}
