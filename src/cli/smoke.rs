//! `pipe smoke`.

use std::path::PathBuf;

use serde::Serialize;

use super::app::App;
use super::cluster_name;
use crate::run::prove::{From, Proof, prove};
use crate::smoke::{NotChecked, Report, junit};
use crate::{Error, Kind, Result};

/// Prove a cluster's components with real clients
///
/// Writes, reads back, compares, and checks that what must be refused is refused. Exit code 5 when
/// a check fails.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster
    #[arg(default_value = "dev")]
    cluster: String,
    /// Only these components
    #[arg(long = "component", value_name = "NAME")]
    components: Vec<String>,
    /// Delete each component's pods in between, and read again what was written before
    #[arg(long)]
    restart: bool,
    /// Check from a pod, by the names of services, with pipe's own program as its image
    #[arg(long, conflicts_with = "restart")]
    in_cluster: bool,
    /// Write the reports to this file in JUnit's form, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

#[derive(Serialize)]
struct Reports<'a> {
    passed: bool,
    reports: &'a [Report],
    skipped: &'a [NotChecked],
}

pub(super) async fn run(app: &App, args: Args) -> Result<u8> {
    let cluster = cluster_name(&args.cluster)?;
    let proven = app.narrated(async |events| {
        let sources = app.sources()?;
        let _lock = app.lock(&cluster, "smoke", events).await?;
        let environment = app.environment(&sources, events);
        let from = match args.in_cluster {
            true => From::Pod,
            false => From::Host { restart: args.restart },
        };
        prove(&environment, &cluster, &args.components, from).await
    });
    let Proof { reports, skipped } = proven.await?;
    if let Some(path) = &args.junit {
        let text = junit(cluster.as_str(), &reports, &skipped)?;
        std::fs::write(path, text).map_err(|error| {
            Error::failed("junit-unwritable", format!("{} cannot be written", path.display()))
                .because(error)
                .hint("name a file in a folder that is there")
        })?;
    }
    let passed = reports.iter().all(|report| report.passed);
    let failed: Vec<&str> =
        reports.iter().filter(|r| !r.passed).map(|r| r.component.as_str()).collect();
    let error = (!passed).then(|| {
        let what = format!("smoke checks failed: {}", failed.join(", "));
        Error::new(Kind::Smoke, "smoke-failed", what)
            .hint("the report says what each check tried and saw")
    });
    if app.global.json {
        let code = error.as_ref().map_or(0, |error| error.kind.exit_code());
        let document = Reports { passed, reports: &reports, skipped: &skipped };
        app.report.result_line("smoke", Some(&document), error.as_ref())?;
        return Ok(code);
    }
    let reports = reports.iter().map(|report| format!("{report}\n"));
    let skipped = skipped.iter().map(|gone| format!("{gone}\n"));
    app.print(&reports.chain(skipped).collect::<String>())?;
    error.map_or(Ok(0), Err)
}
