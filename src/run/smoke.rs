//! Proves a component: finds where it is reached, with what credentials, and runs its driver.

use std::time::Duration;

use futures::FutureExt as _;

mod evidence;

use super::components::selector;
use super::context::Context;
use super::credentials;
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
        credentials: credentials::ensure(context, component)?,
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
        restart: Box::new(|| start_anew(context, id, component).boxed()),
        exec: Some(Box::new(|command, within| {
            exec_in_pod(context, component, command, within).boxed()
        })),
        evidence: Box::new(|| evidence::collect(context, component).boxed()),
    };
    let options = Options { restart, reach: smoke::REACH, within };
    smoke::run(driver, &target, options, &surroundings).await
}

/// Unique enough for names inside one component.
fn run_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// Restarts the component, and waits until its gates hold again.
async fn start_anew(context: &Context, id: &str, component: &Component) -> Result<()> {
    super::components::restart(context, id, component).await?;
    super::components::await_ready(context, id, component).await
}

/// Runs a program in the component's pod.
async fn exec_in_pod(
    context: &Context,
    component: &Component,
    command: Vec<String>,
    within: Duration,
) -> Result<Said> {
    let kube = context.kube().await?;
    let (namespace, name) = (&component.namespace, component.name.as_str());
    let pod = kube.pod_of(namespace, name, &selector(name)).await?;
    kube.exec(namespace, &pod.name, None, &command, within).await
}
