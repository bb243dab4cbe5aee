//! What the engine can do for us: Podman, spoken to on its Unix socket.
//!
//! [`Engine`] has one method for each verb the rest of `pipe` needs; its impl blocks are in the
//! files below. Plain structs go in and come out, so that nobody outside knows which of the two
//! clients carried a call. Why two: `docs/decisions/001-engine-client.md`.
//!
//! Reads have short deadlines and are asked again after a broken connection or a 500. Changes are
//! sent once. Streams (exec, export) have the caller's deadline or none.

use std::path::{Path, PathBuf};

use bollard::{ClientVersion, Docker};
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod container;
mod create;
mod error;
mod evidence;
mod exec;
mod files;
mod image;
mod libpod;
mod log;
mod network;
mod pull;
mod top;
mod volume;

pub use container::{Addresses, Container, ContainerLine, MountPoint, State};
pub use create::{Bind, ContainerSpec, PublishedPort, Ulimit, VolumeMount};
pub use error::{EngineError, EngineResult, Fault, UNREACHABLE};
pub use exec::{Exec, ExecOutput, StdStream, Stdin};
pub use files::FileToPut;
pub use image::{ImageInfo, ImageLine};
pub use libpod::Libpod;
pub use network::{Network, NetworkSpec};
pub use pull::{Pull, PullProgress, SILENT};
pub use volume::Volume;

use libpod::{CHANGE_TIMEOUT, retry};

/// The level of the Docker-compatible API that Podman 4.3 speaks. Later servers keep its shapes
/// for a client that asks for it.
const COMPAT_VERSION: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// A connection to one Podman. Cheap to clone; every call opens its own connection.
#[derive(Clone, Debug)]
pub struct Engine {
    libpod: Libpod,
    docker: Docker,
    socket: PathBuf,
}

/// What the engine says about itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EngineInfo {
    /// Podman's version: `4.3.1`.
    pub version: String,
    /// Version of its API.
    pub api: String,
    /// Runs as an ordinary user.
    pub rootless: bool,
    /// `v1` (hybrid hosts too) or `v2`.
    pub cgroup_version: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_manager: String,
    /// The OCI runtime: `crun`, `runc`.
    pub runtime: String,
    /// CPU architecture in Go's spelling.
    pub arch: String,
    /// Folder that holds images, containers and volumes.
    pub graph_root: PathBuf,
    /// Folder that layers pass through on their way there; empty before Podman 4.3.
    pub copy_tmp: PathBuf,
    /// `netavark` or `cni`; empty before Podman 4.
    pub network_backend: String,
    /// Whether it has a server for the names of containers; `None` before Podman 4.6, which does not
    /// say.
    pub dns: Option<bool>,
    /// How images are stored: `overlay`, `vfs`.
    pub storage: String,
    /// The file system below that: `extfs`, `xfs`, `btrfs`.
    pub file_system: String,
    /// When this engine was built, in seconds since 1970; 0 where it does not say.
    pub built: i64,
}

impl Engine {
    /// A client for the engine on `socket`; [`super::service::ensure`] finds that.
    pub fn connect(socket: &Path) -> EngineResult<Engine> {
        let libpod = Libpod::new(socket)?;
        let path = socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, CHANGE_TIMEOUT.as_secs(), &COMPAT_VERSION)
            .map_err(|error| EngineError::from_bollard("reach the engine", error))?;
        Ok(Engine { libpod, docker, socket: socket.to_owned() })
    }

    /// The socket this engine answers on.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the engine says about itself.
    pub async fn info(&self) -> EngineResult<EngineInfo> {
        let info: Info = self.libpod.get("read the engine's facts", "info", &[]).await?;
        Ok(EngineInfo {
            version: info.version.version,
            api: info.version.api_version,
            rootless: info.host.security.rootless,
            cgroup_version: info.host.cgroup_version,
            cgroup_manager: info.host.cgroup_manager,
            runtime: info.host.oci_runtime.name,
            arch: info.host.arch,
            file_system: info.store.file_system(),
            graph_root: info.store.graph_root,
            copy_tmp: info.store.image_copy_tmp_dir,
            network_backend: info.host.network_backend,
            dns: info
                .host
                .network_backend_info
                .map(|info| info.dns.is_some_and(InfoProgram::exists)),
            storage: info.store.graph_driver_name,
            built: info.version.built.as_i64().unwrap_or(0),
        })
    }
}

#[derive(Deserialize)]
struct Info {
    host: InfoHost,
    store: InfoStore,
    version: InfoVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfoHost {
    arch: String,
    cgroup_manager: String,
    cgroup_version: String,
    #[serde(default)]
    network_backend: String,
    network_backend_info: Option<InfoBackend>,
    oci_runtime: InfoRuntime,
    security: InfoSecurity,
}

#[derive(Deserialize)]
struct InfoBackend {
    dns: Option<InfoProgram>,
}

#[derive(Deserialize)]
struct InfoProgram {
    path: Option<PathBuf>,
}

impl InfoProgram {
    fn exists(self) -> bool {
        self.path.is_some_and(|path| !path.as_os_str().is_empty())
    }
}

#[derive(Deserialize)]
struct InfoRuntime {
    name: String,
}

#[derive(Deserialize)]
struct InfoSecurity {
    rootless: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfoStore {
    #[serde(default)]
    graph_driver_name: String,
    graph_root: PathBuf,
    #[serde(default)]
    image_copy_tmp_dir: PathBuf,
    /// Differs with the driver; nothing may fail for what is in it.
    #[serde(default)]
    graph_status: Value,
}

impl InfoStore {
    fn file_system(&self) -> String {
        let found = self.graph_status.get("Backing Filesystem").and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    }
}

#[derive(Deserialize)]
struct InfoVersion {
    #[serde(rename = "APIVersion")]
    api_version: String,
    #[serde(default, rename = "Built")]
    built: Value,
    #[serde(rename = "Version")]
    version: String,
}
