//! What the cache is used for, written down where it is used.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::report::Events;
use crate::run::context::shared_lock;
use crate::spec::{ClusterName, ImageName};
use crate::state::cache_use::{self, CacheUse};
use crate::state::paths::Paths;

/// A cluster was given images out of the cache. What cannot be written down is said, and fails nothing.
pub(in crate::run) async fn used<'a>(
    paths: &Paths,
    events: &Events,
    cluster: &ClusterName,
    images: impl IntoIterator<Item = &'a ImageName>,
) {
    let now = Timestamp::now();
    change(paths, events, |known| known.used(cluster, images, now)).await;
}

/// A cluster was brought to its files, which name these images.
pub(in crate::run) async fn brought_up<'a>(
    paths: &Paths,
    events: &Events,
    cluster: &ClusterName,
    images: impl IntoIterator<Item = &'a ImageName>,
) {
    let now = Timestamp::now();
    let change_to = |known: &mut CacheUse| {
        known.used(cluster, images, now);
        known.clusters.insert(cluster.clone());
    };
    change(paths, events, change_to).await;
}

/// A cluster is being removed.
pub(in crate::run) async fn forget(paths: &Paths, events: &Events, cluster: &ClusterName) {
    // Else a file would be made where none is needed.
    if cache_use::is_there(paths) {
        change(paths, events, |known| known.forget(cluster)).await;
    }
}

async fn change(paths: &Paths, events: &Events, change: impl FnOnce(&mut CacheUse)) {
    let written = async {
        let stop = CancellationToken::new();
        let lock = shared_lock(paths, "write down what is used", &stop, events).await?;
        CacheUse::change(paths, &lock, change)
    };
    match written.await {
        Ok(note) => note.into_iter().for_each(|note| events.warn(note)),
        Err(error) => events.warn(cache_use::unwritten(&error)),
    }
}
