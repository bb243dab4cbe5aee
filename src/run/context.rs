//! What the steps of one run share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::wait::Wait;
use crate::plan::{Observed, Reservation};
use crate::report::{Events, Mask};
use crate::smoke;
use crate::spec::source::Sources;
use crate::spec::{ClusterName, Node, Spec};
use crate::state::lock::{SharedLock, Waiting};
use crate::state::paths::{ClusterFolder, Paths};
use crate::world::World;
use crate::world::helm::Helm;
use crate::world::kube::Kube;
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
    /// What was there when the plan was made.
    pub observed: Observed,
    /// Charts.
    pub sources: Sources,
    /// The cluster's state folder.
    pub state: ClusterFolder,
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
    kube: OnceCell<Kube>,
    helm: OnceCell<Helm>,
    token: OnceCell<String>,
}

/// The parts of a [`Context`] that differ between commands.
pub struct Parts {
    /// See [`Context::world`].
    pub world: Arc<World>,
    /// See [`Context::paths`].
    pub paths: Paths,
    /// See [`Context::cluster`].
    pub cluster: ClusterName,
    /// See [`Context::spec`].
    pub spec: Option<Spec>,
    /// See [`Context::reservation`].
    pub reservation: Option<Reservation>,
    /// See [`Context::observed`].
    pub observed: Observed,
    /// See [`Context::sources`].
    pub sources: Sources,
    /// See [`Context::events`].
    pub events: Events,
    /// See [`Context::mask`].
    pub mask: Mask,
    /// See [`Context::stop`].
    pub stop: CancellationToken,
    /// See [`Context::kubeconfig`].
    pub kubeconfig: KubeconfigChoice,
}

impl Context {
    /// A context without connections; they are made when first needed.
    pub fn new(parts: Parts) -> Context {
        let state = parts.paths.cluster(&parts.cluster);
        Context {
            world: parts.world,
            paths: parts.paths,
            cluster: parts.cluster,
            spec: parts.spec,
            reservation: parts.reservation,
            observed: parts.observed,
            sources: parts.sources,
            state,
            events: parts.events,
            mask: parts.mask,
            stop: parts.stop,
            kubeconfig: parts.kubeconfig,
            smoke: Mutex::new(Vec::new()),
            kube: OnceCell::new(),
            helm: OnceCell::new(),
            token: OnceCell::new(),
        }
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

    /// The control plane's container.
    pub fn control_plane(&self) -> Result<&Node> {
        let nodes = &self.spec()?.cluster.nodes;
        nodes
            .iter()
            .find(|node| node.control_plane)
            .ok_or_else(|| Error::bug("the spec has no control plane"))
    }

    /// The API server, through our own kubeconfig.
    pub async fn kube(&self) -> Result<&Kube> {
        let connect = || async { Kube::from_kubeconfig(&self.state.kubeconfig()).await };
        self.kube.get_or_try_init(connect).await
    }

    /// helm, found or fetched.
    pub async fn helm(&self) -> Result<&Helm> {
        let find = || async {
            let env = &self.world.env;
            let found = Tool::helm().find_or_fetch(env).await?;
            let home = self.paths.cache().join("helm");
            Ok(Helm::new(found.path, &self.state.kubeconfig(), &home, env))
        };
        self.helm.get_or_try_init(find).await
    }

    /// A bootstrap token for `kubeadm join`, made by the control plane and short-lived.
    pub async fn join_token(&self) -> Result<&str> {
        let make = || async { super::nodes::make_token(self).await };
        self.token.get_or_try_init(make).await.map(String::as_str)
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
