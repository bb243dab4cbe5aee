//! FoundationDB in a real pod. The true image is not to be had everywhere: where the engine has it, it
//! is proven as any other service; a fake of `fdbserver` and `fdbcli` holds the chart, its scripts,
//! probes, the exec through the API server and the advertised address to a real kubelet always.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Case;
use super::cluster::ONE;
use super::host::{podman, root, text};
use super::pipe::Home;

pub const CASES: [Case; 2] = [
    Case { name: "foundationdb_itself", skip: no_image, run: itself },
    Case { name: "the_chart_of_foundationdb_with_a_fake", skip: no_busybox, run: fake },
];

/// What the engine calls it, in the version of the component file.
const IMAGE: &str = "docker.io/foundationdb/foundationdb:7.3.78";

const FAKE: &str = "localhost/pipe-e2e-foundationdb:1";

fn no_image() -> Option<String> {
    let format = "{{.Repository}}:{{.Tag}}";
    let images = podman(["images", "--format", format, "docker.io/foundationdb/foundationdb"]);
    let there = images.lines().any(|line| line == IMAGE);
    (!there).then(|| format!("the engine does not have {IMAGE}"))
}

fn no_busybox() -> Option<String> {
    let there = Path::new("/bin/busybox").exists();
    (!there).then(|| "/bin/busybox is not here: install busybox-static".to_owned())
}

fn itself() {
    let home = Home::new(&["one"]);
    profile(&home, "");
    proven(&home, survives_a_reboot);
}

/// The same test: only the image differs, and what is said of it.
fn fake() {
    build();
    let home = Home::new(&["one"]);
    let component = root().join("profiles/components/foundationdb.yaml");
    let component = std::fs::read_to_string(component).expect("the component");
    assert!(component.contains(IMAGE), "{component}");
    home.write("profiles/components/foundationdb.yaml", &component.replace(IMAGE, FAKE));
    // It ends only when it is killed: it is the first process of its container and handles no signal.
    let values = ", values: {image: {repository: localhost/pipe-e2e-foundationdb, tag: '1'}, \
                  terminationGracePeriodSeconds: 5}";
    profile(&home, values);
    // A fake keeps what it is given in a file, which proves nothing of a database through a reboot.
    proven(&home, |_home, _coordinator| {});
    podman(["rmi", "--force", FAKE]);
}

fn profile(home: &Home, values: &str) {
    home.write(
        "profiles/keys.yaml",
        &format!(
            "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: keys\ncomponents:\n\
             - {{name: foundationdb, namespace: data{values}}}\n"
        ),
    );
    home.write_cluster("one", &ONE.replace("profile: messages", "profile: keys"));
}

/// A shell, and one program under two names.
fn build() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = root().join("tests/fakes/foundationdb_program.rs");
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "strip=symbols"])
        .args(["-o", "fdbserver"])
        .arg(source)
        .current_dir(&folder)
        .status();
    assert!(compiled.expect("rustc runs").success());
    std::fs::copy("/bin/busybox", folder.path().join("busybox")).expect("busybox");
    let file = "FROM scratch\n\
                COPY busybox /bin/busybox\n\
                COPY fdbserver /usr/bin/fdbserver\n\
                RUN [\"/bin/busybox\", \"mkdir\", \"-p\", \"/var/fdb/data\", \"/var/fdb/logs\", \"/tmp\"]\n\
                RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                RUN for name in fdbcli fdbbackup backup_agent fdbrestore; do \
                ln -s fdbserver /usr/bin/$name; done\n\
                ENV PATH=/usr/bin:/bin FDB_CLUSTER_FILE=/var/fdb/fdb.cluster\n\
                ENTRYPOINT [\"/bin/false\"]\n";
    std::fs::write(folder.path().join("Containerfile"), file).expect("a file");
    podman(["build", "-q", "-t", FAKE, &folder.path().to_string_lossy()]);
}

