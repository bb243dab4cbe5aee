//! What the steps of one run share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::up::Environment;
use super::wait::Wait;
use crate::plan::observed::NodeStage;
use crate::plan::{Observed, Reservation};
use crate::provider::kind::verifier::Delivery;
use crate::report::{Events, Mask};
use crate::smoke;
use crate::spec::lock_file::Locked;
use crate::spec::source::Sources;
use crate::spec::{ClusterName, ImageName, Node, Spec};
use crate::state::credentials;
use crate::state::lock::{SharedLock, Waiting};
use crate::state::paths::{ClusterFolder, Paths};
use crate::world::World;
use crate::world::helm::Helm;
use crate::world::kube::{Admission, Kube};
use crate::world::tool::Tool;
use crate::{Error, Result};

/// Longest wait for the shared lock; its holders need a second.
const SHARED: Duration = Duration::from_secs(60);

/// How kubeconfig entries are written.
#[derive(Clone, Debug, Default)]
pub struct KubeconfigChoice {
    /// Another file than the user's own.
    pub file: Option<std::path::PathBuf>,
    /// Leave the current context alone.
    pub no_switch: bool,
}

/// What the steps of one run share. Truth is re-read by each step; only connections are kept.
pub struct Context {
    /// Every effect.
    pub world: Arc<World>,
    /// State and cache.
    pub paths: Paths,
    /// The cluster.
    pub cluster: ClusterName,
    /// What is wanted; absent for removal.
    pub spec: Option<Spec>,
    /// Addresses and ports; absent for removal.
    pub reservation: Option<Reservation>,
    /// What nodes refuse images with; none where the profile has no cache, and for removal.
    pub verifier: Option<Arc<Delivery>>,
    /// By what the API server refuses names of images; none where nodes pull from anywhere, and for
    /// removal.
    pub admission: Option<Admission>,
    /// What images are held to; none where the profile has no cache, and for removal.
    pub locked: BTreeMap<ImageName, Locked>,
    /// What was there when the plan was made.
    pub observed: Observed,
    /// Charts.
    pub sources: Sources,
    /// Where progress goes.
    pub events: Events,
    /// What must not be printed.
    pub mask: Mask,
    /// Ends waits when the run stops.
    pub stop: CancellationToken,
    /// Kubeconfig options.
    pub kubeconfig: KubeconfigChoice,
    /// Reports of the smoke steps.
    pub smoke: Mutex<Vec<smoke::Report>>,
    /// Connections, made when first needed.
    pub connections: Connections,
}

/// What a run connects to once and keeps.
#[derive(Default)]
pub struct Connections {
    kube: OnceCell<Kube>,
    helm: OnceCell<Helm>,
    /// The file of credentials.
    pub(super) credentials: credentials::Store,
    /// A bootstrap token for `kubeadm join`.
    pub(super) token: OnceCell<String>,
}

impl Context {
    /// What steps on `cluster` share when nothing but its name is known.
    pub fn new(
        environment: &Environment<'_>,
        world: &Arc<World>,
        cluster: &ClusterName,
    ) -> Context {
        Context {
            world: Arc::clone(world),
            paths: environment.paths.clone(),
            cluster: cluster.clone(),
            spec: None,
            reservation: None,
            verifier: None,
            admission: None,
            locked: BTreeMap::new(),
            observed: Observed::default(),
            sources: environment.sources.clone(),
            events: environment.events.clone(),
            mask: environment.mask.clone(),
            stop: CancellationToken::new(),
            kubeconfig: environment.kubeconfig.clone(),
            smoke: Mutex::default(),
            connections: Connections::default(),
        }
    }

    /// What they share on a cluster that is there, of which its files are known; the user's interruption
    /// stops them.
    pub fn of_files(
        environment: &Environment<'_>,
        world: &Arc<World>,
        reservation: Reservation,
        spec: Spec,
    ) -> Context {
        let cluster = spec.cluster.name.clone();
        Context {
            spec: Some(spec),
            reservation: Some(reservation),
            stop: environment.cancel.clone(),
            ..Context::new(environment, world, &cluster)
        }
    }

