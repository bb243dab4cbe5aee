//! `status`: what is there, re-read; the receipt only says what was last done.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::up::{Endpoint, endpoints};
use super::{api_fault, observe, preconditions};
use crate::plan::observed::{NodeFacts, NodeStage};
use crate::plan::{Observed, Reservation};
use crate::provider::kind;
use crate::spec::source::Sources;
use crate::spec::{Arch, ClusterName, Component, NetworkMode, Node, ProfileName, Spec};
use crate::state::paths::Paths;
use crate::state::receipt::Receipt;
use crate::state::reservation;
use crate::world::World;
use crate::{Error, Result};

mod cache;
mod text;

pub use cache::CacheLine;

/// `pipe status`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Name.
    pub cluster: String,
    /// `running`, `stopped`, `degraded`, `half made`.
    pub state: &'static str,
    /// Provider.
    pub provider: &'static str,
    /// Context in kubeconfig.
    pub context: String,
    /// Kubernetes API on the host.
    pub api: Option<String>,
    /// Why it does not answer, where nodes run and it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_fault: Option<String>,
    /// The engine: product and version.
    pub engine: String,
    /// How pods are connected.
    pub pod_network: NetworkMode,
    /// Whether the cluster enforces NetworkPolicy objects.
    pub network_policy: bool,
    /// Where nodes pull from, where it is the local cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheLine>,
    /// The node image.
    pub node_image: ImageLine,
    /// Nodes, our order.
    pub nodes: Vec<NodeLine>,
    /// The profile.
    pub profile: String,
    /// Components of the profile.
    pub components: Vec<ComponentLine>,
    /// What was last done.
    pub last: Receipt,
}

/// An image and where it is from.
#[derive(Debug, Serialize)]
pub struct ImageLine {
    /// Name in the engine.
    pub name: String,
    /// Built from source by us, not pulled.
    pub built: bool,
    /// What stands in for it, where another product does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<String>,
}

impl ImageLine {
    /// Where it is from, in brackets behind its name; nothing where it was pulled.
    fn origin(&self) -> String {
        match &self.stand_in {
            Some(what) => format!(" (stand-in: {what})"),
            None if self.built => " (built from source)".to_owned(),
            None => String::new(),
        }
    }
}

/// One node.
#[derive(Debug, Serialize)]
pub struct NodeLine {
    /// Our name.
    pub name: String,
    /// Container and Kubernetes node.
    pub host: String,
    /// `control-plane` or `worker`.
    pub kind: &'static str,
    /// `native`, `labelled`.
    pub fidelity: String,
    /// `Ready`, `cordoned`, `NotReady`, `stopped`, `missing`, `half made`.
    pub state: &'static str,
    /// `role=`.
    pub role: Option<String>,
    /// `zone=`.
    pub zone: Option<String>,
    /// `arch=`.
    pub arch: Option<String>,
    /// `accelerator=`.
    pub accelerator: Option<String>,
    /// Address on the engine's network.
    pub address: Option<String>,
}

/// One component.
#[derive(Debug, Serialize)]
pub struct ComponentLine {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// `ready`, `not ready`, `skipped`, `not installed`, or helm's word for a release that is not
    /// deployed.
    pub state: String,
    /// What is wrong although it may serve: somebody changed its Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Why it was left out, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Its images.
    pub images: Vec<ImageLine>,
    /// Where the host reaches it.
    pub endpoints: Vec<Endpoint>,
}

