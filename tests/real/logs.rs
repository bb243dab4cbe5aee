//! Evidence and logs of clusters that other tests have made: what is in it, what is not, what is
//! heard while it is said.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::failure::signal;
use super::host::podman;
use super::pipe::Home;

/// Longest wait for a line that was just said.
const HEARD: Duration = Duration::from_secs(20);

/// Files of an archive by path below its folder.
pub type Files = BTreeMap<String, String>;

pub fn unpack(path: &Path) -> Files {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut files = Files::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut text = Vec::new();
        entry.read_to_end(&mut text).expect("content");
        let name = name.split_once('/').expect("a folder").1.to_owned();
        files.insert(name, String::from_utf8_lossy(&text).into_owned());
    }
    files
}

#[track_caller]
fn has(files: &Files, path: &str, part: &str) {
    let index = &files["index.md"];
    let text = files.get(path).unwrap_or_else(|| panic!("no {path} in the archive: {index}"));
    assert!(text.contains(part), "no {part:?} in {path}: {text}");
}

/// What every archive of a cluster with a running node has.
fn has_parts_of_a_running_cluster(files: &Files) {
    let node = "nodes/one-control-plane";
    has(files, "index.md", "# Evidence of cluster one");
    has(files, "doctor.json", "\"schema\": 1");
    has(files, "pipe/journal.jsonl", "\"entry\":\"intent\"");
    has(files, "pipe/receipt.json", "\"operation\"");
    has(files, "pipe/versions.json", "\"pipe\"");
    has(files, "engine/info.json", "graphRoot");
    has(files, "engine/network.json", "subnet");
    has(files, "engine/volumes.json", "mountpoint");
    has(files, &format!("{node}/inspect.json"), "HostConfig");
    has(files, &format!("{node}/console.txt"), "systemd");
    has(files, &format!("{node}/journal.txt"), "containerd");
    has(files, &format!("{node}/kubelet.txt"), "kubelet");
    has(files, &format!("{node}/containerd.txt"), "containerd");
    has(files, &format!("{node}/kubeadm.conf"), "InitConfiguration");
    has(files, &format!("{node}/images.txt"), "pause");
    has(files, "cluster/nodes.txt", "one-control-plane");
    has(files, "cluster/pods.txt", "kube-apiserver-one-control-plane");
    has(files, "cluster/pods-described.txt", "Conditions:");
    has(files, "cluster/events.txt", "REASON");
    has(files, "cluster/objects.txt", "statefulset.apps");
    let cni = files.keys().any(|path| path.starts_with(&format!("{node}/etc-cni-net.d/")));
    assert!(cni, "{:?}", files.keys());
    let logs = format!("{node}/pods/kube-system_kube-apiserver-one-control-plane/");
    assert!(files.keys().any(|path| path.starts_with(&logs)), "{:?}", files.keys());
}

/// The archive that a failed `up` made by itself, before it removed the release.
pub fn of_a_failure(error: &str) {
    let (_, rest) = error.split_once("the evidence is in ").expect("the error names the archive");
    let files = unpack(Path::new(rest.lines().next().unwrap_or_default().trim()));
    has_parts_of_a_running_cluster(&files);
    let index = &files["index.md"];
    let (before, after) = index.split_once("`serve/nats`").expect("the step that failed");
    assert!(before.ends_with("## What failed\n\n- step "), "the failing step comes first: {index}");
    assert!(after.contains("nats did not become ready within 15 s"), "{index}");
    has(&files, "error.json", "nats did not become ready");
    has(&files, "cluster/pods.txt", "nats-0");
    has(&files, "cluster/pods-described.txt", "no-such-tag");
}