    /// The cluster's state folder.
    pub fn state(&self) -> ClusterFolder {
        self.paths.cluster(&self.cluster)
    }

    /// The spec, in steps that only an `up` has.
    pub fn spec(&self) -> Result<&Spec> {
        self.spec.as_ref().ok_or_else(|| Error::bug("a step needs the files of the cluster"))
    }

    /// The reservation, in steps that only an `up` has.
    pub fn reservation(&self) -> Result<&Reservation> {
        self.reservation.as_ref().ok_or_else(|| Error::bug("a step needs the reservation"))
    }

    /// The specified node of a container.
    pub fn node(&self, host: &str) -> Result<&Node> {
        let nodes = &self.spec()?.cluster.nodes;
        nodes
            .iter()
            .find(|node| node.host == host)
            .ok_or_else(|| Error::bug(format!("no node {host} in the spec")))
    }

    /// The control plane that is asked: one that was there already, else the first.
    pub fn control_plane(&self) -> Result<&Node> {
        self.control_plane_but("")
    }

    /// The same, but not `host`.
    pub fn control_plane_but(&self, host: &str) -> Result<&Node> {
        let cluster = &self.spec()?.cluster;
        let all = || cluster.control_planes().filter(|node| node.host != host);
        let is = |node: &&Node, stage| {
            self.observed.nodes.get(&node.host).is_some_and(|facts| {
                facts.stage == stage && facts.spec_hash == node.container_hash(cluster)
            })
        };
        all()
            .find(|node| is(node, NodeStage::Running))
            .or_else(|| all().find(|node| is(node, NodeStage::Stopped)))
            .or_else(|| all().next())
            .ok_or_else(|| Error::bug("the spec has no other control plane"))
    }

    /// The control plane's container, also where only labels are known.
    pub fn control_plane_host(&self) -> Result<&str> {
        if self.spec.is_some() {
            return Ok(&self.control_plane()?.host);
        }
        let found = self.observed.nodes.iter().find(|(_, facts)| facts.control_plane);
        found.map(|(host, _)| host.as_str()).ok_or_else(|| Error::bug("there is no control plane"))
    }

    /// The API server, through our own kubeconfig.
    pub async fn kube(&self) -> Result<&Kube> {
        let connect = || async { Kube::from_kubeconfig(&self.state().kubeconfig()).await };
        self.connections.kube.get_or_try_init(connect).await
    }

    /// helm, found or fetched.
    pub async fn helm(&self) -> Result<&Helm> {
        let find = || async {
            let env = &self.world.env;
            let found = Tool::helm().find_or_fetch(env).await?;
            let home = self.paths.cache().join("helm");
            Ok(Helm::new(found.path, &self.state().kubeconfig(), &home, env))
        };
        self.connections.helm.get_or_try_init(find).await
    }

    /// The lock on what clusters share, held as briefly as the caller can.
    pub async fn shared_lock(&self, operation: &str) -> Result<SharedLock> {
        // Never cut short: an undo takes it after the run was stopped, and its wait is bounded.
        shared_lock(&self.paths, operation, &CancellationToken::new(), &self.events).await
    }

    /// Reports of the smoke steps so far.
    pub fn take_reports(&self) -> Vec<smoke::Report> {
        let mut reports = self.smoke.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *reports)
    }

    /// A wait of step `id`.
    pub fn wait<'a>(
        &'a self,
        id: &'a str,
        code: &'static str,
        what: impl Into<String>,
        within: Duration,
    ) -> Wait<'a> {
        Wait { code, what: what.into(), within, step: id, events: &self.events, stop: &self.stop }
    }
}

/// The lock on what clusters share: addresses, the network, the engine's service, kubeconfig.
pub async fn shared_lock(
    paths: &Paths,
    operation: &str,
    cancel: &CancellationToken,
    events: &Events,
) -> Result<SharedLock> {
    let waiting = Waiting { operation, at_most: SHARED, cancel, events };
    SharedLock::acquire(paths, &waiting).await
}
