//! `pipe kubeconfig`.

use super::app::App;
use super::cluster_name;
use crate::Result;
use crate::run::status::no_cluster;

/// Print a cluster's kubeconfig
///
/// `pipe up` has merged it into yours already, as context `kind-<CLUSTER>`; this is for tools that
/// want a file of their own.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster
    #[arg(default_value = "dev")]
    cluster: String,
    /// Print the path of the file instead of its text
    #[arg(long)]
    path: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    let path = app.paths.cluster(&cluster).kubeconfig();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| no_cluster(&cluster).because(format!("{}: {error}", path.display())))?;
    let shown = path.display().to_string();
    let document = serde_json::json!({"cluster": cluster, "path": shown, "kubeconfig": text});
    app.show(&document, || if args.path { format!("{shown}\n") } else { text })
}
