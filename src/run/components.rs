//! Deeds on components: namespace and Secret, release, readiness, proof.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::wait::Seen;
use super::{credentials, handed_files, pod_fault, service_addresses};
use crate::plan::components::chart_values;
use crate::spec::{Component, Gate, GateCondition};
use crate::world::helm::Install;
use crate::world::kube::{Kube, SPEC_HASH_LABEL};
use crate::{Error, Kind, Result};

/// From a pod that is ready until every node sends its service's address there.
const FOLLOW: Duration = Duration::from_secs(120);

/// From the deletion of a pod until it has ended.
const REPLACE: Duration = Duration::from_secs(120);

/// Makes the namespace and the Secret that the chart expects.
pub(super) async fn prepare(context: &Context, component: &Component) -> Result<()> {
    let kube = context.kube().await?;
    let labels = crate::provider::labels::ours(Some(&context.cluster));
    kube.ensure_namespace(&component.namespace, &labels).await?;
    if let Some(spec) = &component.definition.credentials {
        let values = credentials::ensure(context, component)?;
        kube.put_secret(&component.namespace, &spec.secret, &values, &labels).await?;
    }
    Ok(())
}

/// `helm upgrade --install`.
pub(super) async fn install(context: &Context, component: &Component, hash: &str) -> Result<()> {
    let helm = context.helm().await?;
    let scratch = context.state().path().join("charts");
    let chart = context.sources.materialise_chart(&component.definition.chart, &scratch)?;
    let values = chart_values(component);
    let labels = BTreeMap::from([(SPEC_HASH_LABEL.to_owned(), hash.to_owned())]);
    let install = Install {
        release: component.name.as_str(),
        namespace: &component.namespace,
        chart,
        values: &values,
        labels: &labels,
    };
    helm.upgrade_install(&install, &context.stop).await
}

/// Deletes the component's pods and waits until others have taken their place.
pub(super) async fn restart(context: &Context, id: &str, component: &Component) -> Result<()> {
    let kube = context.kube().await?;
    let selector = selector(component.name.as_str());
    let before = kube.pods(&component.namespace, &selector).await?;
    for pod in &before {
        kube.delete_pod(&component.namespace, &pod.name).await?;
    }
    let what = format!("the pods of {} were not replaced", component.name);
    let wait = context.wait(id, "pod-not-replaced", what, REPLACE);
    let replaced = wait.until(|| async {
        match kube.pods(&component.namespace, &selector).await {
            Ok(now) if now.iter().all(|pod| before.iter().all(|old| old.uid != pod.uid)) => {
                Seen::Ready(())
            }
            Ok(_) => Seen::NotYet("the old pod is still ending".to_owned()),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    replaced.await
}

/// Waits for every gate of a component, each with its own deadline from now, and then until its
/// address leads to it.
pub(super) async fn await_ready(context: &Context, id: &str, component: &Component) -> Result<()> {
    let kube = context.kube().await?;
    for gate in &component.definition.ready {
        let what = format!("component {} did not become ready", component.name);
        let wait = context.wait(id, "component-not-ready", what, gate.within);
        let held = wait.until(|| async {
            match holds(kube, component, gate).await {
                Ok(None) => Seen::Ready(()),
                Ok(Some(observation)) => match hopeless(kube, component).await {
                    Some(error) => Seen::Never(error),
                    None => Seen::NotYet(observation),
                },
                Err(error) => Seen::NotYet(error.to_string()),
            }
        });
        if let Err(error) = held.await {
            if error.kind == Kind::Interrupted {
                return Err(error);
            }
            let selector = selector(component.name.as_str());
            let why = kube.explain(&component.namespace, &selector).await;
            let (cluster, name) = (context.cluster.as_str(), component.name.as_str());
            return Err(pod_fault::explained(error, &why, cluster, name));
        }
    }
    let what = format!("component {} cannot be reached at its address", component.name);
    let wait = context.wait(id, "component-not-reached", what, FOLLOW);
    let reached = wait.until(|| async {
        match service_addresses::fault(context, Some(&component.namespace)).await {
            Ok(None) => Seen::Ready(()),
            Ok(Some(observation)) => Seen::NotYet(observation),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    reached.await?;
    let handed = handed_files::write(&context.state(), kube, component).await?;
    for note in handed.notes {
        context.events.warn(note);
    }
    Ok(())
}

/// Why the component will not become ready, if that is certain.
async fn hopeless(kube: &Kube, component: &Component) -> Option<Error> {
    let (namespace, selector) = (component.namespace.as_str(), selector(component.name.as_str()));
    let pods = kube.pods(namespace, &selector).await.ok()?;
    let starts = pods.iter().filter(|pod| !pod.ready).map(|pod| pod.restarts).max()?;
    if starts == 0 {
        return None;
    }
    let why = pod_fault::hopeless(&kube.explain(namespace, &selector).await, starts)?;
    let what = format!("component {} does not become ready", component.name);
    Some(Error::failed("component-not-ready", what).because(why))
}

/// Whether every gate of a component holds right now, and all of its pods are on nodes that run: the
/// API server goes on calling a pod ready for most of a minute after its node has stopped.
pub(super) async fn ready_now(
    kube: &Kube,
    component: &Component,
    runs: impl Fn(&str) -> bool,
) -> bool {
    for gate in &component.definition.ready {
        if !matches!(holds(kube, component, gate).await, Ok(None)) {
            return false;
        }
    }
    let pods = kube.pods(&component.namespace, &selector(component.name.as_str())).await;
    pods.is_ok_and(|pods| pods.iter().all(|pod| pod.node.as_deref().is_none_or(&runs)))
}

/// `None` if the gate holds, else what is seen instead.
async fn holds(kube: &Kube, component: &Component, gate: &Gate) -> Result<Option<String>> {
    let namespace = component.namespace.as_str();
    let rollout = match &gate.condition {
        GateCondition::StatefulSet(name) => kube.stateful_set(namespace, name).await?,
        GateCondition::Deployment(name) => kube.deployment(namespace, name).await?,
        GateCondition::Endpoints(name) => {
            let ready = kube.endpoints_ready(namespace, name).await?;
            return Ok((ready == 0).then(|| format!("service {name} has no ready endpoint")));
        }
    };
    Ok(match rollout {
        // The workload's own status follows its pods, and lags after a restart.
        Some(rollout) if rollout.is_done() => {
            let selector = selector(component.name.as_str());
            let pods = kube.pods(namespace, &selector).await?;
            let waiting = pods.iter().find(|pod| !pod.ready && pod.phase != "Succeeded");
            waiting.map(|pod| format!("pod {} is not ready", pod.name))
        }
        Some(rollout) => Some(rollout.detail),
        None => Some(format!("{namespace} has no such workload yet")),
    })
}

/// Removes a release; its volumes only when asked to.
pub(super) async fn uninstall(
    context: &Context,
    release: &str,
    namespace: &str,
    delete_data: bool,
) -> Result<()> {
    // Not the run's own token: this is what an undo calls after the run was stopped.
    context.helm().await?.uninstall(release, namespace, &CancellationToken::new()).await?;
    if delete_data {
        let selector = selector(release);
        context.kube().await?.delete_claims(namespace, &selector).await?;
    }
    Ok(())
}

/// The label selector of a release's pods and claims, as Helm charts set it.
pub(super) fn selector(release: &str) -> String {
    format!("app.kubernetes.io/instance={release}")
}
