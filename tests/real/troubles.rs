//! Troubles of nodes and pods, produced on one cluster: what `pipe` says to each is held to the files
//! of `tests/troubles/`, and the command after it works.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Case;
use super::bad_days::{bare, failed};
use super::case::{healed, hold};
use super::host::{self, podman};
use super::pipe::Home;
use super::small_disk::{self, SmallDisk};

mod helm;
mod pods;

pub const CASES: [Case; 3] = [
    Case { name: "troubles_of_a_running_cluster", skip: small_disk::no_mounts, run: running },
    Case::extended("more_troubles_of_pods", more_of_pods),
    Case { name: "troubles_of_a_node", skip: small_disk::missing, run: of_a_node },
];

const NODE: &str = "one-control-plane";

/// One program in several moods, and one for another CPU.
const IMAGE: &str = "localhost/pipe-e2e-trouble:1";

/// What pods run.
const PROGRAM: &str = r#"
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("crash") => {
            eprintln!("cannot read settings.toml: line 3: unknown key colour");
            std::process::exit(3);
        }
        Some("hog") => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1u8; 1 << 20]);
                std::hint::black_box(&all);
            }
        }
        _ => loop {
            std::thread::park();
        },
    }
}
"#;

/// Nodes are missed after 20 s instead of 50.
const IMPATIENT: &str = "\
patches:
  kubeadm:
  - kind: ClusterConfiguration
    controllerManager: {extraArgs: [{name: node-monitor-grace-period, value: 20s}]}
";

/// The header of a program for an architecture that no host of ours is: s390x.
fn foreign_program() -> Vec<u8> {
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 22];
    elf.resize(4096, 0);
    elf
}

/// Says that it is for this machine, as a careless build does.
fn build_image(home: &Home) {
    let folder = home.path("image");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("app.rs"), PROGRAM).expect("a source");
    let compiled = Command::new("rustc")
        .args(["-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "app.rs"])
        .current_dir(&folder)
        .status();
    assert!(compiled.expect("rustc runs").success());
    std::fs::write(folder.join("foreign"), foreign_program()).expect("a file");
    let file = "FROM scratch\nCOPY --chmod=755 app foreign /\nENTRYPOINT [\"/foreign\"]\n";
    std::fs::write(folder.join("Containerfile"), file).expect("a file");
    podman(["build", "-q", "--layers=false", "-t", IMAGE, &folder.to_string_lossy()]);
}

/// Removes the image also when the test fails.
struct Image;

impl Drop for Image {
    fn drop(&mut self) {
        podman(["rmi", "--force", IMAGE]);
    }
}

/// A folder that nobody can write to, root included.
struct ReadOnly<'a>(&'a Path);

impl ReadOnly<'_> {
    fn mount(folder: &Path) -> ReadOnly<'_> {
        let shown = folder.to_string_lossy();
        for arguments in [["--bind", &shown, &shown], ["-o", "remount,ro,bind", &shown]] {
            let status = Command::new("mount").args(arguments).status().expect("mount starts");
            assert!(status.success(), "mount {arguments:?}");
        }
        ReadOnly(folder)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.0).status().expect("umount starts");
        assert!(status.success() || std::thread::panicking(), "umount");
    }
}

fn running() {
    let home = Home::new(&["one"]);
    let _image = Image;
    build_image(&home);
    let one = bare(&home);
    home.write_cluster("one", &format!("{one}{IMPATIENT}"));
    let kubeconfig = read_only_kubeconfig(&home);
    let _cleaned = Cleaned(&home);

    no_room_in_a_node(&home);
    home.ok(&format!("images load -c one {IMAGE}"));
    pods::troubles(&home, &pods::USUAL);
    pods::mended(&home);
    helm::left_pending(&home);
    kubelet(&home);

    // Nothing of a teardown is held up by the one file that cannot be written.
    let folder = ReadOnly::mount(kubeconfig.parent().expect("a folder"));
    let result = failed(&mut home.command("teardown one"), 4);
    assert_eq!(result["error"]["code"], "kubeconfig-unwritable", "{result:#}");
    assert_eq!(podman(["ps", "-a", "-q", "--filter", "label=pipe.dev/cluster=one"]), "");
    drop(folder);
    home.ok("teardown one");
    let left = std::fs::read_to_string(&kubeconfig).unwrap_or_default();
    assert!(!left.contains("kind-one"), "{left}");
}

fn more_of_pods() {
    let home = Home::new(&["one"]);
    let _image = Image;
    build_image(&home);
    bare(&home);
    home.ok("up one");
    home.ok(&format!("images load -c one {IMAGE}"));
    pods::troubles(&home, &pods::MORE);
    home.ok("teardown one");
}

/// The teardown of a failed test must be able to write.
struct Cleaned<'a>(&'a Home);

impl Drop for Cleaned<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = self.0.run("teardown one");
            eprintln!("clean-up after a failure: {}", host::text(&output));
        }
    }
}

