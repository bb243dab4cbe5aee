//! The binary under test, in a home of its own, with everything it leaves checked at the end.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::host::{self, Residue};

/// One small service: enough for tests of everything else, and quick.
const MESSAGES: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Profile
name: messages
components:
- {name: nats, namespace: messaging}
";

/// Begins the name of every home, so that those of runs that were killed are found.
const PREFIX: &str = "pipe-real-";

/// Locked while the test that made the home runs.
const IN_USE: &str = "in-use";

/// A home, an engine service and a state of its own; the cache of images and tools is the user's.
pub struct Home {
    folder: TempDir,
    _in_use: File,
    before: Residue,
    clusters: Vec<String>,
}

impl Home {
    /// Whatever is on the host now must be all that is there when this home is dropped.
    pub fn new(clusters: &[&str]) -> Home {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a folder");
        let in_use = File::create(folder.path().join(IN_USE)).expect("a lock file");
        in_use.lock().expect("nobody else knows this folder yet");
        for name in ["home", "state", "run", "project/clusters"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let profile = folder.path().join("project/profiles/messages.yaml");
        std::fs::create_dir_all(profile.parent().expect("a parent")).expect("a folder");
        std::fs::write(profile, MESSAGES).expect("the profile can be written");
        let clusters = clusters.iter().map(|&name| name.to_owned()).collect();
        Home { folder, _in_use: in_use, before: Residue::now(), clusters }
    }

    /// Removes the clusters, homes and images of runs that were killed. Their containers would make every
    /// later test fail, by no fault of its own: an engine that serves a cluster is never stopped.
    pub fn sweep() {
        let folders = std::fs::read_dir(std::env::temp_dir()).expect("the folder of temporaries");
        let names = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        for left in folders.flatten().filter(|entry| names(entry).starts_with(PREFIX)) {
            // Without the lock file it is younger than its lock, or no home.
            let Ok(in_use) = File::open(left.path().join(IN_USE)) else { continue };
            match in_use.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => panic!("{}: {error}", left.path().display()),
            }
            let clusters = std::fs::read_dir(left.path().join("state/pipe/clusters"));
            for cluster in clusters.into_iter().flatten().flatten() {
                let cluster = names(&cluster);
                println!("a killed run left the cluster {cluster} of {}", left.path().display());
                let mut teardown = Command::new(env!("CARGO_BIN_EXE_pipe"));
                environment(&left.path(), &mut teardown);
                let output = teardown.args(["teardown", &cluster]).output().expect("pipe runs");
                assert!(output.status.success(), "teardown {cluster}: {}", host::text(&output));
            }
            std::fs::remove_dir_all(left.path()).expect("the home of a killed run can be removed");
        }
        host::remove_test_images();
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Where `pipe` merges its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("home/.kube/config")
    }

    /// Writes a cluster file of the test's own.
    pub fn write_cluster(&self, name: &str, text: &str) {
        let path = self.path(&format!("project/clusters/{name}.yaml"));
        std::fs::write(path, text).expect("the cluster file can be written");
    }

    /// A file of the project folder.
    pub fn write(&self, below: &str, text: &str) {
        let path = self.path("project").join(below);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("the file can be written");
    }

