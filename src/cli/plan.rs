//! `pipe plan`.

use super::app::App;
use super::up::Choices;
use crate::Result;
use crate::run::up;

/// Show what `pipe up` would do, and change nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster: a file `clusters/<CLUSTER>.yaml`
    #[arg(default_value = "dev")]
    cluster: String,
    #[command(flatten)]
    choices: Choices,
    /// Print Graphviz, for `dot -Tsvg`
    #[arg(long, conflicts_with = "json")]
    dot: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let request = args.choices.request(&args.cluster)?;
    let planned = app.narrated(async |events| {
        let sources = app.sources()?;
        let environment = app.environment(&sources, events);
        up::plan(&environment, &request).await
    });
    let plan = planned.await?;
    if args.dot {
        return app.print(&plan.to_dot());
    }
    app.show(&plan, || plan.to_text())
}
