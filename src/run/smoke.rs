//! Proves a component: finds where it is reached, with what credentials, and runs its driver.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt as _;

use super::components::selector;
use super::context::Context;
use super::wait::Seen;
use crate::smoke::{self, Driver, Options, Report, Surroundings, Target};
use crate::spec::Component;
use crate::world::kube::Said;
use crate::{Error, Result};

/// Proves a component with a real client from the host.
pub(super) async fn prove(context: &Context, id: &str, component: &Component) -> Result<()> {
    context.events.progress(id, "connecting");
    let report = run(context, id, component, false).await?;
    let failed = report.failure();
    if let Ok(mut reports) = context.smoke.lock() {
        reports.push(report);
    }
    match failed {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// How a component is checked, from this host, and within what time.
pub(super) fn target(
    context: &Context,
    component: &Component,
) -> Result<(Driver, Target, Duration)> {
    let spec = component.definition.smoke.as_ref().ok_or_else(|| {
        Error::failed("no-smoke", format!("component {} has no smoke check", component.name))
    })?;
    let driver = Driver::parse(&spec.driver)
        .ok_or_else(|| Error::bug(format!("unknown smoke driver {}", spec.driver)))?;
    let reservation = context.reservation()?;
    let port = match &spec.port {
        None => None,
        Some(name) => {
            let port = component.smoke_port().and_then(|port| reservation.ports.get(port));
            Some(*port.ok_or_else(|| {
                Error::bug(format!("no host port for port {name} of {}", component.name))
            })?)
        }
    };
    let target = Target {
        component: component.name.to_string(),
        namespace: component.namespace.clone(),
        host: "127.0.0.1".to_owned(),
        port,
        buckets: component.buckets.iter().map(ToString::to_string).collect(),
        floor: spec.floor.clone(),
        stand_in: component.stand_in.clone(),
        credentials: super::components::credentials(context, component)?,
        run_id: run_id(),
    };
    Ok((driver, target, spec.within))
}

/// Runs the component's driver against its host ports.
pub async fn run(
    context: &Context,
    id: &str,
    component: &Component,
    restart: bool,
) -> Result<Report> {
    let (driver, target, within) = target(context, component)?;
    let surroundings = Surroundings {
        restart: Box::new(|| restart_pods(context, id, component).boxed()),
        exec: Some(Box::new(|command, within| {
            exec_in_pod(context, component, command, within).boxed()
        })),
        evidence: Box::new(|| explain(context, component).boxed()),
    };
    let options = Options { restart, reach: smoke::REACH, within };
    smoke::run(driver, &target, options, &surroundings).await
}

/// Unique enough for names inside one component.
fn run_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// Deletes the component's pods and waits until its gates hold again.
async fn restart_pods(context: &Context, id: &str, component: &Component) -> Result<()> {
    let kube = context.kube().await?;
    let selector = selector(component.name.as_str());
    let before = kube.pods(&component.namespace, &selector).await?;
    for pod in &before {
        kube.delete_pod(&component.namespace, &pod.name).await?;
    }
    let what = format!("the pods of {} were not replaced", component.name);
    let within = Duration::from_secs(120);
    context
        .wait(id, "pod-not-replaced", what, within)
        .until(|| async {
            match kube.pods(&component.namespace, &selector).await {
                Ok(now) if now.iter().all(|pod| before.iter().all(|old| old.uid != pod.uid)) => {
                    Seen::Ready(())
                }
                Ok(_) => Seen::NotYet("the old pod is still ending".to_owned()),
                Err(error) => Seen::NotYet(error.to_string()),
            }
        })
        .await?;
    super::components::await_ready(context, id, component).await
}

/// Runs a program in the component's pod; which, where it has several, is left to chance.
async fn exec_in_pod(
    context: &Context,
    component: &Component,
    command: Vec<String>,
    within: Duration,
) -> Result<Said> {
    let kube = context.kube().await?;
    let pods = kube.pods(&component.namespace, &selector(component.name.as_str())).await?;
    // One that is ending would take the program with it.
    let pod = pods.iter().find(|pod| pod.ready).or(pods.first()).ok_or_else(|| {
        let what = format!("component {} has no pod to run a program in", component.name);
        Error::failed("no-pod", what).hint("see what became of it: pipe status")
    })?;
    kube.exec(&component.namespace, &pod.name, None, &command, within).await
}

/// The pods' state and last events, and what became of the credentials, as evidence of a failed check.
async fn explain(context: &Context, component: &Component) -> String {
    let kube = match context.kube().await {
        Ok(kube) => kube,
        Err(error) => return error.to_string(),
    };
    let pods = kube.explain(&component.namespace, &selector(component.name.as_str())).await;
    let Some(spec) = &component.definition.credentials else { return pods };
    let found = kube.get_secret(&component.namespace, &spec.secret).await;
    let Ok(own) = super::components::credentials(context, component) else { return pods };
    match found.map(|found| foreign(&own, found)) {
        Ok(None) => pods,
        Ok(Some(what)) => {
            let Component { name, namespace, .. } = component;
            format!(
                "{pods}. Its Secret {namespace}/{} {what}: somebody changed it; put back what `pipe env` hands out and delete the pod, or make {name} anew",
                spec.secret
            )
        }
        Err(error) => format!("{pods}. {error}"),
    }
}

/// What is wrong with a Secret, without a value of it; `None` if it holds our own credentials.
fn foreign(
    own: &BTreeMap<String, String>,
    found: Option<BTreeMap<String, String>>,
) -> Option<String> {
    let Some(found) = found else { return Some("is gone".to_owned()) };
    let differs = |(key, value): &(&String, &String)| found.get(*key) != Some(*value);
    let keys: Vec<&str> = own.iter().filter(differs).map(|(key, _)| key.as_str()).collect();
    (!keys.is_empty()).then(|| format!("holds another {} than ours", keys.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_somebody_changed_is_told_by_its_keys_alone() {
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let own = of(&[("username", "pipe"), ("password", "secret")]);
        assert_eq!(foreign(&own, Some(own.clone())), None);
        let more = of(&[("username", "pipe"), ("password", "secret"), ("theirs", "x")]);
        assert_eq!(foreign(&own, Some(more)), None);
        let other = of(&[("username", "pipe"), ("password", "guessed")]);
        assert_eq!(foreign(&own, Some(other)).unwrap(), "holds another password than ours");
        assert_eq!(
            foreign(&own, Some(of(&[]))).unwrap(),
            "holds another password, username than ours"
        );
        assert_eq!(foreign(&own, None).unwrap(), "is gone");
    }
}