fn proven(home: &Home, more: fn(&Home, &str)) {
    let (_, up) = home.stream("up one");
    let report = &up["smoke"][0];
    assert_eq!((&report["component"], &report["passed"]), (&"foundationdb".into(), &true.into()));
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));

    let coordinator = settings(home);
    // Pods find it by name, and are led to the same address.
    let names = "kubectl -c one -- get configmap -n data foundationdb-cluster -o jsonpath={.data}";
    let names = home.ok(names);
    let by_name = "pipe:pipe@foundationdb-0.foundationdb-headless.data.svc.cluster.local:4500";
    assert!(names.contains(by_name), "{names}");
    let endpoint = "kubectl -c one -- get endpoints -n data foundationdb-headless -o jsonpath={.subsets[0].addresses[0].ip}";
    assert_eq!(format!("{}:4500", home.ok(endpoint).trim()), coordinator);

    let (_, restarted) = home.stream("smoke one --restart");
    assert_eq!(restarted["passed"], true, "{restarted}");
    let checks = restarted["reports"][0]["checks"].as_array().expect("checks");
    for name in ["restart", "read-again", "write-more", "clean-up"] {
        let check = checks.iter().find(|check| check["name"] == name);
        assert_eq!(check.expect(name)["passed"], true, "{restarted}");
    }

    TcpStream::connect(&coordinator).expect("this host reaches the node");
    comes_back(home);
    more(home, &coordinator);

    // A pod that serves nobody is not called proven.
    home.ok("kubectl -c one -- scale statefulset foundationdb -n data --replicas=0");
    home.ok("kubectl -c one -- wait pod/foundationdb-0 -n data --for=delete --timeout=90s");
    let refused = home.run("smoke one");
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert!(said.contains("has no pod to run a program in"), "{said}");
    home.ok("teardown one");
}

/// What is lost after a backup comes back, and what came since is gone.
fn comes_back(home: &Home) {
    let range = "getrange shop/ shop0 1000";
    cli(home, "writemode on; begin; set shop/1 boat; set shop/2 harbour; commit");
    let before = cli(home, range);
    assert!(before.contains("`shop/1' is `boat'") && before.contains("`shop/2' is `harbour'"));
    let (_, made) = home.stream("backup one");
    let backup = &made["backups"][0];
    assert!(
        backup["holds"].as_str().is_some_and(|it| it.starts_with("all keys at version ")),
        "{made}"
    );

    cli(home, r#"writemode on; clearrange "" \xff"#);
    home.ok("restore one");
    assert_eq!(cli(home, range), before, "into an empty database");
    cli(home, "writemode on; begin; set shop/1 sold; clear shop/2; set later x; commit");
    let refused = home.fails("restore one", 1);
    assert!(refused.contains("every key of its database"), "{refused}");
    home.ok("restore one --replace");
    assert_eq!(cli(home, range), before);
    assert!(cli(home, "get later").contains("`later': not found"));
    let list = "kubectl -c one -- exec -n data foundationdb-0 -- ls /tmp";
    assert!(!home.ok(list).contains("pipe-backup"), "nothing stays in the pod");
}

/// What was set stays, and the file leads there still.
fn survives_a_reboot(home: &Home, coordinator: &str) {
    cli(home, "writemode on; set kept through-everything");
    podman(["stop", "-t", "20", "one-control-plane"]);
    let stopped = settings(home);
    assert_eq!(stopped, coordinator, "handed out as it was written");
    home.ok("up one --smoke");
    assert_eq!(settings(home), coordinator);
    assert!(cli(home, "get kept").contains("`kept' is `through-everything'"));
}

/// The coordinator of the file that `env` hands out, which only its owner can read.
fn settings(home: &Home) -> String {
    let settings = home.json("env one");
    let file = settings["FDB_CLUSTER_FILE"].as_str().expect("a cluster file");
    let mode = std::fs::metadata(file).expect("the file is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{file}");
    let text = std::fs::read_to_string(file).expect("readable");
    let coordinator = text.trim().strip_prefix("pipe:pipe@").expect("a cluster file");
    coordinator.to_owned()
}

fn cli(home: &Home, commands: &str) -> String {
    let mut command = home.command("kubectl -c one -- exec -n data foundationdb-0 --");
    let output = command.args(["fdbcli", "--timeout", "20", "--exec", commands]).output();
    let output = output.expect("pipe runs");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