/// Refused in seconds with nothing made; then another file is chosen, and the cluster stands.
fn read_only_kubeconfig(home: &Home) -> std::path::PathBuf {
    let folder = home.path("home/.kube");
    std::fs::create_dir_all(&folder).expect("a folder");
    let held = ReadOnly::mount(&folder);
    let began = Instant::now();
    for line in ["up one".to_owned(), format!("up one --kubeconfig {}/new", folder.display())] {
        let result = failed(&mut home.command(&line), 4);
        assert_eq!(result["error"]["code"], "kubeconfig-unwritable", "{result:#}");
        assert!(result["error"]["causes"][0].to_string().contains("Read-only"), "{result:#}");
        home.assert_clean();
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let other = home.path("project/of-mine/config");
    home.ok(&format!("up one --kubeconfig {}", other.display()));
    assert!(std::fs::read_to_string(&other).expect("it is there").contains("kind-one"));
    drop(held);
    assert!(!home.kubeconfig().exists(), "what was not named is not touched");
    other
}

/// containerd has no room for what it is sent: nothing of it is believed later.
fn no_room_in_a_node(home: &Home) {
    let folder = home.path("ballast");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("ballast"), super::registry::ballast(24 << 20)).expect("a file");
    std::fs::write(folder.join("Containerfile"), "FROM scratch\nCOPY ballast /\n").expect("a file");
    let name = "localhost/pipe-e2e-ballast:1";
    podman(["build", "-q", "--layers=false", "-t", name, &folder.to_string_lossy()]);
    let ingest = "/var/lib/containerd/io.containerd.content.v1.content/ingest";
    podman(["exec", NODE, "mount", "-t", "tmpfs", "-o", "size=8m", "none", ingest]);
    let result = failed(&mut home.command(&format!("images load -c one {name}")), 4);
    assert!(result["error"].to_string().contains("no space left on device"), "{result:#}");
    hold_but_words("image-no-space", &result);
    podman(["exec", NODE, "umount", ingest]);
    let has = || home.ok("images list -c one --all").contains("pipe-e2e-ballast");
    assert!(!has(), "half an image is none");
    home.ok(&format!("images load -c one {name}"));
    assert!(has());
    podman(["rmi", "--force", name]);
}

/// Holds to a case, without the words of containerd and of the kernel, which have ids in them.
#[track_caller]
pub fn hold_but_words(name: &str, result: &Value) {
    let mut result = result.clone();
    if let Some(causes) = result["error"]["causes"].as_array_mut() {
        causes.retain(|cause| {
            let cause = cause.as_str().unwrap_or_default();
            // containerd may have given back what it could not use before the disk is measured.
            !cause.contains("no space left on device")
                && !cause.contains("said: ")
                && !cause.contains(" MB left")
        });
    }
    hold(name, &result, &[]);
}

/// A kubelet that ends at once is given up on with its own words; one that was stopped is started.
fn kubelet(home: &Home) {
    let config = "/var/lib/kubelet/config.yaml";
    let broken = format!(
        "cp {config} /root/kept && echo 'maxPods: many' >> {config} && systemctl restart kubelet"
    );
    podman(["exec", NODE, "sh", "-c", &broken]);
    not_ready(home);
    let began = Instant::now();
    let result = failed(&mut home.command("up one"), 1);
    assert!(result["error"]["causes"].to_string().contains("failed to load"), "{result:#}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let mut words = result.clone();
    if let Some(causes) = words["error"]["causes"].as_array_mut() {
        causes.truncate(1);
    }
    hold("kubelet-config", &words, &[]);
    assert_eq!(home.json("status one")["nodes"][0]["state"], "NotReady", "the cluster stays");

    let mend = format!("cp /root/kept {config} && systemctl stop kubelet");
    podman(["exec", NODE, "sh", "-c", &mend]);
    healed("kubelet-stopped");
    home.ok("up one");
    assert_eq!(home.json("status one")["nodes"][0]["state"], "Ready");
}

fn not_ready(home: &Home) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while home.json("status one")["nodes"][0]["state"] != "NotReady" {
        assert!(Instant::now() < deadline, "the node stays Ready without kubelet");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What stops a node from being made, as `run/diagnosis.rs` knows it: from the engine's words, and
/// from what runs in the node.
fn of_a_node() {
    let home = Home::new(&["one"]);
    let _image = Image;
    build_image(&home);
    let one = bare(&home);
    let result = failed(&mut home.command(&format!("up one --node-image {IMAGE}")), 1);
    let words = result["error"]["causes"].to_string();
    assert!(words.to_lowercase().contains("exec format error"), "{result:#}");
    let mut words = result.clone();
    if let Some(causes) = words["error"]["causes"].as_array_mut() {
        causes.truncate(1);
    }
    hold("node-exec-format", &words, &[]);
    home.assert_clean();

    // kubeadm writes its certificates to a disk that is full.
    let disk = SmallDisk::mount(&home.path(""), 16 << 20);
    std::fs::create_dir_all(disk.path("pki")).expect("a folder");
    SmallDisk::fill(&disk.path("ballast"), 0);
    let mount = format!(
        "mounts:\n- {{hostPath: '{}', containerPath: /etc/kubernetes/pki}}\n",
        disk.path("pki").display()
    );
    home.write_cluster("one", &format!("{one}{mount}"));
    let result = failed(&mut home.command("up one"), 1);
    assert!(result["error"].to_string().contains("no space left on device"), "{result:#}");
    hold_but_words("node-no-space", &result);
    home.assert_clean();
    drop(disk);
}

/// A port of this host on which nobody ever answers.
pub fn silent_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().collect();
        drop(held);
    });
    port
}
