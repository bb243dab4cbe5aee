//! The API server of one cluster: single reads and idempotent writes, each with a deadline.
//!
//! Nothing here waits for a condition; `run::wait` asks again until it holds. A missing object is
//! `None` or zero where the caller may still expect it, and an error where it must exist.

use std::path::Path;
use std::time::Duration;

use kube::api::{ListParams, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::{Error, Result};

mod admission;
mod canary;
mod drain;
mod exec;
mod fault;
mod job;
pub mod log;
#[cfg(test)]
pub(crate) mod manifest;
mod node;
mod object;
mod pod;
mod release;
mod service;
mod talk;
mod workload;

pub use admission::Admission;
pub use canary::Probe;
pub use drain::{Claim, Eviction, LocalVolume};
pub use exec::Said;
pub use job::{CronState, JobState};
pub use node::{NodeState, Taint};
pub use object::StorageClassState;
pub use pod::PodState;
pub use release::{ReleaseRecord, SPEC_HASH_LABEL};
pub use talk::{Heard, Hearing, Telling};
pub use workload::Rollout;

/// Owner of the fields that `pipe` applies.
const FIELD_MANAGER: &str = "pipe";

/// Deadline of one request, retries of an overloaded server included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A client of one API server; cheap to clone.
#[derive(Clone)]
pub struct Kube {
    client: Client,
    config: Config,
}

impl Kube {
    /// The cluster of the current context of the file at `path`.
    ///
    /// # Errors
    /// `kubeconfig-unreadable`, `kubeconfig-invalid`.
    pub async fn from_kubeconfig(path: &Path) -> Result<Kube> {
        let text = tokio::fs::read_to_string(path).await.map_err(|error| {
            Error::failed("kubeconfig-unreadable", format!("cannot read {}", path.display()))
                .because(error)
        })?;
        Kube::from_yaml(&text).await
    }

    /// The cluster of the current context of a kubeconfig's text.
    ///
    /// # Errors
    /// `kubeconfig-invalid`.
    pub async fn from_yaml(text: &str) -> Result<Kube> {
        // Another part of the process may have chosen it before: that is the same provider.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let invalid = |error: String| {
            Error::failed("kubeconfig-invalid", "the kubeconfig cannot be used").because(error)
        };
        let file = Kubeconfig::from_yaml(text).map_err(|error| invalid(error.to_string()))?;
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .map_err(|error| invalid(error.to_string()))?;
        // The library takes HTTPS_PROXY of the process for every server. Ours is on the loopback.
        config.proxy_url = None;
        let client =
            Client::try_from(config.clone()).map_err(|error| invalid(error.to_string()))?;
        Ok(Kube { client, config })
    }

    /// Whether the API server calls itself ready; otherwise what it, or the connection, says.
    pub async fn readyz(&self) -> Result<(), String> {
        match self.get_text("read /readyz", "/readyz").await {
            Ok(_) => Ok(()),
            Err(error) => Err(failing_checks(&error)),
        }
    }

    /// The API server's version: `v1.36.4`.
    ///
    /// # Errors
    /// Those of every request; see `fault`.
    pub async fn version(&self) -> Result<String> {
        let info = self.call("read the server's version", self.client.apiserver_version()).await?;
        Ok(info.git_version)
    }

    /// Runs one request under the deadline; `what` completes "cannot …".
    async fn call<T>(
        &self,
        what: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(fault::explain(what, &error)),
            Err(_elapsed) => Err(fault::no_answer(what, REQUEST_TIMEOUT)),
        }
    }

    async fn get_text(&self, what: &str, path: &str) -> Result<String> {
        // A list without parameters is a plain GET of the path.
        let request = Request::new(path).list(&ListParams::default());
        self.call(what, async {
            self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await
        })
        .await
    }
}

/// The lines of `/readyz` that fail, or the whole message of another failure.
fn failing_checks(error: &Error) -> String {
    let text = error.causes.join(": ");
    let failing: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("[-]")).collect();
    if failing.is_empty() { text } else { failing.join("; ") }
}
