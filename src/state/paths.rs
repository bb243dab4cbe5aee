//! Where things are kept: the XDG folders, read from the environment once and handed down.

use std::path::{Path, PathBuf};

use super::file;
use crate::spec::ClusterName;
use crate::{Error, Result};

/// Our folder in each of the XDG folders.
const NAME: &str = "pipe";

/// What the image factory keeps in the cache: the map of built images, and what they were made from.
const OF_IMAGES: [&str; 2] = ["images", "factory"];

/// The folders of this user that last; nothing is created until something is written. The runtime
/// folder, for sockets, is [`crate::world`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    state: PathBuf,
    cache: PathBuf,
    /// Absent where the environment does not say; only backups need it.
    data: Option<PathBuf>,
}

/// Something that outlives the last cluster, with its size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// File or folder.
    pub path: PathBuf,
    /// Bytes in it.
    pub bytes: u64,
}

impl Paths {
    /// Reads `XDG_STATE_HOME`, `XDG_CACHE_HOME`, `XDG_DATA_HOME` and `HOME`.
    /// Relative paths are ignored, as the XDG specification demands. Fails where neither an XDG
    /// variable nor `HOME` says where to go.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Paths> {
        let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = |name: &str, below_home: &str| {
            let base =
                absolute(name).or_else(|| absolute("HOME").map(|home| home.join(below_home)));
            base.map(|base| base.join(NAME)).ok_or_else(|| {
                Error::host("no-home", format!("neither HOME nor {name} is an absolute path"))
                    .hint("set HOME to your home folder")
            })
        };
        Ok(Paths {
            data: folder("XDG_DATA_HOME", ".local/share").ok(),
            cache: folder("XDG_CACHE_HOME", ".cache")?,
            state: folder("XDG_STATE_HOME", ".local/state")?,
        })
    }

    /// What cannot be read back from anywhere else.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// What can be fetched or built again.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// What all clusters share: the signing key, the lock of embedded files.
    pub fn shared(&self) -> PathBuf {
        self.state.join("shared")
    }

    /// Archives of failures.
    pub fn evidence(&self) -> PathBuf {
        self.state.join("evidence")
    }

    /// Backups, where no other place is named: neither `teardown` nor `purge` touches them.
    ///
    /// # Errors
    /// The environment does not say where a home is.
    pub fn backups(&self) -> Result<PathBuf> {
        let data = self.data.as_ref().map(|data| data.join("backups"));
        data.ok_or_else(|| {
            Error::host("no-home", "neither HOME nor XDG_DATA_HOME is an absolute path")
                .hint("name a folder, or set HOME to your home folder")
        })
    }

    /// Lock files; empty or gone when nobody holds one.
    pub fn locks(&self) -> PathBuf {
        self.state.join("locks")
    }

    /// The folder of one cluster.
    pub fn cluster(&self, cluster: &ClusterName) -> ClusterFolder {
        ClusterFolder(self.clusters_folder().join(cluster.as_str()))
    }

    /// Every cluster that has state here, by name.
    pub fn clusters(&self) -> Result<Vec<ClusterName>> {
        let names = file::names(&self.clusters_folder())?;
        Ok(names.iter().filter_map(|name| ClusterName::parse(name).ok()).collect())
    }

    /// Removes all state of a cluster, and folders of ours that are empty then.
    pub fn remove_cluster(&self, cluster: &ClusterName) -> Result<()> {
        file::remove(&self.cluster(cluster).0)?;
        file::remove_if_empty(&self.clusters_folder());
        file::remove_if_empty(&self.state);
        Ok(())
    }

    /// What outlives the last cluster, largest first; without what belongs to built images if
    /// `but_images`.
    pub fn kept(&self, but_images: bool) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for folder in [self.cache.clone(), self.shared(), self.evidence()] {
            for name in file::names(&folder)? {
                if but_images && OF_IMAGES.contains(&name.as_str()) {
                    continue;
                }
                let path = folder.join(name);
                kept.push(Kept { bytes: file::size(&path), path });
            }
        }
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.bytes));
        Ok(kept)
    }

    /// Removes what [`Paths::kept`] listed. Clusters and their state stay.
    pub fn purge(&self, kept: &[Kept]) -> Result<()> {
        for entry in kept {
            file::remove(&entry.path)?;
        }
        for folder in [&self.cache, &self.shared(), &self.evidence(), &self.state] {
            file::remove_if_empty(folder);
        }
        Ok(())
    }

    fn clusters_folder(&self) -> PathBuf {
        self.state.join("clusters")
    }
}

