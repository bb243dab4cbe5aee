//! Several control planes behind a load balancer of ours: one dies, and the API goes on.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Case;
use super::host::{podman, text, tool};
use super::pipe::Home;

pub const CASES: [Case; 1] = [Case::new("three_control_planes_survive_one", three)];

const NOTHING: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Profile
name: nothing
components: []
";

const THREE: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Cluster
name: three
profile: nothing
hostPorts: auto
nodes:
- {name: core, controlPlane: true, count: 3}
";

fn three() {
    let home = Home::new(&["three"]);
    home.write("profiles/nothing.yaml", NOTHING);
    home.write_cluster("three", THREE);
    home.ok("up three");
    assert_eq!(home.json("plan three")["steps"], Value::Array(vec![]));
    assert_eq!(members(), 3);

    // kind's tools: it lists its load balancers too, and its kubeconfig leads to ours.
    let kind = |line: &str| -> String {
        let output =
            home.program(&tool("kind")).args(line.split_whitespace()).output().expect("kind runs");
        assert!(output.status.success(), "kind {line}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut nodes: Vec<String> =
        kind("get nodes --name three").split_whitespace().map(str::to_owned).collect();
    nodes.sort();
    assert_eq!(
        nodes,
        [
            "three-control-plane",
            "three-control-plane2",
            "three-control-plane3",
            "three-external-load-balancer",
        ]
    );
    let status = home.json("status three");
    let api = status["api"].as_str().expect("an address").to_owned();
    assert!(kind("get kubeconfig --name three").contains(&api), "{api}");
    let label = ["inspect", "three-external-load-balancer", "--format"];
    let role =
        podman([label[0], label[1], label[2], "{{index .Config.Labels \"io.x-k8s.kind.role\"}}"]);
    assert_eq!(role.trim(), "external-load-balancer");

    // The first one dies: kubectl goes on through the others.
    podman(["kill", "three-control-plane"]);
    written(&home);
    assert_eq!(home.json("status three")["state"], "degraded");
    home.ok("up three");
    assert_eq!(members(), 3);
    home.ok("kubectl -c three -- get configmap written");

    // Everything stops and starts again, the load balancer too.
    for host in ["", "2", "3"].map(|number| format!("three-control-plane{number}")) {
        podman(["stop", "-t", "20", &host]);
    }
    podman(["stop", "three-external-load-balancer"]);
    home.ok("up three");
    home.ok("kubectl -c three -- get configmap written");
    assert_eq!(home.json("plan three")["steps"], Value::Array(vec![]));

    // One is removed by hand: it is made again, and etcd forgets the old one.
    podman(["rm", "-f", "-v", "three-control-plane2"]);
    home.ok("up three");
    assert_eq!(members(), 3);
    home.ok("kubectl -c three -- get configmap written");

    kind("delete cluster --name three");
    home.ok("teardown three");
}

/// Writes through the load balancer. The one that died may have led etcd: until the others have
/// elected another leader, a write is refused, and clients come again.
fn written(home: &Home) {
    let line = "kubectl -c three -- create configmap written --from-literal=while=one-is-gone";
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = home.run(line);
        // A write that timed out may have been done.
        if output.status.success() || text(&output).contains("already exists") {
            return;
        }
        assert!(Instant::now() < deadline, "{}", text(&output));
    }
}

/// Ready members of etcd, as its own pods say.
fn members() -> usize {
    let ready = podman([
        "exec",
        "three-control-plane3",
        "kubectl",
        "--kubeconfig",
        "/etc/kubernetes/admin.conf",
        "get",
        "pods",
        "-n",
        "kube-system",
        "-l",
        "component=etcd",
        "-o",
        "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}",
    ]);
    ready.split_whitespace().filter(|ready| *ready == "True").count()
}
