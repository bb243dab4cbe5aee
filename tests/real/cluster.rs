//! Clusters that work: made, proven, changed, stopped, started, removed.

use std::path::Path;

use serde_json::Value;

use super::host::podman;
use super::pipe::Home;
use super::{Case, backups, cql, footprint, part, services};

pub const CASES: [Case; 5] = [
    Case::new("single_from_nothing_to_proven_and_back", single),
    Case::new("dev_has_three_labelled_nodes", dev),
    Case::new("a_worker_is_added_and_pruned", added_and_pruned),
    Case::new("bundled_network", bundled),
    Case::new("two_clusters_at_once", two_at_once),
];

/// A pod that serves, on a node of our choice.
const PROBE: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: probe}
spec:
  nodeSelector: {arch: arm64}
  tolerations: [{key: arch, operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers:
  - name: probe
    image: docker.io/library/nats:2.15.2
";

/// A single node with no fixed ports, so that tests do not depend on what else runs here.
pub const ONE: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Cluster
name: one
provider: kind
profile: messages
hostPorts: auto
nodes:
- {name: core, controlPlane: true, role: core, zone: a}
";

const NOTHING: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Profile
name: none
components: []
";

/// With every service that the quick start brings.
fn single() {
    let home = Home::new(&["one"]);
    let one = ONE.replace("profile: messages", "profile: quickstart");
    home.write_cluster("one", &one);

    let plan = home.json("plan one");
    assert!(plan["steps"].as_array().is_some_and(|steps| steps.len() > 8), "{plan}");
    home.assert_clean();

    let (events, up) = home.stream("up one");
    assert!(events.iter().any(|event| event["type"] == "step-finished"), "{events:?}");
    services::are_proven(&up);

    services::are_locked(&home);

    let status = home.json("status one");
    assert_eq!(status["state"], "running", "{status}");
    assert_eq!(status["nodes"][0]["state"], "Ready", "{status}");
    services::are_ready(&status, &up);

    // A second run plans nothing, does nothing and writes nothing.
    let journal = || std::fs::read_to_string(home.path("state/pipe/clusters/one/journal.jsonl"));
    let before = journal().expect("a journal");
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
    assert_eq!(home.stream("up one").1["steps"], Value::Array(vec![]));
    assert_eq!(journal().expect("a journal"), before);

    settings_and_secrets(&home);
    footprint::has_room(&home, &services::SERVICES);
    let (_, restarted) = home.stream("smoke one --restart");
    services::survived(&restarted);
    services::are_proven_from_a_pod(&home);
    services::buckets_are_made_again(&home);
    backups::come_back(&home);

    // A label is changed by changing the label, and nothing else.
    let edited = one.replace("zone: a", "zone: b, labels: {team: blue}");
    home.write_cluster("one", &edited);
    let steps: Vec<String> = step_ids(&home.json("plan one"));
    assert_eq!(steps, ["label/core"]);
    home.ok("up one");
    let labels = home.ok("kubectl -c one -- get node one-control-plane --show-labels");
    assert!(labels.contains("team=blue") && labels.contains("zone=b"), "{labels}");
    home.write_cluster("one", &one);
    home.ok("up one");
    let labels = home.ok("kubectl -c one -- get node one-control-plane --show-labels");
    assert!(!labels.contains("team=blue"), "{labels}");

    // A reboot, imitated: the container stops, `up` brings everything back on the same address.
    let address = home.json("status one")["nodes"][0]["address"].clone();
    podman(["stop", "-t", "20", "one-control-plane"]);
    assert_eq!(home.json("status one")["state"], "stopped");
    home.ok("up one --smoke");
    let status = home.json("status one");
    assert_eq!(status["state"], "running", "{status}");
    assert_eq!(status["nodes"][0]["address"], address);
    services::kept_their_data(&home);

    // What needs another container says so, and does it only when told to.
    home.write_cluster("one", &format!("{one}serviceSubnet: 10.97.0.0/16\n"));
    let refused = home.fails("up one", 1);
    assert!(refused.contains("--replace"), "{refused}");
    home.write_cluster("one", &one);

    services::wrong_credentials_are_named(&home);
    services::a_strict_profile_takes_no_stand_in(&home);
    services::a_laptop_names_what_it_cannot_get(&home);
    part("cassandra_is_proven", cql::no_cassandra(), || {
        cql::with_cassandra(&home);
        cql::is_proven(&home, "cassandra", "apache-2.0");
    });
    part("scylladb_is_proven", cql::no_scylladb(), || {
        // It wants Cassandra's ports, on the host and on the node.
        home.write("profiles/none.yaml", NOTHING);
        home.ok("up one --profile none --prune --delete-data");
        cql::is_proven(&home, "scylladb", "scylladb-source-available");
    });

    home.ok("teardown one");
    home.assert_clean();
    let again = home.run("teardown one");
    assert!(again.status.success(), "a second teardown has nothing to do, and says so");
}

/// `env` hands out what connects; secrets are nowhere else and files are private.
fn settings_and_secrets(home: &Home) {
    let settings = home.json("env one");
    let password = settings["NATS_PASSWORD"].as_str().expect("a password").to_owned();
    assert!(home.ok("env one").contains("export NATS_URL="));
    let state = home.path("state/pipe/clusters/one");
    for entry in std::fs::read_dir(&state).expect("the state folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = path.metadata().expect("metadata").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
        if name == "journal.jsonl" || name == "receipt.json" {
            let text = std::fs::read_to_string(&path).expect("readable");
            assert!(!text.contains(&password), "the password stands in {name}");
        }
    }
}

fn step_ids(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().expect("steps");
    steps.iter().filter_map(|step| step["id"].as_str().map(str::to_owned)).collect()
}

fn dev() {
    let home = Home::new(&["dev"]);
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("clusters/dev.yaml");
    let text = std::fs::read_to_string(built_in).expect("clusters/dev.yaml");
    home.write_cluster("dev", &text.replace("hostPorts: default", "hostPorts: auto"));
    home.ok("up dev --profile messages");

    let nodes = home.ok("kubectl -c dev -- get nodes -o json");
    let nodes: Value = serde_json::from_str(&nodes).expect("nodes as JSON");
    let node = |host: &str| -> Value {
        let all = nodes["items"].as_array().expect("items").iter();
        all.clone().find(|n| n["metadata"]["name"] == host).cloned().unwrap_or(Value::Null)
    };
    let labels = |host: &str| node(host)["metadata"]["labels"].clone();
    assert_eq!(labels("dev-control-plane")["role"], "core");
    assert_eq!(labels("dev-control-plane")["node-role.kubernetes.io/core"], "");
    assert_eq!(labels("dev-worker")["arch"], "arm64");
    assert_eq!(labels("dev-worker")["pipe.dev/fidelity"], "labelled");
    assert_eq!(labels("dev-worker")["topology.kubernetes.io/zone"], "b");
    assert_eq!(labels("dev-worker2")["accelerator"], "gpu");
    assert_eq!(node("dev-worker")["spec"]["taints"][0]["key"], "arch");
    assert_eq!(node("dev-worker2")["spec"]["taints"][0]["effect"], "NoSchedule");
    assert_eq!(node("dev-worker2")["status"]["allocatable"]["nvidia.com/gpu"], "2");

    across_nodes(&home);

    super::case::healed("reboot");
    // After a stop of every node, labels, taints and capacity are as before.
    for host in ["dev-worker", "dev-worker2", "dev-control-plane"] {
        podman(["stop", "-t", "20", host]);
    }
    home.ok("up dev --smoke");
    assert_eq!(home.json("plan dev")["steps"], Value::Array(vec![]));
    let allocatable = "jsonpath={.status.allocatable.nvidia\\.com/gpu}";
    let gpus = home.ok(&format!("kubectl -c dev -- get node dev-worker2 -o {allocatable}"));
    assert_eq!(gpus.trim(), "2");
    home.ok("teardown dev");
}

/// A pod on the tainted worker resolves a Service by name and reaches a pod of another node.
fn across_nodes(home: &Home) {
    home.write("probe.yaml", PROBE);
    let endpoint = "kubectl -c dev -- get endpoints -n messaging nats -o jsonpath={.subsets[0].addresses[0].ip}";
    let address = home.ok(endpoint);
    // The node's own network namespace routes to the pod of another node.
    let reach = format!("exec 3<>/dev/tcp/{}/4222 && head -c 4 <&3", address.trim());
    let greeting = podman(["exec", "dev-worker", "bash", "-c", &reach]);
    assert_eq!(greeting, "INFO");
    home.ok("kubectl -c dev -- apply -f probe.yaml");
    home.ok("kubectl -c dev -- wait pod/probe --for=condition=Ready --timeout=60s");
    let logs = home.ok("kubectl -c dev -- logs probe");
    assert!(logs.contains("Server is ready"), "{logs}");
}

/// A second node later: only it is made, the first learns its route, and pods talk both ways.
fn added_and_pruned() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", ONE);
    home.ok("up one --no-smoke");
    home.write_cluster("one", &format!("{ONE}- {{name: edge, role: general, zone: b}}\n"));
    let plan = step_ids(&home.json("plan one"));
    assert!(plan.contains(&"routes/core".to_owned()), "{plan:?}");
    assert!(!plan.iter().any(|id| id == "init" || id == "create/core"), "{plan:?}");
    home.ok("up one");
    home.write("probe.yaml", &PROBE.replace("arch: arm64", "zone: b"));
    home.ok("kubectl -c one -- apply -f probe.yaml");
    home.ok("kubectl -c one -- wait pod/probe --for=condition=Ready --timeout=60s");
    let address = home.ok("kubectl -c one -- get pod probe -o jsonpath={.status.podIP}");
    let reach = format!("exec 3<>/dev/tcp/{}/4222 && head -c 4 <&3", address.trim());
    assert_eq!(podman(["exec", "one-control-plane", "bash", "-c", &reach]), "INFO");

    home.write_cluster("one", ONE);
    let told = home.run("up one");
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("--prune"), "{told}");
    let route = || podman(["exec", "one-control-plane", "ip", "route", "show", "10.244.1.0/24"]);
    assert!(route().contains("via"), "{}", route());
    home.ok("up one --prune");
    assert_eq!(route(), "", "the route to a node that is gone");
    let script = podman(["exec", "one-control-plane", "cat", "/kind/pipe-network.sh"]);
    assert!(!script.contains("10.244.1.0/24"), "{script}");
    let nodes = home.ok("kubectl -c one -- get nodes -o name");
    assert_eq!(nodes.trim(), "node/one-control-plane");
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
    home.ok("teardown one");
}

fn bundled() {
    let home = Home::new(&["bundled"]);
    home.write_cluster("bundled", &ONE.replace("name: one", "name: bundled"));
    home.ok("up bundled --node-image docker.io/kindest/node:v1.36.4-bundled");
    let status = home.json("status bundled");
    assert_eq!(status["pod_network"], "bundled", "{status}");
    let cidr = home.ok("kubectl -c bundled -- get nodes -o jsonpath={.items[0].spec.podCIDR}");
    assert!(cidr.starts_with("10.244."), "{cidr}");
    home.ok("teardown bundled");
}

fn two_at_once() {
    let home = Home::new(&["one", "two"]);
    home.write_cluster("one", ONE);
    home.write_cluster("two", &ONE.replace("name: one", "name: two"));
    let mut first = home.command("up one").spawn().expect("pipe starts");
    let second = home.run("up two");
    assert!(first.wait().expect("it ends").success());
    assert!(second.status.success(), "{}", super::host::text(&second));
    let names: Vec<String> = home
        .json("list")
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|cluster| cluster["name"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(names, ["one", "two"]);
    home.ok("teardown one");
    assert_eq!(home.stream("smoke two").1["passed"], true, "the other cluster is untouched");
    home.ok("teardown --all");
}
