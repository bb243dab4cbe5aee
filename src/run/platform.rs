//! Deeds on the whole cluster: network, API, kubeconfig, storage, DNS.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::context::Context;
use super::wait::Seen;
use super::{api_fault, service_addresses};
use crate::provider::kind::{self, ADMIN_CONF, CNI_MANIFEST, KUBEADM_CONF, STORAGE_MANIFEST};
use crate::state::kubeconfig;
use crate::state::lock::SharedLock;
use crate::world::engine::{Engine, Exec, NetworkSpec, Stdin};
use crate::world::kube::Kube;
use crate::{Error, Kind, Result};

/// From a boot until the API server answers.
const API: Duration = Duration::from_secs(180);

/// Pause between two looks into the nodes, while the API server does not answer.
const EXAMINE: Duration = Duration::from_secs(10);

/// From its installation until kube-proxy or CoreDNS serves.
const ADD_ON: Duration = Duration::from_secs(180);

/// The storage classes of every cluster, over the node image's own provisioner.
const STORAGE_CLASSES: &str = include_str!("storage-classes.yaml");

/// Makes the shared network; one that is there already is taken as it is.
pub(super) async fn create_network(
    context: &Context,
    name: &str,
    subnet: &str,
    subnet6: Option<&str>,
) -> Result<()> {
    let lock = context.shared_lock("create the network").await?;
    ensure_network(&context.world.engine, (name, subnet, subnet6), &lock).await.map(drop)
}

/// The same, by name and subnets, for who has the lock already; whether it was made.
pub(super) async fn ensure_network(
    engine: &Engine,
    (name, subnet, subnet6): (&str, &str, Option<&str>),
    _lock: &SharedLock,
) -> Result<bool> {
    if engine.network(name).await?.is_some() {
        return Ok(false);
    }
    let spec = NetworkSpec {
        name: name.to_owned(),
        ipv4: subnet.to_owned(),
        ipv6: subnet6.map(str::to_owned),
        labels: crate::provider::labels::ours(None),
    };
    engine.create_network(&spec).await?;
    Ok(true)
}

/// Waits for `/readyz`, for as long as it may come.
pub(super) async fn await_api(context: &Context, id: &str) -> Result<()> {
    let wait = context.wait(id, "api-not-ready", "the API server did not become ready", API);
    let kube = context.kube().await?;
    let (engine, observed) = (&context.world.engine, &context.observed);
    let cluster = context.cluster.as_str();
    let next = Mutex::new(Instant::now() + EXAMINE);
    let is_due = || {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = Instant::now() >= *next;
        if due {
            *next = Instant::now() + EXAMINE;
        }
        due
    };
    let ready = wait.until(|| async {
        let Err(observation) = kube.readyz().await else { return Seen::Ready(()) };
        if is_due()
            && let Some(fault) = api_fault::find(engine, observed).await
            && fault.is_lasting()
        {
            let what = format!("the API server of cluster {cluster} cannot answer");
            let error = Error::failed("control-plane-down", what).because(observation);
            return Seen::Never(fault.explain(error, cluster));
        }
        Seen::NotYet(observation)
    });
    match ready.await {
        Err(error) if error.kind == Kind::TimedOut => {
            match api_fault::find(engine, observed).await {
                Some(fault) => Err(fault.explain(error, cluster)),
                None => Err(error.hint(format!("what it said: pipe logs -c {cluster}"))),
            }
        }
        done => done,
    }
}

/// Our own kubeconfig, and its entries in the user's.
pub(super) async fn write_kubeconfig(context: &Context) -> Result<()> {
    let host = context.control_plane_host()?;
    let admin = context.world.engine.get_file(host, ADMIN_CONF).await?.ok_or_else(|| {
        Error::failed("no-admin-conf", format!("{host} has no {ADMIN_CONF}"))
            .because("the control plane was never initialised")
    })?;
    let server = format!("https://127.0.0.1:{}", context.reservation()?.api_port);
    let name = kind::context(context.cluster.as_str());
    let own = kubeconfig::own(&String::from_utf8_lossy(&admin), &name, &server)?;
    kubeconfig::write_own(&context.state(), &own)?;
    let choice = &context.kubeconfig;
    let env = &context.world.env;
    let file =
        kubeconfig::user_file(choice.file.as_deref(), |name| env.get(name).map(str::to_owned))?;
    let lock = context.shared_lock("merge kubeconfig").await?;
    kubeconfig::merge(&context.paths, &context.cluster, &file, !choice.no_switch, &lock).await
}

