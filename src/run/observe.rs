//! `World → Observed`: labels on engine objects, files in nodes, the API server. Never memory.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

mod containers;

use containers::{balancer_facts, node_facts};

use super::credentials;
use crate::plan::Reservation;
use crate::plan::observed::{
    ImageFacts, Kept, KeptFacts, Live, NetworkFacts, NodeFacts, NodeImage, NodeStage, Observed,
    ReleaseFacts,
};
use crate::provider::kind::{self, admission};
use crate::provider::labels;
use crate::spec::{ClusterName, Component, ImageName, NetworkMode, Spec, StandIns};
use crate::state::paths::{ClusterFolder, Paths};
use crate::state::{reservation, version};
use crate::world::World;
use crate::world::built::BuiltImage;
use crate::world::engine::{ContainerLine, ImageInfo};
use crate::world::kube::Kube;
use crate::{Error, Result};

/// What is there of one cluster. `spec` widens the view to what it names: images and components.
///
/// # Errors
/// The engine does not answer, or a cluster of that name belongs to somebody else.
pub async fn observe(
    world: &World,
    paths: &Paths,
    cluster: &ClusterName,
    spec: Option<&Spec>,
    node_image: Option<&ImageName>,
) -> Result<Observed> {
    let state = paths.cluster(cluster);
    let (balancers, containers): (Vec<_>, Vec<_>) =
        containers(world, cluster).await?.into_iter().partition(is_balancer);
    let mut observed = Observed::default();
    if let Some(balancer) = balancers.first() {
        observed.balancer = Some(balancer_facts(world, balancer).await?);
    }
    let facts = containers.iter().map(|container| node_facts(world, container));
    for (container, facts) in containers.iter().zip(join_all(facts).await) {
        observed.nodes.insert(container.name.clone(), facts?);
    }
    observed.network = network(world, paths, cluster).await?;
    let wanted = spec.filter(|spec| spec.profile.policy.is_cached());
    let components = wanted.iter().flat_map(|spec| &spec.profile.components);
    let cached = components.flat_map(|component| &component.definition.images).collect();
    observed.registry = super::registry::facts(world, paths, cluster, &cached).await?;
    observed.kubeconfig = state.kubeconfig().exists();
    let label = containers.iter().find_map(|container| container.labels.get(labels::NETWORK));
    observed.pod_network = label.and_then(|label| NetworkMode::parse(label));
    if let Some(spec) = spec {
        let components = spec.profile.components.iter();
        let images = components.flat_map(|component| component.definition.images.iter());
        if wanted.is_some() {
            let image = super::prepare::registry_image()?;
            // Whatever the profile says of others: what stands in for it is named by `status`.
            if let Some(facts) = image_facts(world, &image).await? {
                observed.images.insert(image.to_string(), facts);
            }
        }
        for image in images.chain(node_image) {
            let facts = image_facts(world, image).await?;
            if let Some(facts) = facts.filter(|facts| is_permitted(facts, spec)) {
                observed.images.insert(image.to_string(), facts);
            }
        }
        let control = observed.nodes.values().filter(|node| node.control_plane);
        // Of several, one that runs is enough to ask.
        let running = control.into_iter().any(|node| node.stage == NodeStage::Running);
        if running && observed.kubeconfig {
            let reservation = reservation::load(paths, cluster)?;
            let all = Surveyed { spec, state: &state, reservation: reservation.as_ref() };
            observed.live = live(world, &all, &observed.nodes).await;
        }
        if let Some(live) = &observed.live {
            observed.kept = kept(world, &live.node_images).await?;
        }
    }
    Ok(observed)
}

