//! What files alone cannot say, decided before a plan: the network mode, what can be had, addresses
//! and ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cache::hold;
use super::cache::lock::Place;
use super::context::shared_lock;
use super::licences::{self, Consent};
use super::up::{Environment, Request};
use super::{admission, images, observe, pull_fault, reserve};
use crate::doctor::Needs;
use crate::doctor::fit::{LeftOut, left_out};
use crate::plan::Reservation;
use crate::plan::surroundings::Wanted;
use crate::provider::kind::verifier::Delivery;
use crate::provider::{kind, labels, registry};
use crate::spec::host_io::HostIo;
use crate::spec::lock_file::Locked;
use crate::spec::{
    Arch, ClusterName, ComponentName, ImageName, NetworkMode, Spec, WhenUnavailable, added,
};
use crate::state::keys::Keys;
use crate::state::receipt::Receipt;
use crate::state::{cache_use, reservation};
use crate::world::World;
use crate::world::host::Host;
use crate::world::kube::Admission;
use crate::{Error, Result};

/// Everything that is known before a plan can be made.
pub struct Prepared {
    /// What is wanted, with the network mode decided and components that cannot be had left out.
    pub spec: Spec,
    /// Components whose images were all built from source here.
    pub built: BTreeSet<ComponentName>,
    /// Addresses and ports.
    pub reservation: Reservation,
    /// Upstream name of the node image.
    pub node_image: ImageName,
    /// Upstream name of the image of the cache's registry.
    pub registry_image: ImageName,
    /// Digests of charts.
    pub charts: BTreeMap<String, String>,
    /// By what the API server is to refuse names of images.
    pub admission: Option<Admission>,
    /// What images are held to.
    pub locked: BTreeMap<ImageName, Locked>,
    /// What nodes are to be told of the network around them.
    pub surroundings: Wanted,
    /// What they refuse images with; none where the profile has no cache.
    pub verifier: Option<Arc<Delivery>>,
}

/// Upstream name of the image that nodes are made from.
pub(super) fn node_image(request: &Request, spec: &Spec) -> Result<ImageName> {
    let image = request.node_image.clone().or_else(|| spec.cluster.image());
    image.ok_or_else(|| Error::bug("the file's version has no image"))
}

/// The image of the cache's registry.
pub(super) fn registry_image() -> Result<ImageName> {
    ImageName::parse(registry::IMAGE).map_err(Error::bug)
}

/// By what servers may wait for disks and sockets on a host.
pub(super) fn host_io(host: &Host) -> HostIo {
    HostIo { aio: host.aio_max, io_uring: host.io_uring }
}

