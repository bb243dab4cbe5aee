//! Empties a node: nothing new comes, what is there is asked to leave, and what its disk holds is
//! said before it is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use super::context::Context;
use super::wait::Seen;
use crate::plan::nodes::{Drain, LocalData};
use crate::world::kube::{Eviction, Kube, LocalVolume, PodState};
use crate::{Error, Kind, Result};

/// Most pods named in one observation.
const NAMED: usize = 3;

/// Refuses to empty a node at a price that nobody agreed to; nothing is touched.
///
/// # Errors
/// `local-data`, `bare-pods`.
pub(super) async fn check(kube: &Kube, host: &str, how: Drain) -> Result<()> {
    let volumes = kube.local_volumes(host).await?;
    let pods = to_evict(kube, host).await?;
    let refusals = [local_data(host, &volumes, how.data), bare_pods(host, &pods, how.bare_pods)];
    refusals.into_iter().flatten().next().map_or(Ok(()), Err)
}

/// Cordons a node and evicts the pods that are there; PodDisruptionBudgets are respected until the
/// deadline. Pods that come in spite of the cordon, because they tolerate everything, are let be.
pub(super) async fn drain(context: &Context, id: &str, host: &str, how: Drain) -> Result<()> {
    let kube = context.kube().await?;
    kube.set_schedulable(host, false).await?;
    for volume in kube.local_volumes(host).await? {
        let Some(claim) = &volume.claim else { continue };
        match how.data {
            // It goes when its pod has gone; a StatefulSet then makes a new one elsewhere.
            LocalData::Delete => {
                context.events.warn(format!("the volume of {claim} on {host} is lost"));
                kube.delete_claim(claim).await?;
            }
            _ => context.events.warn(format!(
                "the volume of {claim} is on {host}: its pod waits until the node is uncordoned"
            )),
        }
    }
    let pods = to_evict(kube, host).await?;
    let leaving: BTreeSet<String> = pods.into_iter().map(|pod| pod.uid).collect();
    let within = Duration::from_secs(how.within);
    let what = format!("node {host} did not become empty");
    let wait = context.wait(id, "node-drain", what, within);
    let emptied = wait.until(|| async {
        match evict(kube, host, &leaving).await {
            Ok(None) => Seen::Ready(()),
            Ok(Some(observation)) => Seen::NotYet(observation),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    emptied.await.map_err(|error| match error.kind {
        Kind::TimedOut => error
            .hint(format!("pods may come to it again after: pipe node uncordon {host}"))
            .hint("a longer wait: --timeout; a budget that lets pods go: kubectl get pdb -A"),
        _ => error,
    })
}

/// Asks every pod that still must go; says what is in the way, or nothing when none is left.
async fn evict(kube: &Kube, host: &str, leaving: &BTreeSet<String>) -> Result<Option<String>> {
    let (mut blocked, mut waiting) = (Vec::new(), Vec::new());
    for pod in to_evict(kube, host).await? {
        if !leaving.contains(&pod.uid) {
            continue;
        }
        let name = format!("{}/{}", pod.namespace, pod.name);
        if pod.reason.as_deref() == Some("Terminating") {
            waiting.push(format!("pod {name} is ending"));
            continue;
        }
        match kube.evict(&pod.namespace, &pod.name).await? {
            Eviction::Begun => waiting.push(format!("pod {name} was asked to leave")),
            Eviction::Blocked(why) => blocked.push(format!("pod {name} may not leave: {why}")),
        }
    }
    blocked.extend(waiting);
    let more = blocked.len().saturating_sub(NAMED);
    blocked.truncate(NAMED);
    if more > 0 {
        blocked.push(format!("and {more} more"));
    }
    Ok((!blocked.is_empty()).then(|| blocked.join("; ")))
}

/// Pods that a drain moves: not those of every node, not kubelet's own, not those that have ended.
async fn to_evict(kube: &Kube, host: &str) -> Result<Vec<PodState>> {
    let mut pods = kube.pods_on(host).await?;
    let stays = |pod: &PodState| matches!(pod.controller.as_deref(), Some("DaemonSet" | "Node"));
    pods.retain(|pod| !stays(pod) && !matches!(pod.phase.as_str(), "Succeeded" | "Failed"));
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(pods)
}

fn local_data(host: &str, volumes: &[LocalVolume], data: LocalData) -> Option<Error> {
    if data != LocalData::Refuse || volumes.is_empty() {
        return None;
    }
    let what = format!("node {host} holds volumes that would be lost with it");
    let error = volumes.iter().fold(Error::failed("local-data", what), Error::because);
    Some(error.hint("save what you need, then add --delete-data"))
}

fn bare_pods(host: &str, pods: &[PodState], allowed: bool) -> Option<Error> {
    let bare: Vec<&PodState> = pods.iter().filter(|pod| pod.controller.is_none()).collect();
    if allowed || bare.is_empty() {
        return None;
    }
    let what = format!("node {host} runs pods that nothing would make again");
    let error = bare.iter().fold(Error::failed("bare-pods", what), |error, pod| {
        error.because(format!("pod {}/{} has no controller", pod.namespace, pod.name))
    });
    Some(error.hint("delete them yourself, or add --force"))
}
