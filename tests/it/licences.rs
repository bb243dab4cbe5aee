//! A component whose licence nobody accepted is refused before anything is touched, with everything
//! else that stands in the way, and the remedy leads out.

use crate::env::TestEnv;

const NAME: &str = "scylladb-source-available";

/// A project whose only profile has ScyllaDB, on a host without an engine.
fn project() -> TestEnv {
    let env = TestEnv::new();
    env.write(
        "clusters/one.yaml",
        "apiVersion: pipe.dev/v1alpha1\nkind: Cluster\nname: one\nprovider: kind\nprofile: wide\n\
         hostPorts: auto\nnodes:\n- {name: core, controlPlane: true}\n",
    );
    profile(&env, "fail");
    env
}

fn profile(env: &TestEnv, when: &str) {
    let text = format!(
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: wide\ncomponents:\n\
         - {{name: scylladb, namespace: data, whenUnavailable: {when}}}\n"
    );
    env.write("profiles/wide.yaml", &text);
}

/// What stands in the way, licence and engine, by one run.
fn refusal<const N: usize>(env: &TestEnv, arguments: [&str; N]) -> String {
    let output = env.pipe(arguments).code(4);
    assert!(!env.path("home/.local/state/pipe").exists(), "nothing is touched");
    output.stderr().to_owned()
}

#[test]
fn up_says_it_at_once_with_what_else_is_wrong() {
    let env = project();
    let text = refusal(&env, ["up", "one"]);
    for part in [
        "things stand in the way",
        "the licence scylladb-source-available of component scylladb is not accepted",
        "[licence-not-accepted]",
        "[no-podman]",
        "LICENSE-ScyllaDB-Source-Available.md",
        "pipe up --accept scylladb-source-available",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn who_accepted_it_hears_no_more_of_it() {
    let env = project();
    let text = refusal(&env, ["up", "one", "--accept", NAME]);
    assert!(!text.contains("licence"), "{text}");
    let text = refusal(&env, ["up", "one", "--accept", "another"]);
    assert!(text.contains("licence-not-accepted"), "{text}");
    let config = env.path("home/.config/pipe/config.yaml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let said = format!("apiVersion: pipe.dev/v1alpha1\nkind: Config\naccept: [{NAME}]\n");
    std::fs::write(config, said).unwrap();
    let text = refusal(&env, ["up", "one"]);
    assert!(!text.contains("licence"), "{text}");
}

#[test]
fn doctor_says_it_too() {
    let env = project();
    let output = env.pipe(["doctor", "--cluster", "one"]).code(4);
    assert!(output.stdout().contains("licence-not-accepted"), "{}", output.stdout());
    profile(&env, "skip");
    let output = env.pipe(["doctor", "--cluster", "one"]).code(4);
    assert!(!output.stdout().contains("licence"), "what is skipped is not in the way");
}

/// What was accepted earlier counts for the text that was accepted.
#[test]
fn a_newer_text_is_asked_for_again() {
    let env = project();
    let remembered = |text: &str| {
        let path = env.path("home/.local/state/pipe/shared/licences.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let stored = serde_json::json!({
            "schema": 1,
            "licences": {NAME: {"text": text, "at": "2026-11-22T00:00:00Z"}},
        });
        std::fs::write(path, stored.to_string()).unwrap();
        env.pipe(["up", "one"]).code(4).stderr().to_owned()
    };
    let component = include_str!("../../profiles/components/scylladb.yaml");
    let text = component.lines().find_map(|line| line.trim().strip_prefix("text: ")).unwrap();
    assert!(!remembered(text).contains("licence"));
    assert!(remembered("https://example.com/earlier").contains("licence-not-accepted"));
}
