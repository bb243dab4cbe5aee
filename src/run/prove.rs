//! `smoke`: proves components of a cluster that runs.

use std::sync::Arc;

use super::context::Context;
use super::in_cluster::{self, Wanted};
use super::observe;
use super::status::known;
use super::up::Environment;
use crate::smoke::{NotChecked, Report};
use crate::spec::{ClusterName, Component, Profile, Skipped};
use crate::world::World;
use crate::{Error, Result};

/// From where the checks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// This host; with `restart`, pods are deleted in between.
    Host {
        /// See above.
        restart: bool,
    },
    /// A pod.
    Pod,
}

/// What is known of a cluster's components.
#[derive(Debug)]
pub struct Proof {
    /// Of those that were checked.
    pub reports: Vec<Report>,
    /// Of the others, which prove nothing.
    pub skipped: Vec<NotChecked>,
}

/// Runs the smoke checks of `names`, or of every component that has one.
///
/// # Errors
/// There is no such cluster or component, or nothing to check. A failed check is in its report.
pub async fn prove(
    environment: &Environment<'_>,
    cluster: &ClusterName,
    names: &[String],
    from: From,
) -> Result<Proof> {
    let (reservation, spec) = known(environment.sources, environment.paths, cluster)?;
    let mut chosen = choose(&spec.profile, names)?;
    let world = World::connect(environment.env, environment.engine).await?;
    let context = Context::of_files(environment, &Arc::new(world), reservation, spec.clone());
    for component in &mut chosen {
        component.stand_in = observe::stand_in(&context.world, &spec, component).await;
    }
    let mut reports = Vec::new();
    match from {
        From::Pod => reports = in_pod(&context, &chosen).await?,
        From::Host { restart } => {
            for component in &chosen {
                let id = format!("smoke/{}", component.name);
                reports.push(super::smoke::run(&context, &id, component, restart).await?);
            }
        }
    }
    let skipped = spec.profile.skipped.iter().filter(|_| names.is_empty());
    let skipped = skipped.map(|Skipped { component, why }| NotChecked {
        component: component.name.to_string(),
        skipped: why.clone(),
    });
    Ok(Proof { reports, skipped: skipped.collect() })
}

async fn in_pod(context: &Context, components: &[Component]) -> Result<Vec<Report>> {
    let mut wanted = Vec::new();
    for component in components {
        let (driver, target, within) = super::smoke::target(context, component)?;
        if target.port.is_some() {
            wanted.push(Wanted { component, driver, target, within });
            continue;
        }
        let name = &component.name;
        context.events.warn(format!(
            "{name} is not checked from another pod: its check runs programs in its own, as `pipe smoke` does without --in-cluster"
        ));
    }
    if wanted.is_empty() {
        return Err(Error::usage("no-component", "no component can be checked from another pod")
            .hint("check them from here: leave out --in-cluster"));
    }
    in_cluster::prove(context, "smoke", wanted).await
}

/// The components to prove.
fn choose(profile: &Profile, names: &[String]) -> Result<Vec<Component>> {
    let components = &profile.components;
    for name in names {
        let gone = profile.skipped.iter().find(|gone| gone.component.name.as_str() == name);
        if let Some(Skipped { why, .. }) = gone {
            let what = format!("component {name} was skipped, so there is nothing to check");
            return Err(Error::failed("component-skipped", what).because(why));
        }
        if !components.iter().any(|component| component.name.as_str() == name) {
            let known: Vec<&str> = components.iter().map(|c| c.name.as_str()).collect();
            return Err(Error::usage(
                "no-component",
                format!("the profile has no component {name}"),
            )
            .hint(format!("it has: {}", known.join(", "))));
        }
    }
    let chosen = |component: &&Component| {
        component.definition.smoke.is_some()
            && (names.is_empty() || names.iter().any(|name| name == component.name.as_str()))
    };
    let chosen: Vec<Component> = components.iter().filter(chosen).cloned().collect();
    match chosen.is_empty() {
        false => Ok(chosen),
        true => Err(Error::failed("no-component", "there is no component to check").hint(format!(
            "bring the cluster up with a profile that has one, not {}",
            profile.name
        ))),
    }
}