/// Decides what files alone cannot say: the network mode, what can be had, addresses and ports. `needs`
/// are those of the same request.
pub(super) async fn prepare(
    environment: &Environment<'_>,
    world: &World,
    request: &Request,
    mut spec: Spec,
    needs: &Needs,
    write: bool,
) -> Result<(Prepared, Vec<String>)> {
    let node_image = node_image(request, &spec)?;
    observe::recognise(world, &spec.cluster.name).await?;
    let added = observe::added(world, &spec.cluster.name).await?;
    added::merge(&mut spec.cluster, &added, Arch::of_host()?)?;
    if let Some(entry) = &request.add {
        added::add(&mut spec.cluster, entry, Arch::of_host()?)?;
    }
    if spec.cluster.is_balanced() {
        check_balancer(world).await?;
    }
    if let Some(old) = reservation::load(environment.paths, &spec.cluster.name)? {
        old.keep_hosts(&mut spec.cluster);
    }
    if spec.cluster.network == NetworkMode::Auto {
        spec.cluster.network = network_mode(world, &spec.cluster.name, &node_image).await?;
    }
    let io = host_io(&world.host);
    spec.profile.components.iter_mut().for_each(|component| component.host_io = io);
    // Not even fetched.
    let consent = Consent::of(environment.env, environment.paths, request)?;
    spec.profile.skip(|component| consent.lacks(component).map(licences::skipped));
    // Nothing else could make room for these.
    skip_unfit(&mut spec, needs, &world.host, |left| !left.for_room);
    let held = hold::hold(environment, world, &spec, write).await?;
    let missing = match spec.profile.policy.is_cached() {
        true => held.left_out,
        false if write => not_in_engine(environment, world, &spec).await?,
        false => BTreeMap::new(),
    };
    spec.profile.skip(|component| {
        component.definition.images.iter().find_map(|image| missing.get(image)).cloned()
    });
    if !write {
        skip_as_before(environment, world, &mut spec, &held.images).await?;
    }
    // What cannot be had takes no room.
    skip_unfit(&mut spec, needs, &world.host, |_| true);
    let built = find_origins(world, &mut spec).await?;
    let reserved = {
        let (paths, cancel, events) = (environment.paths, &environment.cancel, &environment.events);
        let lock = shared_lock(paths, "pipe up", cancel, events).await?;
        let reserved = reserve::propose(world, paths, &spec, &lock).await?;
        if write {
            reservation::save(&reserved.reservation, paths, &spec.cluster.name, &lock)?;
            if spec.profile.policy.is_cached() {
                Keys::ensure(paths, &lock)?;
                match Place::of(environment.sources, paths).remember(paths, &lock) {
                    Ok(note) => note.into_iter().for_each(|note| events.warn(note)),
                    Err(error) => events.warn(cache_use::unwritten(&error)),
                }
            }
        }
        reserved
    };
    let mut charts = BTreeMap::new();
    for component in &spec.profile.components {
        let chart = &component.definition.chart;
        let digest = environment.sources.chart_digest(chart)?;
        charts.insert(chart.clone(), digest);
    }
    let reservation = reserved.reservation;
    let verifier = super::verifier::delivery(
        environment.paths,
        environment.sources,
        spec.profile.policy,
        reservation.registry,
    )?;
    let verifier = verifier.map(Arc::new);
    let fingerprint = verifier.as_ref().map(|it| it.fingerprint()).unwrap_or_default();
    let cache = kind::surroundings::Cached::of(&spec.profile, reservation.registry);
    let (surroundings, mut notes) = super::surroundings::wanted(&world.env, cache, fingerprint);
    notes.extend(reserved.notes);
    notes.extend(held.notes);
    let (registry_image, policy) = (registry_image()?, spec.profile.policy);
    let prepared = Prepared {
        spec,
        built,
        reservation,
        node_image,
        registry_image,
        charts,
        admission: admission::wanted(environment.sources, &world.env, policy)?,
        locked: held.images,
        surroundings,
        verifier,
    };
    Ok((prepared, notes))
}

/// The load balancer of several control planes runs a copy of this program: refuses where it could
/// not run on the engine's machine.
async fn check_balancer(world: &World) -> Result<()> {
    let engine = world.engine.info().await?.arch;
    let own = Arch::host();
    let why = match (cfg!(target_os = "linux"), own == Arch::parse(&engine)) {
        (false, _) => {
            "on this system the engine runs in a virtual machine, and pipe outside of it".to_owned()
        }
        (true, false) => format!("the engine's machine is {engine}, and this is another"),
        (true, true) => return Ok(()),
    };
    Err(Error::host("balancer-unsupported", "several control planes cannot be had here")
        .because("their load balancer runs a copy of this very program in a container")
        .because(why)
        .hint("leave controlPlane: true to one node, without count"))
}

/// `auto`: what an existing cluster has, else `bundled` where the image brings a CNI manifest.
async fn network_mode(
    world: &World,
    cluster: &ClusterName,
    node_image: &ImageName,
) -> Result<NetworkMode> {
    let filter = format!("{}={cluster}", kind::CLUSTER_LABEL);
    for container in world.engine.containers(&[&filter]).await? {
        match container.labels.get(labels::NETWORK).map(String::as_str) {
            Some("static") => return Ok(NetworkMode::Static),
            Some("bundled") => return Ok(NetworkMode::Bundled),
            _ => {}
        }
    }
    match observe::find_image(world, node_image).await? {
        Some((_, image)) => {
            let bare = image.labels.get(labels::IMAGE_NETWORK).is_some_and(|says| says == "none");
            Ok(if bare { NetworkMode::Static } else { NetworkMode::Bundled })
        }
        // An image that has still to be pulled comes from upstream, which brings kindnet.
        None => Ok(NetworkMode::Bundled),
    }
}

