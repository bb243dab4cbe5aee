//! `images load`, and what `images add` shares with it: images into a cluster that runs.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::future::try_join_all;
use serde::Serialize;

use super::names::{self, Chosen};
use super::transfer::Cargo;
use super::{node_store, through};
use crate::plan::observed::{Kept, NodeImage};
use crate::provider::{kind, labels};
use crate::report::Events;
use crate::run::cache::last_use;
use crate::run::status::no_cluster;
use crate::spec::problem::suggestion;
use crate::spec::{ClusterName, ImageName};
use crate::state::paths::Paths;
use crate::trust::forbidden::Forbidden;
use crate::trust::policy::Policies;
use crate::world::World;
use crate::world::engine::{ContainerLine, State};
use crate::{Error, Kind, Result};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The cluster.
    pub cluster: ClusterName,
    /// One node only: our name of it, or its container's.
    pub node: Option<String>,
    /// Images.
    pub names: Vec<String>,
    /// Images that must not run.
    pub forbidden: Forbidden,
    /// What is enough to believe an image of a registry.
    pub policies: Policies,
    /// Whether the cluster runs only what is believed.
    pub enforced: bool,
}

impl Request {
    /// Refuses what must not run: one error for all of them.
    ///
    /// # Errors
    /// [`Kind::Signature`].
    pub fn permitted(&self) -> Result<()> {
        permitted(&self.forbidden, &self.names)
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The cluster.
    pub cluster: ClusterName,
    /// In the order asked for.
    pub images: Vec<Loaded>,
    /// Nodes that do not run; `up` gives them what they lack.
    pub stopped: Vec<String>,
    /// Bytes of layers that were sent into nodes.
    pub sent: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// One image.
#[derive(Debug, Serialize)]
pub struct Loaded {
    /// Names under which pods find it.
    pub names: Vec<String>,
    /// Its id.
    pub id: String,
    /// Bytes, unpacked.
    pub size: u64,
    /// Nodes that got it.
    pub loaded: Vec<String>,
    /// Nodes that had it.
    pub unchanged: Vec<String>,
}

/// A node container: our name of it, and its own.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) host: String,
}

/// Loads images of the engine's own store into running nodes.
///
/// # Errors
/// The engine has not every image, one is for another CPU, the cluster does not run.
pub async fn load(
    world: &World,
    paths: &Paths,
    request: &Request,
    events: &Events,
) -> Result<Outcome> {
    request.permitted()?;
    let (targets, stopped) = targets(world, request).await?;
    let engine = world.engine.images().await?;
    let chosen = names::choose(&request.names, &engine)?;
    // What it is called besides: a forbidden image with a name of one's own is the same image.
    let also = engine.iter().filter(|line| chosen.iter().any(|image| image.id == line.id));
    let also: Vec<String> = also.flat_map(|line| line.names.clone()).collect();
    permitted(&request.forbidden, &also)?;
    put((world, paths), request, events, chosen, Kept::Loaded, (targets, stopped)).await
}

/// What each node has.
pub(super) async fn stores(
    world: &World,
    targets: &[Target],
) -> Result<Vec<BTreeMap<String, NodeImage>>> {
    try_join_all(targets.iter().map(|target| node_store::images(&world.engine, &target.host))).await
}

/// Who gets an image, and who has it.
#[derive(Default)]
pub(super) struct Shares {
    pub(super) loaded: Vec<String>,
    pub(super) hosts: Vec<String>,
    pub(super) unchanged: Vec<String>,
}

pub(super) fn shares(
    targets: &[Target],
    stores: &[BTreeMap<String, NodeImage>],
    names: &[String],
    id: &str,
    kept: Option<Kept>,
) -> Shares {
    let mut shares = Shares::default();
    for (target, store) in targets.iter().zip(stores) {
        let has = names.iter().all(|name| {
            let found = store.get(name);
            found.is_some_and(|found| {
                found.id.as_deref() == Some(id) && (kept.is_none() || found.kept.is_some())
            })
        });
        if has {
            shares.unchanged.push(target.name.clone());
        } else {
            shares.loaded.push(target.name.clone());
            shares.hosts.push(target.host.clone());
        }
    }
    shares
}

fn permitted(forbidden: &Forbidden, names: &[String]) -> Result<()> {
    let hits = names.iter().filter_map(|name| Some((name, forbidden.matches(name)?)));
    let mut error: Option<Error> = None;
    for (name, rule) in hits {
        let begun = error.unwrap_or_else(|| {
            Error::new(Kind::Signature, "image-forbidden", "images that must not run were refused")
        });
        error = Some(
            begun
                .because(rule.reason(name))
                .hint(format!("in place of {name} take {}", rule.instead)),
        );
    }
    match error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

pub(super) async fn put(
    (world, paths): (&World, &Paths),
    request: &Request,
    events: &Events,
    chosen: Vec<Chosen>,
    kept: Kept,
    (targets, stopped): (Vec<Target>, Vec<String>),
) -> Result<Outcome> {
    let began = Instant::now();
    // What was meant for one node is not handed to those made later.
    let kept = request.node.is_none().then_some(kept);
    let mut sizes = Vec::new();
    let mut wrong = Vec::new();
    let arch = world.engine.info().await?.arch;
    for image in &chosen {
        let found = world.engine.image(&image.id).await?;
        let found = found
            .ok_or_else(|| Error::failed("image-unknown", format!("{} is gone", image.name)))?;
        if found.arch != arch || (found.os != "linux" && !found.os.is_empty()) {
            wrong.push(format!("{} is for {}/{}", image.name, found.os, found.arch));
        }
        sizes.push(found.size);
    }
    if !wrong.is_empty() {
        return Err(wrong_platform(&arch, &wrong));
    }
    let stores = stores(world, &targets).await?;
    let (mut images, mut cargo) = (Vec::new(), Vec::new());
    for (image, size) in chosen.into_iter().zip(sizes) {
        let names = image.pod_names;
        let shares = shares(&targets, &stores, &names, &image.id, kept);
        for note in image.notes {
            events.info(note);
        }
        if !shares.hosts.is_empty() {
            let (id, names, hosts) = (image.id.clone(), names.clone(), shares.hosts);
            cargo.push(Cargo { id, names, hosts, kept });
        }
        let Shares { loaded, unchanged, .. } = shares;
        images.push(Loaded { names, id: image.id, size, loaded, unchanged });
    }
    let hosts = targets.iter().map(|target| target.host.as_str());
    let cache = through::cache_of(world, paths, &request.cluster, hosts).await?;
    let sent = match cargo.is_empty() {
        true => 0,
        false => through::send(world, cache.as_ref(), &cargo).await?,
    };
    if cache.is_some() {
        let names = images.iter().flat_map(|image| &image.names);
        let names: Vec<ImageName> = names.filter_map(|name| ImageName::parse(name).ok()).collect();
        last_use::used(paths, events, &request.cluster, &names).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Outcome { cluster: request.cluster.clone(), images, stopped, sent, seconds })
}

fn wrong_platform(arch: &str, wrong: &[String]) -> Error {
    let what = format!("nodes here are linux/{arch}, and an image is for another platform");
    let error = Error::failed("image-platform", what);
    wrong
        .iter()
        .fold(error, Error::because)
        .because("a container of it would end with \"exec format error\"")
        .hint(format!("build it for the nodes: podman build --platform linux/{arch} …"))
}

/// The nodes to load into, and the names of those that do not run.
pub(super) async fn targets(
    world: &World,
    request: &Request,
) -> Result<(Vec<Target>, Vec<String>)> {
    let cluster = &request.cluster;
    let all = nodes(world, cluster).await?;
    let name = |node: &ContainerLine| {
        node.labels.get(labels::NODE).cloned().unwrap_or_else(|| node.name.clone())
    };
    let known: Vec<String> = all.iter().map(name).collect();
    let wanted: Vec<&ContainerLine> = all
        .iter()
        .filter(|node| {
            request.node.as_ref().is_none_or(|only| *only == node.name || *only == name(node))
        })
        .collect();
    if let (Some(only), true) = (&request.node, wanted.is_empty()) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err(Error::usage("node-unknown", format!("cluster {cluster} has no node {only}"))
            .hint(suggestion(only, &known)));
    }
    let (running, stopped): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|node| node.state == State::Running);
    if running.is_empty() {
        return Err(Error::failed("cluster-stopped", format!("no node of cluster {cluster} runs"))
            .hint(format!("start it: pipe up {cluster}")));
    }
    let target = |node: &ContainerLine| Target { name: name(node), host: node.name.clone() };
    Ok((running.into_iter().map(target).collect(), stopped.into_iter().map(name).collect()))
}

/// A cluster's node containers; a load balancer is none.
pub(super) async fn nodes(world: &World, cluster: &ClusterName) -> Result<Vec<ContainerLine>> {
    let label = format!("{}={cluster}", labels::CLUSTER);
    let mut nodes = world.engine.containers(&[&label]).await?;
    nodes.retain(|node| {
        let role = node.labels.get(kind::ROLE_LABEL).map(String::as_str);
        matches!(role, Some("control-plane" | "worker"))
    });
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    if nodes.is_empty() { Err(no_cluster(cluster)) } else { Ok(nodes) }
}
