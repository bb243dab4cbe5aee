//! HTTP clients: one that downloads, and one for services at our own host ports.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, NoProxy};

use crate::world::env::Env;
use crate::world::surroundings::{LOOPBACK, Proxy};
use crate::{Error, Result};

/// Deadline for a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection is kept for the next request: shorter than any server keeps it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest silence in the middle of a body.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Chooses ring as rustls' provider. The crates that use rustls here are built without a default
/// one, which would need a C build; whoever makes a client calls this first. Calling it again
/// changes nothing.
pub fn install_crypto() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

/// A client that trusts what the host and the user's file trust, and goes through the proxies that
/// they name; a loopback address is reached directly.
pub fn client(env: &Env) -> Result<reqwest::Client> {
    install_crypto();
    let surroundings = &env.surroundings;
    // reqwest would read the process's environment, which is not always the one handed down.
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT);
    let failed = |error: reqwest::Error| {
        Error::host("http-client", "no HTTPS client can be set up")
            .because(error)
            .hint("install root certificates: apt-get install ca-certificates")
    };
    if let Proxy::Use(proxies) = &surroundings.proxy {
        let except = LOOPBACK.map(str::to_owned).into_iter().chain(proxies.except.clone());
        let except = NoProxy::from_string(&except.collect::<Vec<_>>().join(","));
        if let Some(url) = &proxies.http {
            let proxy = reqwest::Proxy::http(url.secret()).map_err(failed)?;
            builder = builder.proxy(proxy.no_proxy(except.clone()));
        }
        if let Some(url) = &proxies.https {
            let proxy = reqwest::Proxy::https(url.secret()).map_err(failed)?;
            builder = builder.proxy(proxy.no_proxy(except));
        }
    }
    let mut trusted = Vec::new();
    for pem in &surroundings.authorities {
        trusted.extend(Certificate::from_pem_bundle(pem.as_bytes()).map_err(failed)?);
    }
    if !trusted.is_empty() {
        builder = builder.tls_certs_merge(trusted);
    }
    builder.build().map_err(failed)
}

/// For one answer of a service at a host port.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of a cluster's own services: it speaks to exactly the port it is given, without redirection,
/// and on no connection kept from before a restart.
pub fn service_client() -> Result<reqwest::Client> {
    built(plain().redirect(Policy::none()).pool_max_idle_per_host(0).timeout(ANSWER_TIMEOUT))
}

/// A client of our own registry on loopback, for as long as bytes come.
pub fn transfer_client() -> Result<reqwest::Client> {
    built(plain().read_timeout(READ_TIMEOUT))
}

/// A client of a cluster's own services without a limit of time, for requests of [`super::moving`].
pub fn streaming_client() -> Result<reqwest::Client> {
    built(plain().redirect(Policy::none()).pool_idle_timeout(IDLE_TIMEOUT))
}

/// What clients of our own things share: no proxy, which environments name for other hosts, and no TLS,
/// so no certificates, which a pod may not have.
fn plain() -> ClientBuilder {
    install_crypto();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    client.connect_timeout(CONNECT_TIMEOUT)
}

fn built(client: ClientBuilder) -> Result<reqwest::Client> {
    let failed = |error| Error::host("http-client", "no HTTP client can be set up").because(error);
    client.build().map_err(failed)
}

/// What a service answered, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header `name` to its value, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text, whatever bytes it holds.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request and reads its whole answer.
///
/// # Errors
/// There was no answer: why, without the address, whose query may hold a signature.
pub async fn answer(request: reqwest::RequestBuilder) -> std::result::Result<Reply, String> {
    let response = request.send().await.map_err(|error| chain(&error.without_url()))?;
    whole(response).await
}

/// Reads the rest of an answer.
///
/// # Errors
/// It broke off: why, without the address.
pub async fn whole(response: reqwest::Response) -> std::result::Result<Reply, String> {
    let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Reply {
        status: response.status().as_u16(),
        headers: response.headers().iter().map(header).collect(),
        body: response.bytes().await.map_err(|error| chain(&error.without_url()))?.to_vec(),
    })
}

/// An error with its causes: reqwest's own text leaves them out. Take the address out of it first.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
