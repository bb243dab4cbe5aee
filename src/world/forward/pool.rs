//! Back ends, and which of them are ready.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{Error, Result};

/// Failed looks after which a back end loses its connections. One may be an accident.
const FAILURES: u32 = 2;

/// The file of back ends, replaced whole when control planes come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backends {
    /// Addresses of control planes.
    pub backends: Vec<IpAddr>,
}

impl Backends {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, or not whole.
    pub fn read(file: &Path) -> Result<Backends> {
        let broken = |why: String| {
            Error::failed("forward-backends", format!("{} cannot be used", file.display()))
                .because(why)
        };
        let text = fs::read(file).map_err(|error| broken(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))
    }

    /// As the file has it.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// One back end.
pub(super) struct Backend {
    pub(super) address: IpAddr,
    /// Looks that failed since it was last ready; it begins as not ready.
    failures: AtomicU32,
    /// Cancelled to cut its connections; a new one stands here afterwards.
    gone: Mutex<CancellationToken>,
}

impl Backend {
    fn new(address: IpAddr) -> Backend {
        Backend { address, failures: AtomicU32::new(FAILURES), gone: Mutex::default() }
    }

    fn is_ready(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < FAILURES
    }

    /// Cancelled when connections to it have no future.
    pub(super) fn gone(&self) -> CancellationToken {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cut(&self) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *gone).cancel();
    }

    /// Takes in what a look showed; says what changed.
    pub(super) fn note(&self, ready: bool) -> Option<String> {
        if ready {
            let before = self.failures.swap(0, Ordering::Relaxed);
            return (before >= FAILURES).then(|| format!("{} is ready", self.address));
        }
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        if before + 1 != FAILURES {
            return None;
        }
        self.cut();
        Some(format!("{} is not ready any more", self.address))
    }
}

/// All back ends.
#[derive(Default)]
pub(super) struct Pool {
    backends: Mutex<Vec<Arc<Backend>>>,
    turn: AtomicUsize,
}

impl Pool {
    fn all(&self) -> Vec<Arc<Backend>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in the file; says what changed. Back ends that stay keep what is known of them.
    pub(super) fn update(&self, wanted: &Backends) -> Vec<String> {
        let mut lines = Vec::new();
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        backends.retain(|backend| {
            let stays = wanted.backends.contains(&backend.address);
            if !stays {
                backend.cut();
                lines.push(format!("{} is no back end any more", backend.address));
            }
            stays
        });
        for address in &wanted.backends {
            if !backends.iter().any(|backend| backend.address == *address) {
                backends.push(Arc::new(Backend::new(*address)));
                lines.push(format!("{address} is a back end"));
            }
        }
        lines
    }

    /// The ready ones, each time from the next one on, then the others.
    pub(super) fn in_order(&self) -> Vec<Arc<Backend>> {
        let (mut ready, others): (Vec<_>, Vec<_>) =
            self.all().into_iter().partition(|backend| backend.is_ready());
        if !ready.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len();
            ready.rotate_left(turn);
        }
        ready.extend(others);
        ready
    }

    /// Asks every back end whether it is ready; says what changed.
    pub(super) async fn look(
        &self,
        client: &reqwest::Client,
        api: u16,
        within: Duration,
    ) -> Vec<String> {
        let backends = self.all();
        let looks = backends.iter().map(|backend| async move {
            let address = std::net::SocketAddr::new(backend.address, api);
            let answer = client.get(format!("https://{address}/readyz")).timeout(within).send();
            let ready = answer.await.is_ok_and(|answer| answer.status().is_success());
            backend.note(ready)
        });
        join_all(looks).await.into_iter().flatten().collect()
    }
}

/// A client that asks control planes how they are. Their certificates are not checked: nothing is
/// told to them, and who lies about being ready lies to the users of the door as well, who check.
pub(super) fn client() -> Result<reqwest::Client> {
    crate::world::http::install_crypto();
    reqwest::Client::builder()
        .danger_accept_invalid_certs(true)
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| Error::host("http-client", "no HTTPS client can be set up").because(error))
}