/// The cluster's node containers, all of them ours.
async fn containers(world: &World, cluster: &ClusterName) -> Result<Vec<ContainerLine>> {
    let filter = format!("{}={cluster}", kind::CLUSTER_LABEL);
    let containers = world.engine.containers(&[&filter]).await?;
    if let Some(foreign) = containers.iter().find(|c| !c.labels.contains_key(labels::CLUSTER)) {
        return Err(Error::failed(
            "foreign-cluster",
            format!("cluster {cluster} was made by kind, not by pipe"),
        )
        .because(format!("container {} has no label {}", foreign.name, labels::CLUSTER))
        .hint(format!("choose another name, or remove it: kind delete cluster --name {cluster}")));
    }
    Ok(containers)
}

/// Entries of the nodes that `pipe node add` made.
pub(super) async fn added(world: &World, cluster: &ClusterName) -> Result<Vec<String>> {
    let filter = format!("{}={cluster}", labels::CLUSTER);
    let containers = world.engine.containers(&[&filter, labels::ADDED]).await?;
    let mut entries: Vec<(String, String)> = containers
        .into_iter()
        .filter_map(|mut container| Some((container.name, container.labels.remove(labels::ADDED)?)))
        .collect();
    entries.sort();
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// Whether what is there of a cluster is ours, and of a layout that this version understands. To be
/// asked before anything is written for it, also into its state folder.
///
/// # Errors
/// The cluster is somebody else's, or another `pipe` made it that laid it out differently.
pub async fn recognise(world: &World, cluster: &ClusterName) -> Result<()> {
    for container in containers(world, cluster).await? {
        check_layout(cluster, &container)?;
    }
    Ok(())
}

/// Removal needs no understanding of a layout: what is of a cluster carries its label in each.
fn check_layout(cluster: &ClusterName, container: &ContainerLine) -> Result<()> {
    let layout = container.labels.get(labels::LAYOUT).map_or("", String::as_str);
    if layout == labels::LAYOUT_VERSION.to_string() {
        return Ok(());
    }
    let why = format!(
        "{} has layout {layout:?}, this pipe knows {}",
        container.name,
        labels::LAYOUT_VERSION
    );
    let remove = format!("or remove the cluster: pipe teardown {cluster}");
    if layout.parse::<u32>().is_ok_and(|layout| layout > labels::LAYOUT_VERSION) {
        let what = format!("cluster {cluster} was made by a newer pipe");
        return Err(version::newer(what, why).hint(remove));
    }
    let what = format!("cluster {cluster} was made by a pipe that is too old, or changed since");
    Err(Error::failed("unknown-layout", what).because(why).hint(remove))
}

/// Whether a container is the load balancer of several control planes.
pub fn is_balancer(container: &ContainerLine) -> bool {
    container.labels.get(kind::ROLE_LABEL).is_some_and(|role| role == kind::BALANCER_ROLE)
}

async fn network(
    world: &World,
    paths: &Paths,
    cluster: &ClusterName,
) -> Result<Option<NetworkFacts>> {
    let Some(network) = world.engine.network(kind::NETWORK).await? else { return Ok(None) };
    let containers = world.engine.containers(&[]).await?;
    let foreign = |container: &ContainerLine| {
        container.networks.iter().any(|network| network == kind::NETWORK)
            // The cache's is there for clusters.
            && !container.labels.contains_key(labels::REGISTRY)
            && container.labels.get(labels::CLUSTER).map(String::as_str) != Some(cluster.as_str())
    };
    let others = containers.iter().any(foreign) || paths.clusters()?.iter().any(|c| c != cluster);
    let ours = network.labels.get(labels::MANAGED_BY).is_some_and(|by| by == "pipe");
    Ok(Some(NetworkFacts { ours, others }))
}

/// Where the engine has an image: under its upstream name, else built from source.
pub async fn image_facts(world: &World, image: &ImageName) -> Result<Option<ImageFacts>> {
    Ok(find_image(world, image).await?.map(|(facts, _)| facts))
}

/// The same, with what the engine says of the image itself.
pub(super) async fn find_image(
    world: &World,
    image: &ImageName,
) -> Result<Option<(ImageFacts, ImageInfo)>> {
    let facts = |reference: &str, info: ImageInfo, built: Option<&BuiltImage>| {
        let reference = reference.to_owned();
        let stand_in = built.and_then(BuiltImage::stand_in).map(str::to_owned);
        let built = built.is_some() && stand_in.is_none();
        (ImageFacts { reference, id: info.id.clone(), built, stand_in }, info)
    };
    if let Some(found) = world.engine.image(image.tagged()).await? {
        return Ok(Some(facts(image.tagged(), found, None)));
    }
    let Some(built) = world.built.find(image.tagged()) else { return Ok(None) };
    let found = world.engine.image(&built.local).await?;
    Ok(found.map(|found| facts(&built.local, found, Some(built))))
}

/// Whether the profile takes what the engine has: the named product, or a stand-in where it says so.
pub(super) fn is_permitted(facts: &ImageFacts, spec: &Spec) -> bool {
    facts.stand_in.is_none() || spec.profile.stand_ins == StandIns::Allow
}

/// What stands in for one of a component's images in the nodes that run; they know, whatever the
/// engine has got since.
pub(super) async fn stand_in(world: &World, spec: &Spec, component: &Component) -> Option<String> {
    let hosts = spec.cluster.nodes.iter().map(|node| node_images(world, &node.host));
    let held: BTreeSet<String> =
        join_all(hosts).await.into_iter().flat_map(BTreeMap::into_keys).collect();
    component.definition.images.iter().find_map(|image| stand_in_among(world, image, &held))
}

/// The same for one image, among names of images in nodes.
pub(super) fn stand_in_among(
    world: &World,
    image: &ImageName,
    held: &BTreeSet<String>,
) -> Option<String> {
    let built = world.built.find(image.tagged());
    let what = built.and_then(BuiltImage::stand_in).unwrap_or("another product");
    held.contains(&image.stand_in_mark()).then(|| what.to_owned())
}

/// What is looked for in a cluster, and how its services are reached.
struct Surveyed<'a> {
    spec: &'a Spec,
    state: &'a ClusterFolder,
    reservation: Option<&'a Reservation>,
}