/// The state of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFolder(PathBuf);

impl ClusterFolder {
    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What was done, step by step.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal.jsonl")
    }

    /// The journal, folded.
    pub fn receipt(&self) -> PathBuf {
        self.0.join("receipt.json")
    }

    /// The cluster's own kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Which kubeconfig files of the user it was merged into.
    pub fn merged(&self) -> PathBuf {
        self.0.join("merged.json")
    }

    /// A file that `pipe env` hands out for a component.
    pub fn handed_file(&self, component: &str, name: &str) -> PathBuf {
        self.0.join("files").join(component).join(name)
    }

    /// Generated credentials.
    pub fn credentials(&self) -> PathBuf {
        self.0.join("credentials.json")
    }

    /// Addresses and ports.
    pub fn reservation(&self) -> PathBuf {
        self.0.join("reservation.json")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Paths in a temporary home.
    pub(crate) fn paths_in(home: &Path) -> Paths {
        let home = home.to_str().unwrap().to_owned();
        Paths::from_env(|name| match name {
            "HOME" => Some(home.clone()),
            _ => None,
        })
        .unwrap()
    }

    #[test]
    fn xdg_variables_come_first_and_must_be_absolute() {
        let env = |name: &str| match name {
            "HOME" => Some("/home/ada".to_owned()),
            "XDG_STATE_HOME" => Some("relative".to_owned()),
            "XDG_CACHE_HOME" => Some("/var/cache/ada".to_owned()),
            _ => None,
        };
        let paths = Paths::from_env(env).unwrap();
        assert_eq!(paths.backups().unwrap(), Path::new("/home/ada/.local/share/pipe/backups"));
        assert_eq!(paths.state(), Path::new("/home/ada/.local/state/pipe"));
        assert_eq!(paths.cache(), Path::new("/var/cache/ada/pipe"));
        assert_eq!(Paths::from_env(|_| None).unwrap_err().code, "no-home");
    }

    #[test]
    fn removing_the_last_cluster_leaves_only_what_outlives_it() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        assert!(paths.clusters().unwrap().is_empty());
        let names = ["dev", "evidence", "shared"].map(|name| ClusterName::parse(name).unwrap());
        for name in &names {
            file::write(&paths.cluster(name).credentials(), b"{}").unwrap();
        }
        file::write(&paths.evidence().join("one.tar"), b"12345").unwrap();
        file::write(&paths.cache().join("tools/helm"), b"123456789").unwrap();
        assert_eq!(paths.clusters().unwrap(), names);
        for name in &names {
            paths.remove_cluster(name).unwrap();
        }
        assert_eq!(file::names(paths.state()).unwrap(), ["evidence"]);
        file::write(&paths.cache().join("images/built.json"), b"123").unwrap();
        let sizes = |but_images| -> Vec<u64> {
            paths.kept(but_images).unwrap().iter().map(|kept| kept.bytes).collect()
        };
        assert_eq!((sizes(true), sizes(false)), (vec![9, 5], vec![9, 5, 3]));
        paths.purge(&paths.kept(true).unwrap()).unwrap();
        assert_eq!(sizes(false), [3]);
        paths.purge(&paths.kept(false).unwrap()).unwrap();
        assert!(!paths.state().exists() && !paths.cache().exists());
    }
}
