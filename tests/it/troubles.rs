//! The failures that users of local clusters report most: produced here where no node is needed,
//! else in `tests/real/troubles.rs`; `docs/troubleshooting.md` shows them all.

#[allow(dead_code, reason = "some of it is for tests/real")]
#[path = "../troubles/case.rs"]
mod case;
pub mod engine;
mod host;
mod images;
mod names;

use std::fs;
use std::path::Path;

/// Nothing but nodes: no image but theirs, no helm.
const NONE: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Profile
name: none
components: []
";

/// A single node on free ports.
const ONE: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Cluster
name: one
provider: kind
profile: none
hostPorts: auto
nodes:
- {name: core, controlPlane: true}
";

#[test]
fn the_document_is_what_the_cases_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    let made = case::document();
    if case::updating() {
        fs::write(&path, made).unwrap();
        return;
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == there,
        "INSTA_UPDATE=always cargo test --test it troubles writes {path:?} anew"
    );
}

#[test]
fn every_case_says_what_it_must_and_is_produced_by_a_test() {
    let tests = [
        "tests/it/troubles/host.rs",
        "tests/it/troubles/images.rs",
        "tests/it/troubles/names.rs",
        "tests/real/bad_days.rs",
        "tests/real/bad_days_nodes.rs",
        "tests/real/cluster.rs",
        "tests/real/surroundings.rs",
        "tests/real/troubles.rs",
        "tests/real/troubles/helm.rs",
        "tests/real/troubles/pods.rs",
    ];
    let read = |path| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let tests: String = tests.into_iter().map(read).collect();
    for case in case::all() {
        for field in ["failure", "produced", "how", "evidence"] {
            assert!(!case.text(field).is_empty(), "{} has no {field}", case.name);
        }
        let produced = case.text("produced");
        assert!(["real", "scripted", "not here"].contains(&produced), "{}: {produced}", case.name);
        let held = tests.contains(&format!("\"{}\"", case.name));
        assert_eq!(held, case.is_produced(), "{} is {produced}", case.name);
        if case.is_produced() && !case.is_healed() {
            for field in ["code", "error"] {
                assert!(!case.text(field).is_empty(), "{} has no {field}", case.name);
            }
        }
    }
}
