//! Licences that this user has accepted. One is accepted with its text: a newer text is asked for
//! again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::file;
use super::lock::SharedLock;
use super::paths::Paths;
use crate::Result;
use crate::spec::Licence;

/// Version of the file.
const SCHEMA: u32 = 1;

/// What was accepted, by the licence's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    schema: u32,
    licences: BTreeMap<String, Acceptance>,
}

/// One acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Acceptance {
    text: String,
    at: Timestamp,
}

impl Accepted {
    /// What was accepted so far.
    ///
    /// # Errors
    /// The file cannot be read, or is a newer `pipe`'s.
    pub fn load(paths: &Paths) -> Result<Accepted> {
        let stored = file::read_json(&path(paths), SCHEMA)?;
        Ok(stored.unwrap_or(Accepted { schema: SCHEMA, licences: BTreeMap::new() }))
    }

    /// Whether this very text was accepted.
    pub fn has(&self, licence: &Licence) -> bool {
        self.licences.get(&licence.name).is_some_and(|known| known.text == licence.text)
    }
}

/// Remembers what is accepted and was not yet.
///
/// # Errors
/// The file cannot be read or written.
pub fn remember<'a>(
    paths: &Paths,
    accepted: impl IntoIterator<Item = &'a Licence>,
    _lock: &SharedLock,
) -> Result<()> {
    let mut stored = Accepted::load(paths)?;
    let mut changed = false;
    for licence in accepted {
        if !stored.has(licence) {
            let acceptance = Acceptance { text: licence.text.clone(), at: Timestamp::now() };
            stored.licences.insert(licence.name.clone(), acceptance);
            changed = true;
        }
    }
    if changed { file::write_json(&path(paths), &stored) } else { Ok(()) }
}

fn path(paths: &Paths) -> std::path::PathBuf {
    paths.shared().join("licences.json")
}
