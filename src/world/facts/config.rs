//! What the user's `config.yaml` says, as far as it can be wrong.

use std::path::PathBuf;

use serde::Serialize;

use crate::Error;
use crate::world::certificate::{Validity, validities};
use crate::world::env::Env;

/// The user's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConfigFacts {
    /// Where it is, or would be.
    pub file: PathBuf,
    /// It is there.
    pub exists: bool,
    /// What is wrong with it as a whole.
    pub fault: Option<Error>,
    /// Files of certificates that it names.
    pub authorities: Vec<AuthorityFact>,
    /// Registries that have mirrors.
    pub mirrored: Vec<String>,
}

/// A file of certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthorityFact {
    /// The file.
    pub file: PathBuf,
    /// Each certificate in it.
    pub certificates: Vec<Result<Validity, String>>,
}

pub(super) fn read(env: &Env) -> ConfigFacts {
    let known = &env.surroundings;
    let authorities = known.authority_files.iter().zip(&known.authorities);
    ConfigFacts {
        exists: known.file.exists(),
        file: known.file.clone(),
        fault: known.fault.clone(),
        authorities: authorities
            .map(|(file, pem)| AuthorityFact { file: file.clone(), certificates: validities(pem) })
            .collect(),
        mirrored: known.mirrors.keys().cloned().collect(),
    }
}
