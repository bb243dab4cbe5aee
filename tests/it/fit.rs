//! Components that do not fit on this host, which is an old and small machine here: what must be
//! installed is refused before anything is touched, what may be left out is named.

use std::process::Command;

use crate::env::{Output, TestEnv};
use crate::scripted::Scripted;
use crate::skip::skipped;
use crate::troubles::engine;

/// A node image that every host's control groups can boot.
const NODE: &str = "docker.io/kindest/node:v1.34.0";

/// What the machine says of itself, in place of the real one.
const MACHINE: [(&str, &str); 4] = [
    ("cpuinfo", "processor\t: 0\nflags\t\t: sse4_2 pclmulqdq\nFeatures\t: fp\n"),
    ("meminfo", "MemTotal: 3000000 kB\nMemFree: 2000000 kB\nMemAvailable: 2000000 kB\n"),
    ("sys/fs/aio-max-nr", "65536\n"),
    ("sys/fs/aio-nr", "65000\n"),
];

/// Whether a run may have other files in `/proc` than everybody else.
fn cannot_mount() -> bool {
    let tried = Command::new("/usr/bin/unshare").args(["--mount", "/bin/true"]).output();
    !tried.is_ok_and(|output| output.status.success())
}

/// An engine that has every image, made for the engine's CPU but for `foreign`, and what was asked.
fn served() -> (TestEnv, Scripted) {
    let mut env = TestEnv::new();
    let (server, socket) = Scripted::unix(&env.path("run"), |request, _| {
        let foreign = request.target.contains("foreign");
        let arch = if foreign { "riscv64" } else { engine_arch() };
        match engine::asks_for_image(request) {
            true => engine::image(arch),
            false => engine::empty(request),
        }
    });
    env.set("PIPE_ENGINE", &format!("unix://{}", socket.display()));
    env.set("PIPE_NODE_IMAGE", NODE);
    for (name, text) in MACHINE {
        env.write(&format!("../proc/{name}"), text);
    }
    let cluster = "apiVersion: pipe.dev/v1alpha1\nkind: Cluster\nname: one\nprofile: wide\n\
                   hostPorts: auto\nnodes: [{name: core, controlPlane: true}]\n";
    env.write("clusters/one.yaml", cluster);
    let needs = [
        ("modern", "requires: {cpu: {amd64: [sse4_2, avx2], arm64: [fp, lrcpc]}}"),
        ("huge", "requires: {memory: 8Gi}"),
        ("waiting", "io: [{aio: 6100, values: {}}]"),
        ("foreign", "needs: []"),
        ("modest", "requires: {cpu: {amd64: [sse4_2], arm64: [fp]}}"),
    ];
    for (name, needs) in needs {
        let text = format!(
            "apiVersion: pipe.dev/v1alpha1\nkind: Component\nname: {name}\ndescription: {name}\n\
             chart: nats\nimages: [docker.io/library/{name}:1]\n{needs}\nsizes: {{single: {{}}}}\n\
             ready: [{{statefulSet: {name}, within: 1m}}]\n"
        );
        env.write(&format!("profiles/components/{name}.yaml"), &text);
    }
    (env, server)
}

/// As the engine and the nodes are.
fn engine_arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn profile(env: &TestEnv, when: &str) {
    let names = ["modern", "huge", "waiting", "foreign", "modest"];
    let components =
        names.map(|name| format!("- {{name: {name}, namespace: data, whenUnavailable: {when}}}\n"));
    let text = format!(
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: wide\nmemory: 8G\ncomponents:\n{}",
        components.concat()
    );
    env.write("profiles/wide.yaml", &text);
}

/// Runs `pipe` on the small machine.
fn on_it<const N: usize>(env: &TestEnv, code: i32, arguments: [&str; N]) -> Output {
    let proc = env.path("proc");
    let mounts = MACHINE.map(|(name, _)| {
        format!("/bin/mount --bind '{}' /proc/{name} && ", proc.join(name).display())
    });
    let script = format!("{}exec \"$@\"", mounts.concat());
    let under = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", &script, "sh"];
    env.pipe_under(&under, arguments).code(code)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_before_anything_is_made() {
    let name = "fit::what_does_not_fit_is_refused_before_anything_is_made";
    if skipped(name, cannot_mount(), "nothing may be mounted") {
        return;
    }
    let (env, server) = served();
    profile(&env, "fail");
    let parts = [
        "component modern cannot run on this CPU [cpu-feature]",
        "docker.io/library/foreign:1 of component foreign is not made for the nodes [image-architecture]",
        "the engine's store has it for linux/riscv64",
        "there is no room for the asynchronous I/O of waiting [aio-full]",
        "fs.aio-max-nr 65536, 65000 in use",
        "the nodes and components do not fit into this host's memory [memory-short]",
        "2.0 GB available",
        "leave huge out of the profile",
    ];
    let up = on_it(&env, 4, ["up", "one"]).stderr().to_owned();
    let doctor = on_it(&env, 4, ["doctor", "--cluster", "one"]).stdout().to_owned();
    let plan = on_it(&env, 0, ["plan", "one"]).both();
    for text in [&up, &doctor, &plan] {
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!text.contains("component modest"), "{text}");
    }
    assert!(plan.contains("up will refuse: component modern"), "{plan}");
    // What is written takes more than what is promised, on whatever machine.
    assert!(doctor.contains("[memory-promise]"), "{doctor}");
    let made = server.requests().into_iter().filter(|request| request.method != "GET");
    assert_eq!(made.map(|request| request.target).collect::<Vec<_>>(), Vec::<String>::new());
    assert!(env.state_files().is_empty(), "{:?}", env.state_files());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_left_out_is_named() {
    let name = "fit::what_may_be_left_out_is_named";
    if skipped(name, cannot_mount(), "nothing may be mounted") {
        return;
    }
    let (env, _server) = served();
    profile(&env, "skip");
    let parts = [
        "component modern will be skipped: docker.io/library/modern:1 needs a CPU with ",
        "component huge will be skipped: its pods ask for 8.5 GB of memory",
        "component waiting will be skipped: its server needs 6100 events of asynchronous I/O",
        "component foreign will be skipped: docker.io/library/foreign:1 is made for linux/riscv64",
    ];
    let doctor = on_it(&env, 0, ["doctor", "--cluster", "one"]).stdout().to_owned();
    let plan = on_it(&env, 0, ["plan", "one"]).both();
    for text in [&doctor, &plan] {
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
    assert!(plan.contains("install/modest") && !plan.contains("install/huge"), "{plan}");
}
