//! `pipe images stop`.

use crate::Result;
use crate::cli::app::App;
use crate::run::serve;

/// Stop serving the local image cache; what it holds stays
///
/// Refused while nodes that run pull from it. Where no cluster is left, its container goes, and the
/// network that pipe made.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also while clusters use it
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let stopped = app.narrated(async |events| {
        app.looking(async |world| serve::stop(app.registry(world, events), args.force).await).await
    });
    let stopped = stopped.await?;
    let removed: Vec<&str> = stopped.done.iter().copied().filter(|it| *it != "stop").collect();
    let is_stopped = match stopped.done.contains(&"stop") {
        true => "the image cache is stopped",
        false => "the image cache is not served",
    };
    app.say(&match removed.is_empty() {
        true => is_stopped.to_owned(),
        false => format!("{is_stopped}; removed its {}", removed.join(", ")),
    })?;
    if !stopped.clusters.is_empty() {
        let clusters = stopped.clusters.join(", ");
        app.say(&format!("nodes of {clusters} cannot pull until `pipe images serve`"))?;
    }
    app.report.result("images stop", Ok(&stopped))
}
