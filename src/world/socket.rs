//! Which engine socket: the order of discovery, and what answers on each.
//!
//! A socket file that is absent or stale says nothing about whether Podman is installed: systemd
//! may not have activated it, or its service may have gone. The next candidate is asked, and where
//! none answers, [`super::service`] starts one.

use std::path::{Path, PathBuf};

use crate::world::engine::{EngineError, Libpod};
use crate::world::env::Env;
use crate::{Error, Result};

/// The socket of a rootful Podman service started by systemd.
const ROOTFUL: &str = "/run/podman/podman.sock";

/// Where a candidate comes from, in the order they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// `--engine`.
    Flag,
    /// `PIPE_ENGINE`.
    PipeEngine,
    /// `CONTAINER_HOST`, Podman's own variable.
    ContainerHost,
    /// `DOCKER_HOST`, if Podman answers there.
    DockerHost,
    /// The system's socket.
    Rootful,
    /// The user's socket.
    Rootless,
    /// The service that `pipe` started.
    Own,
}

impl Origin {
    /// Whether the user named this socket for Podman: then no other may take its place.
    fn is_explicit(self) -> bool {
        matches!(self, Origin::Flag | Origin::PipeEngine | Origin::ContainerHost)
    }

    fn describe(self) -> &'static str {
        match self {
            Origin::Flag => "--engine",
            Origin::PipeEngine => "PIPE_ENGINE",
            Origin::ContainerHost => "CONTAINER_HOST",
            Origin::DockerHost => "DOCKER_HOST",
            Origin::Rootful => "the system's Podman socket",
            Origin::Rootless => "the user's Podman socket",
            Origin::Own => "pipe's own Podman service",
        }
    }
}

/// A socket that may lead to an engine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Candidate {
    /// Where it comes from.
    pub origin: Origin,
    /// Its path.
    pub path: PathBuf,
}

/// A socket on which a Podman answers that is new enough.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// Which one.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// What it said its version is: `4.3.1`.
    pub version: String,
}

/// The socket of the service that `pipe` starts.
pub fn own_socket(env: &Env) -> PathBuf {
    env.runtime_dir().join("podman.sock")
}

/// Every candidate in order; `flag` is the value of `--engine`. Fails where an explicit one is not
/// a Unix socket.
pub fn candidates(flag: Option<&str>, env: &Env) -> Result<Vec<Candidate>> {
    let explicit = [
        (Origin::Flag, flag),
        (Origin::PipeEngine, env.get("PIPE_ENGINE")),
        (Origin::ContainerHost, env.get("CONTAINER_HOST")),
    ];
    for (origin, address) in explicit {
        if let Some(address) = address {
            let path = unix_path(address).ok_or_else(|| {
                let what = format!("{} names {address:?}", origin.describe());
                Error::host("engine-address", what)
                    .because("only an engine on a Unix socket can be used")
                    .hint("give it as unix:///path/to/podman.sock")
            })?;
            return Ok(vec![Candidate { origin, path }]);
        }
    }
    let docker_host = env.get("DOCKER_HOST").and_then(unix_path);
    let rootless = env.get("XDG_RUNTIME_DIR").map(|dir| Path::new(dir).join("podman/podman.sock"));
    let implicit = [
        (Origin::DockerHost, docker_host),
        (Origin::Rootful, Some(PathBuf::from(ROOTFUL))),
        (Origin::Rootless, rootless),
        (Origin::Own, Some(own_socket(env))),
    ];
    let present =
        |(origin, path): (Origin, Option<PathBuf>)| Some(Candidate { origin, path: path? });
    Ok(implicit.into_iter().filter_map(present).collect())
}

/// The first candidate on which a Podman answers, or `None` if there is none and none was named
/// by the user. Fails if the one the user named does not answer, or the one found is too old.
pub async fn discover(flag: Option<&str>, env: &Env) -> Result<Option<Found>> {
    first_answering(candidates(flag, env)?).await
}

