//! `pipe kubectl`.

use std::ffi::OsString;

use super::app::App;
use super::cluster_name;
use crate::Result;
use crate::run::status::no_cluster;
use crate::world::process::Program;
use crate::world::tool::Tool;

/// Run kubectl against a cluster
///
/// Everything after the options of pipe goes to kubectl: `pipe kubectl -- get pods -A`. kubectl is
/// taken from PATH, else from the cache, else downloaded at a pinned version and checked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster
    #[arg(short, long, default_value = "dev")]
    cluster: String,
    /// Arguments of kubectl
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(super) async fn run(app: &App, args: Args) -> Result<u8> {
    let cluster = cluster_name(&args.cluster)?;
    let kubeconfig = app.paths.cluster(&cluster).kubeconfig();
    if !kubeconfig.exists() {
        return Err(no_cluster(&cluster));
    }
    let kubectl = Tool::kubectl().find_or_fetch(&app.env).await?;
    Program::new(&kubectl.path, &app.env)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(args.arguments)
        .pass_through()
        .await
}
