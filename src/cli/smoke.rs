//! `pipe smoke`.

use serde::Serialize;

use super::app::App;
use super::cluster_name;
use crate::run::prove::prove;
use crate::run::up;
use crate::smoke::Report;
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
}

#[derive(Serialize)]
struct Reports {
    passed: bool,
    reports: Vec<Report>,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    let (events, printed) = app.events();
    let result = async {
        let sources = app.sources()?;
        let _lock = app.lock(&cluster, "smoke", &events).await?;
        let environment = up::Environment::reading(app.reading(), &sources, events.clone());
        prove(&environment, &cluster, &args.components, args.restart).await
    }
    .await;
    drop(events);
    if let Ok(printed) = printed.await {
        printed?;
    }
    let reports = result?;
    let passed = reports.iter().all(|report| report.passed);
    let failed: Vec<String> =
        reports.iter().filter(|r| !r.passed).map(|r| r.component.clone()).collect();
    let document = Reports { passed, reports };
    app.show(&document, || document.reports.iter().map(Report::to_string).collect())?;
    if passed {
        return Ok(());
    }
    Err(Error::new(
        Kind::Smoke,
        "smoke-failed",
        format!("smoke checks failed: {}", failed.join(", ")),
    )
    .hint("the report above says what each check tried and saw"))
}
