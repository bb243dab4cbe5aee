//! `pipe node`.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::app::App;
use super::cluster_name;
use crate::plan::nodes::{Drain, LocalData};
use crate::run::node::{self, Change, Changed};
use crate::spec::ClusterName;
use crate::spec::source::Sources;
use crate::{Error, Result};

/// Add, remove, drain and uncordon nodes of a running cluster
///
/// NODE is pipe's name (edge) or Kubernetes' (dev-worker); `pipe status` shows both.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The cluster
    #[arg(short, long, global = true, default_value = "dev", value_name = "CLUSTER")]
    cluster: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    Remove(Remove),
    Drain(DrainArgs),
    Uncordon(Uncordon),
}

/// Add a worker that no file names
///
/// It is a node like one of the file, with the same checks, and `up`, `start` and `status` know it
/// until `pipe node remove`. Run again, it does nothing. Like every `up`, it also brings the rest of
/// the cluster to its files.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  pipe node add batch --role batch --taint batch=:NoSchedule\n  \
                        pipe node add gpu2 --accelerator gpu --resource nvidia.com/gpu=4"
)]
struct Add {
    /// Its name; with --count, the first one's: the others are NODE-2, NODE-3, …
    node: String,
    /// Labels role= and node-role.kubernetes.io/ROLE
    #[arg(long)]
    role: Option<String>,
    /// Labels zone= and topology.kubernetes.io/zone=
    #[arg(long)]
    zone: Option<String>,
    /// Label arch=; one that is not the host's needs --fidelity labelled
    #[arg(long)]
    arch: Option<String>,
    /// How real the node is: native, labelled
    #[arg(long)]
    fidelity: Option<String>,
    /// Label and taint accelerator=
    #[arg(long)]
    accelerator: Option<String>,
    /// Simulated extended resource, such as nvidia.com/gpu=2
    #[arg(long = "resource", value_name = "NAME=COUNT", value_parser = pair)]
    resources: Vec<(String, String)>,
    /// Label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Taint, as in a file
    #[arg(long = "taint", value_name = "KEY=VALUE:EFFECT")]
    taints: Vec<String>,
    /// How many such nodes
    #[arg(long, default_value_t = 1)]
    count: u64,
}

/// Empty nodes and remove them with all that is stored on them
///
/// Pods are evicted as PodDisruptionBudgets allow. Then the node's entry in the cluster, its
/// container, other nodes' routes to it and its address go.
#[derive(Debug, clap::Args)]
#[command(visible_alias = "rm")]
struct Remove {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    /// Do not empty them first: for nodes that are broken
    #[arg(long)]
    force: bool,
    /// Go on although volumes lie on them; volumes and claims are lost
    #[arg(long)]
    delete_data: bool,
    /// Longest wait for the pods of one node
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = seconds)]
    timeout: u64,
}

/// Let no new pods come to nodes, and evict those that are there
#[derive(Debug, clap::Args)]
struct DrainArgs {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    /// Evict pods that nothing would make again, too
    #[arg(long)]
    force: bool,
    /// Longest wait for the pods of one node
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = seconds)]
    timeout: u64,
}

/// Let pods come to nodes again
#[derive(Debug, clap::Args)]
struct Uncordon {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn seconds(text: &str) -> Result<u64, String> {
    crate::spec::duration::parse(text).map(|duration| duration.as_secs())
}

pub(super) async fn run(app: &App, args: Args) -> Result<()> {
    let cluster = cluster_name(&args.cluster)?;
    match args.command {
        Command::Add(add) => run_add(app, &cluster, add).await,
        Command::Remove(remove) => {
            let drain = Drain {
                within: remove.timeout,
                data: if remove.delete_data { LocalData::Delete } else { LocalData::Refuse },
                bare_pods: false,
            };
            let change = Change::Remove((!remove.force).then_some(drain));
            let removed = run_change(app, &cluster, "remove", &remove.nodes, change).await?;
            for name in &removed.in_file {
                app.say(&format!(
                    "clusters/{cluster}.yaml names {name}: the next `pipe up` makes it again, \
                     unless you take it out there"
                ))?;
            }
            app.report.result("node remove", Ok(&removed))
        }
        Command::Drain(drain) => {
            let how =
                Drain { within: drain.timeout, data: LocalData::Keep, bare_pods: drain.force };
            let change = Change::Drain(how);
            let drained = run_change(app, &cluster, "drain", &drain.nodes, change).await?;
            let names = drained.nodes.join(" ");
            app.say(&format!("let pods come again: pipe node uncordon {names} -c {cluster}"))?;
            app.report.result("node drain", Ok(&drained))
        }
        Command::Uncordon(Uncordon { nodes }) => {
            let done = run_change(app, &cluster, "uncordon", &nodes, Change::Uncordon).await?;
            app.say(&format!("pods may come to {}", done.nodes.join(", ")))?;
            app.report.result("node uncordon", Ok(&done))
        }
    }
}

async fn run_add(app: &App, cluster: &ClusterName, add: Add) -> Result<()> {
    let entry = entry(&add)?;
    let added = app.narrated(async |events| {
        let sources = app.sources()?;
        let _lock = app.lock(cluster, "node add", events).await?;
        node::add(&app.environment(&sources, events), cluster, entry).await
    });
    let added = added.await?;
    let state = if added.steps.is_empty() { "is there already" } else { "is Ready" };
    app.say(&format!("node {} of cluster {cluster} {state}", add.node))?;
    app.report.result("node add", Ok(&added))
}

async fn run_change(
    app: &App,
    cluster: &ClusterName,
    verb: &str,
    names: &[String],
    change: Change,
) -> Result<Changed> {
    let changed = app.narrated(async |events| {
        // Files only say what the next `up` will do; broken ones are no obstacle.
        let sources = app.sources().unwrap_or_else(|_| Sources::built_in());
        let _lock = app.lock(cluster, &format!("node {verb}"), events).await?;
        node::change(&app.environment(&sources, events), cluster, names, change).await
    });
    changed.await
}

/// The entry of a cluster file that says the same.
fn entry(add: &Add) -> Result<Value> {
    let mut entry = Map::from_iter([("name".to_owned(), json!(add.node))]);
    let texts = [
        ("role", &add.role),
        ("zone", &add.zone),
        ("arch", &add.arch),
        ("fidelity", &add.fidelity),
        ("accelerator", &add.accelerator),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            entry.insert(key.to_owned(), json!(value));
        }
    }
    if !add.labels.is_empty() {
        let labels: Map<String, Value> =
            add.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        entry.insert("labels".to_owned(), Value::Object(labels));
    }
    if !add.resources.is_empty() {
        let mut resources = Map::new();
        for (name, count) in &add.resources {
            let count: u64 = count.parse().map_err(|_| {
                Error::usage("node-invalid", format!("--resource {name}={count} is no count"))
                    .hint("write a whole number, as in --resource nvidia.com/gpu=2")
            })?;
            resources.insert(name.clone(), json!(count));
        }
        entry.insert("resources".to_owned(), Value::Object(resources));
    }
    if !add.taints.is_empty() {
        entry.insert("taints".to_owned(), json!(add.taints));
    }
    if add.count != 1 {
        entry.insert("count".to_owned(), json!(add.count));
    }
    Ok(Value::Object(entry))
}
