//! A thin client for Podman's own API: JSON over the Unix socket.
//!
//! Why beside bollard: `docs/decisions/001-engine-client.md`.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{EngineError, EngineResult, Fault};

/// Base of every call. Any server answers any version; 5.0.0 asks Podman 5 and 6 for their own
/// shape of an answer, and Podman 4 gives its only one.
const BASE: &str = "http://podman/v5.0.0/libpod/";

/// Deadline of one read. Inspecting a container waits for its lock, which its start holds.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Deadline of one change. Podman copies an image's content into a new volume during `start`:
/// 700 MB for a node, on a disk that may be slow.
pub(crate) const CHANGE_TIMEOUT: Duration = Duration::from_secs(300);

/// Pauses between the attempts of a read.
const RETRY_PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];

/// A client bound to one socket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Libpod {
    http: reqwest::Client,
}

impl Libpod {
    /// A client for `socket`; nothing is connected yet.
    pub fn new(socket: &Path) -> EngineResult<Libpod> {
        crate::world::http::install_crypto();
        // No idle connections: a service that exits when idle would reset them under us.
        // No root certificates: there is no TLS on this socket.
        let http = reqwest::Client::builder()
            .unix_socket(socket.to_owned())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .tls_certs_only([])
            .build()
            .map_err(|error| EngineError::from_http("set up the engine client", &error))?;
        Ok(Libpod { http })
    }

    /// The version of the Podman that answers; a server that is not Podman is
    /// [`Fault::Malformed`]. One attempt.
    pub async fn ping(&self) -> EngineResult<String> {
        let action = "reach the engine";
        let url = address(action, "http://podman/_ping", &[])?;
        let answer = self.send(action, Method::GET, url, None, READ_TIMEOUT).await?;
        let version = answer.headers().get("libpod-api-version").and_then(|v| v.to_str().ok());
        let not_podman = || EngineError::new(Fault::Malformed, action, "it is not Podman");
        version.map(str::to_owned).ok_or_else(not_podman)
    }

    /// Reads JSON; asks again after a passing failure.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        action: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> EngineResult<T> {
        let url = address(action, &format!("{BASE}{path}"), query)?;
        retry(|| async {
            let answer = self.send(action, Method::GET, url.clone(), None, READ_TIMEOUT).await?;
            decode(action, answer).await
        })
        .await
    }

    /// Sends JSON and reads JSON; one attempt, since it changes something.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        action: &str,
        path: &str,
        body: &impl Serialize,
    ) -> EngineResult<T> {
        let url = address(action, &format!("{BASE}{path}"), &[])?;
        let body = serde_json::to_vec(body)
            .map_err(|error| EngineError::new(Fault::Malformed, action, error))?;
        let answer = self.send(action, Method::POST, url, Some(body), CHANGE_TIMEOUT).await?;
        decode(action, answer).await
    }

    /// Deletes; an object that is already gone is success.
    pub(crate) async fn delete(
        &self,
        action: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> EngineResult<()> {
        let url = address(action, &format!("{BASE}{path}"), query)?;
        match self.send(action, Method::DELETE, url, None, CHANGE_TIMEOUT).await {
            Err(error) if error.fault != Fault::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Posts and hands over the answer as it comes; one attempt, no deadline. `path` may be a whole
    /// address, of the other tree.
    pub(crate) async fn post_stream(
        &self,
        action: &str,
        path: &str,
        query: &[(&str, &str)],
        header: Option<(&str, String)>,
    ) -> EngineResult<reqwest::Response> {
        let whole =
            if path.starts_with("http://") { path.to_owned() } else { format!("{BASE}{path}") };
        let mut request = self.http.request(Method::POST, address(action, &whole, query)?);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(|e| EngineError::from_http(action, &e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.bytes().await.map_err(|e| EngineError::from_http(action, &e))?;
        Err(EngineError::from_status(status.as_u16(), action, &body))
    }

    async fn send(
        &self,
        action: &str,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
        timeout: Duration,
    ) -> EngineResult<reqwest::Response> {
        let mut request = self.http.request(method, url).timeout(timeout);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.map_err(|e| EngineError::from_http(action, &e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.bytes().await.map_err(|e| EngineError::from_http(action, &e))?;
        Err(EngineError::from_status(status.as_u16(), action, &body))
    }
}

/// Runs a read until it succeeds, fails for good, or has been tried four times.
pub(crate) async fn retry<T, F>(read: impl Fn() -> F) -> EngineResult<T>
where
    F: Future<Output = EngineResult<T>>,
{
    for pause in RETRY_PAUSES {
        match read().await {
            Err(error) if error.is_transient() => tokio::time::sleep(pause).await,
            done => return done,
        }
    }
    read().await
}

/// `{"label":["a=b"]}`, as every list call takes it.
pub(crate) fn label_filter(labels: &[&str]) -> String {
    serde_json::json!({ "label": labels }).to_string()
}

async fn decode<T: DeserializeOwned>(action: &str, answer: reqwest::Response) -> EngineResult<T> {
    let body = answer.bytes().await.map_err(|error| EngineError::from_http(action, &error))?;
    // Some calls answer with nothing at all; `null` lets those be read as `()`.
    let body: &[u8] = if body.is_empty() { b"null" } else { &body };
    serde_json::from_slice(body).map_err(|e| EngineError::new(Fault::Malformed, action, e))
}

fn address(action: &str, url: &str, query: &[(&str, &str)]) -> EngineResult<Url> {
    let mut url =
        Url::parse(url).map_err(|error| EngineError::new(Fault::Malformed, action, error))?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}