/// The node image's own CNI manifest, with kind's one template field filled in.
pub(super) async fn install_network(context: &Context, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    let manifest = engine.get_file(host, CNI_MANIFEST).await?.ok_or_else(|| {
        Error::failed("no-cni-manifest", format!("the node image has no {CNI_MANIFEST}"))
            .hint("set `network: static` in the cluster file, or use an image that brings one")
    })?;
    let manifest = String::from_utf8_lossy(&manifest);
    let spec = &context.spec()?.cluster;
    let manifest = manifest.replace("{{ .PodSubnet }}", &spec.pod_subnet);
    let manifest = manifest.replace("{{.PodSubnet}}", &spec.pod_subnet);
    kubectl_apply(context, host, manifest.into_bytes()).await
}

/// The node image's provisioner and our storage classes.
pub(super) async fn install_storage(context: &Context, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    let manifest = engine.get_file(host, STORAGE_MANIFEST).await?.ok_or_else(|| {
        Error::failed("no-storage-manifest", format!("the node image has no {STORAGE_MANIFEST}"))
            .hint("use a kindest/node image, or one that scripts/images/factory in a clone of pipe built")
    })?;
    kubectl_apply(context, host, manifest).await?;
    kubectl_apply(context, host, STORAGE_CLASSES.as_bytes().to_vec()).await
}

/// Until kube-proxy has programmed a node, what dials the API's service address from there hangs in
/// a 30 s time-out: CoreDNS and the storage provisioner come after it. After a start, addresses lead
/// to where pods were before.
pub(super) async fn await_proxy(context: &Context, id: &str) -> Result<()> {
    let what = "service addresses do not lead to the pods that are there";
    let wait = context.wait(id, "kube-proxy-not-ready", what, ADD_ON);
    let ready = wait.until(|| async {
        match service_addresses::fault(context, None).await {
            Ok(None) => Seen::Ready(()),
            Ok(Some(observation)) => Seen::NotYet(observation),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    ready.await
}

/// CoreDNS as kubeadm installs it.
pub(super) async fn install_dns(context: &Context, host: &str) -> Result<()> {
    let command = ["kubeadm", "init", "phase", "addon", "coredns", "--config", KUBEADM_CONF];
    context.world.engine.exec(host, Exec::new(command)).await?.checked().map(drop)
}

/// Whether a CoreDNS pod is ready and its Service leads to one. Both: after a restart kubelet says
/// first that a pod is not ready, and what controllers make of it follows later.
pub(super) async fn dns_serves(kube: &Kube) -> Result<bool> {
    let pods = kube.pods("kube-system", "k8s-app=kube-dns").await?;
    let endpoints = kube.endpoints_ready("kube-system", "kube-dns").await?;
    Ok(pods.iter().any(|pod| pod.ready) && endpoints > 0)
}

/// Waits until a CoreDNS pod serves.
pub(super) async fn await_dns(context: &Context, id: &str) -> Result<()> {
    let kube = context.kube().await?;
    let what = "cluster DNS did not become ready";
    let wait = context.wait(id, "dns-not-ready", what, ADD_ON);
    let ready = wait.until(|| async {
        match dns_serves(kube).await {
            Ok(true) => Seen::Ready(()),
            Ok(false) => Seen::NotYet("CoreDNS is not ready".to_owned()),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    match ready.await {
        Err(error) if error.kind == Kind::TimedOut => {
            Err(error.because(kube.explain("kube-system", "k8s-app=kube-dns").await))
        }
        done => done,
    }
}

/// `kubectl apply` inside the control plane, as kind does it: no client on the host is needed.
async fn kubectl_apply(context: &Context, host: &str, manifest: Vec<u8>) -> Result<()> {
    let command = ["kubectl", "--kubeconfig", ADMIN_CONF, "apply", "-f", "-"];
    let exec = Exec::new(command).stdin(Stdin::Bytes(manifest.into()));
    context.world.engine.exec(host, exec).await?.checked().map(|_| ())
}