    /// `pipe …`, not started yet.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipe"));
        environment(self.folder.path(), &mut command);
        command.args(line.split_whitespace()).stdin(Stdio::null());
        command
    }

    /// Another program in the same home, with Podman's wrapper first on its PATH.
    pub fn program(&self, program: &Path) -> Command {
        let bin = self.path("bin");
        std::fs::create_dir_all(&bin).expect("a folder");
        let link = bin.join("podman");
        if !link.exists() {
            let wrapper = host::root().join("scripts/lib/podman-wrapper");
            std::os::unix::fs::symlink(wrapper, link).expect("a link");
        }
        let mut command = Command::new(program);
        environment(self.folder.path(), &mut command);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", bin.display()));
        command.env("KIND_EXPERIMENTAL_PROVIDER", "podman").stdin(Stdio::null());
        command
    }

    /// Runs `pipe …` and gives what came of it.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("pipe runs")
    }

    /// Runs `pipe …`, which must succeed; gives its stdout.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "pipe {line}: {}", host::text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `pipe …`, which must end with `code`; gives its stderr.
    #[track_caller]
    pub fn fails(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(code), "pipe {line}: {}", host::text(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs `pipe … --json`, which must succeed and print one document.
    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        let text = self.ok(&format!("{line} --json"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("pipe {line}: {e}: {text}"))
    }

    /// Runs `pipe … --json`, which must succeed and stream; gives the last line's data.
    #[track_caller]
    pub fn stream(&self, line: &str) -> (Vec<Value>, Value) {
        let text = self.ok(&format!("{line} --json"));
        let parse = |line: &str| -> Value {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
        };
        let mut lines: Vec<Value> = text.lines().map(parse).collect();
        let last = lines.pop().expect("a result");
        assert_eq!(last["type"], "result", "{last}");
        assert_eq!(last["schema"], 1, "{last}");
        (lines, last["data"].clone())
    }

    /// Starts `pipe …` and leaves it running.
    pub fn spawn(&self, line: &str) -> Child {
        let log = std::fs::File::create(self.path("spawned.log")).expect("a log");
        self.command(line).stdout(Stdio::null()).stderr(log).spawn().expect("pipe starts")
    }

    /// How often a step of a cluster began, by its journal.
    pub fn begun(&self, cluster: &str, step: &str) -> usize {
        let journal = self.path(&format!("state/pipe/clusters/{cluster}/journal.jsonl"));
        let text = std::fs::read_to_string(journal).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["entry"] == "intent" && line["step"] == step).count()
    }

    /// Waits until the journal of a cluster says that a step began.
    pub fn await_step(&self, cluster: &str, step: &str, child: &mut Child) {
        self.await_step_after(cluster, step, 0, child);
    }

    /// The same, of a step that began `before` times in earlier runs.
    pub fn await_step_after(&self, cluster: &str, step: &str, before: usize, child: &mut Child) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(240);
        while self.begun(cluster, step) <= before {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                let log = std::fs::read_to_string(self.path("spawned.log")).unwrap_or_default();
                panic!("pipe ended with {status} before {step}: {log}");
            }
            assert!(std::time::Instant::now() < deadline, "{step} never began");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Asserts that nothing of any cluster is left, neither on the host nor in this home.
    #[track_caller]
    pub fn assert_clean(&self) {
        let left = Residue::now().since(&self.before);
        assert_eq!(left, Residue::default(), "left on the host");
        let state: Vec<String> = host::files_below(&self.path("state"))
            .into_iter()
            // Evidence and what clusters share stay: keys above all.
            .filter(|path| !path.contains("/evidence/") && !path.contains("/shared/"))
            .collect();
        assert!(state.is_empty(), "left in the state folder: {state:?}");
        let run = host::files_below(&self.path("run/pipe"));
        assert!(run.is_empty(), "left in the runtime folder: {run:?}");
        let processes = host::processes_with(self.folder.path());
        assert!(processes.is_empty(), "still running: {processes:#?}");
        if let Ok(text) = std::fs::read_to_string(self.kubeconfig()) {
            for cluster in &self.clusters {
                assert!(!text.contains(&format!("kind-{cluster}")), "left in kubeconfig: {text}");
            }
        }
    }
}

impl Drop for Home {
    /// Removes what a failed test left, so that the next one is judged by its own deeds; a test
    /// that passed has nothing left to remove, and that is asserted.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for cluster in &self.clusters {
                let output = self.run(&format!("teardown {cluster}"));
                eprintln!("clean-up after a failure: {}", host::text(&output));
            }
        } else {
            self.assert_clean();
        }
    }
}

/// Everything below `home`, but the cache.
fn environment(home: &Path, command: &mut Command) {
    command
        .env("HOME", home.join("home"))
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_CONFIG_HOME", home.join("home/.config"))
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .env("XDG_CACHE_HOME", host::cache())
        .env_remove("KUBECONFIG")
        .env_remove("CONTAINER_HOST")
        .env_remove("DOCKER_HOST")
        .current_dir(home.join("project"));
}
