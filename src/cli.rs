//! The command line: one file a command, each an `Args` whose doc comment is its help, and a `run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

use crate::world::env::Env;
use crate::{Error, Result};

pub mod app;
pub mod backup;
pub mod backup_errand;
pub mod completion;
pub mod doctor;
pub mod env;
mod errand;
pub mod forward;
pub mod images;
pub mod init;
pub mod kubeconfig;
pub mod kubectl;
pub mod list;
pub mod logs;
pub mod man;
pub mod node;
pub mod plan;
pub mod probe;
pub mod purge;
pub mod restore;
pub mod smoke;
pub mod start;
pub mod status;
pub mod stop;
pub mod teardown;
pub mod trust;
pub mod up;

use app::App;

/// A real multi-node Kubernetes on Podman, with its data services installed, proven and reachable
///
/// Start with `pipe up`; `pipe status` shows what runs and how to connect; `pipe teardown` removes
/// it all. Clusters are files in `clusters/`, what is installed on them are files in `profiles/`;
/// built-in ones are used where you have none (`pipe init` writes them out).
#[derive(Debug, Parser)]
#[command(name = "pipe", version = version(), arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "\
Exit codes:
  0 done   1 the thing asked for failed   2 usage   3 files invalid   4 host unable
  5 smoke check failed   6 timed out   7 signature refused   70 bug in pipe   130 interrupted")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Print JSON: one document, or JSON lines where the output is a stream
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only the data asked for, and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Folder that holds `clusters/` and `profiles/` [default: nearest one upwards]
    #[arg(long, global = true, env = "PIPE_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Engine socket, such as unix:///run/podman/podman.sock [default: found, or started]
    #[arg(long, global = true, env = "PIPE_ENGINE", value_name = "URL")]
    pub engine: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Plan(plan::Args),
    Probe(probe::Args),
    BackupErrand(backup_errand::Args),
    Status(status::Args),
    Smoke(smoke::Args),
    Stop(stop::Args),
    Start(start::Args),
    Node(node::Args),
    Teardown(teardown::Args),
    List(list::Args),
    Doctor(doctor::Args),
    Logs(logs::Args),
    Kubeconfig(kubeconfig::Args),
    Kubectl(kubectl::Args),
    Env(env::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Images(images::Args),
    Trust(trust::Args),
    Forward(forward::Args),
    Init(init::Args),
    Completion(completion::Args),
    Man(man::Args),
    Purge(purge::Args),
}

/// Version, commit and its date. `scripts/release` tells the last two; a build by hand has neither,
/// rather than those of whatever repository lies around it.
fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let built = (option_env!("PIPE_COMMIT"), option_env!("PIPE_COMMIT_DATE"));
        let number = env!("CARGO_PKG_VERSION");
        match built {
            (Some(commit), Some(date)) => format!("{number} ({commit} {date})"),
            _ => format!("{number} (built by hand)"),
        }
    });
    &TEXT
}

/// Runs the process's own command line.
pub fn main() -> ExitCode {
    let env = match Env::read() {
        Ok(env) => env,
        Err(error) => return app::hopeless(&error),
    };
    let cli = match Cli::try_parse_from(&env.args) {
        Ok(cli) => cli,
        // clap's own exit: help and version succeed on stdout, the rest is usage on stderr.
        Err(error) => return app::clap_exit(&error),
    };
    app::execute(env, cli)
}

impl Cli {
    /// The options of every command.
    pub fn global(&self) -> &Global {
        &self.global
    }

    /// Whether the command may reach registries or sites, so that a broken `config.yaml` matters.
    pub fn goes_out(&self) -> bool {
        use Command::{Images, Kubectl, Plan, Smoke, Up};
        matches!(self.command, Up(_) | Plan(_) | Images(_) | Kubectl(_) | Smoke(_))
    }

    /// Whether the command tells of everything that is wrong with the host in its own form.
    pub fn examines(&self) -> bool {
        matches!(self.command, Command::Doctor(_))
    }

    /// Runs the command; the exit code is `Ok`'s unless it failed.
    pub async fn run(self, app: &App) -> Result<u8> {
        match self.command {
            Command::Up(args) => up::run(app, args).await.map(|()| 0),
            Command::Plan(args) => plan::run(app, args).await.map(|()| 0),
            Command::Status(args) => status::run(app, args).await.map(|()| 0),
            Command::Smoke(args) => smoke::run(app, args).await,
            Command::Stop(args) => stop::run(app, args).await.map(|()| 0),
            Command::Start(args) => start::run(app, args).await.map(|()| 0),
            Command::Node(args) => node::run(app, args).await.map(|()| 0),
            Command::Teardown(args) => teardown::run(app, args).await.map(|()| 0),
            Command::Logs(args) => logs::run(app, args).await.map(|()| 0),
            Command::Doctor(args) => doctor::run(app, args).await,
            Command::List(args) => list::run(app, args).await.map(|()| 0),
            Command::Kubeconfig(args) => kubeconfig::run(app, args).await.map(|()| 0),
            Command::Kubectl(args) => kubectl::run(app, args).await,
            Command::Env(args) => env::run(app, args).await.map(|()| 0),
            Command::Backup(args) => backup::run(app, args).await,
            Command::Restore(args) => restore::run(app, args).await,
            Command::Images(args) => images::run(app, args).await.map(|()| 0),
            Command::Trust(args) => trust::run(app, args).await.map(|()| 0),
            Command::Forward(args) => forward::run(app, args).await.map(|()| 0),
            Command::Probe(args) => probe::run(app, args).await.map(|()| 0),
            Command::BackupErrand(args) => backup_errand::run(app, args).await.map(|()| 0),
            Command::Init(args) => init::run(app, &args).map(|()| 0),
            Command::Completion(args) => completion::run(app, &args).map(|()| 0),
            Command::Man(args) => man::run(app, &args).map(|()| 0),
            Command::Purge(args) => purge::run(app, args).await.map(|()| 0),
        }
    }
}

/// Parses a cluster name typed on the command line.
pub fn cluster_name(text: &str) -> Result<crate::spec::ClusterName> {
    crate::spec::ClusterName::parse(text).map_err(|fault| {
        Error::usage("cluster-name", format!("cluster name {fault}"))
            .hint("use a name such as dev: lower-case letters, digits and '-'")
    })
}
