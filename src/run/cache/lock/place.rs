//! Where a lock file lies.

use std::path::PathBuf;

use crate::spec::lock_file::{self, LockFile};
use crate::spec::problem::Problems;
use crate::spec::source::Sources;
use crate::state::cache_use::CacheUse;
use crate::state::file;
use crate::state::lock::SharedLock;
use crate::state::paths::Paths;
use crate::{Error, Result};

/// Mode of a file that is committed with the others.
const SHARED_MODE: u32 = 0o644;

/// Where the lock file of a project is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    in_project: bool,
}

impl Place {
    /// Beside `clusters/`; with our other state where only embedded files are used.
    pub fn of(sources: &Sources, paths: &Paths) -> Place {
        match sources.root() {
            Some(root) => Place { path: root.join(lock_file::NAME), in_project: true },
            None => Place::of_embedded(paths),
        }
    }

    /// With our other state.
    pub(in crate::run::cache) fn of_embedded(paths: &Paths) -> Place {
        Place { path: paths.shared().join(lock_file::NAME), in_project: false }
    }

    /// A file of which only its place is known, to be read.
    pub(in crate::run::cache) fn at(path: PathBuf) -> Place {
        Place { path, in_project: true }
    }

    /// Remembers that it is gone by: `images prune` keeps what it names.
    pub(in crate::run) fn remember(
        &self,
        paths: &Paths,
        lock: &SharedLock,
    ) -> Result<Option<String>> {
        let path = self.path.clone();
        CacheUse::change(paths, lock, |known| {
            known.locks.insert(path);
        })
    }

    /// The file; `None` where there is none yet.
    ///
    /// # Errors
    /// [`Kind::Files`] with every problem in it.
    pub fn read(&self) -> Result<Option<LockFile>> {
        let Some(bytes) = file::read_bytes(&self.path)? else { return Ok(None) };
        let problems = Problems::default();
        let lock = LockFile::read(&self.path.display().to_string(), &bytes, &problems);
        problems.into_result()?;
        let unread = || Error::bug(format!("{} was neither read nor refused", self.path.display()));
        lock.map(Some).ok_or_else(unread)
    }

    /// Whether it lies in a project, where people review it.
    pub fn in_project(&self) -> bool {
        self.in_project
    }

    /// Replaces it as a whole, where it is to change.
    pub(in crate::run::cache) fn write(&self, lock: &LockFile) -> Result<bool> {
        let text = lock.text();
        if file::read_bytes(&self.path)?.is_some_and(|old| old == text.as_bytes()) {
            return Ok(false);
        }
        match self.in_project {
            false => file::write(&self.path, text.as_bytes())?,
            true => file::replace(&self.path, text.as_bytes(), SHARED_MODE).map_err(|error| {
                let what = format!("cannot write {}", self.path.display());
                Error::host("lock-unwritable", what)
                    .because(error)
                    .hint("make the project's folder writable for you")
            })?,
        }
        Ok(true)
    }
}
