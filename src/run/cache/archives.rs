//! Archives that the user's `config.yaml` names, where images come from that no registry and no store has.

use super::for_this_machine;
use super::shelf::{Archived, Shelf as _};
use crate::Result;
use crate::spec::ImageName;
use crate::spec::lock_file::Locked;
use crate::world::env::Env;
use crate::world::layout::{self, Layout};
use crate::world::registry::Manifest;

/// Every archive that can be read. What cannot goes into `tried`.
async fn all(env: &Env, tried: &mut Vec<String>) -> Vec<Layout> {
    let mut all = Vec::new();
    for path in &env.surroundings.archives {
        let paths = layout::layouts(path).unwrap_or_else(|why| {
            tried.push(why.to_string());
            Vec::new()
        });
        for path in paths {
            match Layout::open(&path).await {
                Ok(layout) => all.push(layout),
                Err(why) => tried.push(why.to_string()),
            }
        }
    }
    all
}

/// What the first archive has of an image, under a tag of it or a digest. Why none has goes into `tried`.
pub(super) async fn find(
    env: &Env,
    image: &ImageName,
    reference: &str,
    tried: &mut Vec<String>,
) -> Option<(Archived, Manifest)> {
    for layout in all(env, tried).await {
        let archived = Archived { layout, image: image.clone() };
        match archived.manifest(reference).await {
            Ok(Some(found)) => return Some((archived, found)),
            Ok(None) => tried.push(format!("{} does not have it", archived.layout.shown())),
            Err(why) => tried.push(why.to_string()),
        }
    }
    None
}

/// The same, of what is locked by its configuration: layers may have been packed anew.
pub(super) async fn find_locked(
    env: &Env,
    image: &ImageName,
    locked: &Locked,
) -> Result<Option<(Archived, Manifest)>> {
    for layout in all(env, &mut Vec::new()).await {
        let archived = Archived { layout, image: image.clone() };
        let Some(found) = archived.manifest(image.tag()).await? else { continue };
        let here = for_this_machine(&archived, &found).await?;
        let config = here.map(|it| it.config().digest().to_string());
        if config.is_some() && locked.is(&found.digest, config.as_deref()) {
            return Ok(Some((archived, found)));
        }
    }
    Ok(None)
}
