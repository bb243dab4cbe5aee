//! What is forbidden, what is trusted, what is locked, and charts in which forbidden names are looked
//! for: whatever stands there, reading it ends with a value or with problems.

use std::fs;

use pipe::Kind;
use pipe::spec::lock_file::LockFile;
use pipe::spec::problem::Problems;
use pipe::spec::source::Sources;
use pipe::spec::{self, image_names};

use super::{PIECES, check, mutated, shipped};

const LOCK: &str = "apiVersion: pipe.dev/v1alpha1\nkind: Lock\nimages:\n  docker.io/library/nats:2.15.2:\n    profiles: [ci]\n    \
    source: engine\n    anchoredBy: config\n    config: sha256:2222222222222222222222222222222222222222222222222222222222222222\n    \
    platforms:\n      linux/amd64: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n    \
    evidence:\n      class: built\n      words: \"built on this host\"\n      by: \"0123\"\n    at: \"2026-11-21T20:00:00Z\"\n";

fn reads_or_refuses<T>(name: &str, file: &str, read: impl Fn(&Sources) -> pipe::Result<T>) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("profiles/trust");
    fs::create_dir_all(&folder).unwrap();
    let sources = Sources::find(Some(dir.path()), dir.path()).unwrap();
    check(name, 200, &mutated(shipped(&format!("profiles/trust/{file}")), PIECES), |bytes| {
        fs::write(folder.join(file), &*bytes).unwrap();
        if let Err(error) = read(&sources) {
            assert_eq!(error.kind, Kind::Files, "{error:?}");
            assert!(error.causes.iter().all(|cause| cause.contains(file)), "{error:?}");
        }
    });
}

#[test]
fn any_list_of_forbidden_images() {
    reads_or_refuses("forbidden", "forbidden.yaml", spec::forbidden);
}

#[test]
fn any_policy() {
    reads_or_refuses("policy", "nats.yaml", spec::policies);
}

#[test]
fn any_lock() {
    check("lock", 200, &mutated(LOCK.as_bytes().to_vec(), PIECES), |bytes| {
        let problems = Problems::default();
        let lock = LockFile::read("pipe.lock", &bytes, &problems);
        if problems.into_result().is_ok() {
            let lock = lock.unwrap();
            let problems = Problems::default();
            let again = LockFile::read("pipe.lock", lock.text().as_bytes(), &problems);
            assert_eq!((again, problems.into_result()), (Some(lock), Ok(())));
        }
    });
}

#[test]
fn names_in_any_template() {
    let template = shipped("charts-cache/nats/templates/statefulset.yaml");
    check("image-names", 200, &mutated(template, PIECES), |bytes| {
        let _found = image_names::in_text(&String::from_utf8_lossy(&bytes));
    });
}

#[test]
fn a_line_without_end_takes_no_time() {
    for piece in ["image: a, ", "image: {{ \"a\" }} ", "{{ ", "r.io/a:1 ", ": ", "image: \u{e9}"] {
        let started = super::processor_time();
        let _found = image_names::in_text(&piece.repeat((1 << 20) / piece.len()));
        let took = super::processor_time().saturating_sub(started);
        assert!(took < super::CASE_MAX, "{piece:?} took {took:?}");
    }
}
