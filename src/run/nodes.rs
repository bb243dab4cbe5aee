//! Deeds on single nodes: create, boot, init, join, label, wait.

use std::time::Duration;

use jiff::Timestamp;

use super::context::Context;
use super::control_plane;
use super::kubelet;
use super::preconditions;
use super::wait::Seen;
use crate::plan::NodePlan;
use crate::plan::action::NodeChange;
use crate::provider::kind::{
    ADMIN_CONF, JOINED_MARKER, KUBEADM_CONF, VERSION_FILE, container, containerd, kubeadm,
    pod_network,
};
use crate::spec::NetworkMode;
use crate::world::engine::{Container, Exec, Fault, FileToPut as File, State, StdStream};
use crate::world::host::Cgroups;
use crate::world::kube::PodState;
use crate::world::process::last_lines;
use crate::{Error, Result};

/// From container start until systemd has started containerd; 3 s here, but the engine copies the
/// image's `/var` first, and a laptop's disk may be slow.
const BOOT: Duration = Duration::from_secs(120);

/// How often a container may turn out to be there already.
const CREATE_ATTEMPTS: usize = 3;

/// kubeadm gives the control plane four minutes itself.
const INIT: Duration = Duration::from_secs(300);

/// From registration, or a boot, until kubelet reports Ready.
const READY: Duration = Duration::from_secs(180);

/// Makes a container, puts its files in and starts it.
pub(super) async fn create(context: &Context, node: &NodePlan) -> Result<()> {
    let engine = &context.world.engine;
    let spec = context.spec()?;
    let labels = container::volume_labels(&spec.cluster, &node.node.host);
    for attempt in 1.. {
        // What stands here now was left by a run that was cut off after the plan was made, or is
        // made this moment by an engine that goes on with what a killed run asked of it.
        super::removal::node(context, &node.node.host).await?;
        let volume = engine.create_volume(None, &labels).await?;
        let made = container::spec(&spec.cluster, node, &volume.name, &context.world.host);
        match engine.create_container(&made).await {
            Err(error) if error.fault == Fault::Conflict && attempt < CREATE_ATTEMPTS => {}
            Err(error) => return Err(error.into()),
            Ok(_id) => break,
        }
    }
    if spec.cluster.network == NetworkMode::Static {
        let files = vec![
            File::new(pod_network::CONFLIST, 0o644, pod_network::conflist(node)),
            File::new(
                pod_network::SCRIPT,
                0o755,
                pod_network::script(node, &spec.cluster.pod_subnet),
            ),
            File::new(pod_network::DROP_IN, 0o644, pod_network::drop_in()),
        ];
        engine.put_files(&node.node.host, files).await?;
    }
    super::surroundings::tell_new(context, &node.node.host).await?;
    if let Some(patch) = &spec.cluster.patches.containerd {
        patch_containerd(context, &node.node.host, patch).await?;
    }
    super::verifier::install_new(context, &node.node.host).await?;
    Ok(engine.start(&node.node.host).await?)
}

/// Before the first start, so that containerd never runs with another configuration.
async fn patch_containerd(context: &Context, host: &str, patch: &str) -> Result<()> {
    let engine = &context.world.engine;
    let config = engine.get_file(host, containerd::CONFIG).await?.ok_or_else(|| {
        Error::failed("containerd-patch", format!("{host} has no {}", containerd::CONFIG)).hint(
            "use a kindest/node image, or one that scripts/images/factory in a clone of pipe built",
        )
    })?;
    let patched = containerd::patched(&String::from_utf8_lossy(&config), patch)?;
    Ok(engine.put_files(host, vec![File::new(containerd::CONFIG, 0o644, patched)]).await?)
}

/// Rewrites the routes of a node that runs, and puts them in force.
pub(super) async fn update_routes(context: &Context, node: &NodePlan) -> Result<()> {
    let engine = &context.world.engine;
    let script = pod_network::script(node, &context.spec()?.cluster.pod_subnet);
    let host = &node.node.host;
    engine.put_files(host, vec![File::new(pod_network::SCRIPT, 0o755, script)]).await?;
    engine.exec(host, Exec::new([pod_network::SCRIPT])).await?.checked().map(drop)
}

