//! Our own files after a crash, a full disk, another version, or an editor.

use std::path::Path;

use pipe::report::Mask;
use pipe::spec::ClusterName;
use pipe::state::journal::{self, Journal};
use pipe::state::paths::Paths;
use pipe::state::receipt::Receipt;
use pipe::state::reservation;
use pipe::world::built::BuiltImages;

use super::{check, mutated};

const JOURNAL: &str = r#"{"v":1,"at":"2026-11-21T09:12:00Z","run":1,"entry":"run-started","operation":"up","version":"0.1.0","profile":"laptop"}
{"v":1,"at":"2026-11-21T09:12:01Z","run":1,"entry":"intent","step":"install/nats","summary":"install nats","component":"nats"}
{"v":1,"at":"2026-11-21T09:12:02Z","run":1,"entry":"failed","step":"install/nats","code":"helm","what":"x"}
{"v":1,"at":"2026-11-21T09:12:02Z","run":1,"entry":"undone","step":"install/nats","error":null}
{"v":1,"at":"2026-11-21T09:12:03Z","run":1,"entry":"run-finished","outcome":"failed"}
"#;

const RESERVATION: &str = r#"{"schema":1,"network":"kind","subnet":"10.89.0.0/24","subnet6":null,
"nodes":{"dev-control-plane":{"name":"core","address":"10.89.0.254","address6":null,"pod_cidr":"10.244.0.0/24"}},
"api_port":40001,"ports":{"nats-client":4222}}"#;

const BUILT: &str = r#"{"schema":1,"images":[{"upstream":"docker.io/kindest/node:v1.36.4",
"local":"localhost/pipe/node:v1.36.4-abc","recipe":"00","version":"v1.36.4","class":"built","size":12}]}"#;

const PIECES: &[&str] = &[
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "true",
    "\\",
    "\\ud800",
    "\0",
    "\0\0\0\0\0\0\0\0",
    "\n",
    "{}",
    "\"run\":18446744073709551615",
    "-009999-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "\"v\":2",
    "done",
    "undoing",
    "10.0.0.0/33",
];

fn home() -> (tempfile::TempDir, Paths) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().to_owned();
    let paths = Paths::from_env(|_| Some(root.display().to_string())).unwrap();
    (home, paths)
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn journals() {
    let (_home, paths) = home();
    let folder = paths.cluster(&ClusterName::parse("dev").unwrap());
    check("journal", 500, &mutated(JOURNAL.into(), PIECES), |bytes| {
        write(&folder.journal(), &bytes);
        // Lenient: what can be read is read, and a new run can always begin.
        let before = journal::read(&folder.journal()).unwrap();
        let receipt = Receipt::load(&folder).unwrap();
        receipt.save(&folder).unwrap();
        let journal = Journal::begin(&folder.journal(), "up", None, Mask::default()).unwrap();
        drop(journal);
        let after = journal::read(&folder.journal()).unwrap();
        assert_eq!(after.len(), before.len() + 1);
        assert_eq!(after[..before.len()], before);
    });
}

#[test]
fn reservations() {
    let (_home, paths) = home();
    let dev = ClusterName::parse("dev").unwrap();
    let path = paths.cluster(&dev).reservation();
    check("reservation", 500, &mutated(RESERVATION.into(), PIECES), |bytes| {
        write(&path, &bytes);
        if let Err(error) = reservation::load(&paths, &dev) {
            let codes = ["state-unreadable", "state-broken", "made-by-newer-pipe"];
            assert!(codes.contains(&error.code), "{error:?}");
            assert!(error.what.contains("reservation"), "{error}");
        }
    });
    write(&path, RESERVATION.as_bytes());
    assert!(reservation::load(&paths, &dev).unwrap().is_some());
}

#[test]
fn built_images() {
    let (home, _paths) = home();
    let path = home.path().join("built.json");
    check("built", 500, &mutated(BUILT.into(), PIECES), |bytes| {
        write(&path, &bytes);
        match BuiltImages::read(&path) {
            Ok(images) => drop(images.find("docker.io/kindest/node:v1.36.4")),
            Err(error) => assert_eq!((error.code, error.hints.len()), ("built-images", 1)),
        }
    });
}
