//! An image from where it can be had: the user's mirrors of its registry, then the registry.

use crate::spec::ImageName;
use crate::world::engine::{Engine, Pull, PullProgress};
use crate::world::env::Env;
use crate::world::registry_login;
use crate::{Error, Result};

/// Pulls an image, by its digest where one is known, and gives it the name that pods and nodes use.
///
/// # Errors
/// What the registry said last, with what each mirror said below it.
pub async fn fetch(
    engine: &Engine,
    env: &Env,
    image: &ImageName,
    mut progress: impl FnMut(&PullProgress) + Send,
) -> Result<()> {
    let mirrors = env.surroundings.mirrors.get(image.registry());
    let mut tried = Vec::new();
    for mirror in mirrors.into_iter().flatten() {
        let name = mirror.image(rest(image));
        match pull((engine, env), image, &name, mirror.plain, &mut progress).await {
            Ok(()) => return Ok(()),
            Err(error) => tried.push(format!("mirror {}: {error}", mirror.address)),
        }
    }
    let pulled = pull((engine, env), image, image.repository(), false, &mut progress).await;
    pulled.map_err(|error| tried.into_iter().fold(error, Error::because))
}

/// The repository without its registry.
fn rest(image: &ImageName) -> &str {
    let repository = image.repository();
    repository.strip_prefix(image.registry()).unwrap_or(repository).trim_start_matches('/')
}

/// Pulls from `repository`, which is the image's own or a mirror's.
async fn pull(
    (engine, env): (&Engine, &Env),
    image: &ImageName,
    repository: &str,
    plain: bool,
    progress: &mut (impl FnMut(&PullProgress) + Send),
) -> Result<()> {
    let name = match image.digest() {
        Some(digest) => format!("{repository}@{digest}"),
        None => format!("{repository}:{}", image.tag()),
    };
    // Without a login that cannot be read: the image may need none.
    let (login, unread) = match registry_login::find(env, repository).await {
        Ok(login) => (login, None),
        Err(why) => (None, Some(why)),
    };
    let pulled = engine.pull(&Pull { name: &name, login: login.as_ref(), plain }, progress).await;
    pulled.map_err(|error| {
        let mut error = Error::from(error);
        // A registry may repeat what it was sent.
        for secret in login.iter().flat_map(registry_login::Login::secrets) {
            if secret.len() > 3 {
                error.causes.iter_mut().for_each(|cause| *cause = cause.replace(secret, "•••"));
            }
        }
        unread.iter().fold(error, Error::because)
    })?;
    if name != image.as_str() {
        engine.tag(&name, image.repository(), image.tag()).await?;
    }
    if repository != image.repository() && image.digest().is_none() {
        engine.untag(&name).await?;
    }
    Ok(())
}
