//! Reads what [`crate::doctor`] judges: for `pipe doctor`, for the start of `up`, for evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::fit::{self, Installed, Origin};
use super::licences::{self, Consent};
use super::up::{Environment, Request};
use super::{observe, prepare, reserve};
use crate::doctor::{
    self, EngineFacts, Facts, Finding, Leftovers, LicenceToAccept, MissingMount, NeededPort, Needs,
    PortHolder, Report, room_of_images,
};
use crate::provider::{kind, labels};
use crate::spec::source::Sources;
use crate::spec::{Arch, ClusterName, HostPorts, ImageName, Spec, WhenUnavailable};
use crate::state::lock::{self, ClusterLock};
use crate::state::paths::Paths;
use crate::state::reservation;
use crate::world::engine::{EngineInfo, State};
use crate::world::facts::{self, Ask};
use crate::world::host::Host;
use crate::world::{World, env::Env, service};
use crate::{Error, Kind, Result};

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// What stops a cluster from being made; quick, and no program is started.
    Quick,
    /// Everything.
    Whole,
}

/// What is looked at.
struct Subject<'a> {
    env: &'a Env,
    paths: &'a Paths,
    /// The engine, or why there is none.
    world: Result<&'a World, &'a Error>,
    depth: Depth,
}

/// The whole examination. Without a request no cluster is in mind. An engine that cannot be used is
/// a finding, not a failure.
///
/// # Errors
/// The cluster's files cannot be read, or the engine stopped answering meanwhile.
pub async fn examine(environment: &Environment<'_>, request: Option<&Request>) -> Result<Report> {
    let wanted = match request {
        Some(request) => Some((request, super::up::load(environment, request)?)),
        None => None,
    };
    let world = World::connect(environment.env, environment.engine).await;
    let (env, paths) = (environment.env, environment.paths);
    let subject = Subject { env, paths, world: world.as_ref(), depth: Depth::Whole };
    let facts = async {
        let needs = match &wanted {
            Some((request, spec)) => needs(&subject, environment.sources, request, spec).await?,
            None => Needs::default(),
        };
        facts(&subject, needs).await
    }
    .await;
    if let Ok(world) = &world {
        super::teardown::release_engine(world).await?;
    }
    Ok(Report::new(facts?))
}

/// The examination for a cluster that is there, as evidence: nothing is needed of the host any more.
pub async fn of_running(world: &World, paths: &Paths, cluster: &ClusterName) -> Result<Report> {
    let subject = Subject { env: &world.env, paths, world: Ok(world), depth: Depth::Whole };
    let needs = Needs { cluster: Some(cluster.to_string()), ..Needs::default() };
    Ok(Report::new(facts(&subject, needs).await?))
}

/// Refuses what this host cannot do, before anything is touched; says in one line what may get in
/// the way. Where no node is to be made or started, nothing is looked at.
///
/// # Errors
/// [`Kind::Host`] with everything that stands in the way.
pub(super) async fn preflight(
    environment: &Environment<'_>,
    world: &World,
    needs: &Needs,
) -> Result<()> {
    let findings = foresee(environment, world, needs).await?;
    if let Some(refusal) = doctor::refusal(&findings) {
        return Err(refusal);
    }
    if let Some(warning) = doctor::brief(&findings) {
        environment.events.warn(warning);
    }
    Ok(())
}

/// What `up` would find before it touches anything. Where no node is to be made or started, only the
/// components are looked at.
pub(super) async fn foresee(
    environment: &Environment<'_>,
    world: &World,
    needs: &Needs,
) -> Result<Vec<Finding>> {
    let running = needs.nodes() == 0 && needs.image.is_none();
    if running && needs.licences.is_empty() && doctor::fit::all_fit(needs, &world.host) {
        return Ok(Vec::new());
    }
    let (env, paths) = (environment.env, environment.paths);
    let subject = Subject { env, paths, world: Ok(world), depth: Depth::Quick };
    let findings = doctor::examine(&facts(&subject, needs.clone()).await?);
    Ok(if running { doctor::of_components(findings) } else { findings })
}

/// What a cluster and its components need, without a look at the host.
pub(super) async fn needs_of(
    environment: &Environment<'_>,
    world: &World,
    request: &Request,
    spec: &Spec,
) -> Result<Needs> {
    let (env, paths) = (environment.env, environment.paths);
    let subject = Subject { env, paths, world: Ok(world), depth: Depth::Quick };
    needs(&subject, environment.sources, request, spec).await
}

