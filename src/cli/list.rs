//! `pipe list`.

use super::app::App;
use crate::Result;
use crate::report::Table;
use crate::run::list;

/// List clusters that pipe made
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls")]
pub struct Args {}

pub(super) async fn run(app: &App, _args: Args) -> Result<()> {
    let clusters = app.looking(async |world| list::list(world, &app.paths).await).await?;
    app.show(&clusters, || {
        if clusters.is_empty() {
            return "no clusters; `pipe up` makes one\n".to_owned();
        }
        let mut table = Table::new(["CLUSTER", "PROVIDER", "NODES", "STATE", "PROFILE", "CONTEXT"]);
        for cluster in &clusters {
            table.row([
                cluster.name.clone(),
                cluster.provider.to_owned(),
                format!("{}/{}", cluster.running, cluster.nodes),
                cluster.state.to_owned(),
                cluster.profile.clone().unwrap_or_default(),
                cluster.context.clone(),
            ]);
        }
        table.to_string()
    })
}