/// Looks at one cluster.
///
/// # Errors
/// There is no such cluster, or its files cannot be read.
pub async fn status(
    world: &World,
    paths: &Paths,
    sources: &Sources,
    cluster: &ClusterName,
) -> Result<Status> {
    let reservation = reservation::load(paths, cluster)?.ok_or_else(|| no_cluster(cluster))?;
    observe::recognise(world, cluster).await?;
    let last = Receipt::load(&paths.cluster(cluster))?;
    let added = observe::added(world, cluster).await?;
    let spec = spec_of(sources, paths, cluster, &reservation, &added)?;
    let image = spec.cluster.image();
    let observed = observe::observe(world, paths, cluster, Some(&spec), image.as_ref()).await?;
    if observed.nodes.is_empty() {
        return Err(no_cluster(cluster)
            .because("its containers are gone; addresses and files of it are kept")
            .hint(format!("to remove what is left: pipe teardown {cluster}")));
    }
    let info = world.engine.info().await?;
    let pod_network = observed.pod_network.unwrap_or(NetworkMode::Static);
    let node_image = observed.nodes.values().next().map(|facts| facts.image.clone());
    let node_image = node_image.unwrap_or_default();
    let nodes = spec.cluster.nodes.iter().map(|node| {
        let address = reservation.nodes.get(&node.host).map(|node| node.address.to_string());
        node_line(node, &observed, address)
    });
    let held: BTreeSet<String> = observed
        .live
        .iter()
        .flat_map(|live| live.node_images.values().flat_map(BTreeMap::keys))
        .cloned()
        .collect();
    let line = |component: &Component, skipped: Option<&String>| {
        let images = component.definition.images.iter().map(|image| ImageLine {
            name: image.to_string(),
            built: observed.images.get(image.as_str()).is_some_and(|facts| facts.built),
            stand_in: observe::stand_in_among(world, image, &held),
        });
        ComponentLine {
            name: component.name.to_string(),
            namespace: component.namespace.clone(),
            state: match skipped {
                Some(_) => "skipped".to_owned(),
                None => component_state(&observed, component),
            },
            fault: match (skipped, &observed.live) {
                (None, Some(live)) => live.changed_secrets.get(&component.name).cloned(),
                _ => None,
            },
            skipped: skipped.cloned(),
            images: images.collect(),
            endpoints: match skipped {
                Some(_) => Vec::new(),
                None => endpoints(component, &reservation),
            },
        }
    };
    let components = spec.profile.components.iter().map(|component| line(component, None));
    let skipped = spec.profile.skipped.iter().map(|gone| line(&gone.component, Some(&gone.why)));
    let components = components.chain(skipped);
    Ok(Status {
        cluster: cluster.to_string(),
        state: cluster_state(&spec, &observed),
        provider: "kind",
        context: kind::context(cluster.as_str()),
        api: Some(format!("https://127.0.0.1:{}", reservation.api_port)),
        api_fault: silence(world, &observed).await,
        engine: format!("podman {}", info.version),
        pod_network,
        network_policy: pod_network == NetworkMode::Bundled
            && !node_image.starts_with("localhost/"),
        cache: CacheLine::of(&observed, &spec),
        node_image: ImageLine {
            built: node_image.starts_with("localhost/pipe/"),
            stand_in: None,
            name: node_image,
        },
        nodes: nodes.collect(),
        profile: spec.profile.name.to_string(),
        components: components.collect(),
        last,
    })
}

/// What is known of a cluster on this host alone: what it was given, and its files as [`spec_of`] has them.
///
/// # Errors
/// There is no such cluster, or its files cannot be read, or are wrong by now.
pub fn known(
    sources: &Sources,
    paths: &Paths,
    cluster: &ClusterName,
) -> Result<(Reservation, Spec)> {
    let reservation = reservation::load(paths, cluster)?.ok_or_else(|| no_cluster(cluster))?;
    let spec = spec_of(sources, paths, cluster, &reservation, &[])?;
    Ok((reservation, spec))
}

/// The files of a cluster, with the profile it was last brought up with, less what was left out of it then,
/// and the nodes that were `added` to it.
///
/// # Errors
/// They cannot be read, or are wrong by now.
pub fn spec_of(
    sources: &Sources,
    paths: &Paths,
    cluster: &ClusterName,
    reservation: &Reservation,
    added: &[String],
) -> Result<Spec> {
    let arch = Arch::of_host()?;
    let last = Receipt::load(&paths.cluster(cluster))?;
    let profile = last.profile.as_ref().map(ProfileName::as_str);
    let mut spec = crate::spec::load(sources, cluster.as_str(), profile, arch)?;
    crate::spec::added::merge(&mut spec.cluster, added, arch)?;
    reservation.keep_hosts(&mut spec.cluster);
    spec.profile.skip(|component| last.skipped.get(&component.name).cloned());
    Ok(spec)
}

