//! Bad days of nodes: the engine's service dies under a run, etcd stands still, somebody removes the
//! control plane. Each ends in an error with cause, evidence and remedy, and the next command works.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::bad_days::failed;
use super::case::hold;
use super::cluster::ONE;
use super::host::{podman, text};
use super::logs::unpack;
use super::pipe::Home;
use super::{Case, power};

pub const CASES: [Case; 1] = [Case::new("nodes_have_bad_days", bad_days)];

/// Longest time in which a command on a cluster whose API is dead may end.
const BOUND: Duration = Duration::from_secs(60);

/// The same for one that gathers evidence, which is bounded by itself.
const WITH_EVIDENCE: Duration = Duration::from_secs(150);

/// What kubelet runs etcd from.
const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";

fn bad_days() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", ONE);
    engine_dies(&home);
    home.ok("up one --no-smoke");
    etcd_stands_still(&home);
    control_plane_is_removed(&home);
    // A cluster that cannot be asked is removed like any other.
    podman(["exec", "one-control-plane", "rm", MANIFEST]);
    await_api_down(&home);
    processes_are_gone(&home);
    home.ok("teardown one");
}

/// As after a machine's memory ran out, or was restored from a picture of it: the engine goes on
/// counting a container as running that is not.
fn processes_are_gone(home: &Home) {
    let format = "{{.State.ConmonPid}} {{.State.Pid}}";
    let pids = podman(["inspect", "one-control-plane", "--format", format]);
    // Conmon first: it would tell the engine.
    pids.split_whitespace().for_each(power::kill);
    let status = home.json("status one");
    assert_eq!(status["nodes"][0]["state"], "lost", "{status}");
    assert!(home.ok("status one").contains("none of its processes is left"));
    let result = failed(&mut home.command("up one"), 1);
    hold("node-lost", &result, &[]);
    assert!(home.fails("stop one", 1).contains("[node-lost]"));
}

/// What failed is said, not what failed because of it; what was made is undone all the same.
fn engine_dies(home: &Home) {
    let mut child = home.spawn("up one");
    home.await_step("one", "init", &mut child);
    power::kill_service(home);
    assert_eq!(child.wait().expect("it ends").code(), Some(4));
    let said = std::fs::read_to_string(home.path("spawned.log")).expect("a log");
    let cause = "Podman's service, which pipe had started, ended under it";
    for part in ["[engine-unreachable]", cause, "the same command once more", "evidence is in "] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let (_, rest) = said.split_once("the evidence is in ").expect("checked");
    let files = unpack(std::path::Path::new(rest.lines().next().unwrap_or_default().trim()));
    assert!(files.contains_key("nodes/one-control-plane/kubelet.txt"), "{:?}", files.keys());
    home.assert_clean();
}

/// Everything that asks ends soon and says why. What etcd said is gone with its pod.
fn etcd_stands_still(home: &Home) {
    podman(["exec", "one-control-plane", "rm", MANIFEST]);
    await_api_down(home);
    let status = within(BOUND, || home.json("status one"));
    assert_eq!(status["state"], "degraded", "{status}");
    let cause = "etcd does not run on one-control-plane";
    let said = status["api_fault"].as_str().unwrap_or_default();
    assert!(said.contains(cause) && said.contains(MANIFEST), "{status}");
    assert!(within(BOUND, || home.ok("status one")).contains(cause));

    let error = within(WITH_EVIDENCE, || home.fails("up one", 1));
    let remedy = "kubeadm init phase etcd local --config /kind/kubeadm.conf";
    for part in ["[control-plane-down]", cause, "etcd failed", remedy, "the evidence is in "] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    let error = within(BOUND, || home.fails("node drain core -c one", 1));
    assert!(error.contains("[api-not-ready]") && error.contains(cause), "{error}");
    let output = within(BOUND, || home.run("logs nats -c one"));
    // Whether it hangs or refuses changes as kubelet ends and starts it.
    assert!(matches!(output.status.code(), Some(1 | 6)), "{}", text(&output));
    assert!(text(&output).contains("pipe logs -c one"), "no remedy: {}", text(&output));

    let path = within(WITH_EVIDENCE, || home.ok("logs -c one -o dead.tar.gz"));
    let files = unpack(std::path::Path::new(path.trim()));
    let server = "nodes/one-control-plane/pods/kube-system_kube-apiserver-one-control-plane/";
    assert!(files.keys().any(|path| path.starts_with(server)), "{:?}", files.keys());
    assert!(files["nodes/one-control-plane/journal.txt"].contains("kubelet"));

    // The remedy is one.
    let remedy: Vec<&str> = remedy.split(' ').collect();
    let command = ["exec", "one-control-plane"].into_iter().chain(remedy);
    let command: [&str; 9] = command.collect::<Vec<_>>().try_into().expect("nine words");
    podman(command);
    home.ok("up one");
    assert_eq!(home.json("status one")["state"], "running");
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
}

/// With the only control plane everything is gone that Kubernetes knew: that is not replaced by
/// something empty without a word.
fn control_plane_is_removed(home: &Home) {
    podman(["rm", "-f", "one-control-plane"]);
    for line in ["up one", "plan one"] {
        let error = home.fails(line, 1);
        for part in ["[replace-needed]", "one-control-plane", "container is gone", "--replace"] {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
    }
    let error = home.fails("status one", 1);
    assert!(error.contains("pipe teardown one"), "{error}");
    home.ok("up one --replace");
    assert_eq!(home.json("status one")["state"], "running");
}

/// Waits until nobody answers behind the API's port: kubelet ends etcd in its own time.
fn await_api_down(home: &Home) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while home.run("kubectl -c one -- get --raw /readyz --request-timeout=2s").status.success() {
        assert!(Instant::now() < deadline, "the API server goes on without etcd");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn within<T>(bound: Duration, deed: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = deed();
    let took = began.elapsed();
    assert!(took < bound, "it took {took:?}");
    done
}
