//! The real `kind` sees our clusters as its own, and our containers are what it would have made.

use serde_json::Value;

use super::Case;
use super::cluster::ONE;
use super::host::{podman, text, tool};
use super::pipe::Home;

pub const CASES: [Case; 2] =
    [Case::new("kind_works_on_our_cluster", kind), Case::new("our_containers_match_kinds", golden)];

const TWO_NODES: &str = "- {name: edge, role: general, zone: b}\n";

fn kind() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", &format!("{ONE}{TWO_NODES}"));
    home.ok("up one --no-smoke");
    let kind = |line: &str| -> String {
        let output =
            home.program(&tool("kind")).args(line.split_whitespace()).output().expect("kind runs");
        assert!(output.status.success(), "kind {line}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(kind("get clusters").trim(), "one");
    let nodes = kind("get nodes --name one");
    assert!(nodes.contains("one-control-plane") && nodes.contains("one-worker"), "{nodes}");
    assert!(kind("get kubeconfig --name one").contains("current-context: kind-one"));

    let archive = home.path("image.tar");
    let image = podman(["images", "--format", "{{.Repository}}:{{.Tag}}", "localhost/pipe/nats"]);
    let image = image.lines().next().expect("the NATS image is in the engine").to_owned();
    let file = archive.display().to_string();
    podman(["save", "--format", "docker-archive", "-o", &file, &image]);
    podman(["exec", "one-worker", "ctr", "-n", "k8s.io", "images", "rm", &image]);
    kind(&format!("load image-archive {file} --name one"));
    let list = podman(["exec", "one-worker", "ctr", "-n", "k8s.io", "images", "ls", "-q"]);
    assert!(list.contains(&image), "{list}");

    let logs = home.path("logs").display().to_string();
    kind(&format!("export logs {logs} --name one"));
    let kubelet = home.path("logs/one-worker/kubelet.log");
    assert!(kubelet.metadata().is_ok_and(|file| file.len() > 1000), "kubelet.log is empty");

    join_by_hand(&home);

    kind("delete cluster --name one");
    // kind knows nothing of our state; teardown does what is left.
    home.ok("teardown one");
    home.assert_clean();
}

/// What was skipped for speed is in place: a node that a person joins by hand registers.
fn join_by_hand(home: &Home) {
    let control = "one-control-plane";
    let config = ["--kubeconfig", "/etc/kubernetes/admin.conf"];
    let token = podman([
        "exec",
        control,
        "kubeadm",
        "token",
        "create",
        config[0],
        config[1],
        "--print-join-command",
    ]);
    assert!(token.starts_with("kubeadm join one-control-plane:6443"), "{token}");
    podman(["exec", "one-worker", "kubeadm", "reset", "-f"]);
    podman(["exec", control, "kubectl", config[0], config[1], "delete", "node", "one-worker"]);
    let join = format!("{} --skip-phases=preflight --node-name one-worker", token.trim());
    podman(["exec", "one-worker", "bash", "-c", &join]);
    let nodes = home.ok("kubectl -c one -- get nodes -o name");
    assert!(nodes.contains("node/one-worker"), "{nodes}");
}

/// Field by field against what kind itself made (`tests/golden`).
fn golden() {
    let home = Home::new(&["t1"]);
    home.write_cluster("t1", &format!("{}{TWO_NODES}", ONE.replace("name: one", "name: t1")));
    home.ok("up t1 --no-smoke");
    for (host, file) in [
        ("t1-control-plane", include_str!("../golden/kind-control-plane.inspect.json")),
        ("t1-worker", include_str!("../golden/kind-worker.inspect.json")),
    ] {
        let wanted: Value = serde_json::from_str(file).expect("golden JSON");
        let ours: Value = serde_json::from_str(&podman(["inspect", host])).expect("inspect JSON");
        compare(host, &wanted, &ours[0]);
    }
    home.ok("teardown t1");
}

fn compare(host: &str, wanted: &Value, ours: &Value) {
    let config = |value: &Value, key: &str| value["Config"][key].clone();
    for key in ["Hostname", "Entrypoint", "Cmd", "Tty", "StopSignal", "StopTimeout"] {
        assert_eq!(config(ours, key), config(wanted, key), "{host}: Config.{key}");
    }
    for label in ["io.x-k8s.kind.cluster", "io.x-k8s.kind.role"] {
        assert_eq!(ours["Config"]["Labels"][label], wanted["Config"]["Labels"][label], "{host}");
    }
    let environment = |value: &Value| -> Vec<String> {
        let mut all: Vec<String> = serde_json::from_value(config(value, "Env")).expect("a list");
        all.sort();
        all
    };
    assert_eq!(environment(ours), environment(wanted), "{host}: Config.Env");
    let keys = [
        "Privileged",
        "Tmpfs",
        "CgroupMode",
        "IpcMode",
        "UTSMode",
        "UsernsMode",
        "PidMode",
        "RestartPolicy",
        "SecurityOpt",
        "ExtraHosts",
        "NetworkMode",
        "ReadonlyRootfs",
        "ShmSize",
    ];
    for key in keys {
        assert_eq!(ours["HostConfig"][key], wanted["HostConfig"][key], "{host}: HostConfig.{key}");
    }
    let api = &ours["HostConfig"]["PortBindings"]["6443/tcp"][0]["HostIp"];
    assert_eq!(api, &wanted["HostConfig"]["PortBindings"]["6443/tcp"][0]["HostIp"], "{host}");
    let mount = |value: &Value| -> Value {
        let all = value["Mounts"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|mount| mount["Destination"] == "/var").unwrap_or(Value::Null)
    };
    for key in ["Type", "Driver", "Options", "RW", "Propagation"] {
        assert_eq!(mount(ours)[key], mount(wanted)[key], "{host}: /var {key}");
    }
    let networks = &ours["NetworkSettings"]["Networks"];
    assert!(networks["kind"].is_object(), "{host} is not on the network kind: {networks}");
}
