//! `status`: what is there, re-read; the receipt only says what was last done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::up::{Endpoint, endpoints};
use super::{api_fault, observe, preconditions};
use crate::plan::observed::{NodeFacts, NodeStage};
use crate::plan::{Observed, Reservation};
use crate::provider::kind;
use crate::provider::registry::Software;
use crate::report::Table;
use crate::spec::source::Sources;
use crate::spec::{
    Arch, ClusterName, Component, ImageName, ImagePolicy, NetworkMode, Node, ProfileName, Spec,
};
use crate::state::paths::Paths;
use crate::state::receipt::Receipt;
use crate::state::reservation;
use crate::world::World;
use crate::{Error, Result};

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

/// The local cache as this cluster sees it.
#[derive(Debug, Serialize)]
pub struct CacheLine {
    /// `zot` or `distribution`.
    pub software: String,
    /// `running`, `stopped` or `missing`.
    pub state: &'static str,
    /// On this host.
    pub address: String,
    /// What it does not protect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unprotected: Option<&'static str>,
    /// What becomes of images that nobody signed: `reported`, `refused`; `not refused` where a node
    /// was not seen to refuse one.
    pub unsigned: &'static str,
    /// Nodes that were seen to refuse what is not signed.
    pub proven: usize,
    /// Whether the API server refuses pods by the names of their images, or warns of them.
    pub names: bool,
    /// Images of the profile that it has, with a signature that counts.
    pub signed: usize,
    /// Images of the profile.
    pub images: usize,
}

impl CacheLine {
    /// What is there of it; `None` for a profile without.
    fn of(observed: &Observed, spec: &Spec) -> Option<CacheLine> {
        if !spec.profile.policy.is_cached() {
            return None;
        }
        let registry = observed.registry.as_ref();
        let images: BTreeSet<&ImageName> =
            spec.profile.components.iter().flat_map(|it| &it.definition.images).collect();
        let held = registry.iter().flat_map(|registry| registry.images.values());
        let signed = held.filter(|image| image.signed_by.is_some()).count();
        let software = registry.map_or("none", |registry| registry.software.as_str());
        let told = |node: &Node| observed.nodes.get(&node.host).map(|facts| &facts.told);
        let is_proven = |node: &&Node| {
            told(node).is_some_and(|told| !told.proven.is_empty() && told.proven == told.verifier)
        };
        let proven = spec.cluster.nodes.iter().filter(is_proven).count();
        let unsigned = match spec.profile.policy {
            ImagePolicy::Enforce if proven == spec.cluster.nodes.len() => "refused",
            ImagePolicy::Enforce => "not refused",
            ImagePolicy::Warn | ImagePolicy::Off => "reported",
        };
        Some(CacheLine {
            unsigned,
            proven,
            names: observed.live.as_ref().is_some_and(|live| live.admission.is_some()),
            state: match registry {
                None => "missing",
                Some(registry) if registry.running => "running",
                Some(_) => "stopped",
            },
            address: registry.map(|it| format!("127.0.0.1:{}", it.port)).unwrap_or_default(),
            unprotected: Software::parse(software).and_then(Software::unprotected),
            software: software.to_owned(),
            signed,
            images: images.len(),
        })
    }
}

impl std::fmt::Display for CacheLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CacheLine { software, state, address, signed, images, proven, .. } = self;
        write!(f, "{signed} of {images} signed in the cache ({software} on {address}, {state}); ")?;
        match self.unsigned {
            "refused" => write!(f, "enforced: {proven} nodes were seen to refuse unsigned ones"),
            "not refused" => write!(f, "NOT enforced: only {proven} nodes were seen to refuse"),
            _ => f.write_str("unsigned ones run, containerd's log names them"),
        }?;
        if !self.names {
            f.write_str("; the API server does not look at names")?;
        }
        // Of what the node starts with nothing is pulled, so nothing is asked.
        f.write_str("; outside of it: the node image and what it brings, the cache's own image")?;
        self.unprotected.map_or(Ok(()), |what| write!(f, "; {what}"))
    }
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
        Some(_) if live.ready.contains(&component.name) => "ready".to_owned(),
        Some(_) => "not ready".to_owned(),
    }
}

impl Status {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let policy = if self.network_policy { "enforced" } else { "not enforced" };
        let _ = writeln!(text, "cluster {}: {}", self.cluster, self.state);
        let _ = writeln!(text, "  provider   {} on {}", self.provider, self.engine);
        let _ = writeln!(text, "  context    {}", self.context);
        let fault = self.api_fault.as_ref().map(|why| format!(", silent: {why}"));
        let fault = fault.unwrap_or_default();
        let _ = writeln!(text, "  api        {}{fault}", self.api.as_deref().unwrap_or("-"));
        let network = self.pod_network.as_str();
        let _ = writeln!(text, "  pods       {network} network, network policies {policy}");
        if let Some(cache) = &self.cache {
            let _ = writeln!(text, "  images     {cache}");
        }
        let _ = writeln!(text, "  node image {}{}", self.node_image.name, self.node_image.origin());
        text.push('\n');
        let heading = [
            "NODE",
            "CONTAINER",
            "STATE",
            "FIDELITY",
            "ROLE",
            "ZONE",
            "ARCH",
            "ACCELERATOR",
            "ADDRESS",
        ];
        let mut nodes = Table::new(heading);
        for node in &self.nodes {
            let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            nodes.row([
                node.name.clone(),
                node.host.clone(),
                node.state.to_owned(),
                node.fidelity.clone(),
                dash(&node.role),
                dash(&node.zone),
                dash(&node.arch),
                dash(&node.accelerator),
                dash(&node.address),
            ]);
        }
        let _ = writeln!(text, "{nodes}");
        let mut components =
            Table::new(["COMPONENT", "NAMESPACE", "STATE", "IMAGE", "ON THIS HOST"]);
        for component in &self.components {
            let images: Vec<String> =
                component.images.iter().map(|i| format!("{}{}", i.name, i.origin())).collect();
            let endpoints: Vec<String> =
                component.endpoints.iter().map(|e| format!("{} {}", e.name, e.address)).collect();
            components.row([
                component.name.clone(),
                component.namespace.clone(),
                component.state.clone(),
                images.join(", "),
                endpoints.join(", "),
            ]);
        }
        let _ = write!(text, "{components}");
        let mut gap = "\n";
        for ComponentLine { name, skipped, .. } in &self.components {
            if let Some(why) = skipped {
                let _ = writeln!(text, "{gap}{name} is NOT ready, it was skipped: {why}");
                gap = "";
            }
        }
        text
    }
}