/// What the API server says; `None` when it does not answer.
async fn live(
    world: &World,
    surveyed: &Surveyed<'_>,
    nodes: &BTreeMap<String, NodeFacts>,
) -> Option<Live> {
    let Surveyed { spec, state, reservation } = *surveyed;
    let kube = Kube::from_kubeconfig(&state.kubeconfig()).await.ok()?;
    kube.readyz().await.ok()?;
    let mut live = Live::default();
    for node in kube.nodes().await.ok()? {
        live.nodes.insert(node.name.clone(), super::configure::live_node(node));
    }
    live.admission = kube.admission(admission::NAME).await.unwrap_or_default();
    let classes = kube.storage_classes().await.unwrap_or_default();
    let wanted = ["standard-local", "fast-local", "backup-storage"];
    live.storage = wanted.iter().all(|class| classes.iter().any(|found| found.name == *class));
    if spec.cluster.is_balanced() {
        let members = kube.pods("kube-system", "component=etcd").await.unwrap_or_default();
        live.etcd = members.iter().filter(|member| member.ready).count();
    }
    let proxy = kube.daemon_set("kube-system", "kube-proxy").await;
    live.proxy = matches!(proxy, Ok(Some(rollout)) if rollout.is_done());
    live.dns_installed = matches!(kube.deployment("kube-system", "coredns").await, Ok(Some(_)));
    live.dns = super::platform::dns_serves(&kube).await.unwrap_or(false);
    let runs = |host: &str| nodes.get(host).is_some_and(|it| it.stage == NodeStage::Running);
    for component in &spec.profile.components {
        if super::components::ready_now(&kube, component, runs).await {
            live.ready.insert(component.name.clone());
            if let (false, Some(reservation)) = (component.buckets.is_empty(), reservation)
                && super::buckets::all_there(
                    component,
                    reservation,
                    &credentials::stored(state, component),
                )
                .await
            {
                live.buckets.insert(component.name.clone());
            }
        }
        look_at_secret(&kube, state, component, &mut live).await;
    }
    live.releases = releases(&kube).await;
    for host in nodes.keys().filter(|host| !spec.cluster.nodes.iter().any(|n| n.host == **host)) {
        // Not knowing is not the same as none: what is lost with a node must be agreed to.
        let volumes = kube.local_volumes(host).await.ok()?;
        if !volumes.is_empty() {
            let named = volumes.iter().map(ToString::to_string);
            live.volumes.insert(host.clone(), named.collect());
        }
    }
    let running = nodes.iter().filter(|(_, facts)| facts.stage == NodeStage::Running);
    let hosts: Vec<String> = running.map(|(host, _)| host.clone()).collect();
    let images = join_all(hosts.iter().map(|host| node_images(world, host))).await;
    live.node_images = hosts.into_iter().zip(images).collect();
    Some(live)
}

