//! What containers of pods say.

use futures::{AsyncBufReadExt as _, Stream, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};

use super::{Kube, fault};
use crate::{Error, Result};

/// A container of a pod that has started at least once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogSource {
    /// The pod.
    pub pod: String,
    /// Tells a pod from the one of the same name that replaces it.
    pub uid: String,
    /// The container.
    pub container: String,
    /// It ended with a failure; another run of it may have begun.
    pub ended: bool,
}

/// Which part of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRange {
    /// Only the last lines.
    pub tail: Option<u32>,
    /// Only from this moment on.
    pub since: Option<Timestamp>,
    /// Go on with what is said from now on.
    pub follow: bool,
}

/// One line, and when it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, if that can be read.
    pub at: Option<Timestamp>,
    /// What.
    pub text: String,
}

impl Kube {
    /// Containers of the pods that a selector chooses, init containers first.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn log_sources(&self, namespace: &str, selector: &str) -> Result<Vec<LogSource>> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let what = format!("list the pods {selector} in namespace {namespace}");
        let list = self.call(&what, api.list(&ListParams::default().labels(selector))).await?;
        let mut sources: Vec<LogSource> = list.items.into_iter().flat_map(of_pod).collect();
        sources.sort();
        Ok(sources)
    }

    /// The lines of a container, oldest first; ends when the container does.
    ///
    /// # Errors
    /// Those of every request; `kube-not-found` where the pod is gone.
    pub async fn log(
        &self,
        namespace: &str,
        source: &LogSource,
        range: LogRange,
    ) -> Result<impl Stream<Item = Result<LogLine>> + use<>> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let parameters = LogParams {
            container: Some(source.container.clone()),
            follow: range.follow,
            since_time: range.since,
            tail_lines: range.tail.map(i64::from),
            timestamps: true,
            ..LogParams::default()
        };
        let what = format!("read the log of {namespace}/{}", source.pod);
        let stream = self.call(&what, api.log_stream(&source.pod, &parameters)).await?;
        let broken =
            move |error| Error::failed("kube-unreachable", format!("cannot {what}")).because(error);
        Ok(stream.lines().map_err(broken).map_ok(line))
    }
}

impl Kube {
    /// What a container that ended said last: its run before this one, where there was one.
    pub(super) async fn log_of_ended(
        &self,
        namespace: &str,
        source: &LogSource,
        lines: u32,
    ) -> Result<String> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let what = format!("read the log of {namespace}/{}", source.pod);
        // Of the run before, whose log may be removed by now; then of the one that ended just now.
        for previous in [true, false] {
            let parameters = LogParams {
                container: Some(source.container.clone()),
                tail_lines: Some(i64::from(lines)),
                previous,
                ..LogParams::default()
            };
            match self.call(&what, api.logs(&source.pod, &parameters)).await {
                Ok(said) if is_said(&said) => return Ok(said),
                Err(error) if !previous => return Err(error),
                _ => {}
            }
        }
        Ok(String::new())
    }
}

/// Whether a log holds a container's own words. For a container that is removed kubelet answers with
/// success and a sentence of its own (`GetContainerLogs` in its `kuberuntime_container.go`).
fn is_said(log: &str) -> bool {
    let log = log.trim();
    !log.is_empty() && !log.starts_with("unable to retrieve container logs for ")
}

/// Whether the error says that the pod, or the container, is gone.
pub fn is_gone(error: &Error) -> bool {
    fault::is_not_found(error)
}

fn of_pod(pod: Pod) -> Vec<LogSource> {
    let status = pod.status.unwrap_or_default();
    let (name, uid) = (pod.metadata.name.unwrap_or_default(), pod.metadata.uid.unwrap_or_default());
    let containers = status.init_container_statuses.into_iter().chain(status.container_statuses);
    containers
        .flatten()
        // One that never started has said nothing.
        .filter(|container| container.container_id.is_some())
        .map(|container| LogSource {
            pod: name.clone(),
            uid: uid.clone(),
            ended: failed(&container),
            container: container.name,
        })
        .collect()
}

/// Whether a container's last run, or the one before, ended badly.
fn failed(container: &ContainerStatus) -> bool {
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    let mut ended = states.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
    ended.any(|end| end.exit_code != 0)
}

/// `2026-11-21T09:12:03.120000000Z what it said`.
fn line(text: String) -> LogLine {
    let parsed = text.split_once(' ').and_then(|(at, said)| Some((at.parse().ok()?, said)));
    match parsed {
        Some((at, said)) => LogLine { at: Some(at), text: said.to_owned() },
        None => LogLine { at: None, text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_of_kubelet_is_not_the_containers() {
        assert!(is_said("exec /foreign: exec format error\n"));
        assert!(!is_said(" \n"));
        let removed = "unable to retrieve container logs for containerd://f1273501873c";
        assert!(!is_said(removed));
    }

    #[test]
    fn lines_begin_with_their_time() {
        let seen = line("2026-11-21T09:12:03.5Z [1] ready".to_owned());
        assert_eq!(seen.at, "2026-11-21T09:12:03.5Z".parse().ok());
        assert_eq!(seen.text, "[1] ready");
        assert_eq!(line("no time".to_owned()), LogLine { at: None, text: "no time".to_owned() });
    }
}
