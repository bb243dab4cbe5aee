//! `teardown`: removes a cluster from what is there, never stops early, and leaves nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::carry_out::carry_out;
use super::context::Context;
use super::observe;
use super::up::Environment;
use crate::Result;
use crate::plan::{Plan, teardown as plan};
use crate::provider::{kind, labels};
use crate::spec::ClusterName;
use crate::state::journal::RunOutcome;
use crate::state::paths::Paths;
use crate::state::receipt::{Receipt, StepOutcome, StepReceipt};
use crate::state::version;
use crate::world::World;
use crate::world::engine::{ContainerLine, State};

/// How long the engine needs at most to make a container that it was asked for.
const LATE: Duration = Duration::from_secs(5);

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Removes `cluster`. The caller holds its lock. Returns the plan that was run; an empty one means
/// there was nothing.
pub async fn teardown(
    environment: &Environment<'_>,
    world: &Arc<World>,
    cluster: &ClusterName,
) -> Result<Plan> {
    let paths = environment.paths;
    let state = paths.cluster(cluster);
    await_late_creations(world, &Receipt::load(&state)?, cluster).await?;
    if let Err(error) = observe::recognise(world, cluster).await
        && error.code == version::NEWER
    {
        environment.events.warn(format!(
            "{}: all that carries its label {} on the engine is removed, and what this pipe knows \
             of on disk",
            error.what,
            labels::CLUSTER
        ));
    }
    let observed = observe::observe(world, paths, cluster, None, None).await?;
    let plan = plan::teardown(cluster, &observed, kind::NETWORK, state.path().exists());
    if !plan.is_empty() {
        let context = Arc::new(Context { observed, ..Context::new(environment, world, cluster) });
        // Half a removal helps nobody: the first Ctrl-C is ignored, the second aborts.
        let cancel = CancellationToken::new();
        carry_out(&context, &plan, None, &cancel, true).await?.into_result()?;
    }
    Ok(plan)
}

/// A killed `up` may have asked the engine for containers that are made only now: they are given a
/// moment to appear, so that they can be removed.
async fn await_late_creations(
    world: &World,
    receipt: &Receipt,
    cluster: &ClusterName,
) -> Result<()> {
    let cut_off = receipt.run.as_ref().filter(|run| run.outcome == RunOutcome::Unfinished);
    let creating = |step: &&StepReceipt| {
        step.id.starts_with("create/") && step.outcome == StepOutcome::Unfinished
    };
    let Some(run) = cut_off else { return Ok(()) };
    let begun = run.steps.iter().filter(|step| step.id.starts_with("create/")).count();
    if !run.steps.iter().any(|step| creating(&step)) {
        return Ok(());
    }
    let filter = format!("{}={cluster}", kind::CLUSTER_LABEL);
    let deadline = Instant::now() + LATE;
    while world.engine.containers(&[&filter]).await?.len() < begun && Instant::now() < deadline {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// After a failed `up`: removes the state of a cluster of which no container is left, and the
/// engine's service if it served only that. Whoever still has its own kubeconfig was a cluster before:
/// of one that was lost, nothing more is lost without a word.
pub async fn sweep(world: &World, paths: &Paths, cluster: &ClusterName) -> Result<()> {
    let filter = format!("{}={cluster}", kind::CLUSTER_LABEL);
    let was = paths.cluster(cluster).kubeconfig().exists();
    if !was && world.engine.containers(&[&filter]).await?.is_empty() {
        paths.remove_cluster(cluster)?;
    }
    release_engine(world).await
}

/// Stops the engine's service if we started it and nothing of ours runs: no node, and no image cache.
/// What is stopped needs none: the next command starts it again.
pub async fn release_engine(world: &World) -> Result<()> {
    let left = world.engine.containers(&[]).await;
    let is_ours = |line: &ContainerLine| {
        [labels::CLUSTER, labels::REGISTRY].iter().any(|label| line.labels.contains_key(*label))
    };
    let runs = |line: &ContainerLine| line.state == State::Running && is_ours(line);
    let idle = left.is_ok_and(|left| !left.iter().any(runs));
    world.release(idle).await
}
