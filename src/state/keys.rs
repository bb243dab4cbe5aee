//! The keys of this installation: one that signs, and those whose signatures count.
//!
//! ```text
//! shared/trust/signing-key.pem   made at first use
//! shared/trust/trusted/<id>.pem  public halves: of every key that signed here, and of others'
//! ```
//!
//! Clusters keep what a former key signed: a key that no longer signs is still trusted, until somebody
//! takes it out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::file;
use super::lock::SharedLock;
use super::paths::Paths;
use crate::trust::{KeyId, PublicKey, SigningKey};
use crate::{Error, Result};

/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;

/// The keys of this installation.
#[derive(Clone, Debug)]
pub struct Keys {
    /// What signs.
    pub signing: SigningKey,
    /// Whose signatures count: its own and the others, ordered by id.
    pub trusted: Vec<PublicKey>,
}

impl Keys {
    /// The stored keys; the signing key is made where there is none.
    ///
    /// # Errors
    /// A file is broken, or others may read the signing key.
    pub fn ensure(paths: &Paths, lock: &SharedLock) -> Result<Keys> {
        match Keys::load(paths)? {
            Some(keys) => Ok(keys),
            None => Keys::adopt(paths, &SigningKey::generate()?, lock),
        }
    }

    /// The stored keys; `None` where nothing was ever signed.
    ///
    /// # Errors
    /// As for [`Keys::ensure`].
    pub fn load(paths: &Paths) -> Result<Option<Keys>> {
        let path = signing_file(paths);
        let Some(pem) = file::read(&path)? else { return Ok(None) };
        check_private(&path)?;
        let signing = SigningKey::from_pem(&pem).map_err(|error| {
            Error::failed("trust-key-broken", format!("{} cannot be used", path.display()))
                .because(error)
                .hint("restore it from a backup: pipe trust import FILE")
                .hint("or make a new one, with which images are signed anew: pipe trust rotate")
        })?;
        let mut trusted = vec![signing.public().clone()];
        for key in trusted_in(paths)? {
            if key.id() != signing.public().id() {
                trusted.push(key);
            }
        }
        trusted.sort_by_key(PublicKey::id);
        Ok(Some(Keys { signing, trusted }))
    }

    /// Signs with `signing` from now on; the key before it stays trusted.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn adopt(paths: &Paths, signing: &SigningKey, lock: &SharedLock) -> Result<Keys> {
        // Its public half first: cut off in between, nothing is signed by a key that is not trusted.
        trust(paths, signing.public(), lock)?;
        file::write(&signing_file(paths), signing.to_pem()?.as_bytes())?;
        Keys::load(paths)?.ok_or_else(|| Error::bug("a signing key that was written is gone"))
    }
}

/// Trusts a key from now on.
///
/// # Errors
/// The folder cannot be written.
pub fn trust(paths: &Paths, key: &PublicKey, _lock: &SharedLock) -> Result<()> {
    file::write(&trusted_file(paths, key.id()), key.to_pem()?.as_bytes())
}

/// Trusts a key no longer. The signing key cannot be taken out.
///
/// # Errors
/// No such key is trusted, or it is the one that signs.
pub fn distrust(paths: &Paths, id: &str, _lock: &SharedLock) -> Result<KeyId> {
    let known = trusted_in(paths)?;
    let Some(key) = known.iter().find(|key| key.id().to_string() == id) else {
        let ids: Vec<String> = known.iter().map(|key| key.id().to_string()).collect();
        return Err(Error::usage("trust-key-unknown", format!("no key {id} is trusted"))
            .because(format!("those that are: {}", ids.join(", "))));
    };
    let signs = Keys::load(paths)?.is_some_and(|keys| keys.signing.public().id() == key.id());
    if signs {
        return Err(Error::failed("trust-key-signs", format!("key {id} is the one that signs"))
            .hint("sign with another first: pipe trust rotate"));
    }
    file::remove(&trusted_file(paths, key.id()))?;
    Ok(key.id())
}

fn trusted_in(paths: &Paths) -> Result<Vec<PublicKey>> {
    let folder = folder(paths).join("trusted");
    let mut keys = Vec::new();
    for name in file::names(&folder)? {
        let path = folder.join(name);
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let pem = file::read(&path)?.unwrap_or_default();
        let key = PublicKey::from_pem(&pem).map_err(|error| {
            Error::failed("trust-key-broken", format!("{} cannot be used", path.display()))
                .because(error)
                .hint("import it anew (pipe trust import FILE), or remove the file")
        })?;
        keys.push(key);
    }
    Ok(keys)
}

/// Refuses a signing key that others may read: what it signed proves nothing then.
fn check_private(path: &Path) -> Result<()> {
    let mode = fs::metadata(path).map(|it| it.permissions().mode()).unwrap_or_default();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let what = format!("the signing key {} can be read by others", path.display());
    Err(Error::failed("trust-key-exposed", what)
        .because(format!("its mode is {:o}", mode & 0o777))
        .hint(format!("chmod 600 {}", path.display()))
        .hint("if somebody may have copied it, sign with a new one: pipe trust rotate"))
}

fn folder(paths: &Paths) -> PathBuf {
    paths.shared().join("trust")
}

fn signing_file(paths: &Paths) -> PathBuf {
    folder(paths).join("signing-key.pem")
}

fn trusted_file(paths: &Paths, id: KeyId) -> PathBuf {
    folder(paths).join("trusted").join(format!("{id}.pem"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::lock::tests::shared_lock;
    use crate::state::paths::tests::paths_in;

    #[tokio::test]
    async fn a_key_is_made_once_and_stays_trusted_after_its_successor_came() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let lock = shared_lock(&paths).await;
        assert!(Keys::load(&paths).unwrap().is_none());
        let first = Keys::ensure(&paths, &lock).unwrap();
        let again = Keys::ensure(&paths, &lock).unwrap();
        assert_eq!(first.signing.public(), again.signing.public());
        let mode = fs::metadata(signing_file(&paths)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let old = first.signing.public().id().to_string();
        assert_eq!(distrust(&paths, &old, &lock).unwrap_err().code, "trust-key-signs");
        let second = Keys::adopt(&paths, &SigningKey::generate().unwrap(), &lock).unwrap();
        assert_eq!(second.trusted.len(), 2);
        distrust(&paths, &old, &lock).unwrap();
        assert_eq!(Keys::ensure(&paths, &lock).unwrap().trusted.len(), 1);
        assert_eq!(distrust(&paths, &old, &lock).unwrap_err().code, "trust-key-unknown");
    }

    #[tokio::test]
    async fn a_key_that_others_may_read_signs_nothing() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let lock = shared_lock(&paths).await;
        Keys::ensure(&paths, &lock).unwrap();
        let path = signing_file(&paths);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Keys::ensure(&paths, &lock).unwrap_err();
        assert_eq!(error.code, "trust-key-exposed");
        assert!(error.hints[0].starts_with("chmod 600"), "{error:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n").unwrap();
        assert_eq!(Keys::ensure(&paths, &lock).unwrap_err().code, "trust-key-broken");
    }
}
