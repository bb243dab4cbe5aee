//! Backups of components' data, with each service's own means, and the way back.
//!
//! ```text
//! service ─ driver ─▶ Draft (files, hashed as they are written) ─ last of all ─▶ manifest.json
//!                       │                                                          │
//!                       └──────────────── Place: a folder, or a bucket ────────────┘
//!
//! manifest.json ─ every file read and its hash compared ─ what would be lost ─ driver ─▶ service
//! ```
//!
//! A driver is one file, listed in [`Driver`]. It reaches its service only through [`Target`], so it
//! works from the host and, with a Service's name, from within the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

mod clickhouse;
mod cql;
mod draft;
mod fdb;
mod feed;
pub mod id;
pub mod manifest;
mod nats;
mod pack;
pub mod place;
mod progress;
pub mod retention;
mod s3;
pub mod shelf;
pub mod verify;

pub use draft::Draft;
pub use id::BackupId;
pub use manifest::{Contents, Manifest};
pub use place::Place;
pub use progress::Progress;
pub use shelf::Shelf;

/// Every service that can be backed up; the word in a component file's `smoke.driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// ClickHouse over HTTP: tables with their definitions. Credentials: `username`, `password`.
    ClickHouse,
    /// ScyllaDB and Cassandra over CQL: keyspaces with their tables. Credentials: `username`,
    /// `password`.
    Cql,
    /// FoundationDB by its own programs in its pod. No credentials: there are none.
    Fdb,
    /// NATS with JetStream: streams with their consumers. Credentials: `username`, `password`.
    Nats,
    /// An S3 store: every bucket, with versions. Credentials: `accessKey`, `secretKey`.
    S3,
}

impl Driver {
    /// All drivers.
    pub const ALL: [Driver; 5] =
        [Driver::ClickHouse, Driver::Cql, Driver::Fdb, Driver::Nats, Driver::S3];

    /// The driver called `name`; `None` if there is none.
    pub fn parse(name: &str) -> Option<Driver> {
        Driver::ALL.into_iter().find(|driver| driver.as_str() == name)
    }

    /// Its name in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Driver::ClickHouse => "clickhouse",
            Driver::Cql => "cql",
            Driver::Fdb => "fdb",
            Driver::Nats => "nats",
            Driver::S3 => "s3",
        }
    }

    /// Whether it runs programs in the component's pod, and needs no port.
    pub const fn is_in_pod(self) -> bool {
        matches!(self, Driver::Fdb)
    }
}

/// Whose data it is, and how to reach it. Deliberately neither serialisable nor printable whole.
#[derive(Clone)]
pub struct Target {
    /// Name of the component, and of its StatefulSet.
    pub component: String,
    /// Its host: `127.0.0.1`, or the name of its Service.
    pub host: String,
    /// Its port there; none where the driver works inside of the pod.
    pub port: Option<u16>,
    /// Where programs can be run in its pod; none where no way leads there.
    pub pods: Option<Pods>,
    /// The component's Secret, decoded.
    pub credentials: BTreeMap<String, String>,
}

/// Where a component's pods are.
#[derive(Clone, Debug)]
pub struct Pods {
    /// The file that leads to the API server.
    pub kubeconfig: PathBuf,
    /// Their namespace.
    pub namespace: String,
    /// The labels that choose them.
    pub selector: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("component", &self.component)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("pods", &self.pods)
            .field("credentials", &self.credentials.keys())
            .finish()
    }
}

