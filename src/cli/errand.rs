//! The file that a pod of our own finds what it has to do in.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Reads it.
///
/// # Errors
/// `code`: it cannot be read, or says something else.
pub(super) fn read<T: DeserializeOwned>(file: &Path, code: &'static str) -> Result<T> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::failed(code, format!("{} cannot be read", file.display())).because(error)
    };
    let text = std::fs::read(file).map_err(|error| unreadable(&error))?;
    serde_json::from_slice(&text).map_err(|error| unreadable(&error))
}
