//! The host and its engine.

use std::net::TcpListener;

use super::case::hold;
use super::engine::{INFO, asks_for_image, image, scene};
use crate::env::TestEnv;
use crate::scripted::Reply;
use crate::skip::{has_cgroup_v2, skipped};

/// A node image that every host's control groups can boot.
const NODE: &str = "docker.io/kindest/node:v1.34.0";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user's files are wrong; nothing else was looked at.
#[test]
fn files() {
    let env = TestEnv::new();
    env.write("clusters/one.yaml", &super::ONE.replace("controlPlane: true", "controlPlan: yes"));
    hold("files-invalid", &env.pipe(["up", "one", "--json"]).result(), &[]);
}

#[test]
fn no_podman() {
    let env = TestEnv::new();
    env.write("clusters/one.yaml", super::ONE);
    env.write("profiles/none.yaml", super::NONE);
    let has = std::os::unix::net::UnixStream::connect("/run/podman/podman.sock").is_ok();
    if skipped("troubles::host::no_podman", has, "this machine serves Podman for everybody") {
        return;
    }
    hold("no-podman", &env.pipe(["up", "one", "--node-image", NODE, "--json"]).result(), &[]);
}

#[test]
fn engine_is_gone() {
    let mut env = TestEnv::new();
    env.write("clusters/one.yaml", super::ONE);
    env.write("profiles/none.yaml", super::NONE);
    let socket = env.path("run/podman.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    env.set("CONTAINER_HOST", &format!("unix://{}", socket.display()));
    hold(
        "engine-unreachable",
        &env.pipe(["up", "one", "--node-image", NODE, "--json"]).result(),
        &[],
    );
}

#[test]
fn engine_of_somebody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    if skipped("troubles::host::engine_of_somebody_else", !is_root(), "needs root") {
        return;
    }
    let mut env = TestEnv::new();
    env.write("clusters/one.yaml", super::ONE);
    env.write("profiles/none.yaml", super::NONE);
    let socket = env.path("run/podman.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&socket, 0o600);
    // As another user, who may read and write everything else here.
    for folder in ["", "home", "work", "work/clusters", "run"] {
        mode(&env.path(folder), 0o777);
    }
    let program = env.path("pipe");
    std::fs::copy(env!("CARGO_BIN_EXE_pipe"), &program).unwrap();
    env.set("CONTAINER_HOST", &format!("unix://{}", socket.display()));
    let ran = env.run(
        std::path::Path::new("/usr/bin/setpriv"),
        &[
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            program.to_str().unwrap(),
            "list",
            "--json",
        ],
    );
    hold("engine-forbidden", &ran.result(), &[]);
}

#[test]
fn engine_is_too_old() {
    let scene = scene(|request| {
        let ping = request.target.ends_with("/_ping");
        ping.then(|| Reply::new(200, "OK").header("Libpod-API-Version", "3.4.4"))
    });
    hold("engine-too-old", &scene.env.pipe(["up", "one", "--json"]).result(), &[]);
}

#[test]
fn rootless_without_delegation() {
    let scene = scene(|request| {
        request
            .target
            .ends_with("/info")
            .then(|| Reply::new(200, INFO.replace("\"rootless\":false", "\"rootless\":true")))
            .or_else(|| asks_for_image(request).then(|| image("amd64")))
    });
    if skipped("troubles::host::rootless_without_delegation", has_cgroup_v2(), "has cgroup v2") {
        return;
    }
    let mut result = scene.env.pipe(["up", "one", "--node-image", NODE, "--json"]).result();
    // What else a rootless engine lacks depends on the user who runs the tests.
    let error = result["error"].take();
    let causes = error["causes"].as_array().into_iter().flatten();
    let mut finding =
        causes.filter_map(|cause| cause.as_str()?.split_once(" [rootless-cgroup-v1]\n"));
    let (what, cause) = finding.next().unwrap_or_else(|| panic!("{error:#}"));
    let hints: Vec<_> = error["hints"].as_array().into_iter().flatten().take(2).collect();
    result["error"] = serde_json::json!({"code": "rootless-cgroup-v1", "what": what,
        "causes": [cause], "hints": hints});
    hold("rootless-cgroup-v1", &result, &[]);
}

/// Known before the network, the first thing that `up` makes, is asked for.
#[test]
fn the_kubeconfig_is_read_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = scene(|request| {
        if request.method == "POST" {
            panic!("{request:?}");
        }
        asks_for_image(request).then(|| image("amd64"))
    });
    let config = scene.env.path("home/.kube/config");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, "apiVersion: v1\nkind: Config\n").unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o444)).unwrap();
    let up = ["up", "one", "--node-image", NODE, "--json"];
    hold("kubeconfig-unwritable", &scene.env.pipe(up).result(), &[("[root]/home", "~")]);
    for place in ["clusters", "clusters/one.yaml/config", "/dev/null"] {
        let [up, one, image, node, json] = up;
        let chosen = [up, one, image, node, json, "--kubeconfig", place];
        let result = scene.env.pipe(chosen).result();
        assert_eq!(result["error"]["code"], "kubeconfig-unwritable", "{result:#}");
        assert_eq!(result["exit_code"], 4, "{result:#}");
    }
    assert!(!scene.env.path("state/pipe/clusters/one").exists(), "nothing is reserved");
}

