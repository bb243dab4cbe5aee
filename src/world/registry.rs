//! A registry of images, as the OCI distribution specification 1.1 has it: manifests, blobs, what
//! refers to them. Every byte that comes back was checked against its digest.
//!
//! [`Registry`] first, then [`Repository`], whose deeds lie in the files beside: `manifest`, `blob`,
//! `referrers`. Logging in is `auth`'s, unasked: a registry says itself what it wants.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};

use super::env::Env;
use super::http;
use super::registry_login::Login;
use crate::{Error, Result};

mod auth;
mod blob;
mod catalog;
mod manifest;
mod referrers;

pub use blob::Download;
pub use manifest::{Manifest, Shape};

/// How often a question is asked again that found nobody, or nobody with time.
const ATTEMPTS: u32 = 4;

/// Pause before the second attempt; doubles. A registry that names its own pause is obeyed up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The code of a registry that has no room for what it is given.
pub const FULL: &str = "registry-full";

/// What Docker calls the registry that images name `docker.io`.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// One registry, and who asks it. Clones share connections and tokens.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    /// As images name it, for errors.
    name: String,
    /// With a `/` at its end; a mirror's has a path.
    base: Url,
    client: reqwest::Client,
    login: Option<Login>,
    tokens: Mutex<HashMap<String, String>>,
}

/// A request, described so that it can be sent again.
struct Call {
    method: Method,
    /// Below `/v2/`, or whole where a registry has named an address.
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    /// `pull` or `pull,push`.
    actions: &'static str,
}

impl Registry {
    /// A registry by the name that images have it under, through the proxies and with the
    /// authorities that the user names.
    ///
    /// # Errors
    /// The name is no address; no HTTPS client can be set up.
    pub fn upstream(env: &Env, name: &str, login: Option<Login>) -> Result<Registry> {
        let host = if name == "docker.io" { DOCKER_HUB } else { name };
        Registry::new(http::client(env)?, name, &format!("https://{host}/"), login)
    }

    /// A mirror of one, with what stands before its repositories.
    ///
    /// # Errors
    /// As for [`Registry::upstream`].
    pub fn mirror(env: &Env, address: &str, plain: bool, login: Option<Login>) -> Result<Registry> {
        let scheme = if plain { "http" } else { "https" };
        Registry::new(http::client(env)?, address, &format!("{scheme}://{address}/"), login)
    }

    /// Our own, on loopback: no TLS, since digests and signatures guard what it holds, and no proxy.
    ///
    /// # Errors
    /// As for [`Registry::upstream`].
    pub fn own(address: &str, login: Option<Login>) -> Result<Registry> {
        Registry::new(http::transfer_client()?, address, &format!("http://{address}/"), login)
    }

    fn new(
        client: reqwest::Client,
        name: &str,
        base: &str,
        login: Option<Login>,
    ) -> Result<Registry> {
        let base = Url::parse(base).map_err(|error| {
            Error::failed("registry-address", format!("{name:?} is no address of a registry"))
                .because(error)
        })?;
        let name = name.to_owned();
        let tokens = Mutex::new(HashMap::new());
        Ok(Registry { inner: Arc::new(Inner { name, base, client, login, tokens }) })
    }

    /// As images name it, or its address.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// A repository of it: `library/nats`.
    pub fn repository(&self, name: &str) -> Repository {
        Repository { registry: self.clone(), name: name.to_owned() }
    }

