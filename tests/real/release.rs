//! The release archive: what is in it, that its bytes do not depend on where it was made, and that
//! its binary brings a cluster up where there is nothing else.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Case;
use super::host;
use super::pipe::Home;

pub const CASES: [Case; 1] = [Case::extended("a_release_works_in_an_empty_folder", release)];

/// Runs a program that must succeed; what it says goes to our own stderr.
#[track_caller]
fn succeeds(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}

/// Builds and checks an archive of the last commit, from a clone called `name` with a target folder
/// of its own; gives the line of `SHA256SUMS`.
fn build(work: &Path, name: &str) -> String {
    let clone = work.join(name);
    succeeds(Command::new("git").args(["clone", "--quiet"]).arg(host::root()).arg(&clone));
    let mut command = Command::new(clone.join("scripts/release"));
    command.arg("--check").env_remove("CARGO_TARGET_DIR");
    succeeds(&mut command);
    std::fs::read_to_string(clone.join("target/dist/SHA256SUMS")).expect("SHA256SUMS")
}

fn release() {
    let work = tempfile::tempdir().expect("a folder");
    let first = build(work.path(), "first");
    let second = build(work.path(), "a clone elsewhere");
    assert_eq!(first, second, "equal sources must give equal archives");

    let archive = first.split_whitespace().nth(1).expect("the archive's name").to_owned();
    let installed = work.path().join("installed");
    std::fs::create_dir(&installed).expect("a folder");
    let mut tar = Command::new("tar");
    tar.args(["--strip-components=1", "-xzf"])
        .arg(work.path().join("first/target/dist").join(archive));
    succeeds(tar.arg("-C").arg(&installed));

    // Nothing of this repository is near: clusters, profiles and charts are the binary's own.
    let home = Home::new(&["single"]);
    let empty = home.path("empty");
    std::fs::create_dir(&empty).expect("a folder");
    let pipe = |arguments: &[&str]| {
        let output = home
            .program(&installed.join("bin/pipe"))
            .args(arguments)
            .current_dir(&empty)
            .output()
            .expect("pipe starts");
        assert!(output.status.success(), "pipe {}: {}", arguments.join(" "), host::text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(pipe(&["plan", "single"]).contains("init"));
    pipe(&["up", "single", "--profile", "quickstart"]);
    assert!(pipe(&["status", "single"]).contains("running"));
    pipe(&["teardown", "single"]);
    assert_eq!(host::files_below(&empty), [""; 0], "left in the working folder");
}