/// Whether a component's Secret is there, and holds what was made for it.
async fn look_at_secret(
    kube: &Kube,
    state: &ClusterFolder,
    component: &Component,
    live: &mut Live,
) {
    let Some(spec) = &component.definition.credentials else {
        live.secrets.insert(component.name.clone());
        return;
    };
    let Ok(Some(found)) = kube.get_secret(&component.namespace, &spec.secret).await else { return };
    match credentials::fault(&credentials::stored(state, component), &found) {
        None => {
            live.secrets.insert(component.name.clone());
        }
        Some(what) => {
            let fault = format!("Secret {}/{} {what}", component.namespace, spec.secret);
            live.changed_secrets.insert(component.name.clone(), fault);
        }
    }
}

/// Releases that carry our hash; the API server has them, no helm is needed to look.
async fn releases(kube: &Kube) -> BTreeMap<String, ReleaseFacts> {
    let releases = kube.releases().await.unwrap_or_default();
    let ours = releases.into_iter().filter_map(|release| {
        let hash = Some(release.spec_hash?);
        let facts = ReleaseFacts { namespace: release.namespace, status: release.status, hash };
        Some((release.name, facts))
    });
    ours.collect()
}

/// The images in a node's containerd; none where it does not answer.
async fn node_images(world: &World, host: &str) -> BTreeMap<String, NodeImage> {
    super::images::node_store::images(&world.engine, host).await.unwrap_or_default()
}

/// The user's images in the nodes. Where nodes differ, the content that the engine can give counts:
/// first what it has under the name, then what it still has at all.
async fn kept(
    world: &World,
    nodes: &BTreeMap<String, BTreeMap<String, NodeImage>>,
) -> Result<BTreeMap<String, KeptFacts>> {
    let mut found: BTreeMap<&String, BTreeMap<&String, Kept>> = BTreeMap::new();
    for (name, image) in nodes.values().flatten() {
        if let (Some(kept), Some(id)) = (image.kept, &image.id) {
            found.entry(name).or_default().insert(id, kept);
        }
    }
    let mut all = BTreeMap::new();
    if found.is_empty() {
        return Ok(all);
    }
    let engine = world.engine.images().await?;
    for (name, ids) in found {
        let has = |id: &String| engine.iter().any(|line| line.id == *id);
        let called = |id: &String| {
            engine.iter().any(|line| {
                let is_name = |known: &String| super::images::names::means(known, name);
                line.id == *id && line.names.iter().any(is_name)
            })
        };
        let best = ids.iter().max_by_key(|(id, _)| (called(id), has(id)));
        if let Some((id, kept)) = best {
            let facts = KeptFacts { id: (*id).clone(), kept: *kept, in_engine: has(id) };
            all.insert(name.clone(), facts);
        }
    }
    Ok(all)
}
