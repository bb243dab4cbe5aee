//! Where things are kept: the XDG folders, read from the environment once and handed down.

use std::path::{Path, PathBuf};

use super::file;
use crate::spec::ClusterName;
use crate::{Error, Result};

/// Our folder in each of the XDG folders.
const NAME: &str = "pipe";

/// The four folders of this user; nothing is created until something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    state: PathBuf,
    cache: PathBuf,
    config: PathBuf,
    runtime: PathBuf,
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
    /// Reads `XDG_STATE_HOME`, `XDG_CACHE_HOME`, `XDG_CONFIG_HOME`, `XDG_RUNTIME_DIR` and `HOME`.
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
        let state = folder("XDG_STATE_HOME", ".local/state")?;
        let runtime = absolute("XDG_RUNTIME_DIR")
            .or_else(|| Some(user_runtime_folder()).filter(|path| path.is_dir()))
            .map_or_else(|| state.join("run"), |base| base.join(NAME));
        Ok(Paths {
            cache: folder("XDG_CACHE_HOME", ".cache")?,
            config: folder("XDG_CONFIG_HOME", ".config")?,
            runtime,
            state,
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

    /// What the user wrote for all projects.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Sockets and pid files; gone after a reboot.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// What all clusters share: the signing key, the lock of embedded files.
    pub fn shared(&self) -> PathBuf {
        self.state.join("shared")
    }

    /// Archives of failures.
    pub fn evidence(&self) -> PathBuf {
        self.state.join("evidence")
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

    /// What [`Paths::purge`] would remove, largest first.
    pub fn kept(&self) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for folder in [self.cache.clone(), self.shared(), self.evidence()] {
            for name in file::names(&folder)? {
                let path = folder.join(name);
                kept.push(Kept { bytes: file::size(&path), path });
            }
        }
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.bytes));
        Ok(kept)
    }

    /// Removes the cache, evidence and everything shared. Clusters and their state stay.
    pub fn purge(&self) -> Result<()> {
        for folder in [self.cache.clone(), self.shared(), self.evidence()] {
            file::remove(&folder)?;
        }
        file::remove_if_empty(&self.state);
        Ok(())
    }

    fn clusters_folder(&self) -> PathBuf {
        self.state.join("clusters")
    }
}

/// Where systemd puts sockets of a logged-in user, even if this shell was not told.
fn user_runtime_folder() -> PathBuf {
    PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw()))
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
        let run = format!("{home}/run");
        Paths::from_env(|name| match name {
            "HOME" => Some(home.clone()),
            "XDG_RUNTIME_DIR" => Some(run.clone()),
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
            "XDG_RUNTIME_DIR" => Some("/run/user/7".to_owned()),
            _ => None,
        };
        let paths = Paths::from_env(env).unwrap();
        assert_eq!(paths.state(), Path::new("/home/ada/.local/state/pipe"));
        assert_eq!(paths.cache(), Path::new("/var/cache/ada/pipe"));
        assert_eq!(paths.config(), Path::new("/home/ada/.config/pipe"));
        assert_eq!(paths.runtime(), Path::new("/run/user/7/pipe"));
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
        let kept: Vec<u64> = paths.kept().unwrap().iter().map(|kept| kept.bytes).collect();
        assert_eq!(kept, [9, 5]);
        paths.purge().unwrap();
        assert!(paths.kept().unwrap().is_empty());
        assert!(!paths.state().exists() && !paths.cache().exists());
    }
}
