//! Who uses the engine's service that we started: every `pipe` holds a shared lock on one file while
//! it runs, and only the one that finds itself alone may stop the service.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::env::Env;
use crate::{Error, Result};

/// Longest wait for another process: it starts or stops one program.
const AT_MOST: Duration = Duration::from_secs(60);

/// How often a busy lock is tried.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// One process's use of the engine; ends when dropped.
#[derive(Debug)]
pub struct Usage {
    path: PathBuf,
    file: File,
}

impl Usage {
    /// Begins; waits for the moment that another process takes to stop the service.
    ///
    /// # Errors
    /// The runtime folder cannot be written, or the other process takes too long.
    pub async fn begin(env: &Env) -> Result<Usage> {
        Usage::lock(env, "engine.users", File::try_lock_shared).await
    }

    /// Alone with the decision whether to start the service, until ended.
    ///
    /// # Errors
    /// The runtime folder cannot be written, or another process takes too long.
    pub async fn starting(env: &Env) -> Result<Usage> {
        Usage::lock(env, "engine.starting", File::try_lock).await
    }

    async fn lock(
        env: &Env,
        name: &str,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Usage> {
        let folder = env.runtime_dir();
        let path = folder.join(name);
        let failed = |error: std::io::Error| {
            Error::host("runtime-folder", format!("{} cannot be used", path.display()))
                .because(error)
                .hint("set XDG_RUNTIME_DIR to a folder that only you can write to")
        };
        let deadline = Instant::now() + AT_MOST;
        while Instant::now() < deadline {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path).map_err(failed)?;
            match lock(&file) {
                Ok(()) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) => {
                    // The kernel cannot wake us without a thread that cannot be cancelled.
                    tokio::time::sleep(TRY_EVERY).await;
                    continue;
                }
            }
            // Whoever stopped the service removed the file that we waited for.
            let same = fs::metadata(&path)
                .and_then(|now| Ok(now.ino() == file.metadata()?.ino()))
                .unwrap_or(false);
            if same {
                return Ok(Usage { path, file });
            }
        }
        let what = "another pipe starts or stops the engine's service and does not finish";
        Err(Error::timed_out("engine-usage", what).because(format!("{} is locked", path.display())))
    }

    /// Runs `last` if nobody else uses the engine now; nobody can begin meanwhile.
    ///
    /// # Errors
    /// Those of `last`.
    pub async fn end(self, last: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        // A shared lock cannot be raised: it is given up, and whoever is alone gets the other.
        let alone = self.file.unlock().is_ok() && self.file.try_lock().is_ok();
        if !alone {
            return Ok(());
        }
        let result = last().await;
        let _gone_already = fs::remove_file(&self.path);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_last_user_stops_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().to_str().unwrap();
        let env = Env::from([("XDG_RUNTIME_DIR", runtime), ("HOME", runtime)]);
        let (first, second) =
            (Usage::begin(&env).await.unwrap(), Usage::begin(&env).await.unwrap());
        let mut stopped = 0;
        first
            .end(async || {
                stopped += 1;
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(stopped, 0);
        second
            .end(async || {
                stopped += 1;
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(stopped, 1);
        assert!(!env.runtime_dir().join("engine.users").exists());
        assert!(Usage::begin(&env).await.is_ok());
    }
}
