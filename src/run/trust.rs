//! `trust`: the keys of this installation, seen and changed.

use std::fmt;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::context::shared_lock;
use crate::report::Events;
use crate::state::keys::{self, Keys};
use crate::state::lock::SharedLock;
use crate::state::paths::Paths;
use crate::trust::{PublicKey, SigningKey};
use crate::{Error, Result};

/// What keys are changed with.
#[derive(Clone, Copy)]
pub struct With<'a> {
    /// Where they are.
    pub paths: &'a Paths,
    /// The user's interruption.
    pub cancel: &'a CancellationToken,
    /// Where it is said who is waited for.
    pub events: &'a Events,
}

/// The keys as they are now.
#[derive(Debug, Serialize)]
pub struct Trusted {
    /// Ordered by id.
    pub keys: Vec<KeyLine>,
}

/// One key.
#[derive(Debug, Serialize)]
pub struct KeyLine {
    /// First bytes of the public half's SHA-256.
    pub id: String,
    /// Whether images are signed with it.
    pub signs: bool,
}

impl fmt::Display for KeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, if self.signs { "signs and is trusted" } else { "is trusted" })
    }
}

/// The keys.
///
/// # Errors
/// One cannot be used.
pub fn list(paths: &Paths) -> Result<Trusted> {
    let keys = Keys::load(paths)?;
    let lines = keys.iter().flat_map(|keys| {
        let signs = keys.signing.public().id();
        keys.trusted
            .iter()
            .map(move |key| KeyLine { id: key.id().to_string(), signs: key.id() == signs })
    });
    Ok(Trusted { keys: lines.collect() })
}

/// The key that signs; made where there is none.
///
/// # Errors
/// It cannot be used or made.
pub async fn signing(with: With<'_>) -> Result<SigningKey> {
    Ok(Keys::ensure(with.paths, &lock(with).await?)?.signing)
}

/// Trusts a public key; a private one signs from now on.
///
/// # Errors
/// It is neither.
pub async fn import(with: With<'_>, pem: &str) -> Result<Trusted> {
    let lock = lock(with).await?;
    if let Ok(signing) = SigningKey::from_pem(pem) {
        Keys::adopt(with.paths, &signing, &lock)?;
        return list(with.paths);
    }
    let key = PublicKey::from_pem(pem).map_err(|error| {
        Error::usage("trust-key", "this is no key of the kind P-256 in PEM, neither half")
            .because(error)
            .hint("openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt")
    })?;
    // Of an installation that never signed, too: what it pulls may be signed by others alone.
    Keys::ensure(with.paths, &lock)?;
    keys::trust(with.paths, &key, &lock)?;
    list(with.paths)
}

/// Signs with a new key.
///
/// # Errors
/// It cannot be made.
pub async fn rotate(with: With<'_>) -> Result<Trusted> {
    let lock = lock(with).await?;
    Keys::adopt(with.paths, &SigningKey::generate()?, &lock)?;
    list(with.paths)
}

/// Trusts a key no longer.
///
/// # Errors
/// It signs, or is not known.
pub async fn remove(with: With<'_>, id: &str) -> Result<Trusted> {
    let lock = lock(with).await?;
    keys::distrust(with.paths, id, &lock)?;
    list(with.paths)
}

async fn lock(with: With<'_>) -> Result<SharedLock> {
    shared_lock(with.paths, "pipe trust", with.cancel, with.events).await
}
