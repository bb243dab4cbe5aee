//! A cluster that runs is changed: stopped, started, given nodes, relieved of them, healed.

use serde_json::Value;

use super::Case;
use super::cluster::ONE;
use super::host::podman;
use super::pipe::Home;
use super::power;
use super::stored::Stored;

pub const CASES: [Case; 1] = [Case::new("a_live_cluster_is_changed", changed)];

const EDGE: &str = "- {name: edge, role: general, zone: b, resources: {nvidia.com/gpu: 2}}\n";

/// A pod that only the added node may run, and a budget that never lets it go.
const HELD: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: held}
spec:
  selector: {matchLabels: {app: held}}
  template:
    metadata: {labels: {app: held}}
    spec:
      nodeSelector: {zone: c}
      tolerations: [{key: batch, operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: docker.io/library/nats:2.15.2}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: held}
spec: {minAvailable: 1, selector: {matchLabels: {app: held}}}
";

/// Nodes of the file and the one that is added to them.
const HOSTS: [&str; 3] = ["one-control-plane", "one-worker", "one-worker2"];

const ADD: &str =
    "node add batch -c one --zone c --taint batch=yes:NoSchedule --resource nvidia.com/gpu=3";

fn changed() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", &format!("{ONE}{EDGE}"));
    home.ok("up one");
    added(&home);
    let stored = Stored::new(&home, "one");
    slept(&home, &stored);
    lost_power(&home, &stored);
    edited(&home);
    drained_and_removed(&home);
    healed(&home);
    // Without a cache, too: nodes get the program from here.
    assert_eq!(home.stream("smoke one --in-cluster").1["passed"], true);
    home.ok("teardown one");
}

fn node(home: &Home, name: &str) -> Value {
    let status = home.json("status one");
    let nodes = status["nodes"].as_array().expect("nodes");
    nodes.iter().find(|node| node["name"] == name).cloned().unwrap_or(Value::Null)
}

fn gpus(home: &Home, host: &str) -> String {
    let path = "jsonpath={.status.allocatable.nvidia\\.com/gpu}";
    home.ok(&format!("kubectl -c one -- get node {host} -o {path}"))
}

/// An added node is a node: nothing is left to do for it, and another of its name is refused.
fn added(home: &Home) {
    home.ok(ADD);
    assert_eq!(node(home, "batch")["state"], "Ready");
    assert_eq!(gpus(home, "one-worker2"), "3");
    assert_eq!(home.stream(ADD).1["steps"], Value::Array(vec![]));
    assert_eq!(home.json("plan one --prune")["steps"], Value::Array(vec![]));
    let error = home.fails("node add batch -c one --zone d", 1);
    assert!(error.contains("node-exists"), "{error}");
    let error = home.fails("node remove core -c one", 1);
    assert!(error.contains("only control plane"), "{error}");
    home.fails("node remove nobody -c one", 2);
}

/// Stopped and started without files: the same addresses, the data, and what kubelet forgets.
fn slept(home: &Home, stored: &Stored) {
    let addresses = power::addresses(&HOSTS);
    home.ok("stop one");
    for host in HOSTS {
        let code = podman(["inspect", host, "--format", "{{.State.ExitCode}}"]);
        assert_ne!(code.trim(), "137", "{host} was killed: it did not end by itself");
    }
    assert!(super::host::files_below(&home.path("run/pipe")).is_empty(), "the service goes on");
    assert_eq!(home.json("list")[0]["state"], "stopped");
    assert_eq!(home.stream("stop one").1["nodes"], Value::Array(vec![]));
    let error = home.fails("node drain edge -c one", 1);
    assert!(error.contains("pipe start one"), "{error}");

    home.ok("--dir / start one");
    stored.is_there(home, "one");
    assert_eq!(power::addresses(&HOSTS), addresses);
    assert_eq!(node(home, "edge")["address"], addresses[1].as_str());
    assert_eq!(home.stream("start one").1["nodes"], Value::Array(vec![]));
    assert_eq!((gpus(home, "one-worker"), gpus(home, "one-worker2")), ("2".into(), "3".into()));
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
    assert_eq!(home.stream("smoke one --restart").1["passed"], true);
}

/// A reboot, imitated: nodes and the engine's service end without a word, and `up` is what comes next.
fn lost_power(home: &Home, stored: &Stored) {
    let addresses = power::addresses(&HOSTS);
    power::cut(home, &HOSTS);
    assert_eq!(home.json("list")[0]["state"], "stopped");
    home.ok("up one --no-smoke");
    stored.is_there(home, "one");
    assert_eq!(power::addresses(&HOSTS), addresses);
    assert_eq!((gpus(home, "one-worker"), gpus(home, "one-worker2")), ("2".into(), "3".into()));
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
}

