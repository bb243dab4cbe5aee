//! `backup_agent`, `fdbbackup` and `fdbrestore` in small: as with the real ones, the agent alone moves
//! data, and the others hand work to it and wait. `FAKE_FAULT` names what goes wrong.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::ask;

const PAUSE: Duration = Duration::from_millis(50);

/// Below a folder of the real ones, too; it has no other file here.
const TABLE: &str = "kvranges/snapshot.000000000000/0/range";

fn fault(name: &str) -> bool {
    std::env::var("FAKE_FAULT").is_ok_and(|fault| fault == name)
}

/// The work is done by whoever asks first; asked anew forever.
pub fn agent(words: &[&str]) -> i32 {
    assert!(words.is_empty(), "{words:?}");
    if fault("agent") {
        eprintln!("ERROR: no memory");
        return 1;
    }
    loop {
        let (next, _) = ask(&["work", "next"]);
        match next.split_once(' ') {
            Some((_, _)) if fault("idle") => {}
            Some(("backup", folder)) => {
                let table = Path::new(folder).join(TABLE);
                std::fs::create_dir_all(table.parent().expect("a folder")).expect("a folder");
                if !fault("incomplete") && !fault("elsewhere") {
                    std::fs::write(table, ask(&["work", "read"]).0).expect("a table");
                }
                ask(&["work", "done", "backup"]);
            }
            Some(("restore", folder)) => {
                let table = std::fs::read_to_string(Path::new(folder).join(TABLE)).expect("a table");
                let (_version, pairs) = table.split_once('\n').expect("a version");
                ask(&["work", "fill", pairs]);
                ask(&["work", "done", "restore"]);
            }
            _ => {}
        }
        sleep(PAUSE);
    }
}

pub fn fdbbackup(words: &[&str]) -> i32 {
    match words {
        ["start", "-d", url, "-t", "pipe", "-w"] => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_micros();
            let folder = format!("{}/backup-{now}", path(url));
            if fault("in-use") {
                eprintln!("ERROR: A backup is already running on tag `pipe'");
            } else if submitted("backup", &folder) {
                println!("Submitted and now waiting for the backup on tag `pipe' to complete.");
                // An aborted one ends well, too.
                finished("backup");
                return 0;
            }
            eprintln!("Fatal Error: Backup error");
            1
        }
        ["describe", "-d", url, "--json"] => {
            let table = version(&path(url));
            // Of the files it only knows what the agent says of them.
            let restorable = table.is_some() || fault("elsewhere");
            let (version, bytes) = table.unwrap_or_else(|| ("0".to_owned(), 0));
            let point = match restorable {
                true => format!(r#","MaxRestorablePoint":{{"Version":{version}}}"#),
                false => String::new(),
            };
            println!(
                r#"{{"SchemaVersion":"1.0.0","URL":"{url}","Restorable":{restorable},"Partitioned":false,"TotalSnapshotBytes":{bytes}{point}}}"#
            );
            0
        }
        ["abort", "-t", "pipe"] => abort("backup"),
        other => panic!("fdbbackup does not know {other:?}"),
    }
}

pub fn fdbrestore(words: &[&str]) -> i32 {
    let own = std::env::var("FDB_CLUSTER_FILE").expect("FDB_CLUSTER_FILE");
    match words {
        ["start", "-r", url, "--user-data", "-n"] => match version(&path(url)) {
            Some((version, _)) => {
                println!("Backup can be used to restore to version {version}");
                0
            }
            None => {
                eprintln!("ERROR: Missing backup data");
                1
            }
        },
        ["start", "-r", url, "-v", wanted, "--user-data", "-n"] => match version(&path(url)) {
            Some((version, _)) if version == *wanted => {
                println!("Backup can be used to restore to version {wanted}");
                0
            }
            _ => {
                eprintln!("Insufficient data to restore to version {wanted}.");
                1
            }
        },
        [
            "start", "-r", url, "--dest-cluster-file", file, "-t", "pipe", "-v", wanted,
            "--user-data", "-w",
        ] => {
            assert_eq!(*file, own);
            let folder = path(url);
            if fault("refuses") || !submitted("restore", &folder) {
                eprintln!("Fatal Error: Attempted to restore into a non-empty destination database");
                return 1;
            }
            println!("Restoring backup to version: {wanted}");
            finished("restore");
            println!("Restored to version {wanted}");
            0
        }
        ["abort", "--dest-cluster-file", file, "-t", "pipe"] => {
            assert_eq!(*file, own);
            abort("restore");
            println!("RESTORE_ABORT Tag: pipe  State: aborted");
            0
        }
        other => panic!("fdbrestore does not know {other:?}"),
    }
}

fn path(url: &str) -> String {
    url.strip_prefix("file://").expect("a folder's address").trim_end_matches('/').to_owned()
}

/// The version of what an agent wrote, and its length.
fn version(folder: &str) -> Option<(String, usize)> {
    let table = std::fs::read_to_string(Path::new(folder).join(TABLE)).ok()?;
    let (version, pairs) = table.split_once('\n')?;
    Some((version.to_owned(), pairs.len()))
}

fn submitted(kind: &str, folder: &str) -> bool {
    let (_, error) = ask(&["work", "submit", kind, folder]);
    if !error.is_empty() {
        eprintln!("{error}");
    }
    error.is_empty()
}

/// Waits until the work is at its end, whatever that is.
fn finished(kind: &str) {
    while ask(&["work", "state", kind]).0 == "running" {
        sleep(PAUSE);
    }
}

fn abort(kind: &str) -> i32 {
    let (_, error) = ask(&["work", "abort", kind]);
    if error.is_empty() {
        println!("The {kind} on tag `pipe' was successfully aborted.");
        return 0;
    }
    eprintln!("{error}");
    1
}
