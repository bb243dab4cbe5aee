//! The password with which `pipe` writes into the cache's registry; everybody else only reads.

use rand::distr::{Alphanumeric, SampleString as _};

use super::file;
use super::lock::SharedLock;
use super::paths::Paths;
use crate::Result;

/// Length in characters; 62 of them to choose from.
const LENGTH: usize = 32;

/// The stored password; made where there is none.
///
/// # Errors
/// The file cannot be read or written.
pub fn ensure(paths: &Paths, _lock: &SharedLock) -> Result<String> {
    if let Some(password) = load(paths)? {
        return Ok(password);
    }
    let password = Alphanumeric.sample_string(&mut rand::rng(), LENGTH);
    file::write(&path(paths), password.as_bytes())?;
    Ok(password)
}

/// The stored password.
///
/// # Errors
/// The file cannot be read.
pub fn load(paths: &Paths) -> Result<Option<String>> {
    let text = file::read(&path(paths))?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

fn path(paths: &Paths) -> std::path::PathBuf {
    paths.shared().join("registry-password")
}
