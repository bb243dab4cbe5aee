//! The HTTPS client that downloads use.

use std::time::Duration;

use crate::{Error, Result};

/// Deadline for a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest silence in the middle of a body.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Chooses ring as rustls' provider. The crates that use rustls here are built without a default
/// one, which would need a C build; whoever makes a client calls this first. Calling it again
/// changes nothing.
pub fn install_crypto() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

/// A client that trusts what the host trusts.
pub fn client() -> Result<reqwest::Client> {
    install_crypto();
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build()
        .map_err(|error| {
            Error::host("http-client", "no HTTPS client can be set up")
                .because(error)
                .hint("install root certificates: apt-get install ca-certificates")
        })
}
