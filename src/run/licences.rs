//! Licences that must be accepted before a component is run: on the command line, in the user's
//! `config.yaml`, by an answer on a terminal, or earlier.

use super::context::shared_lock;
use super::up::{Environment, Request};
use crate::Result;
use crate::spec::{Component, Licence, Spec, WhenUnavailable};
use crate::state::licences::{self, Accepted};
use crate::state::paths::Paths;
use crate::world::env::Env;

/// What the user has accepted, wherever it was said.
pub(super) struct Consent<'a> {
    stored: Accepted,
    named: Vec<&'a str>,
}

impl<'a> Consent<'a> {
    /// Asks the command line, the user's file and our own memory.
    ///
    /// # Errors
    /// What was accepted earlier cannot be read.
    pub(super) fn of(env: &'a Env, paths: &Paths, request: &'a Request) -> Result<Consent<'a>> {
        let named = request.accept.iter().chain(&env.surroundings.accepted);
        Ok(Consent { stored: Accepted::load(paths)?, named: named.map(String::as_str).collect() })
    }

    fn covers(&self, licence: &Licence) -> bool {
        self.named.contains(&licence.name.as_str()) || self.stored.has(licence)
    }

    /// The component's licence, if it has one and nobody accepted it.
    pub(super) fn lacks<'c>(&self, component: &'c Component) -> Option<&'c Licence> {
        component.definition.licence.as_ref().filter(|licence| !self.covers(licence))
    }
}

/// Components that may not run as long as their licence is not accepted; those that a profile skips
/// where they cannot be had are left out.
///
/// # Errors
/// What was accepted earlier cannot be read.
pub fn refused<'s>(
    env: &Env,
    paths: &Paths,
    request: &Request,
    spec: &'s Spec,
) -> Result<Vec<(&'s Component, &'s Licence)>> {
    let consent = Consent::of(env, paths, request)?;
    let required = |component: &&Component| component.when_unavailable == WhenUnavailable::Fail;
    let components = spec.profile.components.iter().filter(required);
    Ok(components.filter_map(|it| consent.lacks(it).map(|licence| (it, licence))).collect())
}

/// Why a component is left out.
pub(super) fn skipped(licence: &Licence) -> String {
    format!(
        "its licence {} ({}) is not accepted; to accept it: --accept {0}",
        licence.name, licence.text
    )
}

/// Remembers what is accepted and used now.
///
/// # Errors
/// It cannot be written.
pub(super) async fn remember(
    environment: &Environment<'_>,
    request: &Request,
    spec: &Spec,
) -> Result<()> {
    let consent = Consent::of(environment.env, environment.paths, request)?;
    let licences = spec.profile.components.iter().filter_map(|it| it.definition.licence.as_ref());
    let accepted: Vec<&Licence> = licences.filter(|licence| consent.covers(licence)).collect();
    if accepted.iter().all(|licence| consent.stored.has(licence)) {
        return Ok(());
    }
    let (paths, cancel) = (environment.paths, &environment.cancel);
    let lock = shared_lock(paths, "pipe up", cancel, &environment.events).await?;
    licences::remember(paths, accepted, &lock)
}
