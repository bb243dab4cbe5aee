//! `start` and `stop`: a whole cluster, from its labels alone.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::carry_out::carry_out;
use super::components::selector;
use super::configure::live_node;
use super::context::Context;
use super::status::no_cluster;
use super::up::Environment;
use super::wait::Seen;
use super::{observe, preconditions, service_addresses, teardown};
use crate::plan::{Action, Observed, Plan, wake};
use crate::provider::kind;
use crate::spec::ClusterName;
use crate::state::reservation;
use crate::world::World;
use crate::world::engine::Exec;
use crate::world::kube::Kube;
use crate::{Error, Result};

/// What a node's programs get to end by themselves, databases above all, before they are killed.
const GRACE: Duration = Duration::from_secs(60);

/// What the API server gets to take the first of two signals; a node that hangs is then stopped anyway.
const FAREWELL: Duration = Duration::from_secs(10);

/// The first signal ends its listening, the second (by systemd, when the container stops) the
/// server itself. With the second alone it waits a minute for open watches
/// (`ShutdownTimeout` in k8s.io/apiserver), by then for an etcd that ended before it.
/// Kubelet first: it would start the server anew.
const END_API_SERVER: &str = "systemctl stop kubelet; pkill -TERM -x kube-apiserver";

/// From the API's first answer until a registered node shows what was set on it.
const RESTORE: Duration = Duration::from_secs(60);

/// From DNS until everything installed serves again; a database may replay its log first.
const RELEASES: Duration = Duration::from_secs(300);

/// What `start` or `stop` did.
#[derive(Debug, Serialize)]
pub struct Power {
    /// The cluster.
    pub cluster: ClusterName,
    /// Containers that were started or stopped; none if all of them were already.
    pub nodes: Vec<String>,
    /// Its context in kubeconfig.
    pub context: String,
}

/// Starts what is stopped, and comes back when everything serves again. The caller holds the
/// cluster's lock.
///
/// # Errors
/// There is no such cluster, or something does not come back.
pub async fn start(environment: &Environment<'_>, cluster: &ClusterName) -> Result<Power> {
    run(environment, cluster, wake::start).await
}

/// Stops what runs. The caller holds the cluster's lock.
///
/// # Errors
/// There is no such cluster, or the engine cannot stop a node.
pub async fn stop(environment: &Environment<'_>, cluster: &ClusterName) -> Result<Power> {
    run(environment, cluster, |cluster, observed| Ok(wake::stop(cluster, observed))).await
}

async fn run(
    environment: &Environment<'_>,
    cluster: &ClusterName,
    plan: fn(&ClusterName, &Observed) -> Result<Plan>,
) -> Result<Power> {
    let world = Arc::new(World::connect(environment.env, environment.engine).await?);
    let result = run_in(environment, &world, cluster, plan).await;
    teardown::release_engine(&world).await?;
    result
}

async fn run_in(
    environment: &Environment<'_>,
    world: &Arc<World>,
    cluster: &ClusterName,
    plan: fn(&ClusterName, &Observed) -> Result<Plan>,
) -> Result<Power> {
    observe::recognise(world, cluster).await?;
    let observed = observe::observe(world, environment.paths, cluster, None, None).await?;
    if observed.nodes.is_empty() {
        return Err(no_cluster(cluster));
    }
    preconditions::check_lost(cluster, &observed)?;
    let plan = plan(cluster, &observed)?;
    let context = Arc::new(Context {
        observed,
        reservation: reservation::load(environment.paths, cluster)?,
        ..Context::new(environment, world, cluster)
    });
    if !plan.is_empty() {
        carry_out(&context, &plan, None, &environment.cancel, true).await?.into_result()?;
    }
    let nodes = plan.steps.iter().filter_map(|step| match &step.action {
        Action::StartNode { host } | Action::StopNode { host } => Some(host.clone()),
        _ => None,
    });
    let context = kind::context(cluster.as_str());
    Ok(Power { cluster: cluster.clone(), nodes: nodes.collect(), context })
}

/// Asks a node's programs to end, waits, and kills what is left.
pub(super) async fn stop_node(context: &Context, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    let stop = async {
        // Only saves time, and a load balancer or a worker has no API server: its failure is none.
        let farewell = Exec::new(["sh", "-c", END_API_SERVER]).within(FAREWELL);
        let _only_saves_time = engine.exec(host, farewell).await;
        engine.stop(host, GRACE).await
    };
    tokio::select! {
        stopped = stop => Ok(stopped?),
        () = context.stop.cancelled() => Err(Error::interrupted()),
    }
}

/// Kubelet starts with the capacity it measured: what was simulated is set again, from the node's
/// own record.
pub(super) async fn restore_resources(context: &Context, id: &str) -> Result<()> {
    let kube = context.kube().await?;
    let what = "nodes did not take their simulated resources";
    let wait = context.wait(id, "node-resources", what, RESTORE);
    let restored = wait.until(|| async {
        match restore(kube).await {
            Ok(None) => Seen::Ready(()),
            Ok(Some(node)) => Seen::NotYet(format!("node {node} lacks some")),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    restored.await
}

/// Sets what is missing; the name of a node that lacked something, to be looked at again.
async fn restore(kube: &Kube) -> Result<Option<String>> {
    let mut lacked = None;
    for node in kube.nodes().await? {
        let name = node.name.clone();
        let live = live_node(node);
        let mut wanted = live.applied.amounts;
        wanted.retain(|resource, amount| live.capacity.get(resource) != Some(amount));
        if !wanted.is_empty() {
            kube.patch_capacity(&name, &wanted, &[]).await?;
            lacked = Some(name);
        }
    }
    Ok(lacked)
}

/// Waits until every pod of every release of ours is ready, and services lead to it.
pub(super) async fn await_releases(context: &Context, id: &str) -> Result<()> {
    let kube = context.kube().await?;
    let what = "what is installed did not become ready";
    let wait = context.wait(id, "release-not-ready", what, RELEASES);
    let ready = wait.until(|| async {
        match waiting_pod(kube).await {
            Ok(None) => {}
            Ok(Some(pod)) => return Seen::NotYet(format!("pod {pod} is not ready")),
            Err(error) => return Seen::NotYet(error.to_string()),
        }
        match service_addresses::fault(context, None).await {
            Ok(None) => Seen::Ready(()),
            Ok(Some(observation)) => Seen::NotYet(observation),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    ready.await
}

/// A pod of a release of ours that is not ready, with its namespace.
async fn waiting_pod(kube: &Kube) -> Result<Option<String>> {
    for release in kube.releases().await?.into_iter().filter(|r| r.spec_hash.is_some()) {
        for pod in kube.pods(&release.namespace, &selector(&release.name)).await? {
            if !pod.ready && pod.phase != "Succeeded" {
                let reason = pod.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                return Ok(Some(format!("{}/{}{reason}", release.namespace, pod.name)));
            }
        }
    }
    Ok(None)
}