/// Labels and taints follow the file and the record of what is ours, whoever else touched the node.
fn edited(home: &Home) {
    let edge = "{name: edge, role: general, zone: b, resources: {nvidia.com/gpu: 2}";
    let marked =
        format!("- {edge}, labels: {{team: blue}}, taints: [\"dedicated=a:NoSchedule\"]}}\n");
    // Somebody was there first, by hand.
    home.ok("kubectl -c one -- label node one-worker team=blue");
    home.write_cluster("one", &format!("{ONE}{marked}"));
    home.ok("up one");
    let found = entry(home, "one-worker");
    assert_eq!(found["metadata"]["labels"]["team"], "blue");
    assert_eq!(found["spec"]["taints"][0]["key"], "dedicated");
    home.ok("kubectl -c one -- taint node one-worker dedicated-");
    home.ok("kubectl -c one -- label node one-worker team=red --overwrite");
    home.ok("kubectl -c one -- annotate node one-worker pipe.dev/applied-");
    home.ok("up one");
    let found = entry(home, "one-worker");
    assert_eq!(found["metadata"]["labels"]["team"], "blue");
    assert_eq!(found["spec"]["taints"][0]["key"], "dedicated");
    home.write_cluster("one", &format!("{ONE}{EDGE}"));
    home.ok("up one");
    let found = entry(home, "one-worker");
    assert!(found["metadata"]["labels"]["team"].is_null(), "{found}");
    assert!(found["spec"]["taints"].is_null(), "{found}");
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
}

fn entry(home: &Home, host: &str) -> Value {
    let text = home.ok(&format!("kubectl -c one -- get node {host} -o json"));
    serde_json::from_str(&text).expect("JSON")
}

/// Budgets are respected, and nothing stored is lost unasked.
fn drained_and_removed(home: &Home) {
    home.write("held.yaml", HELD);
    home.ok("kubectl -c one -- apply -f held.yaml");
    home.ok("kubectl -c one -- rollout status deploy/held --timeout=60s");
    let error = home.fails("node drain batch -c one --timeout 3s", 6);
    assert!(error.contains("default/held-") && error.contains("disruption budget held"), "{error}");
    assert_eq!(node(home, "batch")["state"], "cordoned");
    home.ok("node uncordon batch -c one");
    assert_eq!(node(home, "batch")["state"], "Ready");
    home.ok("kubectl -c one -- delete -f held.yaml");
    home.ok("node remove batch -c one");
    assert_eq!(node(home, "batch"), Value::Null);
    let routes = podman(["exec", "one-control-plane", "ip", "route"]);
    assert!(!routes.contains("10.244.2."), "{routes}");

    // NATS lies where the scheduler put it: on the node that is kept, or on the one that goes.
    let volume = "kubectl -c one -- get pods -n messaging nats-0 -o jsonpath={.spec.nodeName}";
    if home.ok(volume) == "one-worker" {
        let error = home.fails("node remove edge -c one", 1);
        assert!(error.contains("messaging/data-nats-0"), "{error}");
    }
    let removed = home.stream("node remove edge -c one --delete-data").1;
    assert_eq!(removed["in_file"][0], "edge", "the file makes it again, and that is said");
    assert!(home.json("plan one")["steps"].as_array().is_some_and(|steps| !steps.is_empty()));
    home.ok("kubectl -c one -- rollout status -n messaging statefulset/nats --timeout=90s");
    home.ok("up one --smoke");
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
}

/// A container removed by hand, a label removed by hand: `up` says what is lost, and heals.
fn healed(home: &Home) {
    podman(["rm", "-f", "one-worker"]);
    home.ok("kubectl -c one -- label node one-control-plane zone-");
    home.ok("kubectl -c one -- taint node one-control-plane mine=1:PreferNoSchedule");
    assert_eq!(node(home, "edge")["state"], "missing");
    let told = home.run("up one");
    assert!(told.status.success(), "{}", super::host::text(&told));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("the container of node one-worker is gone"), "{told}");
    assert_eq!(node(home, "edge")["state"], "Ready");
    assert_eq!(gpus(home, "one-worker"), "2");
    let core = entry(home, "one-control-plane");
    assert_eq!(core["metadata"]["labels"]["zone"], "a");
    assert_eq!(core["spec"]["taints"][0]["key"], "mine", "somebody else's taint stays");
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
}
