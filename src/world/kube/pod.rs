//! Pods, and why they are not running.

use std::fmt::Write;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStatus, Event, PersistentVolumeClaim, Pod, PodStatus,
};
use kube::Api;
use kube::api::{DeleteParams, ListParams};

use super::{Kube, fault};
use crate::{Error, Result};

/// Events shown for each pod by [`Kube::explain`].
const EXPLAIN_EVENTS: usize = 3;

/// Lines shown of a container that ended by [`Kube::explain`].
const LAST_WORDS: u32 = 3;

/// Reasons that only say a container has not started yet; any other reason says more.
const UNEVENTFUL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// A pod as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PodState {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The kind of what makes another one in its place: `ReplicaSet`, `StatefulSet`, `DaemonSet`,
    /// or `Node` for one that kubelet has from a file; none for a pod that somebody made by hand.
    pub controller: Option<String>,
    /// Tells a pod from the one of the same name that replaces it.
    pub uid: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Condition `Ready` is true and the pod is not being deleted.
    pub ready: bool,
    /// The node it is bound to.
    pub node: Option<String>,
    /// That node's address.
    #[serde(skip)]
    pub node_address: Option<String>,
    /// Why it is not ready, with its message: `ImagePullBackOff: Back-off pulling image "…"`.
    pub reason: Option<String>,
    /// Restarts of all its containers.
    pub restarts: u32,
    /// When the oldest of its running containers started.
    pub started: Option<Timestamp>,
}

impl Kube {
    /// The pods that a label selector chooses, by name.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<PodState>> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let what = format!("list the pods {selector} in namespace {namespace}");
        let list = self.call(&what, api.list(&ListParams::default().labels(selector))).await?;
        let mut pods: Vec<PodState> = list.items.into_iter().map(state).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pods)
    }

    /// A pod of `component` to run a program in: one that is ready, before one that is ending and would
    /// take the program with it; which of several is left to chance.
    ///
    /// # Errors
    /// Those of every request, and `no-pod`.
    pub async fn pod_of(
        &self,
        namespace: &str,
        component: &str,
        selector: &str,
    ) -> Result<PodState> {
        let mut pods = self.pods(namespace, selector).await?;
        let ready = pods.iter().position(|pod| pod.ready).unwrap_or_default();
        match ready < pods.len() {
            true => Ok(pods.swap_remove(ready)),
            false => {
                let what = format!("component {component} has no pod to run a program in");
                Err(Error::failed("no-pod", what).hint("see what became of it: pipe status"))
            }
        }
    }

    /// The pods of all namespaces that are bound to a node.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn pods_on(&self, node: &str) -> Result<Vec<PodState>> {
        let api = Api::<Pod>::all(self.client.clone());
        let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let list = self.call(&format!("list the pods of node {node}"), api.list(&params)).await?;
        Ok(list.items.into_iter().map(state).collect())
    }

    /// Deletes a pod with its own grace period; one that is not there is no error. It, or one of
    /// the same name and another [`PodState::uid`], may be listed for a while.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn delete_pod(&self, namespace: &str, name: &str) -> Result<()> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let what = format!("delete pod {namespace}/{name}");
        match self.call(&what, api.delete(name, &DeleteParams::default())).await {
            Err(error) if !fault::is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes the volume claims that match, and with them what their storage class does not
    /// retain.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn delete_claims(&self, namespace: &str, selector: &str) -> Result<()> {
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace);
        let what = format!("delete volume claims {namespace}/{selector}");
        let params = ListParams::default().labels(selector);
        self.call(&what, api.delete_collection(&DeleteParams::default(), &params)).await.map(drop)
    }

    /// The last `count` events about an object, oldest first: `Warning FailedScheduling (3 times):
    /// 0/1 nodes are available`. By its id: one that had its name before may have had other troubles.
    async fn events(&self, namespace: &str, uid: &str, count: usize) -> Result<Vec<String>> {
        let api = Api::<Event>::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        let what = format!("list events in namespace {namespace}");
        let mut events = self.call(&what, api.list(&params)).await?.items;
        events.sort_by_key(last_seen);
        let skipped = events.len().saturating_sub(count);
        Ok(events.iter().skip(skipped).map(event_line).collect())
    }

    /// The volume claims of a selector that have no volume yet, with their last event. What cannot be
    /// read is left out.
    async fn unbound_claims(&self, namespace: &str, selector: &str) -> Vec<String> {
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace);
        let what = format!("list the volume claims {selector} in namespace {namespace}");
        let params = ListParams::default().labels(selector);
        let mut lines = Vec::new();
        for claim in self.call(&what, api.list(&params)).await.into_iter().flatten() {
            let phase = claim.status.and_then(|status| status.phase).unwrap_or_default();
            let name = claim.metadata.name.unwrap_or_default();
            if phase == "Bound" {
                continue;
            }
            let uid = claim.metadata.uid.unwrap_or_default();
            let events = self.events(namespace, &uid, 1).await.unwrap_or_default();
            let last = events.first().map(|event| format!("; last event: {event}"));
            lines.push(format!("volume claim {name} is {phase}{}", last.unwrap_or_default()));
        }
        lines
    }

    /// The last lines of containers that ended and were started again: what they said before.
    async fn last_words(&self, namespace: &str, selector: &str) -> Vec<String> {
        let sources = self.log_sources(namespace, selector).await.unwrap_or_default();
        let mut lines = Vec::new();
        for source in sources.iter().filter(|source| source.ended) {
            if let Ok(said) = self.log_of_ended(namespace, source, LAST_WORDS).await
                && !said.is_empty()
            {
                let said = said.trim().replace('\n', " / ");
                lines.push(format!("container {} said last: {said}", source.container));
            }
        }
        lines
    }

    /// The last observation of some pods in one paragraph, for a wait that reached its deadline.
    /// Never fails: what could not be read is said.
    pub async fn explain(&self, namespace: &str, selector: &str) -> String {
        let pods = match self.pods(namespace, selector).await {
            Ok(pods) if pods.is_empty() => {
                return format!("no pod {selector} in namespace {namespace}");
            }
            Ok(pods) => pods,
            Err(error) => return error.to_string(),
        };
        let mut text = String::new();
        for pod in pods {
            let _infallible = write!(text, "{}pod {}", separator(&text), summary(&pod));
            match self.events(namespace, &pod.uid, EXPLAIN_EVENTS).await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => {
                    let _infallible = write!(text, "; last events: {}", events.join("; "));
                }
                Err(error) => {
                    let _infallible = write!(text, "; {error}");
                }
            }
        }
        let mut more = self.last_words(namespace, selector).await;
        // Claims stay when what used them goes: only where a volume is what a pod waits for.
        if text.to_lowercase().contains("volume") {
            more.extend(self.unbound_claims(namespace, selector).await);
        }
        for line in more {
            let _infallible = write!(text, "{}{line}", separator(&text));
        }
        text
    }
}