/// `error` says why there is no engine; what else stands in the way is added, so that it need not be
/// found one by one.
pub(super) async fn without_engine(
    environment: &Environment<'_>,
    request: &Request,
    spec: &Spec,
    error: Error,
) -> Error {
    if error.kind != Kind::Host {
        return error;
    }
    let (env, paths) = (environment.env, environment.paths);
    let subject = Subject { env, paths, world: Err(&error), depth: Depth::Quick };
    let examined = async {
        let needs = needs(&subject, environment.sources, request, spec).await?;
        facts(&subject, needs).await
    };
    let Ok(facts) = examined.await else { return error };
    let findings = doctor::examine(&facts);
    let errors = findings.iter().filter(|f| f.severity == doctor::Severity::Error).count();
    // Alone, the error in its own form says more.
    if errors <= 1 { error } else { doctor::refusal(&findings).unwrap_or(error) }
}

/// What a cluster still needs of the host.
async fn needs(
    subject: &Subject<'_>,
    sources: &Sources,
    request: &Request,
    spec: &Spec,
) -> Result<Needs> {
    let name = &spec.cluster.name;
    let mut cluster = spec.cluster.clone();
    let reserved = reservation::load(subject.paths, name)?;
    if let Some(reserved) = &reserved {
        reserved.keep_hosts(&mut cluster);
    }
    let mut needs = Needs { cluster: Some(name.to_string()), ..Needs::default() };
    let mut running = BTreeMap::new();
    let image = prepare::node_image(request, spec)?;
    let mut reference = image.tagged().to_owned();
    if let Ok(world) = subject.world {
        let filter = format!("{}={name}", kind::CLUSTER_LABEL);
        for container in world.engine.containers(&[&filter]).await? {
            running.insert(container.name, container.state == State::Running);
        }
        reference = reference_of(world, &image).await?;
    }
    let mut missing: BTreeMap<&PathBuf, Vec<String>> = BTreeMap::new();
    for node in &cluster.nodes {
        let there = running.get(&node.host);
        if there.is_none() || request.options.replace {
            for mount in cluster.mounts_of(node).filter(|mount| !mount.host_path.exists()) {
                missing.entry(&mount.host_path).or_default().push(node.name.to_string());
            }
        }
        match there {
            Some(true) => continue,
            Some(false) => needs.start += 1,
            None => needs.make += 1,
        }
        needs.control_plane |= node.control_plane;
    }
    let mounts =
        missing.into_iter().map(|(path, nodes)| MissingMount { path: path.clone(), nodes });
    needs.mounts = mounts.collect();
    if needs.make > 0 || request.options.replace {
        needs.image = Some(reference);
    }
    if !spec.cluster.ports.is_empty() {
        let taken: Vec<u16> = ports_of_others(subject.paths, name)?.into_keys().collect();
        needs.published = reserve::published(&spec.cluster, &taken, reserved.as_ref());
    }
    let refused = licences::refused(subject.env, subject.paths, request, spec)?;
    let licences = refused.into_iter().map(|(component, licence)| LicenceToAccept {
        name: licence.name.clone(),
        text: licence.text.clone(),
        component: component.name.to_string(),
    });
    needs.licences = licences.collect();
    let arch = Arch::of_host()?.as_str();
    needs.platform = format!("linux/{arch}");
    needs.names = cluster.nodes.iter().map(|node| node.name.to_string()).collect();
    needs.promise = spec.profile.memory;
    let consent = Consent::of(subject.env, subject.paths, request)?;
    let components = spec.profile.components.iter();
    // Without its licence it is left out, and needs nothing.
    let components = components.filter(|component| {
        component.when_unavailable == WhenUnavailable::Fail || consent.lacks(component).is_none()
    });
    let installed = Installed::of(subject.paths, spec, &running).await;
    let origin = Origin { world: subject.world.ok(), paths: subject.paths, sources, arch };
    needs.components = fit::needed(&origin, spec, components, &installed).await?;
    // Ports are given to a cluster once, and are its own from then on.
    if reserved.is_none() && cluster.host_ports == HostPorts::Default {
        needs.ports = needed_ports(subject.paths, spec)?;
    }
    Ok(needs)
}

async fn reference_of(world: &World, image: &ImageName) -> Result<String> {
    let facts = observe::image_facts(world, image).await?;
    Ok(facts.map_or_else(|| image.tagged().to_owned(), |facts| facts.reference))
}