/// The archive of a cluster that works, and that no secret of it is in there in any form.
pub fn of_a_running_cluster(home: &Home) {
    let began = Instant::now();
    let path = home.ok("logs -c one -o one.tar.gz");
    println!("        an archive of one node took {:.1} s", began.elapsed().as_secs_f64());
    let path = Path::new(path.trim());
    let size = path.metadata().expect("the archive is there").len();
    assert!(size < 20_000_000, "the archive has {size} bytes");
    let files = unpack(path);
    has_parts_of_a_running_cluster(&files);
    let nats = files.iter().find(|(path, _)| path.contains("/pods/messaging_nats-0/nats"));
    assert!(nats.is_some_and(|(_, text)| text.contains("Server is ready")), "{:?}", files.keys());

    let settings = home.json("env one");
    let password = settings["NATS_PASSWORD"].as_str().expect("a password").to_owned();
    let kubeconfig = home.ok("kubeconfig one");
    let key = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("client-key-data: "));
    let query =
        "kubectl -c one -- get secrets -n kube-system -o jsonpath={.items[*].data.token-secret}";
    let tokens = home.ok(query);
    let mut secrets = vec![password, key.expect("a key").to_owned()];
    secrets.extend(tokens.split_whitespace().map(decode));
    let join = podman(["exec", "one-control-plane", "cat", "/kind/kubeadm.conf"]);
    let token = join.lines().find_map(|line| line.trim().strip_prefix("token: "));
    secrets.extend(
        token.and_then(|token| token.trim_matches('"').split_once('.')).map(|t| t.1.to_owned()),
    );
    assert!(secrets.len() >= 3, "password, key and at least one token are known");
    for secret in &secrets {
        for (path, text) in &files {
            assert!(!text.contains(secret.as_str()), "a secret is in {path}");
            assert!(!text.contains(&encode(secret)), "a secret is in {path}, in base64");
        }
    }
    assert!(files.values().all(|text| !text.contains("PRIVATE KEY-----\n")), "a key is in it");
}

/// The archive of a cluster whose only node stands still: the engine still gives its files.
pub fn of_a_stopped_cluster(home: &Home) {
    let path = home.ok("logs -c one -o stopped.tar.gz");
    let files = unpack(Path::new(path.trim()));
    has(&files, "index.md", "no control plane runs");
    has(&files, "nodes/one-control-plane/kubeadm.conf", "InitConfiguration");
    let nats = files.iter().find(|(path, _)| path.contains("/pods/messaging_nats-0/nats"));
    assert!(nats.is_some(), "no pod logs: {}", files["index.md"]);
    let said = home.ok("logs core -c one");
    assert!(!said.is_empty(), "the console of a node that does not run");
}

/// What is said is heard within seconds, through a restart, and Ctrl-C ends it.
pub fn followed(home: &Home) {
    let said = home.ok("logs nats -c one --tail 5");
    assert!((1..=5).contains(&said.lines().count()), "{said}");
    let near = home.fails("logs natz -c one", 2);
    assert!(near.contains("did you mean \"nats\"?"), "{near}");

    let (mut child, log) = follow(home, "logs -f core -c one --tail 1", "node.log");
    podman(["exec", "one-control-plane", "logger", "-t", "test", "can you hear me"]);
    let seconds = await_text(&log, "can you hear me", 1);
    println!("        a line of a node's journal was heard after {seconds:.1} s");
    end(&mut child);
    let deadline = Instant::now() + HEARD;
    while podman(["top", "one-control-plane", "args"]).contains("--follow") {
        assert!(Instant::now() < deadline, "journalctl goes on in the node");
        std::thread::sleep(Duration::from_millis(200));
    }

    let (mut child, log) = follow(home, "logs -f nats -c one", "nats.log");
    await_text(&log, "Server is ready", 1);
    home.ok("kubectl -c one -- delete pod -n messaging nats-0");
    let seconds = await_text(&log, "Server is ready", 2);
    println!("        a pod that replaced another was heard after {seconds:.1} s");
    end(&mut child);
}

fn follow(home: &Home, line: &str, file: &str) -> (Child, std::path::PathBuf) {
    let path = home.path(file);
    let log = std::fs::File::create(&path).expect("a file");
    let mut command = home.command(line);
    let child = command.stdout(log).stderr(Stdio::null()).spawn().expect("pipe starts");
    (child, path)
}

/// Waits until `text` is in the file `times` times; gives the seconds that it took.
fn await_text(path: &Path, text: &str, times: usize) -> f64 {
    let began = Instant::now();
    loop {
        let said = std::fs::read_to_string(path).unwrap_or_default();
        if said.matches(text).count() >= times {
            return began.elapsed().as_secs_f64();
        }
        assert!(began.elapsed() < HEARD * 2, "{text:?} was not heard {times} times: {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn end(child: &mut Child) {
    let began = Instant::now();
    signal(child, "INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "Ctrl-C ends it cleanly");
    assert!(began.elapsed() < HEARD, "it took {:?}", began.elapsed());
}

fn encode(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}

fn decode(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::prelude::BASE64_STANDARD.decode(text).expect("base64");
    String::from_utf8_lossy(&bytes).into_owned()
}