#[test]
fn a_port_is_taken() {
    let scene = scene(|request| asks_for_image(request).then(|| image("amd64")));
    let held = TcpListener::bind("127.0.0.1:4222");
    if skipped("troubles::host::a_port_is_taken", held.is_err(), "somebody else has port 4222") {
        return;
    }
    scene
        .env
        .write("clusters/one.yaml", &super::ONE.replace("hostPorts: auto", "hostPorts: default"));
    let own = std::process::id().to_string();
    let up = ["up", "one", "--profile", "quickstart", "--node-image", NODE, "--json"];
    let result = scene.env.pipe(up).result();
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    hold("port-taken", &result, &[(own.as_str(), "PID"), (name.trim(), "nats-server")]);
}

/// In a network namespace of its own, with a route as a VPN makes it.
#[test]
fn a_vpn_has_the_range() {
    if skipped("troubles::host::a_vpn_has_the_range", !is_root(), "needs root") {
        return;
    }
    let scene = scene(|request| asks_for_image(request).then(|| image("amd64")));
    let script = "ip link add tun0 type bridge && ip address add 10.244.7.1/16 dev tun0 && \
                  ip link set tun0 up && exec \"$@\"";
    let under = ["/usr/bin/unshare", "--net", "/bin/sh", "-c", script, "sh"];
    let mut env = scene.env;
    env.set("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    hold(
        "subnet-taken",
        &env.pipe_under(&under, ["up", "one", "--node-image", NODE, "--json"]).result(),
        &[],
    );
}

/// In a mount namespace of its own, with the CPU of an old machine.
#[test]
fn the_cpu_lacks_something() {
    if skipped("troubles::host::the_cpu_lacks_something", !is_root(), "needs root") {
        return;
    }
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let scene = scene(move |request| asks_for_image(request).then(|| image(arch)));
    scene.env.write("cpuinfo", "flags\t\t: sse4_2\nFeatures\t: fp\n");
    scene
        .env
        .write("profiles/none.yaml", &super::NONE.replace("[]", "[{name: new, namespace: x}]"));
    scene.env.write(
        "profiles/components/new.yaml",
        "apiVersion: pipe.dev/v1alpha1\nkind: Component\nname: new\ndescription: new\nchart: nats\n\
         images: [registry.example/new:1]\nrequires: {cpu: {amd64: [avx2], arm64: [avx2]}}\n\
         sizes: {single: {}}\nready: [{statefulSet: new, within: 1m}]\n",
    );
    let script = "/bin/mount --bind cpuinfo /proc/cpuinfo && exec \"$@\"";
    let under = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh"];
    let up = ["up", "one", "--node-image", NODE, "--json"];
    hold("cpu-feature", &scene.env.pipe_under(&under, up).result(), &[]);
}

/// `/proc` is a file system without any room.
#[test]
fn the_disk_is_full() {
    let scene = scene(|request| {
        request
            .target
            .ends_with("/info")
            .then(|| Reply::new(200, INFO.replace("/nowhere/storage", "/proc")))
            .or_else(|| asks_for_image(request).then(|| image("amd64")))
    });
    hold("no-disk", &scene.env.pipe(["up", "one", "--node-image", NODE, "--json"]).result(), &[]);
}

#[test]
fn the_node_image_needs_cgroup_v2() {
    if skipped("troubles::host::the_node_image_needs_cgroup_v2", has_cgroup_v2(), "has cgroup v2") {
        return;
    }
    let scene = scene(|request| asks_for_image(request).then(|| image("amd64")));
    let image = "docker.io/kindest/node:v1.36.4";
    let result = scene.env.pipe(["up", "one", "--node-image", image, "--json"]).result();
    hold("node-image-cgroup-v1", &result, &[]);
}