/// Ports of chosen components; those that another cluster has reserved are marked.
fn needed_ports(paths: &Paths, spec: &Spec) -> Result<Vec<NeededPort>> {
    let reserved = ports_of_others(paths, &spec.cluster.name)?;
    let components = spec.profile.components.iter();
    let ports = components.flat_map(|component| {
        component.definition.ports.iter().filter_map(|port| {
            let entry = port.entry()?;
            let cluster = reserved.get(&entry.host_port);
            Some(NeededPort {
                port: entry.host_port,
                name: entry.name.to_owned(),
                component: component.name.to_string(),
                holder: cluster.cloned().map_or(PortHolder::Free, PortHolder::Cluster),
            })
        })
    });
    Ok(ports.collect())
}

/// Host ports that other clusters have reserved, and which.
fn ports_of_others(paths: &Paths, own: &ClusterName) -> Result<BTreeMap<u16, String>> {
    let mut reserved = BTreeMap::new();
    for other in paths.clusters()?.into_iter().filter(|other| other != own) {
        for port in reservation::load(paths, &other)?.iter().flat_map(|held| held.host_ports()) {
            reserved.insert(port, other.to_string());
        }
    }
    Ok(reserved)
}

async fn facts(subject: &Subject<'_>, mut needs: Needs) -> Result<Facts> {
    let paths = subject.paths;
    let whole = subject.depth == Depth::Whole;
    let measured = match subject.world {
        Ok(world) => world.host.clone(),
        Err(_) => Host::measure(),
    };
    let disks = [("state", paths.state()), ("cache", paths.cache())];
    let disks = disks.map(|(purpose, path)| (purpose.to_owned(), path.to_owned())).to_vec();
    let free = |port: &&NeededPort| port.holder == PortHolder::Free;
    let ask = Ask {
        disks,
        state: paths.state().to_owned(),
        ports: needs.ports.iter().filter(free).map(|port| port.port).collect(),
        tools: whole,
        watches: whole,
    };
    // Podman asks the packages of its helpers for their versions, which takes longer than all else.
    let (engine, mut host) =
        tokio::join!(engine_facts(subject), facts::read(&measured, subject.env, ask));
    let engine = engine?;
    // An engine on another machine keeps its store where we cannot look.
    if let Ok(EngineFacts { info: EngineInfo { graph_root, .. }, .. }) = &engine
        && graph_root.exists()
    {
        let store = facts::place::disks(&[(room_of_images(), graph_root.clone())]);
        host.disks.splice(0..0, store);
    }
    for fact in host.ports.iter().filter(|fact| fact.in_use) {
        let holder = fact.holder.as_ref().map(|h| format!("{} (pid {})", h.program, h.pid));
        let of_port =
            |port: &&mut NeededPort| port.port == fact.port && port.holder == PortHolder::Free;
        for port in needs.ports.iter_mut().filter(of_port) {
            port.holder = PortHolder::Program(holder.clone());
        }
    }
    let leftovers = match (whole, subject.world) {
        (true, world) => leftovers(subject.env, paths, world.ok()).await?,
        (false, _) => Leftovers::default(),
    };
    Ok(Facts { host, engine, leftovers, needs })
}

/// What the engine says of itself, or why there is none.
async fn engine_facts(subject: &Subject<'_>) -> Result<Result<EngineFacts, Error>> {
    let world = match subject.world {
        Ok(world) => world,
        Err(error) => return Ok(Err(error.clone())),
    };
    let info = world.engine.info().await?;
    Ok(Ok(EngineFacts { info, socket: world.engine.socket().display().to_string() }))
}

/// What belongs to nothing any more. Clusters on which a command works now are left out.
async fn leftovers(env: &Env, paths: &Paths, world: Option<&World>) -> Result<Leftovers> {
    let mut left = Leftovers::default();
    if let Some(world) = world {
        let labelled = world.engine.containers(&[labels::CLUSTER]).await?;
        let with_containers: BTreeSet<String> =
            labelled.iter().filter_map(|c| c.labels.get(labels::CLUSTER).cloned()).collect();
        let with_state: BTreeSet<String> =
            paths.clusters()?.iter().map(ToString::to_string).collect();
        let idle = |name: &&String| {
            let parsed = ClusterName::parse(name);
            parsed.is_ok_and(|cluster| ClusterLock::holder(paths, &cluster).is_none())
        };
        let only_in = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
            one.difference(other).filter(idle).cloned().collect()
        };
        left.without_containers = only_in(&with_state, &with_containers);
        left.without_state = only_in(&with_containers, &with_state);
    }
    let shown = |path: &Path| path.display().to_string();
    left.locks = lock::left(paths)?.iter().map(|path| shown(path)).collect();
    left.service = service::left(env).as_deref().map(shown);
    Ok(left)
}