/// Without asking any registry: what the last `up` had to leave out is left out, unless its images were
/// found since.
async fn skip_as_before(
    environment: &Environment<'_>,
    world: &World,
    spec: &mut Spec,
    locked: &BTreeMap<ImageName, Locked>,
) -> Result<()> {
    let last = Receipt::load(&environment.paths.cluster(&spec.cluster.name))?;
    let mut before = last.skipped;
    for component in &spec.profile.components {
        let mut all = true;
        for image in &component.definition.images {
            let facts = observe::image_facts(world, image).await?;
            let held = facts.is_some_and(|facts| observe::is_permitted(&facts, spec));
            all &= held || locked.contains_key(image);
        }
        if all {
            before.remove(&component.name);
        }
    }
    spec.profile.skip(|component| before.get(&component.name).cloned());
    Ok(())
}

/// Finds which components were built here, and notes of each what stands in for one of its images.
async fn find_origins(world: &World, spec: &mut Spec) -> Result<BTreeSet<ComponentName>> {
    let mut built = BTreeSet::new();
    let mut stand_ins = BTreeMap::new();
    for component in &spec.profile.components {
        let mut all_built = !component.definition.images.is_empty();
        for image in &component.definition.images {
            let facts = observe::image_facts(world, image).await?;
            let facts = facts.filter(|facts| observe::is_permitted(facts, spec));
            all_built &= facts.as_ref().is_some_and(|facts| facts.built);
            if let Some(what) = facts.and_then(|facts| facts.stand_in) {
                stand_ins.insert(component.name.clone(), what);
            }
        }
        if all_built {
            built.insert(component.name.clone());
        }
    }
    for component in &mut spec.profile.components {
        component.stand_in = stand_ins.remove(&component.name);
    }
    Ok(built)
}

/// What the engine lacks and cannot pull, of components that may be skipped, and why.
async fn not_in_engine(
    environment: &Environment<'_>,
    world: &World,
    spec: &Spec,
) -> Result<BTreeMap<ImageName, String>> {
    let mut missing = BTreeMap::new();
    let components = spec.profile.components.iter();
    let optional = components.filter(|it| it.when_unavailable == WhenUnavailable::Skip);
    for image in optional.flat_map(|component| &component.definition.images) {
        let facts = observe::image_facts(world, image).await?;
        if facts.is_some_and(|facts| observe::is_permitted(&facts, spec)) {
            continue;
        }
        environment.events.info(format!("looking for {image}"));
        let pulled = tokio::select! {
            pulled = images::fetch(&world.engine, &world.env, image, |_| {}) => pulled,
            () = environment.cancel.cancelled() => return Err(Error::interrupted()),
        };
        if let Err(error) = pulled {
            let error = pull_fault::explained(&world.engine, image, &error).await;
            missing.insert(image.clone(), error.to_string());
        }
    }
    Ok(missing)
}

/// Takes components out that do not fit on this host and may be left out.
fn skip_unfit(spec: &mut Spec, needs: &Needs, host: &Host, which: impl Fn(&LeftOut) -> bool) {
    let mut needs = needs.clone();
    let wanted = |name: &str| spec.profile.components.iter().any(|it| it.name.as_str() == name);
    needs.components.retain(|component| wanted(&component.name));
    let left: Vec<LeftOut> = left_out(&needs, host).into_iter().filter(which).collect();
    spec.profile.skip(|component| {
        let left = left.iter().find(|left| left.component == component.name.as_str());
        left.map(|left| left.why.clone())
    });
}
