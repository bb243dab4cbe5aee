//! Tests that cannot run everywhere. libtest cannot count them, so each says `skipped: why` past
//! libtest's capture, and one that `tests/expected-skips.txt` does not list fails.

use std::io::Write as _;

/// Whether a test must be left out. `name` is the test's path, as libtest prints it.
pub fn skipped(name: &str, cannot: bool, why: &str) -> bool {
    if !cannot {
        return false;
    }
    let known = include_str!("../expected-skips.txt");
    let known = known.lines().any(|line| line.split_once(": ").is_some_and(|(n, _)| n == name));
    assert!(known, "skipped, but not expected to be: {why}");
    // Written past the capture of print macros: a test that did not run is never silent.
    let line = format!("skipped: {name}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    true
}

/// Whether this host has cgroup v2 alone.
pub fn has_cgroup_v2() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
#[should_panic(expected = "skipped, but not expected to be: no reason at all")]
fn what_nobody_expects_fails() {
    skipped("nobody::listed_this", true, "no reason at all");
}

/// A list that names what is gone hides nothing, but misleads.
#[test]
fn every_expected_skip_is_a_test() {
    let names = include_str!("../expected-skips.txt").lines();
    for name in names.filter_map(|line| line.split_once(": ")?.0.strip_prefix("troubles::")) {
        let function = format!("fn {}()", name.rsplit("::").next().unwrap());
        assert!(include_str!("troubles/host.rs").contains(&function), "{name}");
    }
}
