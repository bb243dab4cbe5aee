//! Where an image can be asked for: the mirrors of its registry, then the registry itself.

use crate::spec::ImageName;
use crate::world::env::Env;
use crate::world::registry::{Registry, Repository};
use crate::world::registry_login;

/// A repository of one registry that may have the image.
pub(super) struct Place {
    /// To be asked.
    pub repository: Repository,
    /// Registry and repository, as programs are told.
    pub name: String,
    /// Without TLS.
    pub plain: bool,
    /// For errors: `mirror m.example` or `docker.io`.
    pub shown: String,
}

/// In the order they are asked. What keeps one from being asked goes into `tried`.
pub(super) async fn of(env: &Env, image: &ImageName, tried: &mut Vec<String>) -> Vec<Place> {
    let rest = image.repository().strip_prefix(image.registry()).unwrap_or_default();
    let rest = rest.trim_start_matches('/');
    let mirrors = env.surroundings.mirrors.get(image.registry()).into_iter().flatten();
    let mirrors = mirrors.map(|it| (it.image(rest), it.plain, format!("mirror {}", it.address)));
    let own = (image.repository().to_owned(), false, image.registry().to_owned());
    let mut places = Vec::new();
    for (name, plain, shown) in mirrors.chain([own]) {
        // Without a login that cannot be read: the image may need none.
        let login = registry_login::find(env, &name).await.unwrap_or_else(|why| {
            tried.push(format!("{shown}: {why}"));
            None
        });
        let Some((address, repository)) = name.split_once('/') else { continue };
        let registry = match shown.starts_with("mirror ") {
            true => Registry::mirror(env, address, plain, login),
            false => Registry::upstream(env, address, login),
        };
        match registry {
            Ok(registry) => {
                let repository = registry.repository(repository);
                places.push(Place { repository, name, plain, shown });
            }
            Err(error) => tried.push(format!("{shown}: {error}")),
        }
    }
    places
}
