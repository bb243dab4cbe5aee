//! `smoke --in-cluster`: the same checks from a pod, which finds services by their names and runs this
//! very program from an image that is made here.
//!
//! ```text
//!  own program ─▶ image ─▶ cache, signed (or into each node) ─┐
//!  errands ─▶ Secret ─────────────────────────────────────────┴▶ Job ─ log ─▶ reports
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt as _;
use serde_json::json;

use super::context::Context;
use super::own_pod::{self, NAMESPACE, OwnPod};
use super::wait::Seen;
use crate::provider::labels;
use crate::smoke::{Driver, Errand, REACH, Report, Target};
use crate::spec::Component;
use crate::world::kube::log::LogRange;
use crate::world::kube::{JobState, Kube};
use crate::{Error, Result};

/// Label of its objects; the value tells one run from another.
const LABEL: &str = "pipe.dev/probe";

/// Until its pod runs: one image over the host's own network, unpacked.
const STARTS: Duration = Duration::from_secs(120);

/// A check that is to be made, with its component.
pub(super) struct Wanted<'a> {
    /// What is checked.
    pub component: &'a Component,
    /// How.
    pub driver: Driver,
    /// As from here; its host and port are replaced.
    pub target: Target,
    /// For all checks of it.
    pub within: Duration,
}

/// Makes the checks in a pod.
///
/// # Errors
/// The image cannot be delivered, a component has no Service with the port, or the pod did not end with
/// reports. A failed check is in its report.
pub(super) async fn prove(
    context: &Context,
    id: &str,
    wanted: Vec<Wanted<'_>>,
) -> Result<Vec<Report>> {
    let kube = context.kube().await?;
    let mut errands = Vec::new();
    let mut within = STARTS;
    for Wanted { component, driver, target, within: own } in wanted {
        let (host, port) = own_pod::service(kube, component).await?;
        let target = Target { host, port: Some(port), ..target };
        within += own + REACH;
        errands.push(Errand { driver, target, within: own, reach: REACH });
    }
    let pod = OwnPod::deliver(context, id, "probe").await?;
    let nonce = format!("{:08x}", rand::random::<u32>());
    let job = Job { name: format!("pipe-probe-{nonce}"), nonce, pod, within };
    let text = serde_json::to_string(&errands).map_err(|why| Error::bug(why.to_string()))?;
    let ran = job.run(context, kube, id, text).await;
    let cleared = job.clear(kube).await;
    let mut reports = read(&ran?, errands.len())?;
    cleared?;
    for report in reports.iter_mut().filter(|report| !report.passed) {
        let errand = errands.iter().find(|errand| errand.target.component == report.component);
        if let Some(errand) = errand {
            let selector = super::components::selector(&errand.target.component);
            report.evidence = Some(kube.explain(&errand.target.namespace, &selector).await);
        }
    }
    Ok(reports)
}

struct Job {
    name: String,
    nonce: String,
    pod: OwnPod,
    within: Duration,
}

impl Job {
    fn selector(&self) -> String {
        format!("{LABEL}={}", self.nonce)
    }

    /// Runs to its end; gives its log.
    async fn run(
        &self,
        context: &Context,
        kube: &Kube,
        id: &str,
        errands: String,
    ) -> Result<String> {
        let mut labels = labels::ours(None);
        labels.insert(LABEL.to_owned(), self.nonce.clone());
        let secret = BTreeMap::from([(own_pod::FILE.to_owned(), errands)]);
        kube.put_secret(NAMESPACE, &self.name, &secret, &labels).await?;
        kube.make_job(NAMESPACE, self.object(&labels)).await?;
        let what = "the checks in the cluster did not end";
        let selector = self.selector();
        let wait = context.wait(id, "probe-not-done", what, self.within);
        let ended = wait.until(|| async {
            match kube.job(NAMESPACE, &self.name).await {
                Ok(Some(JobState::Complete | JobState::Failed)) => return Seen::Ready(()),
                Ok(Some(JobState::Active)) => {}
                Ok(None) => {
                    let what = "the Job that checks disappeared";
                    return Seen::Never(Error::failed("probe-gone", what));
                }
                Err(error) => return Seen::NotYet(error.to_string()),
            }
            match kube.pods(NAMESPACE, &selector).await {
                Ok(pods) => Seen::NotYet(pods.first().map_or_else(
                    || "its pod is not made yet".to_owned(),
                    |pod| pod.reason.clone().unwrap_or_else(|| format!("its pod is {}", pod.phase)),
                )),
                Err(error) => Seen::NotYet(error.to_string()),
            }
        });
        if let Err(error) = ended.await {
            return Err(error.because(kube.explain(NAMESPACE, &selector).await));
        }
        let mut text = String::new();
        for source in kube.log_sources(NAMESPACE, &selector).await? {
            let lines = kube.log(NAMESPACE, &source, LogRange::default()).await?;
            let lines: Vec<_> = lines.try_collect().await?;
            lines.iter().for_each(|line| text.push_str(&format!("{}\n", line.text)));
        }
        Ok(text)
    }

    fn object(&self, labels: &BTreeMap<String, String>) -> serde_json::Value {
        json!({
            "metadata": {"name": self.name, "labels": labels},
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": self.within.as_secs(),
                // Whoever made it may be killed.
                "ttlSecondsAfterFinished": 600,
                "template": {
                    "metadata": {"labels": labels},
                    "spec": self.pod.spec(&self.name),
                },
            },
        })
    }

    /// Takes away what it was made of.
    async fn clear(&self, kube: &Kube) -> Result<()> {
        kube.delete("v1", "Secret", Some(NAMESPACE), &self.name).await?;
        kube.delete("batch/v1", "Job", Some(NAMESPACE), &self.name).await
    }
}

/// The reports in what a pod said. It says them as lines of JSON, and faults as others.
fn read(log: &str, wanted: usize) -> Result<Vec<Report>> {
    let reports: Vec<Report> = log.lines().filter_map(|it| serde_json::from_str(it).ok()).collect();
    if reports.len() == wanted {
        return Ok(reports);
    }
    let what = format!("{} of {wanted} components were checked in the cluster", reports.len());
    let others = log.lines().filter(|line| !line.starts_with('{'));
    let said: Vec<&str> = others.collect();
    Err(Error::failed("probe-broken", what).because(match said.is_empty() {
        true => "its pod ended and said nothing".to_owned(),
        false => format!("its pod said: {}", said.join("; ")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_ends_early_proves_nothing_and_its_words_are_kept() {
        let report = r#"{"component":"nats","driver":"nats","run_id":"r1","passed":true,"seconds":0.5,
            "checks":[{"name":"connect","tried":"a","saw":"b","passed":true,"seconds":0.1}]}"#;
        let line = report.replace('\n', "");
        let log = format!("{line}\n{}\n", line.replace("nats", "minio"));
        assert_eq!(
            read(&log.replace("\"driver\":\"minio\"", "\"driver\":\"s3\""), 2).unwrap().len(),
            2
        );
        let error = read(&format!("{line}\nerror: no such file\n"), 2).unwrap_err();
        insta::assert_snapshot!(error, @"1 of 2 components were checked in the cluster: its pod said: error: no such file");
        let silent = read("", 1).unwrap_err().to_string();
        assert!(silent.contains("said nothing"), "{silent}");
    }
}