impl Target {
    /// `host:port`.
    pub fn address(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    fn credential(&self, name: &str) -> Result<&str> {
        let found = self.credentials.get(name).ok_or_else(|| {
            let what = format!("component {} cannot be reached", self.component);
            Error::failed("backup-target", what)
                .because(format!("it has no credential named {name}"))
                .hint(format!("name it in profiles/components/{}.yaml", self.component))
        })?;
        Ok(found)
    }

    /// What the service did not do while it was backed up.
    fn unread(&self, why: impl fmt::Display) -> Error {
        Error::failed("backup-service", format!("{} could not be backed up", self.component))
            .because(why)
            .hint("see how it is: pipe status; then run the command again")
    }

    /// Why a restore ended before it changed anything.
    fn untouched(&self, why: impl fmt::Display) -> Error {
        Error::failed("restore-service", format!("{} could not be restored", self.component))
            .because(why)
            .hint("nothing was touched; see how it is: pipe status; then run the command again")
    }

    /// What the service did not do while it was restored.
    fn unwritten(&self, why: impl fmt::Display) -> Error {
        Error::failed("restore-service", format!("{} could not be restored", self.component))
            .because(why)
            .hint("it may be half restored now: run the command again, with --replace")
    }
}

/// What a driver says of the backup it made.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The service by its own account: `MinIO`.
    pub product: String,
    /// What is in the files.
    pub contents: Contents,
    /// What is not, and why: one line each.
    pub left_out: Vec<String>,
}

/// Writes everything that `driver` can read into `draft`.
///
/// # Errors
/// The service or the place fails; what was written so far is the caller's to discard.
pub async fn save(
    driver: Driver,
    target: &Target,
    draft: &mut Draft<'_>,
    progress: &Progress,
) -> Result<Saved> {
    match driver {
        Driver::ClickHouse => clickhouse::save(target, draft, progress).await,
        Driver::Cql => cql::save(target, draft, progress).await,
        Driver::Fdb => fdb::save(target, draft, progress).await,
        Driver::Nats => nats::save(target, draft, progress).await,
        Driver::S3 => s3::save(target, draft, progress).await,
    }
}

/// What is there now of what a backup holds, one line each: it would be lost.
///
/// # Errors
/// The service fails.
pub async fn survey(target: &Target, manifest: &Manifest) -> Result<Vec<String>> {
    match &manifest.contents {
        Contents::ClickHouse(contents) => clickhouse::survey(target, contents).await,
        Contents::Cql(contents) => cql::survey(target, contents).await,
        Contents::Fdb(_) => fdb::survey(target).await,
        Contents::Nats(contents) => nats::survey(target, contents).await,
        Contents::S3(contents) => s3::survey(target, contents).await,
    }
}

/// Puts a backup back, in place of what is there under the same names.
///
/// # Errors
/// The service or the place fails: the component is half restored then, and the same may be done again.
pub async fn restore(
    target: &Target,
    manifest: &Manifest,
    shelf: &Shelf<'_>,
    progress: &Progress,
) -> Result<()> {
    match &manifest.contents {
        Contents::ClickHouse(contents) => {
            clickhouse::restore(target, contents, manifest, shelf, progress).await
        }
        Contents::Cql(contents) => cql::restore(target, contents, shelf, progress).await,
        Contents::Fdb(contents) => {
            fdb::restore(target, contents, manifest.bytes(), shelf, progress).await
        }
        Contents::Nats(contents) => nats::restore(target, contents, shelf, progress).await,
        Contents::S3(contents) => s3::restore(target, contents, manifest, shelf, progress).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_is_found_by_its_name_and_is_one_that_files_may_name() {
        for driver in Driver::ALL {
            assert_eq!(Driver::parse(driver.as_str()), Some(driver));
            assert!(crate::spec::component_file::DRIVERS.contains(&driver.as_str()));
        }
        assert_eq!(Driver::parse("tape"), None);
    }

    #[test]
    fn a_target_does_not_print_its_secrets() {
        let target = Target {
            component: "nats".into(),
            host: "127.0.0.1".into(),
            port: Some(4222),
            pods: None,
            credentials: BTreeMap::from([("password".into(), "geheim".into())]),
        };
        let text = format!("{target:?}");
        assert!(!text.contains("geheim") && text.contains("password"), "{text}");
    }
}
