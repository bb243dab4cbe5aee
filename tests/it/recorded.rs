//! A cluster that an earlier `pipe` made, as recorded by `scripts/record-state`: recognised, planned
//! for without replacing anything, and removed. The same cluster as if a newer `pipe` had made it:
//! refused, and nothing touched. And its files torn: said, and never lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pipe::spec::source::Sources;
use pipe::spec::{self, Arch, NetworkMode};
use serde_json::{Value, json};

use crate::env::TestEnv;

mod engine;

use engine::RecordedEngine;

/// Files of the cluster that are one JSON document with a `schema`.
const FORMS: [&str; 3] = ["reservation.json", "credentials.json", "merged.json"];

/// A home in which the recorded cluster lives, and the engine that has its objects.
struct Recorded {
    env: TestEnv,
    engine: RecordedEngine,
}

impl Recorded {
    /// The recording, with `change` made to each container that the engine shows.
    fn new(change: impl Fn(&mut Value)) -> Recorded {
        let mut env = TestEnv::new();
        let fixture = fixture();
        let home = env.path("home").to_string_lossy().into_owned();
        let state = env.path("home/.local/state/pipe/clusters/old");
        fs::create_dir_all(&state).unwrap();
        fs::create_dir_all(env.path("home/.kube")).unwrap();
        for entry in fs::read_dir(fixture.join("state")).unwrap() {
            let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
            let target = match name.to_str() {
                Some("user-kubeconfig") => env.path("home/.kube/config"),
                _ => state.join(name),
            };
            let text = fs::read_to_string(path).unwrap();
            fs::write(target, text.replace("[home]", &home)).unwrap();
        }
        for file in ["clusters/old.yaml", "profiles/old.yaml"] {
            env.write(file, &fs::read_to_string(fixture.join("project").join(file)).unwrap());
        }
        let engine = RecordedEngine::start(&fixture.join("engine"), &env.path("run"), change);
        env.set("PIPE_ENGINE", &format!("unix://{}", engine.socket().display()));
        Recorded { env, engine }
    }

    fn as_recorded() -> Recorded {
        Recorded::new(|_| {})
    }

    fn state(&self, file: &str) -> PathBuf {
        self.env.path("home/.local/state/pipe/clusters/old").join(file)
    }

    /// Every file in the home with its bytes; locks come and go.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.env.state_files().into_iter();
        let files = files.filter(|path| !path.to_string_lossy().contains("/locks/"));
        files.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
    }

    /// Runs a command that must be refused with this exit code and stable code, and must leave
    /// files and engine as they were.
    #[track_caller]
    fn refused<const N: usize>(&self, arguments: [&str; N], exit: i32, code: &str) -> String {
        let before = self.files();
        let stderr = self.env.pipe(arguments).code(exit).stderr().to_owned();
        assert!(stderr.contains(&format!("[{code}]")), "{arguments:?}: {stderr}");
        assert!(stderr.contains("hint:"), "{arguments:?}: {stderr}");
        assert_eq!(self.engine.changes(), [""; 0], "{arguments:?}");
        assert_eq!(self.files(), before, "{arguments:?}");
        stderr
    }

    #[track_caller]
    fn assert_gone(&self) {
        assert!(self.engine.is_empty(), "{:?}", self.engine);
        assert!(!self.state("").exists(), "the state folder is left");
        let user = fs::read_to_string(self.env.path("home/.kube/config")).unwrap_or_default();
        assert!(!user.contains("kind-old"), "{user}");
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-0.1")
}

fn step_ids(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().expect("steps");
    steps.iter().filter_map(|step| step["id"].as_str().map(str::to_owned)).collect()
}

/// As a newer `pipe` would have made it.
fn newer_layout(container: &mut Value) {
    container["Labels"]["pipe.dev/layout"] = json!("2");
}

fn stopped(container: &mut Value) {
    container["State"] = json!("exited");
}

