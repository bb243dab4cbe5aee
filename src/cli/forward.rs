//! `pipe forward`: what the load balancer container runs; nobody types it.

use std::path::PathBuf;

use super::app::App;
use crate::Result;
use crate::world::forward::{Doors, serve};

/// Forward TCP to the control planes that are ready
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// File of back ends, read again each second
    #[arg(long, value_name = "FILE")]
    backends: PathBuf,
    /// Port of the API server, which is asked whether it is ready
    #[arg(long, value_name = "PORT")]
    api: u16,
    /// Port to listen on, for the same port of the back ends
    #[arg(long = "port", value_name = "PORT", required = true)]
    ports: Vec<u16>,
}

/// Runs the command.
pub async fn run(app: &App, args: Args) -> Result<()> {
    let doors = Doors::everywhere(args.ports, args.api);
    app.narrated(async |events| {
        serve(&doors, &args.backends, &app.cancel, |line| events.info(line)).await
    })
    .await
}
