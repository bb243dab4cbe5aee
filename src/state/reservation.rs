//! Addresses and ports that a cluster holds for its life, also while it is stopped. Changed only
//! under the shared lock, so that two clusters that come up at once never choose the same.

use std::collections::BTreeMap;

use super::file;
use super::lock::SharedLock;
use super::paths::Paths;
use crate::plan::Reservation;
use crate::plan::reserve::SCHEMA;
use crate::spec::ClusterName;
use crate::{Error, Result};

/// What `cluster` holds, or `None` if it holds nothing. Needs no lock: the file is replaced whole.
pub fn load(paths: &Paths, cluster: &ClusterName) -> Result<Option<Reservation>> {
    let path = paths.cluster(cluster).reservation();
    file::read_json(&path, SCHEMA).map_err(|error| with_remedy(error, cluster))
}

/// Addresses cannot be chosen anew for nodes that have them, so a damaged file is not set aside.
fn with_remedy(error: Error, cluster: &ClusterName) -> Error {
    if error.code != file::BROKEN {
        return error;
    }
    error
        .because(format!("it says which addresses and ports cluster {cluster} holds"))
        .hint("restore it from a backup, if you have one")
        .hint(format!("or make the cluster anew: pipe teardown {cluster}, then pipe up {cluster}"))
}

/// Holds `reservation` for `cluster`, in place of what it held before.
pub fn save(
    reservation: &Reservation,
    paths: &Paths,
    cluster: &ClusterName,
    _lock: &SharedLock,
) -> Result<()> {
    file::write_json(&paths.cluster(cluster).reservation(), reservation)
}

/// What every cluster but `cluster` holds, those of a newer `pipe` too.
pub fn others(
    paths: &Paths,
    cluster: &ClusterName,
    lock: &SharedLock,
) -> Result<BTreeMap<ClusterName, Reservation>> {
    held(paths, |name| name != cluster, lock)
}

/// What every cluster holds, those of a newer `pipe` too.
pub fn all(paths: &Paths, lock: &SharedLock) -> Result<BTreeMap<ClusterName, Reservation>> {
    held(paths, |_| true, lock)
}

fn held(
    paths: &Paths,
    is_meant: impl Fn(&ClusterName) -> bool,
    _lock: &SharedLock,
) -> Result<BTreeMap<ClusterName, Reservation>> {
    let mut held = BTreeMap::new();
    for name in paths.clusters()?.into_iter().filter(is_meant) {
        let path = paths.cluster(&name).reservation();
        let found = file::glance_json(&path).map_err(|error| with_remedy(error, &name))?;
        if let Some(reservation) = found {
            held.insert(name, reservation);
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::report::Events;
    use crate::state::lock::Waiting;
    use crate::state::paths::tests::paths_in;

    #[tokio::test]
    async fn every_cluster_sees_what_the_others_hold() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let (cancel, (events, _receiver)) = (CancellationToken::new(), Events::channel());
        let at_most = Duration::from_secs(30);
        let waiting = Waiting { operation: "pipe up", at_most, cancel: &cancel, events: &events };
        let lock = SharedLock::acquire(&paths, &waiting).await.unwrap();
        let [dev, ci] = ["dev", "ci"].map(|name| ClusterName::parse(name).unwrap());
        let mut held = Reservation::new("kind", "10.89.0.0/24", None, 40001);
        held.ports.insert("nats-client".to_owned(), 4222);
        save(&held, &paths, &dev, &lock).unwrap();
        assert_eq!(others(&paths, &ci, &lock).unwrap(), BTreeMap::from([(dev.clone(), held)]));
        assert_eq!(all(&paths, &lock).unwrap().len(), 1);
        assert!(others(&paths, &dev, &lock).unwrap().is_empty());
        paths.remove_cluster(&dev).unwrap();
        assert!(others(&paths, &ci, &lock).unwrap().is_empty());
    }
}
