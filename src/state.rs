//! What `pipe` keeps on disk: never the truth about a cluster (that is re-read from the engine and
//! the API server), only what cannot be read back.
//!
//! ```text
//! $XDG_STATE_HOME/pipe/
//! ├── clusters/<cluster>/   journal.jsonl  receipt.json  credentials.json
//! │                         reservation.json  kubeconfig  merged.json
//! ├── evidence/             the last ten archives of failures
//! ├── locks/                gone when nobody holds one
//! └── shared/               keys of the cache, its password, what it is used for, pipe.lock of
//!                           embedded files
//! ```
//!
//! Folders are 0700 and files 0600; every file but the journal is replaced atomically. Each has a
//! version ([`version`]): one that is newer than this `pipe` is refused, and a broken one is an error
//! with its remedy. Neither is written over.

pub mod cache_use;
pub mod credentials;
pub mod evidence;
pub mod file;
pub mod journal;
pub mod keys;
pub mod kubeconfig;
pub mod licences;
pub mod lock;
pub mod paths;
pub mod receipt;
pub mod registry_password;
pub mod reservation;
pub mod version;

pub use credentials::{ComponentCredentials, Credentials};
pub use journal::{Entry, Journal, Record, RunOutcome};
pub use lock::{ClusterLock, Holder, SharedLock};
pub use paths::{ClusterFolder, Paths};
pub use receipt::Receipt;

use crate::Result;
use crate::spec::ClusterName;

/// Reads every file of a cluster that would be written back, before anything is touched.
///
/// # Errors
/// A newer `pipe` wrote one, or one is damaged that cannot be made again.
pub fn check(paths: &Paths, cluster: &ClusterName) -> Result<()> {
    reservation::load(paths, cluster)?;
    Credentials::load(&paths.cluster(cluster))?;
    kubeconfig::check(&paths.cluster(cluster))
}