#[test]
fn an_older_cluster_is_recognised() {
    let recorded = Recorded::as_recorded();
    let env = &recorded.env;
    let list: Value =
        serde_json::from_str(env.pipe(["list", "--json"]).success().stdout()).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["state"]), (&json!("old"), &json!("running")), "{list}");
    assert_eq!(list[0]["profile"], "old", "the journal is understood: {list}");

    let credentials: Value =
        serde_json::from_slice(&fs::read(recorded.state("credentials.json")).unwrap()).unwrap();
    let password = credentials["components"]["nats"]["password"].as_str().unwrap();
    let settings = env.pipe(["env", "old", "--json"]).success().stdout().to_owned();
    assert!(settings.contains(&format!("\"NATS_PASSWORD\": \"{password}\"")), "{settings}");
    // The hash on the container is what this version computes, or `up` would make the node anew.
    let sources = Sources::find(Some(&env.path("work")), Path::new("/")).unwrap();
    let mut spec = spec::load(&sources, "old", None, Arch::host().unwrap()).unwrap();
    spec.cluster.network = NetworkMode::Static;
    let hash = spec.cluster.nodes[0].container_hash(&spec.cluster);
    assert_eq!(recorded.engine.label("pipe.dev/spec-hash"), hash);
    let kubeconfig = env.pipe(["kubeconfig", "old"]).success().stdout().to_owned();
    assert!(kubeconfig.contains("kind-old"), "{kubeconfig}");
    assert_eq!(recorded.engine.changes(), [""; 0]);
}

#[test]
fn an_older_cluster_is_started_and_not_made_again() {
    let recorded = Recorded::new(stopped);
    let plan = recorded.env.pipe(["plan", "old", "--json"]).success().stdout().to_owned();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let ids = step_ids(&plan);
    assert_eq!(ids, ["start/core", "api", "ready/core", "proxy"], "{plan}");
    assert_eq!(recorded.engine.changes(), [""; 0]);

    // Running, but its API server does not answer: nothing of it is replaced either.
    let recorded = Recorded::as_recorded();
    let plan = recorded.env.pipe(["plan", "old", "--json"]).success().stdout().to_owned();
    let ids = step_ids(&serde_json::from_str(&plan).unwrap());
    let replaces =
        |id: &String| ["create/", "remove/", "init", "network"].iter().any(|w| id.starts_with(w));
    assert!(!ids.is_empty() && !ids.iter().any(replaces), "{ids:?}");
}

#[test]
fn an_older_cluster_is_removed_and_nothing_is_left() {
    let recorded = Recorded::as_recorded();
    let _output = recorded.env.pipe(["teardown", "old"]).success();
    recorded.assert_gone();
    let changes = recorded.engine.changes();
    assert!(changes.iter().all(|change| change.starts_with("DELETE ")), "{changes:?}");
}

#[test]
fn a_newer_layout_is_refused_and_nothing_touched() {
    let recorded = Recorded::new(newer_layout);
    for command in ["up", "plan", "status"] {
        let stderr = recorded.refused([command, "old"], 1, "made-by-newer-pipe");
        assert!(stderr.contains("update pipe") && stderr.contains("pipe teardown old"), "{stderr}");
    }
    // Looking and removing need no understanding of the layout.
    let list = recorded.env.pipe(["list"]).success().stdout().to_owned();
    assert!(list.contains("old"), "{list}");
    let result = recorded.env.pipe(["teardown", "old", "--json"]).success().last_json();
    assert_eq!(result["data"]["clusters"], json!(["old"]));
    recorded.assert_gone();
}

#[test]
fn a_layout_that_is_none_is_refused() {
    let unknown = |container: &mut Value| container["Labels"]["pipe.dev/layout"] = json!("draft");
    let recorded = Recorded::new(unknown);
    let stderr = recorded.refused(["up", "old"], 1, "unknown-layout");
    assert!(stderr.contains("pipe teardown old"), "{stderr}");
}

