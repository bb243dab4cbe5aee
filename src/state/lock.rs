//! Advisory locks: one for each cluster, held for a whole operation, and a shared one, held
//! briefly for addresses, the network, the engine service, the registry and the user's kubeconfig.
//!
//! The kernel holds the lock (`flock`), so that it is free the moment its process dies. The file
//! is removed on release; whoever waited on the removed file notices and starts over:
//!
//! ```text
//! open ─▶ try lock ─▶ is it still the file of that name? ─ yes ─▶ held ─▶ remove, then unlock
//!   ▲        │ busy: say who, wait        │ no
//!   └────────┴────────────────────────────┘
//! ```

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::file::{self, PRIVATE, unwritable};
use super::paths::Paths;
use crate::report::Events;
use crate::spec::ClusterName;
use crate::{Error, Result};

/// How often a busy lock is tried. The kernel cannot wake us without a thread that cannot be
/// cancelled.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// Who holds a lock, as written in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The command: `pipe up`.
    pub operation: String,
    /// Its process.
    pub pid: u32,
    /// When it got the lock.
    pub since: Timestamp,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.to_zoned(TimeZone::system());
        write!(f, "`{}` (pid {}, since {})", self.operation, self.pid, since.strftime("%H:%M"))
    }
}

/// How to wait for a lock.
#[derive(Clone, Debug)]
pub struct Waiting<'a> {
    /// Who we are: `pipe up`.
    pub operation: &'a str,
    /// Longest wait.
    pub at_most: Duration,
    /// Ends the wait early.
    pub cancel: &'a CancellationToken,
    /// Learns whom we wait for.
    pub events: &'a Events,
}

/// Proof that this process alone works on a cluster; dropping it releases the lock.
#[must_use = "the lock is released as soon as this is dropped"]
#[derive(Debug)]
pub struct ClusterLock {
    _held: Held,
}

/// Proof that this process alone works on what clusters share; dropping it releases the lock.
/// Take it after the cluster's lock, never before, or two commands may wait for each other.
#[must_use = "the lock is released as soon as this is dropped"]
#[derive(Debug)]
pub struct SharedLock {
    _held: Held,
}

impl ClusterLock {
    /// Waits for the lock of `cluster`.
    pub async fn acquire(
        paths: &Paths,
        cluster: &ClusterName,
        waiting: &Waiting<'_>,
    ) -> Result<ClusterLock> {
        let _held = acquire(&cluster_path(paths, cluster), waiting).await?;
        Ok(ClusterLock { _held })
    }

    /// Who works on `cluster` now, if anybody. Only to tell people: it may change any moment.
    pub fn holder(paths: &Paths, cluster: &ClusterName) -> Option<Holder> {
        let path = cluster_path(paths, cluster);
        let file = File::open(&path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => read_holder(&path),
            _ => None,
        }
    }
}

impl SharedLock {
    /// Waits for the lock on what clusters share.
    pub async fn acquire(paths: &Paths, waiting: &Waiting<'_>) -> Result<SharedLock> {
        let _held = acquire(&paths.locks().join("shared.lock"), waiting).await?;
        Ok(SharedLock { _held })
    }
}

/// Lock files that nobody holds: their holder was killed.
pub fn left(paths: &Paths) -> Result<Vec<PathBuf>> {
    let files = file::names(&paths.locks())?.into_iter().map(|name| paths.locks().join(name));
    let unheld = |path: &PathBuf| File::open(path).is_ok_and(|file| file.try_lock_shared().is_ok());
    Ok(files.filter(unheld).collect())
}

fn cluster_path(paths: &Paths, cluster: &ClusterName) -> PathBuf {
    paths.locks().join(format!("cluster-{cluster}.lock"))
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// Closing it is what unlocks.
    _file: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // While we still hold it: nobody else can have put another file in its place.
        let _left_behind = std::fs::remove_file(&self.path);
        // The folder of locks, and ours if there is nothing else in it.
        self.path.ancestors().skip(1).take(2).for_each(file::remove_if_empty);
    }
}

async fn acquire(path: &Path, waiting: &Waiting<'_>) -> Result<Held> {
    let deadline = Instant::now() + waiting.at_most;
    let mut tries = tokio::time::interval(TRY_EVERY);
    let mut told = None;
    loop {
        tokio::select! {
            biased;
            () = waiting.cancel.cancelled() => return Err(Error::interrupted()),
            _ = tries.tick() => {}
        }
        if let Some(held) = try_acquire(path, waiting.operation)? {
            return Ok(held);
        }
        let holder = read_holder(path);
        let who = holder.as_ref().map_or_else(|| "another `pipe`".to_owned(), Holder::to_string);
        if Instant::now() >= deadline {
            return Err(Error::timed_out("lock-busy", format!("{who} did not finish in time"))
                .because(format!("waited {} s for {}", waiting.at_most.as_secs(), path.display()))
                .hint("wait for it to finish, or stop it, and run the command again"));
        }
        if holder.is_some() && holder != told {
            waiting.events.info(format!("waiting for {who}"));
            told = holder;
        }
    }
}