/// Why the API server is not heard; `None` where it is, or where nobody expects it.
async fn silence(world: &World, observed: &Observed) -> Option<String> {
    let runs = |facts: &NodeFacts| facts.control_plane && facts.stage == NodeStage::Running;
    if observed.live.is_some() {
        return None;
    }
    if let Some(host) = observed.lost() {
        return Some(preconditions::lost(host));
    }
    if !observed.nodes.values().any(runs) {
        return None;
    }
    Some(match api_fault::find(&world.engine, observed).await {
        Some(fault) => fault.cause(),
        None if !observed.kubeconfig => "its kubeconfig is gone: `pipe up` writes it".to_owned(),
        None => "it does not answer".to_owned(),
    })
}

/// The error of every command about a cluster that is not there.
pub fn no_cluster(cluster: &ClusterName) -> Error {
    Error::failed("no-cluster", format!("there is no cluster {cluster}"))
        .hint(format!("`pipe list` shows clusters; `pipe up {cluster}` makes this one"))
}

fn cluster_state(spec: &Spec, observed: &Observed) -> &'static str {
    let stages = || observed.nodes.values().map(|facts| facts.stage);
    if stages().any(|stage| stage == NodeStage::HalfMade) {
        return "half made";
    }
    if stages().all(|stage| stage == NodeStage::Stopped) {
        return "stopped";
    }
    // The API server goes on calling a node Ready for a while after its container stopped.
    let runs = |node: &Node| {
        observed.nodes.get(&node.host).is_some_and(|facts| facts.stage == NodeStage::Running)
    };
    let ready = |node: &Node| {
        let live = observed.live.as_ref();
        live.and_then(|live| live.nodes.get(&node.host)).is_some_and(|node| node.ready)
    };
    if spec.cluster.nodes.iter().all(|node| runs(node) && ready(node)) {
        "running"
    } else {
        "degraded"
    }
}

fn node_line(node: &Node, observed: &Observed, address: Option<String>) -> NodeLine {
    let live = observed.live.as_ref().and_then(|live| live.nodes.get(&node.host));
    let state = match (observed.nodes.get(&node.host).map(|facts| facts.stage), live) {
        (None, _) => "missing",
        (Some(NodeStage::HalfMade), _) => "half made",
        (Some(NodeStage::Stopped), _) => "stopped",
        (Some(NodeStage::Lost), _) => "lost",
        (Some(NodeStage::Running), Some(live)) if live.ready && live.cordoned => "cordoned",
        (Some(NodeStage::Running), Some(live)) if live.ready => "Ready",
        (Some(NodeStage::Running), _) => "NotReady",
    };
    NodeLine {
        name: node.name.to_string(),
        host: node.host.clone(),
        kind: if node.control_plane { "control-plane" } else { "worker" },
        fidelity: node.fidelity.as_str().to_owned(),
        state,
        role: node.role.clone(),
        zone: node.zone.clone(),
        arch: node.arch.map(|arch| arch.to_string()),
        accelerator: node.accelerator.clone(),
        address,
    }
}

fn component_state(observed: &Observed, component: &Component) -> String {
    let Some(live) = &observed.live else { return "unknown".to_owned() };
    match live.releases.get(component.name.as_str()) {
        None => "not installed".to_owned(),
        Some(release) if release.status != "deployed" => release.status.clone(),
        // Pods that have not read it yet serve until they start the next time.
        Some(_) if live.changed_secrets.contains_key(&component.name) => "not ready".to_owned(),
        Some(_) if live.ready.contains(&component.name) => "ready".to_owned(),
        Some(_) => "not ready".to_owned(),
    }
}