fn separator(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ". " }
}

fn summary(pod: &PodState) -> String {
    let place = pod.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let state = if pod.ready { "ready".to_owned() } else { format!("{}, not ready", pod.phase) };
    let reason = pod.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let restarts = match pod.restarts {
        0 => String::new(),
        count => format!(" ({count} restarts)"),
    };
    format!("{}{place} is {state}{restarts}{reason}", pod.name)
}

/// Condition `Ready` is true and the pod is not being deleted.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    pod.metadata.deletion_timestamp.is_none()
        && status.is_some_and(|status| condition_is(status, "Ready", "True"))
}

fn state(pod: Pod) -> PodState {
    let deleting = pod.metadata.deletion_timestamp.is_some();
    let ready = is_ready(&pod);
    let status = pod.status.unwrap_or_default();
    let reason = match (ready, deleting) {
        (true, _) => None,
        (false, true) => Some("Terminating".to_owned()),
        (false, false) => reason(&status),
    };
    let owners = pod.metadata.owner_references.unwrap_or_default();
    PodState {
        namespace: pod.metadata.namespace.unwrap_or_default(),
        controller: owners.into_iter().find(|o| o.controller == Some(true)).map(|o| o.kind),
        name: pod.metadata.name.unwrap_or_default(),
        uid: pod.metadata.uid.unwrap_or_default(),
        ready,
        node: pod.spec.and_then(|spec| spec.node_name),
        node_address: status.host_ip.clone().filter(|address| !address.is_empty()),
        reason,
        started: containers(&status).filter_map(started).min(),
        restarts: containers(&status).map(|c| u32::try_from(c.restart_count).unwrap_or(0)).sum(),
        phase: status.phase.unwrap_or_else(|| "Unknown".to_owned()),
    }
}