#[test]
fn newer_state_is_refused_and_nothing_touched() {
    for file in FORMS {
        let recorded = Recorded::as_recorded();
        let path = recorded.state(file);
        let mut form: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        form["schema"] = json!(2);
        form["later"] = json!({"x": 1});
        fs::write(&path, form.to_string()).unwrap();
        for command in ["up", "plan"] {
            let stderr = recorded.refused([command, "old"], 1, "made-by-newer-pipe");
            assert!(stderr.contains(file) && stderr.contains("update pipe"), "{stderr}");
        }
    }
}

/// Where entries of kubeconfig went is not guessed: all else is removed, and the record stays for
/// the `pipe` that can read it.
#[test]
fn teardown_keeps_a_newer_record_of_kubeconfig_files() {
    let recorded = Recorded::as_recorded();
    let path = recorded.state("merged.json");
    let ours = fs::read(&path).unwrap();
    fs::write(&path, r#"{"schema": 2, "places": []}"#).unwrap();
    let result = recorded.env.pipe(["teardown", "old", "--json"]).code(1).last_json();
    assert_eq!(result["error"]["code"], "made-by-newer-pipe", "{result}");
    assert!(recorded.engine.is_empty());
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"schema": 2, "places": []}"#);
    fs::write(&path, ours).unwrap();
    let _output = recorded.env.pipe(["teardown", "old"]).success();
    recorded.assert_gone();
}

#[test]
fn damaged_files_are_named_and_kept() {
    for (file, remedy) in
        [("reservation.json", "pipe teardown old"), ("credentials.json", "secrets")]
    {
        let recorded = Recorded::as_recorded();
        let whole = fs::read(recorded.state(file)).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 3] {
            fs::write(recorded.state(file), &whole[..length]).unwrap();
            for command in ["up", "plan"] {
                let stderr = recorded.refused([command, "old"], 4, "state-broken");
                assert!(stderr.contains(file) && stderr.contains(remedy), "{stderr}");
            }
        }
    }
}

#[test]
fn a_torn_journal_and_record_do_not_matter() {
    let recorded = Recorded::new(stopped);
    for file in ["journal.jsonl", "receipt.json", "merged.json"] {
        let whole = fs::read(recorded.state(file)).unwrap();
        fs::write(recorded.state(file), &whole[..whole.len() / 2]).unwrap();
    }
    let plan = recorded.env.pipe(["plan", "old", "--json"]).success().stdout().to_owned();
    assert_eq!(
        step_ids(&serde_json::from_str(&plan).unwrap()),
        ["start/core", "api", "ready/core", "proxy"]
    );
}

#[test]
fn teardown_needs_none_of_the_files() {
    for content in ["", "{\"schema\": 1, ", "\u{0}\u{0}\u{0}"] {
        let recorded = Recorded::as_recorded();
        for file in ["journal.jsonl", "receipt.json", "kubeconfig"].iter().chain(&FORMS) {
            fs::write(recorded.state(file), content).unwrap();
        }
        let _output = recorded.env.pipe(["teardown", "old"]).success();
        recorded.assert_gone();
    }
    let recorded = Recorded::as_recorded();
    fs::remove_dir_all(recorded.state("")).unwrap();
    let _output = recorded.env.pipe(["teardown", "old"]).success();
    assert!(recorded.engine.is_empty());
}

/// Another cluster's damaged file must not keep this one from being removed.
#[test]
fn a_damaged_neighbour_is_named_and_blocks_no_teardown() {
    let recorded = Recorded::as_recorded();
    let neighbour = recorded.env.path("home/.local/state/pipe/clusters/next/reservation.json");
    fs::create_dir_all(neighbour.parent().unwrap()).unwrap();
    fs::write(&neighbour, "{").unwrap();
    let stderr = recorded.refused(["plan", "old"], 4, "state-broken");
    assert!(stderr.contains("next") && stderr.contains("pipe teardown next"), "{stderr}");
    let _output = recorded.env.pipe(["teardown", "old"]).success();
    assert!(!recorded.state("").exists() && neighbour.exists());
}