    /// Whether it answers as a registry.
    ///
    /// # Errors
    /// Nobody answers, or something else does.
    pub async fn ping(&self) -> Result<()> {
        let url = self.url("v2/")?;
        let call = Call {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            actions: "",
        };
        let answer = self.send(&call, "").await?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.refusal(answer, "it does not answer as a registry").await),
        }
    }

    fn url(&self, path: &str) -> Result<Url> {
        self.inner.base.join(path).map_err(|error| {
            Error::failed("registry-address", format!("{path:?} is no path of a registry"))
                .because(error)
        })
    }

    /// Sends a request, logs in where the registry asks for it, and asks again where it has no time.
    async fn send(&self, call: &Call, repository: &str) -> Result<Response> {
        let scope = format!("repository:{repository}:{}", call.actions);
        let mut pause = FIRST_PAUSE;
        let mut logged_in = false;
        for attempt in 1.. {
            let request = self
                .inner
                .client
                .request(call.method.clone(), call.url.clone())
                .headers(call.headers.clone())
                .body(call.body.clone());
            let request = auth::carry(&self.inner, &scope, request);
            let last = attempt >= ATTEMPTS;
            let wait = match request.send().await {
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && !logged_in => {
                    logged_in = true;
                    auth::log_in(&self.inner, &scope, answer.headers()).await?;
                    continue;
                }
                Ok(answer) if !last && is_busy(answer.status()) => {
                    let said = answer.headers().get(RETRY_AFTER);
                    let said = said.and_then(|value| value.to_str().ok()?.parse().ok());
                    said.map_or(pause, Duration::from_secs).min(LONGEST_PAUSE)
                }
                Ok(answer) => return Ok(answer),
                Err(error)
                    if last
                        || !(error.is_connect() || error.is_timeout() || error.is_request()) =>
                {
                    return Err(self.unreachable(error));
                }
                Err(_not_there) => pause,
            };
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(Error::bug("a registry was asked without end"))
    }

    /// Nobody answered.
    fn unreachable(&self, error: reqwest::Error) -> Error {
        let name = self.name();
        let mut why = Vec::new();
        let error = error.without_url();
        let mut cause = error.source();
        while let Some(error) = cause {
            why.push(error.to_string());
            cause = error.source();
        }
        let error =
            Error::host("registry-unreachable", format!("the registry {name} cannot be reached"));
        why.into_iter().fold(error, Error::because)
    }

    /// What it answered is a refusal: its own words, and what they mean.
    async fn refusal(&self, answer: Response, what: &str) -> Error {
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        let said = words(&text);
        let name = self.name();
        let error = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::failed(
                "registry-denied",
                format!("{what}: the registry {name} wants a login"),
            )
            .hint(format!("podman login {name}")),
            StatusCode::TOO_MANY_REQUESTS => Error::failed(
                "registry-limit",
                format!("{what}: the registry {name} has had enough of us"),
            )
            .hint(format!("log in, which raises the limit: podman login {name}")),
            _ if status == StatusCode::INSUFFICIENT_STORAGE
                || text.contains("no space left on device") =>
            {
                Error::host(FULL, format!("{what}: the registry {name} has no room left")).hint(
                    "free some of its disk; where it is the image cache: podman system df shows \
                     what is in the engine's store, podman image prune removes what nobody uses",
                )
            }
            _ => Error::failed(
                "registry-refused",
                format!("{what}: the registry {name} answers {status}"),
            ),
        };
        error.because(said)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({})", self.inner.base)
    }
}

/// A repository: where manifests and blobs of one name lie.
#[derive(Clone, Debug)]
pub struct Repository {
    registry: Registry,
    name: String,
}

impl Repository {
    /// Its registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its name, without the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response> {
        let url = self.registry.url(&format!("v2/{}/{path}", self.name))?;
        let reads = matches!(method, Method::GET | Method::HEAD);
        let actions = if reads { "pull" } else { "pull,push" };
        self.registry.send(&Call { method, url, headers, body, actions }, &self.name).await
    }
}

/// Whether it is worth asking again.
fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The messages of the specification's error document, or the beginning of whatever came.
fn words(text: &str) -> String {
    let document: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let errors = document.as_ref().and_then(|it| it["errors"].as_array());
    let said: Vec<String> = errors
        .into_iter()
        .flatten()
        .map(|error| {
            let part = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}", part("code"), part("message")).trim().to_owned()
        })
        .collect();
    if said.is_empty() { text.trim().chars().take(200).collect() } else { said.join("; ") }
}
