//! Proof that a component works: a real client from the host does what a program would do, and
//! tries what must be refused. Nothing is passed on trust; see [`Check`].
//!
//! A driver is one file with one function, listed in [`Driver`]; it says what it tries through the
//! [`Recorder`] and touches the cluster only through [`Surroundings`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::world::kube::Said;
use crate::{Error, Result};

mod clickhouse;
mod cql;
pub(crate) mod door;
mod errand;
pub(crate) mod fdb;
mod junit;
mod nats;
mod recorder;
mod report;
mod s3;
mod version;

pub use errand::Errand;
pub use junit::junit;
pub use recorder::Recorder;
pub use report::{Check, NotChecked, Report};

/// Every way to prove a component; the word in a component file's `smoke.driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// ClickHouse over HTTP. Credentials: `username`, `password`.
    ClickHouse,
    /// ScyllaDB and Cassandra over CQL. Credentials: `username`, `password`.
    Cql,
    /// FoundationDB by `fdbcli` in its pod. No credentials: there are none.
    Fdb,
    /// NATS with JetStream. Credentials: `username`, `password`.
    Nats,
    /// An S3 store. Credentials: `accessKey`, `secretKey`.
    S3,
}

/// How long the port of a ready pod may take to lead to it.
pub const REACH: Duration = Duration::from_secs(30);

impl Driver {
    /// All drivers, in the order in which help lists them.
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

    /// Names of the credentials without which it cannot start.
    pub const fn credentials(self) -> &'static [&'static str] {
        match self {
            Driver::ClickHouse | Driver::Cql | Driver::Nats => &["username", "password"],
            Driver::Fdb => &[],
            Driver::S3 => &["accessKey", "secretKey"],
        }
    }
}

/// What is proven, and how to reach it. Deliberately neither serialisable nor printable whole.
#[derive(Clone)]
pub struct Target {
    /// Name of the component, of its release, and of its StatefulSet.
    pub component: String,
    /// Its namespace.
    pub namespace: String,
    /// Its host, from here: `127.0.0.1`.
    pub host: String,
    /// Its host port: the one that the component file names in `smoke.port`. None where the driver
    /// works inside of the pod.
    pub port: Option<u16>,
    /// The component's Secret, decoded.
    pub credentials: BTreeMap<String, String>,
    /// Buckets that the profile names; they must be there.
    pub buckets: Vec<String>,
    /// The least version of each release line that has no known hole.
    pub floor: Vec<String>,
    /// What stands in for the component's product, where another one does.
    pub stand_in: Option<String>,
    /// Unique to this run, letters and digits; part of every name that a driver makes.
    pub run_id: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("component", &self.component)
            .field("namespace", &self.namespace)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("buckets", &self.buckets)
            .field("credentials", &self.credentials.keys())
            .field("run_id", &self.run_id)
            .finish()
    }
}

impl Target {
    /// `host:port`.
    fn address(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    fn credential(&self, name: &str) -> Result<&str> {
        let found = self.credentials.get(name).ok_or_else(|| {
            let what = format!("component {} cannot be checked", self.component);
            Error::failed("smoke-target", what)
                .because(format!("it has no credential named {name}"))
                .hint(format!("name it in profiles/components/{}.yaml", self.component))
        })?;
        Ok(found)
    }
}

/// How thorough, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Delete the component's pod and require that nothing is lost.
    pub restart: bool,
    /// How long a port may take to lead to its pod: node ports are programmed by another program.
    pub reach: Duration,
    /// Deadline for all checks together; cleaning up has its own few seconds.
    pub within: Duration,
}

/// Runs a program in the component's pod, for so long at most.
pub type ExecInPod<'a> =
    Box<dyn Fn(Vec<String>, Duration) -> BoxFuture<'a, Result<Said>> + Send + Sync + 'a>;

/// What a driver may do to the cluster around the component, and ask of it.
pub struct Surroundings<'a> {
    /// Deletes the component's pod and returns when its successor is ready.
    pub restart: Box<dyn Fn() -> BoxFuture<'a, Result<()>> + Send + Sync + 'a>,
    /// Runs a program in the component's pod; none where no driver needs it.
    pub exec: Option<ExecInPod<'a>>,
    /// The cluster's view of the component, asked for once if a check failed: pod states and last
    /// events.
    pub evidence: Box<dyn Fn() -> BoxFuture<'a, String> + Send + Sync + 'a>,
}

/// Runs every check of `driver`; a failed check is in the report, not an error.
///
/// # Errors
/// `smoke-target` if a credential that the driver needs is missing.
pub async fn run(
    driver: Driver,
    target: &Target,
    options: Options,
    surroundings: &Surroundings<'_>,
) -> Result<Report> {
    for name in driver.credentials() {
        target.credential(name)?;
    }
    let mut recorder = Recorder::new(options.within);
    match driver {
        Driver::ClickHouse => clickhouse::run(target, options, surroundings, &mut recorder).await?,
        Driver::Cql => cql::run(target, options, surroundings, &mut recorder).await?,
        Driver::Fdb => fdb::run(target, options, surroundings, &mut recorder).await?,
        Driver::Nats => nats::run(target, options, surroundings, &mut recorder).await?,
        Driver::S3 => s3::run(target, options, surroundings, &mut recorder).await?,
    }
    let mut report = recorder.into_report(driver, target);
    if !report.passed {
        report.evidence = Some((surroundings.evidence)().await);
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_is_found_by_its_name() {
        for driver in Driver::ALL {
            assert_eq!(Driver::parse(driver.as_str()), Some(driver));
        }
        assert_eq!(Driver::parse("s4"), None);
        let names: Vec<&str> = Driver::ALL.into_iter().map(Driver::as_str).collect();
        assert_eq!(names, crate::spec::component_file::DRIVERS, "files may name exactly these");
    }

    #[test]
    fn a_target_does_not_print_its_secrets() {
        let target = Target {
            component: "nats".into(),
            namespace: "messaging".into(),
            host: "127.0.0.1".into(),
            port: Some(4222),
            buckets: Vec::new(),
            floor: Vec::new(),
            stand_in: None,
            credentials: BTreeMap::from([("password".into(), "geheim".into())]),
            run_id: "1".into(),
        };
        let text = format!("{target:?}");
        assert!(!text.contains("geheim") && text.contains("password"), "{text}");
        let missing = target.credential("user").unwrap_err().to_string();
        assert!(missing.contains("no credential named user"), "{missing}");
    }
}