/// One try: `None` while somebody else holds it.
fn try_acquire(path: &Path, operation: &str) -> Result<Option<Held>> {
    let failed = |e: io::Error| unwritable(path, &e);
    let Some(mut file) = open(path)? else { return Ok(None) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(failed(e)),
        Ok(()) => {}
    }
    let ours = file.metadata().map_err(failed)?;
    let current = match std::fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    if (ours.dev(), ours.ino()) != (current.dev(), current.ino()) {
        return Ok(None);
    }
    let since = Timestamp::now();
    let holder = Holder { operation: operation.to_owned(), pid: std::process::id(), since };
    let text = serde_json::to_string(&holder)
        .map_err(|e| Error::bug("the holder of a lock cannot be written as JSON").because(e))?;
    // A previous holder that was killed left its own text.
    file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(failed)?;
    Ok(Some(Held { path: path.to_owned(), _file: file }))
}

/// `None` if a folder was removed in between by a holder that released.
fn open(path: &Path) -> Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(PRIVATE);
    let folder = path.parent().unwrap_or(Path::new("/"));
    match file::try_make_folder(folder).and_then(|()| options.open(path)) {
        Ok(file) => Ok(Some(file)),
        // Gone between two system calls: "not found" for the file, "exists" for the folder, which
        // then is no folder any more.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && !folder.is_file() => Ok(None),
        Err(e) => Err(unwritable(path, &e)),
    }
}

/// `None` where the file is gone or half written.
fn read_holder(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
pub(in crate::state) mod tests {
    use super::*;
    use crate::report::{Event, Level};
    use crate::state::paths::tests::paths_in;

    const SHORT: Duration = Duration::from_millis(250);
    const LONG: Duration = Duration::from_secs(30);

    fn waiting<'a>(
        at_most: Duration,
        cancel: &'a CancellationToken,
        events: &'a Events,
    ) -> Waiting<'a> {
        Waiting { operation: "pipe up", at_most, cancel, events }
    }

    /// Nobody else is there to wait for.
    pub(in crate::state) async fn shared_lock(paths: &Paths) -> SharedLock {
        let (cancel, (events, _receiver)) = (CancellationToken::new(), Events::channel());
        SharedLock::acquire(paths, &waiting(LONG, &cancel, &events)).await.unwrap()
    }

    #[tokio::test]
    async fn the_second_waits_says_for_whom_and_gets_it() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let dev = ClusterName::parse("dev").unwrap();
        let cancel = CancellationToken::new();
        let (events, mut receiver) = Events::channel();
        let first =
            ClusterLock::acquire(&paths, &dev, &waiting(LONG, &cancel, &events)).await.unwrap();
        let holder = ClusterLock::holder(&paths, &dev).unwrap();
        assert_eq!((holder.pid, holder.operation.as_str()), (std::process::id(), "pipe up"));

        let second_wait = waiting(LONG, &cancel, &events);
        let second = ClusterLock::acquire(&paths, &dev, &second_wait);
        let release = async {
            let Some(Event::Note { level: Level::Info, message }) = receiver.recv().await else {
                panic!("no note")
            };
            drop(first);
            message
        };
        let (second, message) = tokio::join!(second, release);
        assert_eq!(message, format!("waiting for {holder}"));
        drop(second.unwrap());
        assert_eq!(ClusterLock::holder(&paths, &dev), None);
        assert!(!paths.locks().exists(), "nothing is left");
    }

    #[tokio::test]
    async fn a_wait_ends_at_its_deadline_or_when_cancelled() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let cancel = CancellationToken::new();
        let (events, _receiver) = Events::channel();
        let _held = SharedLock::acquire(&paths, &waiting(LONG, &cancel, &events)).await.unwrap();
        let error =
            SharedLock::acquire(&paths, &waiting(SHORT, &cancel, &events)).await.unwrap_err();
        assert_eq!((error.code, error.kind.exit_code()), ("lock-busy", 6));
        assert!(error.what.starts_with("`pipe up` (pid "), "{}", error.what);
        cancel.cancel();
        let error =
            SharedLock::acquire(&paths, &waiting(LONG, &cancel, &events)).await.unwrap_err();
        assert_eq!(error.code, "interrupted");
    }

    #[tokio::test]
    async fn a_file_left_by_a_killed_process_is_no_obstacle() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let dev = ClusterName::parse("dev").unwrap();
        let left = r#"{"operation":"pipe teardown of a long name","pid":1,"since":"2026-11-21T09:12:00Z"}"#;
        file::write(&cluster_path(&paths, &dev), left.as_bytes()).unwrap();
        assert_eq!(ClusterLock::holder(&paths, &dev), None);
        let cancel = CancellationToken::new();
        let (events, _receiver) = Events::channel();
        let _held =
            ClusterLock::acquire(&paths, &dev, &waiting(SHORT, &cancel, &events)).await.unwrap();
        assert_eq!(ClusterLock::holder(&paths, &dev).unwrap().pid, std::process::id());
    }

    /// Many threads, each with its own open file, racing with the removal on release.
    #[test]
    fn never_two_holders_though_the_file_is_removed() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("locks/x.lock");
        let (inside, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while rounds.load(Ordering::SeqCst) < 400 {
                        let Some(held) = try_acquire(&path, "test").unwrap() else {
                            std::thread::yield_now();
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                        rounds.fetch_add(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
        assert!(!path.exists());
    }
}
