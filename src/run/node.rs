//! `node add`, `remove`, `drain` and `uncordon`: changes to the nodes of a cluster that runs.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::carry_out::carry_out;
use super::context::{Context, shared_lock};
use super::status::no_cluster;
use super::up::{self, Environment, Request, Up};
use super::{api_fault, drain, observe, teardown};
use crate::plan::input::{Options, SmokeWhen};
use crate::plan::nodes::{self, Chosen, Drain};
use crate::plan::observed::NodeStage;
use crate::plan::{Observed, Plan};
use crate::spec::source::Sources;
use crate::spec::{Arch, ClusterName};
use crate::state::paths::Paths;
use crate::state::reservation;
use crate::world::World;
use crate::world::kube::Kube;
use crate::{Error, Kind, Result};

/// What was asked of existing nodes.
#[derive(Clone, Debug)]
pub enum Change {
    /// Empty them; they stay.
    Drain(Drain),
    /// Let pods come again.
    Uncordon,
    /// Take them out, emptied first unless that is left out.
    Remove(Option<Drain>),
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// The cluster.
    pub cluster: ClusterName,
    /// Our names of the nodes that were changed.
    pub nodes: Vec<String>,
    /// Those that the cluster's file names, so that the next `up` makes them again.
    pub in_file: Vec<String>,
}

/// Adds the node that `entry` describes, as a file would have it, to a cluster that is there. The
/// rest of the cluster is brought to its files by the way, as by every `up`. The caller holds the
/// cluster's lock.
///
/// # Errors
/// There is no such cluster, another node has the name, or those of `up`.
pub async fn add(environment: &Environment<'_>, cluster: &ClusterName, entry: Value) -> Result<Up> {
    if reservation::load(environment.paths, cluster)?.is_none() {
        return Err(no_cluster(cluster));
    }
    let request = Request {
        cluster: cluster.clone(),
        profile: None,
        options: Options { smoke: SmokeWhen::Never, ..Options::default() },
        node_image: None,
        add: Some(entry),
        accept: Vec::new(),
    };
    up::up(environment, &request).await
}

/// Changes nodes that are there, by our names or the engine's; needs no files. The caller holds the
/// cluster's lock.
///
/// # Errors
/// There is no such cluster or node, the cluster does not run, or a node cannot be emptied.
pub async fn change(
    environment: &Environment<'_>,
    cluster: &ClusterName,
    names: &[String],
    change: Change,
) -> Result<Changed> {
    let world = Arc::new(World::connect(environment.env, environment.engine).await?);
    let result = change_in(environment, &world, cluster, names, change).await;
    teardown::release_engine(&world).await?;
    result
}

async fn change_in(
    environment: &Environment<'_>,
    world: &Arc<World>,
    cluster: &ClusterName,
    names: &[String],
    change: Change,
) -> Result<Changed> {
    let paths = environment.paths;
    let observed = observe::observe(world, paths, cluster, None, None).await?;
    let reserved = reservation::load(paths, cluster)?;
    let (Some(reserved), false) = (reserved, observed.nodes.is_empty()) else {
        return Err(no_cluster(cluster));
    };
    let chosen = choose(cluster, &observed, names)?;
    let kube = answering(world, paths, cluster, &observed).await?;
    let plan = match change {
        Change::Uncordon => {
            for node in &chosen {
                kube.set_schedulable(&node.host, true).await?;
            }
            return Ok(changed(cluster, &chosen, Vec::new()));
        }
        Change::Drain(how) => {
            for node in &chosen {
                drain::check(&kube, &node.host, how).await?;
            }
            nodes::drain(cluster, &chosen, how)
        }
        Change::Remove(how) => {
            keep_control_planes(cluster, &observed, &chosen)?;
            for node in &chosen {
                if let Some(how) = how {
                    drain::check(&kube, &node.host, how).await?;
                }
            }
            nodes::remove(cluster, &observed, &reserved, &chosen, how)
        }
    };
    let removes = matches!(change, Change::Remove(_));
    run(environment, world, cluster, observed, &plan).await?;
    let in_file = if removes { in_file(environment.sources, cluster, &chosen) } else { Vec::new() };
    Ok(changed(cluster, &chosen, in_file))
}

fn changed(cluster: &ClusterName, chosen: &[Chosen], in_file: Vec<String>) -> Changed {
    let nodes = chosen.iter().map(|node| node.name.clone()).collect();
    Changed { cluster: cluster.clone(), nodes, in_file }
}

async fn run(
    environment: &Environment<'_>,
    world: &Arc<World>,
    cluster: &ClusterName,
    observed: Observed,
    plan: &Plan,
) -> Result<()> {
    let context = Arc::new(Context { observed, ..Context::new(environment, world, cluster) });
    let finished = carry_out(&context, plan, None, &environment.cancel, true).await?;
    finished.into_result().map(drop)
}

