//! The local cache of images: copies by digest, signed with this installation's key, which nodes
//! pull from.
//!
//! [`Cache`] is the running registry with our keys. `fill` puts images in, by `copy` from another
//! registry or by `upload` from an archive; `signatures` signs and checks what lies there.

use oci_spec::image::{ImageIndex, ImageManifest};

use crate::plan::observed::CachedFacts;
use crate::provider::registry::{self, USER};
use crate::spec::name::cached;
use crate::spec::{Arch, ImageName};
use crate::state::keys::Keys;
use crate::state::paths::Paths;
use crate::state::registry_password;
use crate::world::World;
use crate::world::engine::{Container, State};
use crate::world::registry::{Manifest, Registry, Repository, Shape};
use crate::world::registry_login::Login;
use crate::{Error, Result};

mod archives;
pub mod copy;
pub mod fill;
pub(super) mod hold;
pub mod holdings;
pub mod keyless;
pub(super) mod last_use;
pub mod lock;
pub mod meter;
mod places;
pub mod prune;
pub mod resolve;
pub mod shelf;
pub mod signatures;
pub mod upload;
pub mod verify;
mod walk;

use shelf::Shelf;

/// The cache's registry, where it runs, and our keys.
#[derive(Clone, Debug)]
pub struct Cache {
    /// The registry, by its port on loopback.
    pub registry: Registry,
    /// Ours.
    pub keys: Keys,
}

impl Cache {
    /// The cache; `None` where its registry does not run, or nothing was ever signed here.
    ///
    /// # Errors
    /// The engine does not answer, or the keys cannot be used.
    pub async fn open(world: &World, paths: &Paths) -> Result<Option<Cache>> {
        let Some(keys) = Keys::load(paths)? else { return Ok(None) };
        let Some(container) = world.engine.inspect(registry::NAME).await? else { return Ok(None) };
        Cache::in_container(keys, paths, &container)
    }

    /// The same, for who can do nothing without.
    ///
    /// # Errors
    /// It does not run, or as for [`Cache::open`].
    pub async fn running(world: &World, paths: &Paths) -> Result<Cache> {
        Cache::open(world, paths).await?.ok_or_else(|| {
            Error::failed("cache-stopped", "the image cache does not run")
                .hint("start it: pipe images serve")
        })
    }

    /// The same, of a container that was looked at; `None` where it does not run.
    ///
    /// # Errors
    /// The password cannot be read.
    pub fn in_container(keys: Keys, paths: &Paths, container: &Container) -> Result<Option<Cache>> {
        let running = container.state == State::Running;
        let Some(port) = registry::port(container).filter(|_| running) else { return Ok(None) };
        Ok(Some(Cache { registry: at(paths, port)?, keys }))
    }

    /// Where an image lies.
    ///
    /// # Errors
    /// None for an image's name that was read.
    pub fn repository(&self, image: &ImageName) -> Result<Repository> {
        let name = cached::repository(image.as_str()).map_err(Error::bug)?;
        Ok(self.registry.repository(&name))
    }

    /// What is there of an image.
    ///
    /// # Errors
    /// The registry does not answer, or what it holds cannot be read.
    pub async fn look(&self, image: &ImageName) -> Result<Option<CachedFacts>> {
        self.look_at(image, image.tag()).await
    }

    /// The same, under another tag or a digest.
    ///
    /// # Errors
    /// As [`Cache::look`]'s.
    pub async fn look_at(&self, image: &ImageName, reference: &str) -> Result<Option<CachedFacts>> {
        let repository = self.repository(image)?;
        let Some(manifest) = repository.manifest(reference).await? else { return Ok(None) };
        let signed = signatures::verify(&repository, &manifest.digest, &self.keys.trusted).await;
        let signed_by = match signed {
            Ok(key) => Some(key.to_string()),
            Err(error) if error.kind == crate::Kind::Signature => None,
            Err(error) => return Err(error),
        };
        let image = for_this_machine(&repository, &manifest).await?;
        let id = image.as_ref().map(|image| image.config().digest().digest().to_owned());
        let layers = image.iter().flat_map(|image| image.layers());
        let size = layers.map(|layer| layer.size()).sum();
        Ok(Some(CachedFacts { digest: manifest.digest, id, size, signed_by }))
    }
}

/// The registry on this host's loopback, with the right to write.
pub(super) fn at(paths: &Paths, port: u16) -> Result<Registry> {
    let login = registry_password::load(paths)?.map(|password| Login {
        user: USER.to_owned(),
        password,
        token: None,
    });
    Registry::own(&format!("127.0.0.1:{port}"), login)
}

/// The image for this machine: of an index, the one of its platform.
async fn for_this_machine(
    repository: &impl Shelf,
    manifest: &Manifest,
) -> Result<Option<Box<ImageManifest>>> {
    let index = match manifest.shape()? {
        Shape::Image(image) => return Ok(Some(image)),
        Shape::Index(index) => index,
    };
    let Some(child) = for_here(&index)? else { return Ok(None) };
    let Some(child) = repository.manifest(&child).await? else { return Ok(None) };
    Ok(match child.shape()? {
        Shape::Image(image) => Some(image),
        Shape::Index(_) => None,
    })
}

/// The entry of an index for this machine.
fn for_here(index: &ImageIndex) -> Result<Option<String>> {
    let arch = Arch::of_host()?;
    let is_ours = |platform: &oci_spec::image::Platform| {
        platform.os().to_string() == "linux" && platform.architecture().to_string() == arch.as_str()
    };
    let found = index.manifests().iter().find(|it| it.platform().as_ref().is_some_and(is_ours));
    Ok(found.map(|it| it.digest().to_string()))
}
