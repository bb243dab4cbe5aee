//! The core of these tests on another Podman: the binary runs itself, in a chroot's engine.

use std::process::Command;

use super::Case;
use super::host;

pub const CASES: [Case; 1] =
    [Case { name: "the_core_on_podman_5_of_debian_trixie", skip: why_not, run: on_trixie }];

/// Which tests make the core.
const CORE: &str = "single_from_nothing";

fn why_not() -> Option<String> {
    let needs_root =
        || (!rustix::process::geteuid().is_root()).then(|| "a chroot needs root".to_owned());
    host::not_extended().or_else(needs_root)
}

fn on_trixie() {
    let own = std::env::current_exe().expect("the tests' own path");
    let status = Command::new(host::root().join("scripts/matrix"))
        .args(["trixie", "--", CORE])
        .env("PIPE_MATRIX_TESTS", own)
        // What the inner run says is not what this one was asked for.
        .env_remove("PIPE_TEST_RESULTS")
        .status()
        .expect("scripts/matrix starts");
    assert!(status.success(), "scripts/matrix trixie -- {CORE}: {status}; its output is above");
}
