//! Everything outside this process, as values that are handed in: environment, engine, host,
//! programs, tools. Nothing here decides; deciding is [`crate::plan`]'s.
//!
//! Read [`env`] first, then [`socket`] and [`service`] (which Podman), [`engine`] (what it can do).

use std::sync::{Mutex, PoisonError};

use crate::Result;
use built::BuiltImages;
use engine::Engine;
use env::Env;
use host::Host;
use usage::Usage;

pub mod archive;
pub mod built;
pub mod certificate;
pub mod clickhouse;
pub mod cql;
pub mod dial;
pub mod engine;
pub mod env;
pub mod executable;
pub mod facts;
pub mod forward;
pub mod helm;
pub mod host;
pub mod http;
pub mod kube;
pub mod layout;
pub mod moving;
pub mod network;
pub mod process;
pub mod registry;
pub mod registry_login;
pub mod s3;
pub mod service;
pub mod socket;
pub mod surroundings;
pub mod tool;
pub mod usage;

/// The bundle of effects that is handed down; never global.
pub struct World {
    /// The engine that answers.
    pub engine: Engine,
    /// Facts of this host.
    pub host: Host,
    /// The environment at the start.
    pub env: Env,
    /// Images that were built from source.
    pub built: BuiltImages,
    usage: Mutex<Option<Usage>>,
}

impl World {
    /// Finds the engine, or starts its service where none answers.
    ///
    /// # Errors
    /// [`crate::Kind::Host`]: no Podman, too old, or its service does not start.
    pub async fn connect(env: &Env, engine: Option<&str>) -> Result<World> {
        let host = Host::measure();
        let usage = Usage::begin(env).await?;
        let starting = Usage::starting(env).await?;
        let found = service::ensure(engine, env, &host).await;
        // Ending it removes its file too.
        starting.end(async || Ok(())).await?;
        let found = found?;
        let engine = Engine::connect(&found.candidate.path)?;
        let built = BuiltImages::read(&BuiltImages::path(env)?)?;
        Ok(World { engine, host, env: env.clone(), built, usage: Mutex::new(Some(usage)) })
    }

    /// Starts the engine's service again if it is ours and has ended under us: what it said last, or
    /// `None` where there was nothing to do.
    ///
    /// # Errors
    /// The service does not start.
    pub async fn revive(&self) -> Result<Option<String>> {
        if self.engine.socket() != socket::own_socket(&self.env) {
            return Ok(None);
        }
        let starting = Usage::starting(&self.env).await?;
        let revived = service::revive(&self.env, &self.host).await;
        starting.end(async || Ok(())).await?;
        revived
    }

    /// Ends the use of the engine; stops its service if it is one of ours, nobody else uses it, and
    /// `idle`: nothing that it serves is left. Nothing can be asked of the engine afterwards.
    ///
    /// # Errors
    /// The service does not end.
    pub async fn release(&self, idle: bool) -> Result<()> {
        let usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(usage) = usage.filter(|_| idle) else { return Ok(()) };
        usage.end(async || service::stop(&self.env).await.map(|_was_running| ())).await
    }
}