/// The nodes that were named, each once.
fn choose(cluster: &ClusterName, observed: &Observed, names: &[String]) -> Result<Vec<Chosen>> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for name in names {
        let found =
            observed.nodes.iter().find(|(host, facts)| *host == name || facts.name == *name);
        let (host, facts) = found.ok_or_else(|| {
            let known: Vec<&str> = observed.nodes.values().map(|facts| &*facts.name).collect();
            Error::usage("no-node", format!("cluster {cluster} has no node {name}"))
                .hint(format!("it has: {}", known.join(", ")))
        })?;
        let node = Chosen { name: facts.name.clone(), host: host.clone() };
        if !chosen.contains(&node) {
            chosen.push(node);
        }
    }
    Ok(chosen)
}

/// The API server, which everything here is asked of.
async fn answering(
    world: &World,
    paths: &Paths,
    cluster: &ClusterName,
    observed: &Observed,
) -> Result<Kube> {
    let mut control = observed.nodes.values().filter(|facts| facts.control_plane);
    if control.any(|facts| facts.stage == NodeStage::Stopped) {
        return Err(Error::failed("cluster-stopped", format!("cluster {cluster} is stopped"))
            .hint(format!("start it first: pipe start {cluster}")));
    }
    let kube = Kube::from_kubeconfig(&paths.cluster(cluster).kubeconfig()).await?;
    let Err(why) = kube.readyz().await else { return Ok(kube) };
    let what = format!("the API server of cluster {cluster} does not answer");
    let error = Error::new(Kind::Failed, "api-not-ready", what).because(why);
    Err(match api_fault::find(&world.engine, observed).await {
        Some(fault) => fault.explain(error, cluster.as_str()),
        None => error.hint(format!("`pipe up {cluster}` waits for it and says what is wrong")),
    })
}

/// What a cluster cannot be without stays.
fn keep_control_planes(
    cluster: &ClusterName,
    observed: &Observed,
    chosen: &[Chosen],
) -> Result<()> {
    let is_control =
        |node: &&Chosen| observed.nodes.get(&node.host).is_some_and(|facts| facts.control_plane);
    let Some(node) = chosen.iter().find(is_control) else { return Ok(()) };
    let name = &node.name;
    let error = Error::failed("control-plane", format!("node {name} cannot be removed"));
    let control = observed.nodes.values().filter(|facts| facts.control_plane).count();
    Err(if control > 1 {
        error
            .because("its part of etcd cannot be taken out of a running cluster yet")
            .hint(format!("change the file and make the cluster anew: pipe up {cluster} --replace"))
    } else {
        error
            .because("it is the cluster's only control plane")
            .hint(format!("to remove the whole cluster: pipe teardown {cluster}"))
    })
}

/// Which of the nodes the cluster's file names; none where it cannot be read.
fn in_file(sources: &Sources, cluster: &ClusterName, chosen: &[Chosen]) -> Vec<String> {
    let load = |arch| crate::spec::load(sources, cluster.as_str(), None, arch);
    let spec = Arch::of_host().and_then(load).ok();
    let nodes = spec.map(|spec| spec.cluster.nodes).unwrap_or_default();
    let named = |node: &&Chosen| nodes.iter().any(|known| known.name.as_str() == node.name);
    chosen.iter().filter(named).map(|node| node.name.clone()).collect()
}

/// Drops routes to a node that is gone: now, and from the file that is run at every boot.
pub(super) async fn forget_route(
    context: &Context,
    hosts: &[String],
    pod_cidr: &str,
) -> Result<()> {
    for host in hosts {
        super::nodes::drop_route(context, host, pod_cidr).await?;
    }
    Ok(())
}

/// Volumes that lay on a node that is gone, and claims that wait for them.
pub(super) async fn forget_volumes(context: &Context, host: &str) -> Result<()> {
    let kube = context.kube().await?;
    for volume in kube.local_volumes(host).await? {
        if let Some(claim) = &volume.claim {
            kube.delete_claim(claim).await?;
        }
        kube.delete_volume(&volume.name).await?;
    }
    Ok(())
}

/// The addresses of a node that is gone may be given away.
pub(super) async fn release_address(context: &Context, host: &str) -> Result<()> {
    let cancel = tokio_util::sync::CancellationToken::new();
    let lock = shared_lock(&context.paths, "pipe node remove", &cancel, &context.events).await?;
    if let Some(mut reserved) = reservation::load(&context.paths, &context.cluster)? {
        reserved.nodes.remove(host);
        reservation::save(&reserved, &context.paths, &context.cluster, &lock)?;
    }
    Ok(())
}