/// The first of `candidates` on which a Podman answers; see [`discover`].
pub async fn first_answering(candidates: Vec<Candidate>) -> Result<Option<Found>> {
    for candidate in candidates {
        match ping(&candidate.path).await {
            Ok(version) => {
                require_version(&version)?;
                return Ok(Some(Found { candidate, version }));
            }
            Err(error) if candidate.origin.is_explicit() => {
                return Err(unanswered(&candidate, &error));
            }
            Err(_next) => {}
        }
    }
    Ok(None)
}

/// The version of the Podman that answers on `socket`.
pub async fn ping(socket: &Path) -> Result<String, EngineError> {
    Libpod::new(socket)?.ping().await
}

/// Refuses a Podman that is older than the first one known to work.
pub fn require_version(version: &str) -> Result<()> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if (major, minor) >= (4, 3) {
        return Ok(());
    }
    Err(Error::host("engine-too-old", format!("Podman {version} is too old"))
        .because("pipe needs Podman 4.3 or newer")
        .hint("install a newer Podman: Debian 12 and Ubuntu 24.04 have one"))
}

fn unanswered(candidate: &Candidate, error: &EngineError) -> Error {
    let (origin, path) = (candidate.origin.describe(), candidate.path.display());
    if error.message.contains("Permission denied") {
        let what = format!("you may not use the engine on {path}, named by {origin}");
        return Error::host("engine-forbidden", what)
            .because(&error.message)
            .hint("run pipe as the user who started that engine (root, for the system's Podman)")
            .hint(format!("or unset {origin}: pipe then starts a rootless Podman of your own"));
    }
    Error::host("engine-unreachable", format!("no Podman answers on {path}, named by {origin}"))
        .because(&error.message)
        .hint(format!("start it: podman system service --time=0 unix://{path}"))
        .hint(format!("or unset {origin}: pipe then finds or starts an engine itself"))
}

/// The path of a Unix socket address: `unix:///run/x.sock` or an absolute path.
fn unix_path(address: &str) -> Option<PathBuf> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(flag: Option<&str>, env: &Env) -> Vec<String> {
        let line = |c: Candidate| format!("{:?} {}", c.origin, c.path.display());
        candidates(flag, env).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn order_of_discovery() {
        let env = Env::from([
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("DOCKER_HOST", "unix:///var/run/docker.sock"),
        ]);
        insta::assert_snapshot!(paths(None, &env).join("\n"), @r"
        DockerHost /var/run/docker.sock
        Rootful /run/podman/podman.sock
        Rootless /run/user/7/podman/podman.sock
        Own /run/user/7/pipe/podman.sock
        ");
    }

    #[test]
    fn what_the_user_names_is_the_only_candidate() {
        let env = Env::from([("CONTAINER_HOST", "unix:///c.sock"), ("PIPE_ENGINE", "/p.sock")]);
        assert_eq!(paths(Some("unix:///f.sock"), &env), ["Flag /f.sock"]);
        assert_eq!(paths(None, &env), ["PipeEngine /p.sock"]);
        let env = Env::from([("CONTAINER_HOST", "ssh://host/run/podman.sock")]);
        assert_eq!(candidates(None, &env).unwrap_err().code, "engine-address");
    }

    #[test]
    fn a_remote_docker_host_is_passed_over() {
        let env = Env::from([("DOCKER_HOST", "tcp://10.0.0.1:2375")]);
        assert!(!paths(None, &env).iter().any(|line| line.starts_with("DockerHost")));
    }

    #[test]
    fn versions() {
        for good in ["4.3.0", "4.10.1", "5.0.0-rc1", "6.1.0"] {
            require_version(good).unwrap();
        }
        for old in ["4.2.9", "3.4.4", "", "abc"] {
            assert_eq!(require_version(old).unwrap_err().kind, crate::Kind::Host, "{old}");
        }
    }
}
