//! The image verifier of nodes: what it is told, and how it gets there.

use std::net::Ipv4Addr;

use super::context::Context;
use crate::provider::kind::containerd;
use crate::provider::kind::verifier::{BIN, Delivery, PROGRAM};
use crate::provider::registry;
use crate::spec::ImagePolicy;
use crate::spec::source::Sources;
use crate::state::keys::Keys;
use crate::state::paths::Paths;
use crate::verifier::config::{Config, Mode, VERDICTS, VERSION};
use crate::world::engine::{Exec, FileToPut as File};
use crate::world::executable::Executable;
use crate::{Error, Result};

/// What the nodes of a cluster get; nothing where they pull from anywhere, or no key was made yet.
///
/// # Errors
/// The program is not there, a key or the list of forbidden images cannot be used.
pub(super) fn delivery(
    paths: &Paths,
    sources: &Sources,
    policy: ImagePolicy,
    cache: Option<Ipv4Addr>,
) -> Result<Option<Delivery>> {
    let mode = match policy {
        ImagePolicy::Off => return Ok(None),
        ImagePolicy::Warn => Mode::Warn,
        ImagePolicy::Enforce => Mode::Enforce,
    };
    let (Some(cache), Some(keys)) = (cache, Keys::load(paths)?) else { return Ok(None) };
    let keys = keys.trusted.iter().map(|key| key.to_pem()).collect::<Result<_>>()?;
    let config = Config {
        version: VERSION,
        mode,
        cache: format!("http://{cache}:{}", registry::PORT),
        keys,
        // What a node starts with is in its image, and is not pulled.
        allowed: Vec::new(),
        forbidden: crate::spec::forbidden(sources)?,
        verdicts: VERDICTS.into(),
    };
    Delivery::new(Executable::beside(PROGRAM)?, &config).map(Some)
}

/// Gives a node the verifier before its first start, behind every other change of containerd's
/// configuration.
pub(super) async fn install_new(context: &Context, host: &str) -> Result<()> {
    let Some(delivery) = &context.verifier else { return Ok(()) };
    correct(context, host).await?;
    Ok(context.world.engine.put_files(host, Delivery::clone(delivery).files()).await?)
}

/// Gives it to a node that runs, or takes it away; whether containerd must be started anew for it.
pub(super) async fn install_live(context: &Context, host: &str) -> Result<bool> {
    let engine = &context.world.engine;
    let Some(delivery) = &context.verifier else {
        let remove = Exec::new(["rm", "-f", &format!("{BIN}/{PROGRAM}")]);
        engine.exec(host, remove).await?.checked()?;
        return Ok(false);
    };
    let (files, commands) = Delivery::clone(delivery).replacement();
    engine.put_files(host, files).await?;
    for command in commands {
        engine.exec(host, Exec::new(command)).await?.checked()?;
    }
    correct(context, host).await
}

/// Whether something had to be corrected that kept containerd from asking the verifier.
async fn correct(context: &Context, host: &str) -> Result<bool> {
    let engine = &context.world.engine;
    let config = engine.get_file(host, containerd::CONFIG).await?.ok_or_else(|| {
        Error::failed("containerd-config", format!("{host} has no {}", containerd::CONFIG))
    })?;
    let (config, changes) = containerd::with_verifier(&String::from_utf8_lossy(&config))?;
    if changes.is_empty() {
        return Ok(false);
    }
    engine.put_files(host, vec![File::new(containerd::CONFIG, 0o644, config)]).await?;
    Ok(true)
}
