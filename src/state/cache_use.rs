//! What the local cache is used for: when each name in it was last needed and by which clusters, and
//! which lock files there are. One small file for all clusters, changed only under the shared lock.
//!
//! It decides nothing that runs; without it nobody could say what may be removed from the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::file;
use super::lock::SharedLock;
use super::paths::Paths;
use crate::spec::name::cached;
use crate::spec::{ClusterName, ImageName};
use crate::{Error, Result};

/// Version of the file.
const SCHEMA: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheUse {
    /// Version of this form.
    pub schema: u32,
    /// By [`key`].
    #[serde(default)]
    pub images: BTreeMap<String, Use>,
    /// Clusters of which everything is known: `up` wrote it down.
    #[serde(default)]
    pub clusters: BTreeSet<ClusterName>,
    /// Lock files by which `up` and `images lock` went.
    #[serde(default)]
    pub locks: BTreeSet<PathBuf>,
    /// Whether something was removed from the cache whose space may not be free yet.
    #[serde(default)]
    pub uncollected: bool,
}

/// Who needs a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// When it was last needed.
    pub at: Timestamp,
    /// Clusters that were given it, and were not removed since.
    pub clusters: BTreeSet<ClusterName>,
}

impl Default for CacheUse {
    fn default() -> CacheUse {
        CacheUse {
            schema: SCHEMA,
            images: BTreeMap::new(),
            clusters: BTreeSet::new(),
            locks: BTreeSet::new(),
            uncollected: false,
        }
    }
}

impl CacheUse {
    /// What is known; nothing where nothing was written yet.
    ///
    /// # Errors
    /// The file is broken, or a newer `pipe` wrote it.
    pub fn load(paths: &Paths) -> Result<CacheUse> {
        let found = file::read_json(&path(paths), SCHEMA).map_err(|error| match error.code {
            file::BROKEN => error
                .because("it says which clusters and lock files need what is in the image cache")
                .hint("have it begun anew: `pipe up` for each cluster, `pipe images lock` in each project"),
            _ => error,
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Changes what is known. A broken file is set aside and begun anew, which is said.
    ///
    /// # Errors
    /// A newer `pipe` wrote the file, or it cannot be written.
    pub fn change(
        paths: &Paths,
        _lock: &SharedLock,
        change: impl FnOnce(&mut CacheUse),
    ) -> Result<Option<String>> {
        let path = path(paths);
        let (known, note) = match file::read_json::<CacheUse>(&path, SCHEMA) {
            Ok(known) => (known, None),
            Err(error) if error.code == file::BROKEN => {
                file::set_aside(&path)?;
                let note = format!(
                    "{error}; it was begun anew. `pipe images prune` knows only of clusters and lock \
                     files that are used from now on"
                );
                (None, Some(note))
            }
            Err(error) => return Err(error),
        };
        let mut now = known.clone().unwrap_or_default();
        change(&mut now);
        if known.unwrap_or_default() != now {
            file::write_json(&path, &now)?;
        }
        Ok(note)
    }

    /// A cluster was given these images.
    pub fn used<'a>(
        &mut self,
        cluster: &ClusterName,
        images: impl IntoIterator<Item = &'a ImageName>,
        at: Timestamp,
    ) {
        for key in images.into_iter().filter_map(key) {
            let fresh = || Use { at, clusters: BTreeSet::new() };
            let known = self.images.entry(key).or_insert_with(fresh);
            known.at = known.at.max(at);
            known.clusters.insert(cluster.clone());
        }
    }

    /// A cluster is gone; when its images were last needed is still known.
    pub fn forget(&mut self, cluster: &ClusterName) {
        self.clusters.remove(cluster);
        for known in self.images.values_mut() {
            known.clusters.remove(cluster);
        }
    }
}

/// Whether there is anything to change.
pub fn is_there(paths: &Paths) -> bool {
    path(paths).exists()
}

/// What a name is called here: its repository in the cache and its tag.
pub fn key(image: &ImageName) -> Option<String> {
    let repository = cached::repository(image.as_str()).ok()?;
    Some(key_of(&repository, image.tag()))
}

/// The same, of what lies in the cache.
pub fn key_of(repository: &str, tag: &str) -> String {
    format!("{repository}:{tag}")
}

fn path(paths: &Paths) -> PathBuf {
    paths.shared().join(Path::new("cache-use.json"))
}

/// What could not be written down, for people: it fails nothing that was done.
pub fn unwritten(error: &Error) -> String {
    format!("what the image cache is used for was not written down: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::lock::tests::shared_lock;
    use crate::state::paths::tests::paths_in;

    fn image(name: &str) -> ImageName {
        ImageName::parse(name).unwrap()
    }

    fn second(number: i64) -> Timestamp {
        Timestamp::from_second(number).unwrap()
    }

    #[tokio::test]
    async fn uses_add_up_and_a_cluster_that_goes_takes_its_own() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let lock = shared_lock(&paths).await;
        let [dev, ci] = ["dev", "ci"].map(|name| ClusterName::parse(name).unwrap());
        let (nats, app) = (image("docker.io/nats:2"), image("localhost:5000/app:1"));
        assert_eq!(CacheUse::load(&paths).unwrap(), CacheUse::default());
        let change = |change: &dyn Fn(&mut CacheUse)| {
            let note = CacheUse::change(&paths, &lock, |known| change(known)).unwrap();
            (note, CacheUse::load(&paths).unwrap())
        };
        change(&|known| {
            known.used(&dev, [&nats, &app], second(10));
            known.clusters.insert(dev.clone());
        });
        let (note, known) = change(&|known| known.used(&ci, [&nats], second(5)));
        assert_eq!(note, None);
        let keys: Vec<&str> = known.images.keys().map(String::as_str).collect();
        assert_eq!(keys, ["docker.io/library/nats:2", "localhost__5000/app:1"]);
        let nats = &known.images["docker.io/library/nats:2"];
        assert_eq!((nats.at, nats.clusters.len()), (second(10), 2), "time does not go back");
        let (_, known) = change(&|known| known.forget(&dev));
        assert!(known.clusters.is_empty());
        assert_eq!(known.images["docker.io/library/nats:2"].clusters.len(), 1);
        assert_eq!(known.images["localhost__5000/app:1"].at, second(10));
    }

    #[tokio::test]
    async fn a_broken_file_is_said_and_begun_anew_and_a_newer_one_is_left() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let lock = shared_lock(&paths).await;
        let know = |known: &mut CacheUse| {
            known.locks.insert("/project/pipe.lock".into());
        };
        file::write(&path(&paths), b"{ torn").unwrap();
        let error = CacheUse::load(&paths).unwrap_err();
        assert_eq!(error.code, file::BROKEN);
        assert!(error.hints.concat().contains("pipe images lock"), "{error:?}");
        let note = CacheUse::change(&paths, &lock, know).unwrap().unwrap();
        assert!(note.contains("cache-use.json") && note.contains("begun anew"), "{note}");
        assert_eq!(CacheUse::load(&paths).unwrap().locks.len(), 1);
        let aside = paths.shared().join("cache-use.json.broken");
        assert_eq!(std::fs::read(aside).unwrap(), b"{ torn");
        assert_eq!(CacheUse::change(&paths, &lock, know).unwrap(), None);

        let newer = br#"{"schema": 2, "images": {}}"#;
        file::write(&path(&paths), newer).unwrap();
        let error = CacheUse::change(&paths, &lock, know).unwrap_err();
        assert_eq!(error.code, "made-by-newer-pipe");
        assert_eq!(std::fs::read(path(&paths)).unwrap(), newer);
    }
}
