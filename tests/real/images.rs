//! The user's own images: built, loaded, run, edited, loaded again, and there on nodes made later.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Case;
use super::cluster::ONE;
use super::host::podman;
use super::pipe::Home;

pub const CASES: [Case; 1] =
    [Case::new("own_images_run_are_edited_and_reach_later_nodes", own_images)];

/// What users would call their image; pods may say it the same way.
const NAME: &str = "pipe-e2e-app:dev";

/// A program that says which edit it is of, and waits.
const PROGRAM: &str = "
fn main() {
    println!(\"edit VERSION\");
    loop { std::thread::park(); }
}
";

/// Two pods of one image under the two names that it has.
const PODS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 1
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: 'pipe-e2e-app:dev', imagePullPolicy: IfNotPresent}]
---
apiVersion: v1
kind: Pod
metadata: {name: full}
spec:
  terminationGracePeriodSeconds: 0
  nodeSelector: {role: general}
  containers: [{name: app, image: 'localhost/pipe-e2e-app:dev'}]
";

/// Builds the image for one edit: a layer that stays the same, and one with a static binary.
fn build(folder: &Path, version: &str) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("app.rs"), PROGRAM.replace("VERSION", version)).expect("a source");
    let compiled = Command::new("rustc")
        .args(["-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "app.rs"])
        .current_dir(folder)
        .status();
    assert!(compiled.expect("rustc runs").success());
    // Random, as nothing between here and the node may make it smaller.
    let ballast = folder.join("ballast");
    if !ballast.exists() {
        let mut bytes = vec![0; 8 << 20];
        let mut random = std::fs::File::open("/dev/urandom").expect("random bytes");
        std::io::Read::read_exact(&mut random, &mut bytes).expect("random bytes");
        std::fs::write(&ballast, bytes).expect("a file");
    }
    let file = "FROM scratch\nCOPY ballast /ballast\nCOPY app /app\nENTRYPOINT [\"/app\"]\n";
    std::fs::write(folder.join("Containerfile"), file).expect("a file");
    podman(["build", "-q", "--layers", "-t", NAME, &folder.to_string_lossy()]);
}

fn own_images() {
    let home = Home::new(&["one"]);
    let bare = "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: bare\ncomponents: []\n";
    home.write("profiles/bare.yaml", bare);
    let cluster = ONE.replace("profile: messages", "profile: bare");
    let two = format!("{cluster}- {{name: edge, role: general}}\n");
    home.write_cluster("one", &two);
    home.ok("up one");

    let unknown = home.fails("images load -c one pipe-e2e-ap:dev nothing-like-it:1", 1);
    assert!(unknown.contains("pipe-e2e-ap:dev, nothing-like-it:1"), "{unknown}");

    let folder = home.path("app");
    build(&folder, "one");
    foreign(&home, &folder);
    let (_, first) = home.stream(&format!("images load -c one {NAME}"));
    let image = &first["images"][0];
    assert_eq!(image["loaded"], serde_json::json!(["core", "edge"]), "{first}");
    let ballast = 8 << 20;
    assert!(first["sent"].as_u64() > Some(2 * ballast), "{first}");
    let (_, again) = home.stream(&format!("images load -c one localhost/{NAME}"));
    assert_eq!(again["images"][0]["unchanged"], serde_json::json!(["core", "edge"]), "{again}");
    assert_eq!(again["sent"], 0, "{again}");
    // A second name of the same content, and to one node only.
    podman(["tag", NAME, "pipe-e2e-other:1"]);
    let both = format!("images load -c one --node edge {NAME} pipe-e2e-other:1");
    let (_, second) = home.stream(&both);
    assert_eq!(second["images"][0]["unchanged"], serde_json::json!(["edge"]), "{second}");
    assert_eq!(second["images"][1]["loaded"], serde_json::json!(["edge"]), "{second}");
    podman(["rmi", "pipe-e2e-other:1"]);

    home.write("pods.yaml", PODS);
    home.ok("kubectl -c one -- apply -f pods.yaml");
    rolled_out(&home, "one");
    home.ok("kubectl -c one -- wait pod/full --for=condition=Ready --timeout=60s");

    // The next edit: another content under the same name, of which one layer is known.
    let before = podman(["image", "inspect", "--format", "{{.Id}}", NAME]);
    build(&folder, "two");
    podman(["rmi", before.trim()]);
    let (_, edited) = home.stream(&format!("images load -c one {NAME}"));
    assert_eq!(edited["images"][0]["loaded"], serde_json::json!(["core", "edge"]), "{edited}");
    assert!(edited["sent"].as_u64() < Some(ballast), "{edited}");
    home.ok("kubectl -c one -- rollout restart deployment/app");
    rolled_out(&home, "two");
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));

    // A node that joins later has it without being told.
    home.write_cluster("one", &format!("{two}- {{name: late, role: late}}\n"));
    home.ok("up one");
    let row = row(&home, "docker.io/library/pipe-e2e-app:dev");
    assert_eq!(row["nodes"], serde_json::json!(["core", "edge", "late"]), "{row}");
    assert_eq!((&row["from"], &row["engine"]), (&"loaded".into(), &"same".into()), "{row}");
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));

    podman(["rmi", "--force", NAME]);
    assert_eq!(self::row(&home, "localhost/pipe-e2e-app:dev")["engine"], "gone");
    home.ok("teardown one");
}

/// An image for another CPU is refused before anything is copied.
fn foreign(home: &Home, folder: &Path) {
    let name = "pipe-e2e-foreign:1";
    let arch = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
    let folder = folder.to_string_lossy();
    podman(["build", "-q", "--no-cache", "--arch", arch, "-t", name, &folder]);
    let refused = home.fails(&format!("images load -c one {NAME} {name}"), 1);
    assert!(refused.contains("exec format error") && refused.contains(arch), "{refused}");
    assert!(rows(home).iter().all(|row| row["from"] != "loaded"), "{:?}", rows(home));
    podman(["rmi", "--force", name]);
}

fn rolled_out(home: &Home, version: &str) {
    home.ok("kubectl -c one -- rollout status deployment/app --timeout=60s");
    let newest = "kubectl -c one -- get pods -l app=app --sort-by=.metadata.creationTimestamp -o jsonpath={.items[-1:].metadata.name}";
    let pod = home.ok(newest);
    let logs = home.ok(&format!("kubectl -c one -- logs {}", pod.trim()));
    assert_eq!(logs.trim(), format!("edit {version}"));
}

fn rows(home: &Home) -> Vec<Value> {
    let listed = home.json("images list -c one --all");
    listed["images"].as_array().expect("images").clone()
}

fn row(home: &Home, name: &str) -> Value {
    let rows = rows(home);
    rows.iter().find(|row| row["name"] == name).cloned().unwrap_or_else(|| panic!("{rows:?}"))
}
