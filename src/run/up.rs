//! `up` and `plan`: the whole way from files to a running, proven cluster. The command line and the
//! daemon are two front doors to this.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::cache::last_use;
use super::carry_out::{carry_out, note_skipped};
use super::context::{Context, KubeconfigChoice};
use super::prepare::{Prepared, prepare};
use super::summary::{self, UpComponent};
use super::{doctor, licences, observe, preconditions, teardown};
use crate::doctor::{Finding, refusal};
use crate::plan::build;
use crate::plan::input::{Input, Options};
use crate::plan::{Observed, Operation, Plan, Reservation};
use crate::provider::kind;
use crate::report::{Events, Mask};
use crate::spec::source::Sources;
use crate::spec::{Arch, ClusterName, Component, ImageName, ProfileName, Spec};
use crate::state::journal::{Journal, RunOutcome};
use crate::state::paths::Paths;
use crate::state::receipt::Receipt;
use crate::world::World;
use crate::world::env::Env;
use crate::{Error, Kind, Result};

/// How often a plan may be followed by another before something is wrong: starting what stopped,
/// then changing what differs.
const ROUNDS: usize = 3;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The cluster's file.
    pub cluster: ClusterName,
    /// A profile named on the command line.
    pub profile: Option<String>,
    /// Choices that decide the plan.
    pub options: Options,
    /// Another node image.
    pub node_image: Option<ImageName>,
    /// A node to add that no file names, as a file would have it.
    pub add: Option<serde_json::Value>,
    /// Names of licences that are accepted.
    pub accept: Vec<String>,
}

/// What it is done with.
pub struct Environment<'a> {
    /// Environment variables.
    pub env: &'a Env,
    /// An engine named on the command line.
    pub engine: Option<&'a str>,
    /// State and cache.
    pub paths: &'a Paths,
    /// Files.
    pub sources: &'a Sources,
    /// Where progress goes.
    pub events: Events,
    /// What must not be printed.
    pub mask: Mask,
    /// The user's interruption.
    pub cancel: CancellationToken,
    /// Leave what was made after a failure.
    pub keep: bool,
    /// Kubeconfig options.
    pub kubeconfig: KubeconfigChoice,
}

/// What `up` reached.
#[derive(Debug, Serialize)]
pub struct Up {
    /// The cluster.
    pub cluster: ClusterName,
    /// The profile.
    pub profile: String,
    /// Its context in kubeconfig.
    pub context: String,
    /// Our own kubeconfig file.
    pub kubeconfig: std::path::PathBuf,
    /// Steps that were done, with their seconds; empty when nothing was to be done.
    pub steps: Vec<(String, f64)>,
    /// Components and how to reach them.
    pub components: Vec<UpComponent>,
    /// Smoke checks of this run.
    pub smoke: Vec<crate::smoke::Report>,
}

/// A port on the host.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoint {
    /// The component's name for the port.
    pub name: String,
    /// `127.0.0.1:4222`.
    pub address: String,
}

/// Reads and checks the files; touches nothing.
///
/// # Errors
/// Every problem in the files at once, as one error.
pub fn load(environment: &Environment<'_>, request: &Request) -> Result<Spec> {
    let arch = Arch::of_host()?;
    crate::state::check(environment.paths, &request.cluster)?;
    let last = Receipt::load(&environment.paths.cluster(&request.cluster))?.profile;
    let profile = request.profile.as_deref().or(last.as_ref().map(ProfileName::as_str));
    crate::spec::load(environment.sources, request.cluster.as_str(), profile, arch)
}

/// Plans without changing anything.
pub async fn plan(environment: &Environment<'_>, request: &Request) -> Result<Plan> {
    let spec = load(environment, request)?;
    let world = World::connect(environment.env, environment.engine).await?;
    let plan = async {
        let needs = doctor::needs_of(environment, &world, request, &spec).await?;
        let findings = doctor::foresee(environment, &world, &needs).await?;
        let prepared = prepare(environment, &world, request, spec, &needs, false).await;
        // What cannot even be planned may be one of many things.
        let (prepared, notes) = prepared.map_err(|error| match error.kind {
            Kind::Host => refusal(&findings).unwrap_or(error),
            _ => error,
        })?;
        let observed = look(&world, environment.paths, &prepared).await?;
        let mut plan = plan_for(&prepared, &observed, request.options)?;
        plan.notes.extend(notes);
        plan.notes.extend(summary::skipped(&prepared));
        plan.notes.extend(findings.iter().filter_map(Finding::forecast));
        Ok(plan)
    }
    .await;
    teardown::release_engine(&world).await?;
    plan
}

/// Brings a cluster to its files. The caller holds the cluster's lock.
pub async fn up(environment: &Environment<'_>, request: &Request) -> Result<Up> {
    let spec = load(environment, request)?;
    let world = match World::connect(environment.env, environment.engine).await {
        Ok(world) => Arc::new(world),
        Err(error) => {
            return Err(doctor::without_engine(environment, request, &spec, error).await);
        }
    };
    let result = up_in(environment, request, spec, &world).await;
    if result.is_err() {
        // Nothing of a cluster that was undone may stay, and no service that served only it.
        // What failed first is what the user must hear of, also where the engine is gone by now.
        if let Err(error) = teardown::sweep(&world, environment.paths, &request.cluster).await {
            environment.events.warn(format!("nothing could be cleaned up: {error}"));
        }
    }
    result
}

