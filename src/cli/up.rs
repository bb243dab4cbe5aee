//! `pipe up`.

use std::path::PathBuf;

use super::app::App;
use super::cluster_name;
use crate::plan::input::{Options, SmokeWhen};
use crate::report::Events;
use crate::run::context::KubeconfigChoice;
use crate::run::licences;
use crate::run::up::{self, Request, Up};
use crate::{Error, Result};

/// Bring a cluster to its files: make it, start it, change it, prove it
///
/// Safe to run at any time: it looks at what is there, prints what it does, and does only what is
/// left. Stopped nodes are started; a run that was cut off is finished.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  pipe up\n  pipe up dev --profile quickstart\n  pipe up ci --json"
)]
pub struct Args {
    /// The cluster: a file `clusters/<CLUSTER>.yaml`
    #[arg(default_value = "dev")]
    pub(super) cluster: String,
    #[command(flatten)]
    pub(super) choices: Choices,
    /// Leave everything as it is after a failure, to look at
    #[arg(long)]
    keep: bool,
    /// Do not make the new context the current one
    #[arg(long)]
    no_switch: bool,
    /// Merge into this kubeconfig instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// What decides the plan.
#[derive(Debug, clap::Args)]
pub struct Choices {
    /// What to install: a file `profiles/<PROFILE>.yaml` [default: as last time, else the cluster's]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Replace nodes where a change needs it; what is stored on them is lost
    #[arg(long)]
    replace: bool,
    /// Remove components and nodes that the files no longer name
    #[arg(long)]
    prune: bool,
    /// With --prune, remove the volumes of pruned components and nodes too
    #[arg(long, requires = "prune")]
    delete_data: bool,
    /// Prove every component, not only those that changed
    #[arg(long, conflicts_with = "no_smoke")]
    smoke: bool,
    /// Prove nothing
    #[arg(long)]
    no_smoke: bool,
    /// Accept a licence that a component is under; may be given several times
    #[arg(long, value_name = "NAME")]
    accept: Vec<String>,
    /// Make nodes from this image instead of the default one
    #[arg(long, value_name = "IMAGE", env = "PIPE_NODE_IMAGE")]
    node_image: Option<String>,
}

impl Choices {
    /// Only what decides what a host must bring.
    pub(super) fn of(profile: Option<String>, node_image: Option<String>) -> Choices {
        let (replace, prune, delete_data) = (false, false, false);
        let (smoke, no_smoke) = (false, false);
        Choices {
            profile,
            replace,
            prune,
            delete_data,
            smoke,
            no_smoke,
            node_image,
            accept: Vec::new(),
        }
    }

    pub(super) fn request(&self, cluster: &str) -> Result<Request> {
        let smoke = match (self.smoke, self.no_smoke) {
            (true, _) => SmokeWhen::Always,
            (_, true) => SmokeWhen::Never,
            _ => SmokeWhen::Changed,
        };
        let (replace, prune, delete_data) = (self.replace, self.prune, self.delete_data);
        let node_image = self.node_image.as_deref().map(crate::spec::ImageName::parse).transpose();
        Ok(Request {
            cluster: cluster_name(cluster)?,
            profile: self.profile.clone(),
            options: Options { replace, prune, delete_data, smoke },
            node_image: node_image.map_err(|fault| Error::usage("node-image", fault))?,
            add: None,
            accept: self.accept.clone(),
        })
    }
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let mut request = args.choices.request(&args.cluster)?;
    ask_for_licences(app, &mut request)?;
    let brought_up = app.narrated(async |events| {
        let sources = app.sources()?;
        let _lock = app.lock(&request.cluster, "up", events).await?;
        let environment = up::Environment {
            keep: args.keep,
            kubeconfig: KubeconfigChoice { file: args.kubeconfig, no_switch: args.no_switch },
            ..app.environment(&sources, events)
        };
        up::up(&environment, &request).await
    });
    let up = brought_up.await?;
    summary(app, &up)?;
    app.report.result("up", Ok(&up))
}

/// Asks who sits at a terminal. Where something else is wrong, that is said later, by who does it.
fn ask_for_licences(app: &App, request: &mut Request) -> Result<()> {
    let terminal = app.env.terminal;
    if app.global.json || !terminal.stdin || !terminal.stderr {
        return Ok(());
    }
    let sources = app.sources()?;
    let Ok(spec) = up::load(&app.environment(&sources, &Events::channel().0), request) else {
        return Ok(());
    };
    for (component, licence) in licences::refused(&app.env, &app.paths, request, &spec)? {
        app.say(&format!(
            "{} is under the licence {}: {}",
            component.name, licence.name, licence.text
        ))?;
        if app.answers_yes("have you read it, and do you accept it? [y/N]")? {
            request.accept.push(licence.name.clone());
        }
    }
    Ok(())
}

/// What a person wants to know next.
fn summary(app: &App, up: &Up) -> Result<()> {
    let changed = if up.steps.is_empty() { "already as specified" } else { "up" };
    app.say(&format!("cluster {} is {changed} (context {})", up.cluster, up.context))?;
    for component in &up.components {
        app.say(&component.to_string())?;
    }
    app.say(&format!("connect: eval \"$(pipe env {0})\"; remove: pipe teardown {0}", up.cluster))
}
