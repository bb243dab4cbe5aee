//! `pipe completion`.

use clap::CommandFactory as _;

use super::app::App;
use crate::Result;

/// Print a completion script for a shell
///
/// For bash: `pipe completion bash > /etc/bash_completion.d/pipe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn run(app: &App, args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "pipe", &mut script);
    app.print(&String::from_utf8_lossy(&script))
}
