//! What `pipe` keeps on disk: never the truth about a cluster (that is re-read from the engine and
//! the API server), only what cannot be read back.
//!
//! ```text
//! $XDG_STATE_HOME/pipe/
//! ├── clusters/<cluster>/   journal.jsonl  receipt.json  credentials.json
//! │                         reservation.json  kubeconfig  merged.json
//! ├── evidence/             the last ten archives of failures
//! ├── locks/                gone when nobody holds one
//! └── shared/               signing key, pipe.lock of embedded files
//! ```
//!
//! Folders are 0700 and files 0600; every file but the journal is replaced atomically.

pub mod credentials;
pub mod evidence;
pub mod file;
pub mod journal;
pub mod kubeconfig;
pub mod lock;
pub mod paths;
pub mod receipt;
pub mod reservation;

pub use credentials::ComponentCredentials;
pub use journal::{Entry, Journal, Record, RunOutcome};
pub use lock::{ClusterLock, Holder, SharedLock};
pub use paths::{ClusterFolder, Paths};
pub use receipt::Receipt;