async fn up_in(
    environment: &Environment<'_>,
    request: &Request,
    spec: Spec,
    world: &Arc<World>,
) -> Result<Up> {
    let needs = doctor::needs_of(environment, world, request, &spec).await?;
    doctor::preflight(environment, world, &needs).await?;
    licences::remember(environment, request, &spec).await?;
    let (prepared, notes) = prepare(environment, world, request, spec, &needs, true).await?;
    for note in notes {
        environment.events.warn(note);
    }
    let mut steps = Vec::new();
    let mut smoke = Vec::new();
    for round in 1.. {
        let observed = look(world, environment.paths, &prepared).await?;
        let plan = plan_for(&prepared, &observed, request.options)?;
        if round == 1 {
            for note in &plan.notes {
                environment.events.warn(note.clone());
            }
        }
        if plan.is_empty() {
            remember_profile(environment, &prepared)?;
            break;
        }
        preconditions::check_kubeconfig(environment, &plan)?;
        preconditions::check(world, &prepared.spec.cluster.name, &plan).await?;
        let (done, reports) = run(environment, world, &prepared, observed, &plan).await?;
        steps.extend(done);
        smoke.extend(reports);
        if !plan.more {
            break;
        }
        if round >= ROUNDS {
            return Err(Error::failed("not-settling", "nodes stop again as soon as they start")
                .hint("`podman ps -a` and `podman logs NODE` show why"));
        }
    }
    if prepared.spec.profile.policy.is_cached() {
        let components = prepared.spec.profile.components.iter();
        let images = components.flat_map(|component| &component.definition.images);
        let (paths, events) = (environment.paths, &environment.events);
        last_use::brought_up(paths, events, &prepared.spec.cluster.name, images).await;
    }
    Ok(outcome(environment, &prepared, steps, smoke))
}

/// Runs one plan, with evidence and undo if it fails.
async fn run(
    environment: &Environment<'_>,
    world: &Arc<World>,
    prepared: &Prepared,
    observed: Observed,
    plan: &Plan,
) -> Result<(Vec<(String, f64)>, Vec<crate::smoke::Report>)> {
    let context = Arc::new(Context {
        spec: Some(prepared.spec.clone()),
        reservation: Some(prepared.reservation.clone()),
        locked: prepared.locked.clone(),
        admission: prepared.admission.clone(),
        verifier: prepared.verifier.clone(),
        observed,
        ..Context::new(environment, world, &prepared.spec.cluster.name)
    });
    let profile = Some(&prepared.spec.profile.name);
    let (cancel, keep) = (&environment.cancel, environment.keep);
    let finished = carry_out(&context, plan, profile, cancel, keep).await?;
    let reports = context.take_reports();
    Ok((finished.into_result()?, reports))
}

/// A profile that asks for nothing new is still the one to come back to, and what it leaves out may
/// be something else now. Where all was so before, nothing is written: a run without a step leaves no
/// line in the journal.
fn remember_profile(environment: &Environment<'_>, prepared: &Prepared) -> Result<()> {
    let state = environment.paths.cluster(&prepared.spec.cluster.name);
    let profile = Some(&prepared.spec.profile.name);
    let skipped = &prepared.spec.profile.skipped;
    let last = Receipt::load(&state)?;
    // Why may be told in other words each time.
    let same = last
        .skipped
        .keys()
        .eq(skipped.iter().map(|gone| &gone.component.name).collect::<BTreeSet<_>>());
    if last.profile.as_ref() == profile && same {
        return Ok(());
    }
    let operation = Operation::Up.as_str();
    let journal = Journal::begin(&state.journal(), operation, profile, environment.mask.clone())?;
    note_skipped(&journal, skipped)?;
    journal.finish(RunOutcome::Done)?;
    Receipt::load(&state)?.save(&state)
}

async fn look(world: &World, paths: &Paths, prepared: &Prepared) -> Result<Observed> {
    let (spec, image) = (&prepared.spec, &prepared.node_image);
    let cluster = &spec.cluster.name;
    let observed = observe::observe(world, paths, cluster, Some(spec), Some(image)).await?;
    preconditions::check_lost(cluster, &observed)?;
    Ok(observed)
}

fn plan_for(prepared: &Prepared, observed: &Observed, options: Options) -> Result<Plan> {
    build::build(&Input {
        spec: &prepared.spec,
        observed,
        reservation: &prepared.reservation,
        node_image: &prepared.node_image,
        registry_image: &prepared.registry_image,
        charts: &prepared.charts,
        surroundings: &prepared.surroundings,
        admission: prepared.admission.as_ref().map(|it| it.fingerprint.as_str()),
        locked: &prepared.locked,
        options,
    })
}

fn outcome(
    environment: &Environment<'_>,
    prepared: &Prepared,
    steps: Vec<(String, f64)>,
    smoke: Vec<crate::smoke::Report>,
) -> Up {
    let spec = &prepared.spec;
    Up {
        cluster: spec.cluster.name.clone(),
        profile: spec.profile.name.to_string(),
        context: kind::context(spec.cluster.name.as_str()),
        kubeconfig: environment.paths.cluster(&spec.cluster.name).kubeconfig(),
        components: summary::components(prepared, &steps),
        steps,
        smoke,
    }
}

/// Where the host reaches a component.
pub fn endpoints(component: &Component, reservation: &Reservation) -> Vec<Endpoint> {
    let ports = component.definition.ports.iter();
    ports
        .filter_map(|port| {
            let host_port = reservation.ports.get(&port.catalogue)?;
            let address = format!("127.0.0.1:{host_port}");
            Some(Endpoint { name: port.name.clone(), address })
        })
        .collect()
}