/// Drops a node's route to pods that are gone, also from the script that its boots run.
pub(super) async fn drop_route(context: &Context, host: &str, pod_cidr: &str) -> Result<()> {
    let engine = &context.world.engine;
    let script = engine.get_file(host, pod_network::SCRIPT).await?.unwrap_or_default();
    let script = pod_network::without_route(&String::from_utf8_lossy(&script), pod_cidr);
    engine.put_files(host, vec![File::new(pod_network::SCRIPT, 0o755, script)]).await?;
    // "No such process" is what ip says of a route that is gone; what is there now decides.
    engine.exec(host, Exec::new(["ip", "route", "del", pod_cidr])).await?;
    let left = engine.exec(host, Exec::new(["ip", "route", "show", pod_cidr])).await?.checked()?;
    match left.text().trim() {
        "" => Ok(()),
        route => Err(Error::failed("route-left", format!("{host} keeps a route to {pod_cidr}"))
            .because(route)),
    }
}

/// What a container gets to end for which somebody else's stop, or a killed one of ours, still runs:
/// the longest grace that `stop` gives, and what the engine needs to kill the rest.
const STOPPING: Duration = Duration::from_secs(75);

/// Starts a stopped node.
pub(super) async fn start(context: &Context, id: &str, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    let wait = context.wait(id, "node-lost", preconditions::unusable(host), STOPPING);
    let stopped = wait.until(|| async {
        match engine.inspect(host).await {
            Ok(Some(Container { state: State::Other(state), .. })) => {
                Seen::NotYet(format!("its container is {state}"))
            }
            Ok(_) => Seen::Ready(()),
            Err(error) => Seen::of(error),
        }
    });
    stopped.await.map_err(|error| match error.code {
        "node-lost" => preconditions::lost_hints(error, &context.cluster, host),
        _ => error,
    })?;
    engine.start(host).await?;
    await_boot(context, id, host).await
}

