//! client-go's lock beside a kubeconfig: `config.lock`, made exclusively, removed when done. It is
//! what `kubectl config`, `kind` and `helm` respect.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::unusable;
use crate::{Error, Result};

/// Longest wait; other tools hold the lock for milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often to try; the protocol has no other way to wait.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Holds the lock; dropping it removes the file.
#[must_use = "the lock is released as soon as this is dropped"]
#[derive(Debug)]
pub(super) struct Guard(PathBuf);

impl Guard {
    /// Waits for the lock of the kubeconfig at `path`, as client-go names it: beside a link, not
    /// beside its target.
    pub(super) async fn acquire(path: &Path) -> Result<Guard> {
        Guard::within(path, DEADLINE).await
    }

    pub(super) async fn within(path: &Path, at_most: Duration) -> Result<Guard> {
        let mut lock = OsString::from(path);
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        let deadline = Instant::now() + at_most;
        let mut tries = tokio::time::interval(TRY_EVERY);
        loop {
            tries.tick().await;
            match OpenOptions::new().write(true).create_new(true).open(&lock) {
                Ok(_) => return Ok(Guard(lock)),
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(unusable(path).because(e));
                }
                Err(_) if Instant::now() < deadline => {}
                Err(_) => return Err(locked(path, &lock)),
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_file(&self.0);
    }
}

fn locked(path: &Path, lock: &Path) -> Error {
    let what = format!("the kubeconfig {} is locked by another program", path.display());
    Error::timed_out("kubeconfig-locked", what).because(format!("{} exists", lock.display())).hint(
        format!(
            "if no kubectl, kind or helm is running, a killed one left it: rm {}",
            lock.display()
        ),
    )
}
