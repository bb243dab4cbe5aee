//! Bad days: what fails says why, with the right exit code, and leaves nothing.

use std::process::Command;

use super::Case;
use super::cluster::ONE;
use super::host::text;
use super::pipe::Home;

pub const CASES: [Case; 7] = [
    Case::new("bad_files_touch_nothing", bad_files),
    Case::new("a_node_image_that_cannot_be_had", no_image),
    Case::new("a_taken_port_is_an_error_before_anything_is_made", taken_port),
    Case::new("a_component_that_never_gets_ready", never_ready),
    Case::new("ctrl_c_once_undoes", interrupted),
    Case::new("ctrl_c_twice_aborts_and_teardown_finishes", aborted),
    Case::new("the_same_cluster_waits", same_cluster_waits),
];

fn bad_files() {
    let home = Home::new(&["bad"]);
    home.write_cluster(
        "bad",
        "apiVersion: pipe.dev/v1alpha1\nkind: Cluster\nname: bad\nprovider: kind\nnodes:\n\
         - {name: core, controlPlane: true, rol: core}\n- {name: core, taints: [a=b]}\n",
    );
    let error = home.fails("up bad", 3);
    for part in ["bad.yaml:6:", "rol", "bad.yaml:7:", "core"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

fn no_image() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", ONE);
    let error = home.fails("up one --node-image docker.io/kindest/node:v0.0.1", 4);
    assert!(error.contains("docker.io/kindest/node:v0.0.1"), "{error}");
    assert!(error.contains("scripts/images/factory"), "no remedy in {error}");
}

fn taken_port() {
    let home = Home::new(&["one"]);
    let _held = match std::net::TcpListener::bind("127.0.0.1:4222") {
        Ok(listener) => listener,
        Err(error) => panic!("port 4222 must be free for this test: {error}"),
    };
    home.write_cluster("one", &ONE.replace("hostPorts: auto", "hostPorts: default"));
    let error = home.fails("up one", 4);
    assert!(error.contains("4222") && error.contains("nats"), "{error}");
    assert!(error.contains("hostPorts: auto"), "no remedy in {error}");
}

/// The release goes, the cluster stays, and the error names what was last seen.
fn never_ready() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", ONE);
    let component =
        std::fs::read_to_string(super::host::root().join("profiles/components/nats.yaml"))
            .expect("nats.yaml");
    let hurried = component.replace("within: 3m", "within: 15s");
    assert_ne!(hurried, component, "the deadline stands in the component file");
    home.write("profiles/components/nats.yaml", &hurried);
    home.write(
        "profiles/broken.yaml",
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: broken\ncomponents:\n\
         - {name: nats, namespace: messaging, size: single, values: {image: {tag: no-such-tag}}}\n",
    );
    let error = home.fails("up one --profile broken", 6);
    assert!(error.contains("nats did not become ready within 15 s"), "{error}");
    assert!(error.contains("no-such-tag") || error.contains("ImagePull"), "{error}");
    super::logs::of_a_failure(&error);
    let status = home.json("status one");
    assert_eq!(status["state"], "running", "{status}");
    assert_eq!(status["components"][0]["state"], "not installed", "{status}");
    // The next run, with a chart that works, needs no repair.
    home.ok("up one --profile messages");
    super::logs::followed(&home);
    super::logs::of_a_running_cluster(&home);
    super::host::podman(["stop", "-t", "20", "one-control-plane"]);
    super::logs::of_a_stopped_cluster(&home);
    home.ok("teardown one");
}

fn interrupted() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", ONE);
    let mut child = home.spawn("up one");
    home.await_step("one", "init", &mut child);
    signal(&child, "INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let log = std::fs::read_to_string(home.path("spawned.log")).expect("a log");
    assert!(log.contains("undo"), "{log}");
    home.assert_clean();
}

fn aborted() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", ONE);
    let mut child = home.spawn("up one");
    home.await_step("one", "boot/core", &mut child);
    signal(&child, "INT");
    signal(&child, "INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    home.ok("teardown one");
    home.assert_clean();
}

fn same_cluster_waits() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", ONE);
    let mut child = home.spawn("up one");
    home.await_step("one", "boot/core", &mut child);
    let second = home.run("up one");
    assert!(second.status.success(), "{}", text(&second));
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(error.contains("waiting for"), "{error}");
    assert!(child.wait().expect("it ends").success());
    home.ok("teardown one");
}

/// Sends a signal to a child of this test.
pub fn signal(child: &std::process::Child, name: &str) {
    let pid = child.id().to_string();
    let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
    assert!(status.success(), "kill -s {name} {pid}");
}
