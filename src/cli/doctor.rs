//! `pipe doctor`.

use super::app::App;
use super::up::Choices;
use crate::run::{doctor, up};
use crate::{Kind, Result};

/// Examine this host: engine, limits, disk, ports, kernel, tools; say what to do
///
/// Every finding has a severity, the value seen and the value needed, what to do about it, and a
/// code in brackets (docs/doctor.md lists them). Exit code 4 if one of them is an error. `pipe up`
/// looks at the same, briefly, before it makes anything.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pipe doctor\n  pipe doctor --cluster ci --json")]
pub struct Args {
    /// Examine the host for this cluster [default: dev, if its files can be read]
    #[arg(short, long)]
    cluster: Option<String>,
    /// With what installed: a file `profiles/<PROFILE>.yaml`
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// With nodes made from this image
    #[arg(long, value_name = "IMAGE", env = "PIPE_NODE_IMAGE")]
    node_image: Option<String>,
}

pub(super) async fn run(app: &App, args: Args) -> Result<u8> {
    let choices = Choices::of(args.profile.clone(), args.node_image.clone());
    let request = choices.request(args.cluster.as_deref().unwrap_or("dev"))?;
    let named = args.cluster.is_some() || args.profile.is_some();
    let examined = app.narrated(async |events| {
        let sources = app.sources()?;
        let environment = app.environment(&sources, events);
        match up::load(&environment, &request) {
            Err(error) if !named => {
                events.warn(format!("no cluster is in mind: {error}"));
                doctor::examine(&environment, None).await
            }
            _ => doctor::examine(&environment, Some(&request)).await,
        }
    });
    let report = examined.await?;
    app.show(&report, || report.to_text())?;
    Ok(if report.ok { 0 } else { Kind::Host.exit_code() })
}
