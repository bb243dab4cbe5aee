//! Bad days of the services: one that serves nobody, a volume that was damaged, one that gets too little
//! memory. Nothing of it is called ready or proven, and what is said names the cause.

use serde_json::Value;

use super::Case;
use super::bad_days::failed;
use super::cluster::ONE;
use super::host::podman;
use super::pipe::Home;
use super::stored::Stored;

pub const CASES: [Case; 1] = [Case::extended("services_have_bad_days", bad_days)];

fn bad_days() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", &ONE.replace("profile: messages", "profile: quickstart"));
    home.ok("up one");
    serves_nobody(&home);
    damaged_volume(&home);
    home.ok("teardown one");
    node_is_lost(&home);
    too_little_memory(&home);
}

/// Of a service's own node nothing is left: neither `status` nor `smoke` waits for what the API server
/// makes of it, and `up` brings the node and the service back, with what was in it.
fn node_is_lost(home: &Home) {
    home.write(
        "profiles/away.yaml",
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: away\ncomponents:\n\
         - {name: nats, namespace: messaging, values: {nodeSelector: {zone: b}}}\n",
    );
    let two = format!("{ONE}- {{name: edge, role: general, zone: b}}\n");
    home.write_cluster("one", &two.replace("profile: messages", "profile: away"));
    home.ok("up one");
    let stored = Stored::new(home, "one");
    podman(["kill", "one-worker"]);
    let status = home.json("status one");
    assert_eq!(status["components"][0]["state"], "not ready", "{status}");
    assert_eq!(status["nodes"][1]["state"], "stopped", "{status}");
    let report = refused(home, "nats");
    let evidence = report["evidence"].as_str().unwrap_or_default();
    assert!(evidence.contains("one-worker") && evidence.contains("pipe up one"), "{report}");
    home.ok("up one");
    stored.is_there(home, "one");
    home.ok("teardown one");
    home.write_cluster("one", ONE);
}

/// A server whose process stands still takes connections, and says nothing.
fn serves_nobody(home: &Home) {
    on_node("kill -STOP $(pidof nats-server)");
    let report = refused(home, "nats");
    assert_eq!(report["checks"][0]["name"], "connect", "{report}");
    on_node("kill -CONT $(pidof nats-server)");
    home.ok("kubectl -c one -- wait pod/nats-0 -n messaging --for=condition=Ready --timeout=90s");
    home.ok("smoke one --component nats");
}

/// What the store needs to know its own disk is overwritten while it is away.
fn damaged_volume(home: &Home) {
    on_node("echo damaged >$(ls -d /var/local-path-provisioner/*minio*)/.minio.sys/format.json");
    home.ok("kubectl -c one -- delete pod minio-0 -n data");
    let report = refused(home, "minio");
    let evidence = report["evidence"].as_str().unwrap_or_default();
    assert!(evidence.contains("minio-0") && evidence.contains("not ready"), "{report}");
    assert!(evidence.contains("container minio said last: "), "{report}");
    let status = home.json("status one");
    let lines = status["components"].as_array().expect("components");
    let minio = lines.iter().find(|line| line["name"] == "minio").expect("minio");
    assert_eq!(minio["state"], "not ready", "{status}");
    // The others know nothing of it.
    home.ok("smoke one --component clickhouse --component nats");
}

/// The first `up` ends with what ended the server, and takes the release away again.
fn too_little_memory(home: &Home) {
    home.write(
        "profiles/tight.yaml",
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: tight\ncomponents:\n\
         - {name: minio, namespace: data, values: {resources: {requests: {memory: 16Mi}, limits: {memory: 16Mi}}}}\n",
    );
    // Long before the deadline of its gates: 1, and not 6.
    let result = failed(&mut home.command("up one --profile tight"), 1);
    let error = result["error"].to_string();
    assert!(error.contains("OOMKilled"), "{result}");
    home.ok("teardown one");
}

/// The report of a component whose check must fail.
#[track_caller]
fn refused(home: &Home, component: &str) -> Value {
    let result = failed(&mut home.command(&format!("smoke one --component {component}")), 5);
    let report = result["data"]["reports"][0].clone();
    assert_eq!((&report["component"], &report["passed"]), (&component.into(), &false.into()));
    assert!(report["evidence"].as_str().is_some_and(|it| it.contains("last events: ")), "{report}");
    report
}

fn on_node(script: &str) {
    podman(["exec", "one-control-plane", "sh", "-c", script]);
}