/// Waits until systemd has started containerd.
pub(super) async fn await_boot(context: &Context, id: &str, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    let wait = context.wait(id, "node-boot", format!("node {host} did not boot"), BOOT);
    let booted = wait.until(|| async {
        match engine.inspect(host).await {
            Ok(Some(container)) if container.state == State::Running => {}
            Ok(Some(container)) => {
                return Seen::Never(
                    Error::failed("node-exited", format!("node container {host} stopped"))
                        .because(format!("exit code {}", container.exit_code))
                        .hint(format!("`podman logs {host}` shows its boot messages")),
                );
            }
            Ok(None) => {
                return Seen::Never(Error::failed(
                    "node-gone",
                    format!("node container {host} disappeared while it booted"),
                ));
            }
            Err(error) => return Seen::of(error),
        }
        // Nothing is executed in the node before its own init runs: on cgroup v2 an early process
        // would sit in the root group and keep systemd from splitting it (kind issue 2409).
        match engine.top(host).await {
            Ok(processes) if processes.iter().any(|line| line.contains("systemd-journal")) => {}
            Ok(_) => return Seen::NotYet("systemd is not up yet".to_owned()),
            Err(error) => return Seen::NotYet(error.to_string()),
        }
        let check = Exec::new(["systemctl", "is-active", "containerd.service"]);
        match engine.exec(host, check).await {
            Ok(output) if output.code == 0 => Seen::Ready(()),
            Ok(output) => Seen::NotYet(format!("containerd is {}", output.text().trim())),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    booted.await
}

/// `kubeadm init`, without DNS: that comes when the nodes are ready.
pub(super) async fn init(context: &Context, id: &str, host: &str) -> Result<()> {
    write_documents(context, host, &new_token()).await?;
    let arguments = ["--config", KUBEADM_CONF, "--skip-token-print"];
    let skip = ["--skip-phases", "preflight,addon/coredns"];
    let command = ["kubeadm", "init"].into_iter().chain(arguments).chain(skip);
    kubeadm(context, id, host, command).await?;
    mark_joined(context, host).await
}

/// `kubeadm join` with a fresh token.
pub(super) async fn join(context: &Context, id: &str, host: &str) -> Result<()> {
    let make = || make_token(context);
    let token = context.connections.token.get_or_try_init(make).await?;
    // A node object of an earlier container would carry that one's labels and taints.
    context.kube().await?.delete_node(host).await?;
    if context.node(host)?.control_plane {
        control_plane::forget_member(context, host).await?;
        control_plane::share_certificates(context, host).await?;
    }
    write_documents(context, host, token).await?;
    let command = ["kubeadm", "join", "--config", KUBEADM_CONF, "--skip-phases", "preflight"];
    kubeadm(context, id, host, command).await?;
    mark_joined(context, host).await
}

/// Asks the control plane for a token that lives as long as one run may take.
async fn make_token(context: &Context) -> Result<String> {
    let host = &context.control_plane()?.host;
    let command = ["kubeadm", "token", "create", "--ttl", "30m", "--kubeconfig", ADMIN_CONF];
    let output = context.world.engine.exec(host, Exec::new(command)).await?.checked()?;
    let token = output.text().trim().to_owned();
    context.mask.add(&token);
    Ok(token)
}

/// `[a-z0-9]{6}.[a-z0-9]{16}`, as bootstrap tokens must be.
fn new_token() -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    use rand::seq::IndexedRandom as _;
    let mut random = rand::rng();
    let mut pick = |count: usize| -> String {
        (0..count).filter_map(|_| ALPHABET.choose(&mut random)).map(|b| char::from(*b)).collect()
    };
    format!("{}.{}", pick(6), pick(16))
}

async fn write_documents(context: &Context, host: &str, token: &str) -> Result<()> {
    let engine = &context.world.engine;
    let node = context.node(host)?;
    let address = context.reservation()?.nodes.get(host).map(|reserved| reserved.address);
    let version = engine.get_file(host, VERSION_FILE).await?.ok_or_else(|| {
        Error::failed("not-a-node-image", format!("the image of {host} has no {VERSION_FILE}"))
            .hint("use a kindest/node image, or one that scripts/images/factory in a clone of pipe built")
    })?;
    let version = String::from_utf8_lossy(&version);
    let endpoint = context.spec()?.cluster.endpoint();
    let endpoint = endpoint.ok_or_else(|| Error::bug("the spec has no control plane"))?;
    let facts = kubeadm::Facts {
        cluster: &context.spec()?.cluster,
        endpoint: &endpoint,
        version: version.trim(),
        token,
        address: address.ok_or_else(|| Error::bug(format!("no address reserved for {host}")))?,
        cgroup_v1: context.world.host.cgroups != Cgroups::V2,
    };
    let documents = kubeadm::documents(&facts, node);
    Ok(engine.put_files(host, vec![File::new(KUBEADM_CONF, 0o600, documents)]).await?)
}

/// Runs kubeadm in a node; its phases are the step's progress, its last lines the cause.
async fn kubeadm<'a>(
    context: &Context,
    id: &str,
    host: &str,
    command: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    let command: Vec<&str> = command.into_iter().collect();
    let what = command.get(..2).unwrap_or_default().join(" ");
    let events = context.events.clone();
    let step = id.to_owned();
    let mut said = Vec::new();
    let on_line = |_stream: StdStream, line: &str| {
        said.push(line.to_owned());
        // A key that kubeadm does not know is passed over, and most people would never hear of it.
        if let Some((_, fault)) = line.split_once("strict decoding error: ") {
            events.warn(format!("kubeadm passes over a part of its configuration: {fault}"));
        }
        if let Some(phase) = line.strip_prefix('[') {
            events.progress(&step, phase.replacen(']', ":", 1));
        }
    };
    let running = context.world.engine.exec_lines(host, Exec::new(command).within(INIT), on_line);
    let code = tokio::select! {
        code = running => code?,
        () = context.stop.cancelled() => return Err(Error::interrupted()),
    };
    if code == 0 {
        return Ok(());
    }
    Err(Error::failed("kubeadm", format!("`{what}` failed on {host} with code {code}"))
        .because(last_lines(&said.join("\n")))
        .hint(format!(
            "`podman exec {host} journalctl -u kubelet -n 50` shows kubelet's side (use --keep)"
        )))
}

async fn mark_joined(context: &Context, host: &str) -> Result<()> {
    let marker = File::new(JOINED_MARKER, 0o644, format!("{}\n", context.cluster));
    Ok(context.world.engine.put_files(host, vec![marker]).await?)
}

/// Labels, taints, pod CIDR and simulated capacity, read back afterwards.
pub(super) async fn configure(
    context: &Context,
    id: &str,
    host: &str,
    change: &NodeChange,
) -> Result<()> {
    let kube = context.kube().await?;
    let wait = context.wait(
        id,
        "node-labels",
        format!("node {host} did not take its labels, taints and resources"),
        Duration::from_secs(60),
    );
    let wanted = context.node(host)?;
    // Kubelet registers the node on its own time, and writes its status when it likes: set, read
    // back, and set again what is not there.
    wait.until(|| async {
        let node = match kube.node(host).await {
            Ok(Some(node)) => node,
            Ok(None) => return Seen::NotYet("it has not registered yet".to_owned()),
            Err(error) => return Seen::NotYet(error.to_string()),
        };
        match super::configure::missing(wanted, change, &node) {
            None => Seen::Ready(()),
            Some(missing) => {
                if let Err(error) = super::configure::apply(kube, host, wanted, change).await {
                    return Seen::NotYet(format!("{missing}: {error}"));
                }
                Seen::NotYet(missing)
            }
        }
    })
    .await
}

/// Waits until kubelet says Ready, and no pod claims to be ready from before the node's last start:
/// after a reboot the API server still has what was true when the node stopped.
pub(super) async fn await_ready(context: &Context, id: &str, host: &str) -> Result<()> {
    let kube = context.kube().await?;
    let inspected = context.world.engine.inspect(host).await?;
    let started: Option<Timestamp> = inspected.and_then(|node| node.started_at.parse().ok());
    // The API server keeps whole seconds.
    let since = started.map(Timestamp::as_second).unwrap_or_default();
    let wait =
        context.wait(id, "node-not-ready", format!("node {host} did not become Ready"), READY);
    let kubelet = tokio::sync::Mutex::new(kubelet::Watch::new());
    let ready = wait.until(|| async {
        let not_yet = match kube.node(host).await {
            Ok(Some(node)) if node.heartbeat.is_none_or(|at| at.as_second() < since) => {
                Some("kubelet has not reported since the node started".to_owned())
            }
            Ok(Some(node)) => (!node.ready).then_some(node.ready_message),
            Ok(None) => Some("it has not registered".to_owned()),
            Err(error) => return Seen::NotYet(error.to_string()),
        };
        if let Some(why) = not_yet {
            return kubelet.lock().await.look(context, host, why).await;
        }
        match kube.pods_on(host).await {
            Ok(pods) => match pods.iter().find(|pod| stale(pod, since)) {
                None => Seen::Ready(()),
                Some(pod) => Seen::NotYet(format!("pod {} is not up to date", pod.name)),
            },
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    ready.await.map_err(|error| {
        error.hint(format!(
            "`podman exec {host} journalctl -u kubelet -n 50` shows why (with --keep)"
        ))
    })
}

/// Whether a pod still shows a state of before `since`, in seconds.
fn stale(pod: &PodState, since: i64) -> bool {
    pod.ready && pod.started.is_some_and(|started| started.as_second() < since)
}