fn started(container: &ContainerStatus) -> Option<Timestamp> {
    let running = container.state.as_ref()?.running.as_ref()?;
    Some(running.started_at.as_ref()?.0)
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
}

fn condition_is(status: &PodStatus, type_: &str, value: &str) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().any(|c| c.type_ == type_ && c.status == value)
}

/// The most telling reason: of a container, of the pod (`Evicted`), of the scheduler, and only then
/// that a container is being created.
fn reason(status: &PodStatus) -> Option<String> {
    let of_containers: Vec<(String, String)> = containers(status).filter_map(stuck).collect();
    let telling = of_containers.iter().find(|(reason, _)| !UNEVENTFUL.contains(&reason.as_str()));
    let of_pod = status.reason.clone().map(|r| (r, status.message.clone().unwrap_or_default()));
    let of_scheduler = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False")
        .map(|c| {
            let reason = c.reason.clone().unwrap_or_else(|| "Unschedulable".to_owned());
            (reason, c.message.clone().unwrap_or_default())
        });
    let (reason, message) =
        telling.cloned().or(of_pod).or(of_scheduler).or_else(|| of_containers.first().cloned())?;
    let message = message.trim();
    Some(if message.is_empty() { reason } else { format!("{reason}: {message}") })
}

/// Why a container is not running; for one that crashes, how it ended last.
fn stuck(container: &ContainerStatus) -> Option<(String, String)> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.clone().unwrap_or_default();
        let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        let ended = last.map(|end| format!(" ({})", last_end(end)));
        return Some((waiting.reason.clone()?, format!("{message}{}", ended.unwrap_or_default())));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let detail = ended.message.clone().unwrap_or_else(|| format!("exit code {}", ended.exit_code));
    Some((ended.reason.clone().unwrap_or_else(|| "Error".to_owned()), detail))
}

/// How a container ended before it was started again: `last exit code 128: StartError: exec format error`.
fn last_end(end: &ContainerStateTerminated) -> String {
    let reason = end.reason.as_deref().filter(|reason| *reason != "Error");
    let message = end.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
    let code = format!("last exit code {}", end.exit_code);
    [Some(code.as_str()), reason, message].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// When an event happened last, in whichever of its three fields says so.
fn last_seen(event: &Event) -> Option<k8s_openapi::jiff::Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let micro = series.or(event.event_time.as_ref()).map(|time| time.0);
    event.last_timestamp.as_ref().map(|time| time.0).or(micro)
}

fn event_line(event: &Event) -> String {
    let times = match event.count.or(event.series.as_ref().and_then(|series| series.count)) {
        Some(count) if count > 1 => format!(" ({count} times)"),
        _ => String::new(),
    };
    format!(
        "{} {}{times}: {}",
        event.type_.as_deref().unwrap_or("Normal"),
        event.reason.as_deref().unwrap_or("Event"),
        event.message.as_deref().unwrap_or_default().trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &serde_json::Value) -> PodState {
        let object = serde_json::json!({
            "metadata": {"name": "nats-0", "uid": "1"},
            "spec": {"containers": [], "nodeName": "dev-worker"},
            "status": status,
        });
        state(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn the_most_telling_reason_is_said() {
        let pulling = pod(&serde_json::json!({
            "phase": "Pending",
            "initContainerStatuses": [{
                "name": "i", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "PodInitializing"}},
            }],
            "containerStatuses": [{
                "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {
                    "reason": "ImagePullBackOff", "message": "Back-off pulling image \"x\"",
                }},
            }],
        }));
        insta::assert_snapshot!(summary(&pulling), @r#"nats-0 on dev-worker is Pending, not ready: ImagePullBackOff: Back-off pulling image "x""#);

        let crashing = pod(&serde_json::json!({
            "phase": "Running",
            "containerStatuses": [{
                "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"exitCode": 1}},
            }],
        }));
        insta::assert_snapshot!(summary(&crashing), @"nats-0 on dev-worker is Running, not ready (4 restarts): CrashLoopBackOff: back-off 40s (last exit code 1)");

        let unscheduled = pod(&serde_json::json!({
            "phase": "Pending",
            "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/3 nodes are available",
            }],
        }));
        insta::assert_snapshot!(summary(&unscheduled), @"nats-0 on dev-worker is Pending, not ready: Unschedulable: 0/3 nodes are available");

        let ready = pod(&serde_json::json!({
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        }));
        insta::assert_snapshot!(summary(&ready), @"nats-0 on dev-worker is ready");
    }
}
