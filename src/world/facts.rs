//! What a host is like beyond [`Host`]: plain values that [`crate::doctor`] judges.
//!
//! Reading is quick (files of `/proc`, `/sys` and `/etc`) and changes nothing. Programs are started
//! only where the caller asks for the versions of tools. What cannot be read is `None`, and nothing
//! is then said about it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::env::Env;
use super::host::Host;

pub mod config;
pub mod kernel;
pub mod limits;
pub mod place;
pub mod ports;
pub mod rootless;
pub mod system;
pub mod tools;

pub use config::{AuthorityFact, ConfigFacts};
pub use kernel::{Feature, Kernel};
pub use limits::Limits;
pub use place::{Disk, Folder, disks};
pub use ports::{Holder, PortFact};
pub use rootless::Rootless;
pub use system::{Clock, Distribution, Family, Proxy, Security};
pub use tools::ToolFact;

/// Facts about this host.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HostFacts {
    /// What every run measures.
    #[serde(flatten)]
    pub host: Host,
    /// Effective user id of this process.
    pub uid: u32,
    /// Which Linux.
    pub distribution: Distribution,
    /// What the kernel can do.
    pub kernel_features: Kernel,
    /// How much of what is limited is in use.
    pub limits: Limits,
    /// What an ordinary user's containers need.
    pub rootless: Rootless,
    /// File systems that fill up.
    pub disks: Vec<Disk>,
    /// Where state is kept.
    pub state: Folder,
    /// Ports that were asked about.
    pub ports: Vec<PortFact>,
    /// What guards the host.
    pub security: Security,
    /// Time.
    pub clock: Clock,
    /// Proxy variables.
    pub proxies: Vec<Proxy>,
    /// The user's `config.yaml`.
    pub config: ConfigFacts,
    /// Programs; empty unless asked for.
    pub tools: Vec<ToolFact>,
}

/// What to look at beside what is always looked at.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Purpose and place of what fills up: `images` in `/var/lib/containers`.
    pub disks: Vec<(String, PathBuf)>,
    /// The state folder.
    pub state: PathBuf,
    /// TCP ports on the loopback address.
    pub ports: Vec<u16>,
    /// Start programs to learn their versions.
    pub tools: bool,
    /// Count inotify watches too, which reads a file for each of some hundred descriptors.
    pub watches: bool,
}

/// Reads the facts; `host` was measured already.
pub async fn read(host: &Host, env: &Env, ask: Ask) -> HostFacts {
    let tools = async { if ask.tools { tools::find(env).await } else { Vec::new() } };
    // What reads many files goes to threads of its own; the three take about as long as one.
    let (uid, watches, wanted) = (env.uid, ask.watches, ask.ports.clone());
    let release = host.kernel.clone();
    let root = Path::new("/");
    let limits = tokio::task::spawn_blocking(move || limits::read(root, uid, watches));
    let features = tokio::task::spawn_blocking(move || kernel::read(root, &release));
    let held = tokio::task::spawn_blocking(move || ports::look(root, &wanted));
    let (limits, features, held, tools) = tokio::join!(limits, features, held, tools);
    HostFacts {
        host: host.clone(),
        uid,
        distribution: system::distribution(root),
        kernel_features: features.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        rootless: rootless::read(root, env),
        disks: place::disks(&ask.disks),
        state: place::folder(&ask.state),
        ports: held.unwrap_or_default(),
        security: system::security(root, &host.kernel),
        clock: system::clock(root),
        proxies: system::proxies(env),
        config: config::read(env),
        tools,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A folder with these files, to stand for `/`.
    pub(crate) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        root
    }

    #[tokio::test]
    async fn reads_this_host_quickly() {
        let home = tempfile::tempdir().unwrap();
        let ask = Ask {
            disks: vec![("state".to_owned(), home.path().to_owned())],
            state: home.path().to_owned(),
            ports: vec![1],
            ..Ask::default()
        };
        let facts = read(&Host::measure(), &Env::from([("PATH", "/nowhere")]), ask).await;
        assert!(facts.disks[0].free > 0 && facts.state.writable);
        assert_eq!(facts.ports[0].port, 1);
        assert!(facts.tools.is_empty());
        assert_ne!(facts.distribution.name, "");
    }
}
