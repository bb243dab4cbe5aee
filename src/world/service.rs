//! An engine where none answers: `podman system service`, started by us, detached, and stopped by
//! us as exactly that process.
//!
//! ```text
//! ensure ─ discover ─ found ──────────────────────────────▶ Found
//!             └─ none ─ podman on PATH? ─ flags ─ spawn ─ answers /_ping ─▶ Found
//!                             └─ no: exit 4      │  └─ exits, or deadline: its log in the error
//!                                                └─ pid file: pid, start time, socket
//! ```
//!
//! [`ensure`], [`revive`] and [`stop`] change what all clusters share: callers hold the lock on starting ([`super::usage`]).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::world::env::Env;
use crate::world::host::{Cgroups, Host};
use crate::world::process::{Program, last_lines};
use crate::world::socket::{self, Candidate, Found, Origin};
use crate::{Error, Result};

mod owned;
mod settings;

use owned::{Owned, Stopped};

/// How long a service may take to answer its first ping; it opens its storage first.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Pause between pings of a service that is starting.
const PING_PAUSE: Duration = Duration::from_millis(30);

/// How long a service that is ending may still be seen.
const DYING: Duration = Duration::from_secs(2);

/// How long a service may take to end before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Replaces itself by its arguments, with standard input, output and error only.
const CLOSE_AND_EXEC: &str = "exec \"$@\" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-";

/// Longest path of a Unix socket (`sun_path`, with its final zero).
const SOCKET_PATH_MAX: usize = 107;

/// The process that serves our socket, as the pid file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PidFile {
    pid: i32,
    /// Clock ticks after boot when it started: tells it from a later process with that id.
    start_time: u64,
    socket: PathBuf,
}

/// The engine to use: the one that answers, or a service of our own, started now. `flag` is the
/// value of `--engine`.
pub async fn ensure(flag: Option<&str>, env: &Env, host: &Host) -> Result<Found> {
    match socket::discover(flag, env).await? {
        Some(found) => Ok(found),
        None => start(env, host).await,
    }
}

/// Ends the service that [`ensure`] started. `false` if there is none. A process that merely has
/// its old id is not touched.
pub async fn stop(env: &Env) -> Result<bool> {
    let files = Files::of(env);
    let Some(recorded) = files.recorded() else { return Ok(false) };
    let stopped = match Owned::find(recorded.pid, recorded.start_time) {
        None => Stopped::Gone,
        Some(service) => service.stop(STOP_GRACE).await.map_err(|error| {
            Error::failed("engine-service-stop", format!("podman service {} goes on", recorded.pid))
                .because(error)
        })?,
    };
    for file in [&recorded.socket, &files.pid, &files.log, &files.settings] {
        let _gone_already = fs::remove_file(file);
    }
    let _none = fs::remove_dir_all(&files.authorities);
    Ok(stopped == Stopped::Now)
}

/// Starts our service again if it has ended by itself under somebody who uses it: what it said last,
/// or `None` where it goes on, or never was.
///
/// # Errors
/// Those of [`ensure`].
pub async fn revive(env: &Env, host: &Host) -> Result<Option<String>> {
    let files = Files::of(env);
    let deadline = Instant::now() + DYING;
    // Its connections break a moment before it is gone.
    while left(env).is_none() {
        if socket::ping(&files.socket).await.is_ok() || Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(PING_PAUSE).await;
    }
    let said = last_lines(&fs::read_to_string(&files.log).unwrap_or_default());
    start(env, host).await?;
    Ok(Some(said))
}

/// The process id of our service, if it runs.
pub fn running(env: &Env) -> Option<u32> {
    let recorded = Files::of(env).recorded()?;
    Owned::find(recorded.pid, recorded.start_time)?;
    u32::try_from(recorded.pid).ok()
}

/// The record of a service of ours that has ended by itself.
pub fn left(env: &Env) -> Option<PathBuf> {
    let record = Files::of(env).pid;
    (record.exists() && running(env).is_none()).then_some(record)
}

async fn start(env: &Env, host: &Host) -> Result<Found> {
    let podman = env.find_program("podman").ok_or_else(|| {
        Error::host("no-podman", "Podman is not installed")
            .because("no engine answers, and there is no podman on PATH to start one")
            .hint("Debian, Ubuntu: apt-get install podman")
            .hint("Fedora: dnf install podman")
    })?;
    let flags = flags(host, env.find_program("runc").is_some())?;
    let files = Files::of(env);
    if let Some(pid) = running(env) {
        // It serves other commands too: slow is no reason to end it under them.
        return answering(files.socket, START_DEADLINE).await.ok_or_else(|| {
            Error::host("engine-service", format!("Podman's service (process {pid}) hangs"))
                .because(format!("it did not answer within {START_DEADLINE:?}"))
                .hint(format!("end it, then try again: kill -9 {pid}"))
        });
    }
    files.prepare()?;

    let log = File::create(&files.log).map_err(|error| files.unwritable(&files.log, error))?;
    let arguments: Vec<String> = flags
        .into_iter()
        .chain(["system", "service", "--time=0"])
        .map(str::to_owned)
        .chain([format!("unix://{}", files.socket.display())])
        .collect();
    let by_hand = Program::new(&podman, env).args(&arguments).command_line();
    // Through a shell, because it must not keep what our caller has open: a pipe whose reader waits
    // for its end, a lock file.
    let mut program =
        Program::new("/bin/sh", env).args(["-c", CLOSE_AND_EXEC, "sh"]).arg(podman).args(arguments);
    if let Some((variable, text)) = settings::settings(env) {
        let settings = fs::write(&files.settings, text);
        settings.map_err(|error| files.unwritable(&files.settings, error))?;
        program = program.var(variable, &files.settings);
    }
    if let Some(folders) = files.trust(env)? {
        program = program.var("SSL_CERT_DIR", folders);
    }
    let mut child = program.detach(log)?;
    let failed = |why: String| {
        Error::host("engine-service", "Podman's service did not start")
            .because(why)
            .because(last_lines(&fs::read_to_string(&files.log).unwrap_or_default()))
            .hint(format!("try it by hand: {by_hand}"))
    };

    let found = tokio::select! {
        found = answering(files.socket.clone(), START_DEADLINE) => found,
        status = child.wait() => {
            let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(failed(format!("it ended at once: {how}")));
        }
    };
    let started = match found {
        None => Err(failed(format!("it did not answer within {START_DEADLINE:?}"))),
        Some(found) => socket::require_version(&found.version)
            .and_then(|()| files.record(child.id()))
            .map(|()| found),
    };
    if started.is_err() {
        let _gone = child.kill().await;
    }
    started
}

/// The service on our socket as soon as it answers, or `None` at the deadline.
async fn answering(path: PathBuf, deadline: Duration) -> Option<Found> {
    let answer = async {
        loop {
            if let Ok(version) = socket::ping(&path).await {
                return version;
            }
            tokio::time::sleep(PING_PAUSE).await;
        }
    };
    let version = tokio::time::timeout(deadline, answer).await.ok()?;
    Some(Found { candidate: Candidate { origin: Origin::Own, path }, version })
}

/// Global flags that this host needs, before `system service`.
fn flags(host: &Host, has_runc: bool) -> Result<Vec<&'static str>> {
    let mut flags = Vec::new();
    if host.cgroups != Cgroups::V2 {
        if !has_runc {
            return Err(Error::host("no-runc", "runc is not installed")
                .because("this host has cgroup v1, where crun cannot run nodes")
                .hint("Debian, Ubuntu: apt-get install runc"));
        }
        flags.extend(["--runtime", "runc"]);
    }
    if !host.systemd {
        flags.extend(["--cgroup-manager", "cgroupfs"]);
    }
    Ok(flags)
}

/// The files of our service.
struct Files {
    socket: PathBuf,
    pid: PathBuf,
    log: PathBuf,
    settings: PathBuf,
    /// Holds what the service trusts beside the host's authorities.
    authorities: PathBuf,
}

impl Files {
    fn of(env: &Env) -> Files {
        let folder = env.runtime_dir();
        Files {
            socket: socket::own_socket(env),
            pid: folder.join("podman-service.json"),
            log: folder.join("podman-service.log"),
            settings: folder.join("containers.conf"),
            authorities: folder.join("authorities"),
        }
    }

    /// The folders in which the service looks for certificates, if ours is among them: Go programs
    /// read these beside the system's own bundle.
    fn trust(&self, env: &Env) -> Result<Option<String>> {
        let trusted = &env.surroundings.authorities;
        if trusted.is_empty() {
            return Ok(None);
        }
        let file = self.authorities.join("authorities.pem");
        let written = fs::create_dir_all(&self.authorities)
            .and_then(|()| fs::write(&file, trusted.join("\n")));
        written.map_err(|error| self.unwritable(&file, error))?;
        let before = env.get("SSL_CERT_DIR").unwrap_or("/etc/ssl/certs:/etc/pki/tls/certs");
        Ok(Some(format!("{before}:{}", self.authorities.display())))
    }

    fn recorded(&self) -> Option<PidFile> {
        serde_json::from_slice(&fs::read(&self.pid).ok()?).ok()
    }

    /// Makes the folder, for this user alone, and clears what a dead service left.
    fn prepare(&self) -> Result<()> {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        let length = self.socket.as_os_str().len();
        let folder = self.socket.parent().unwrap_or(Path::new("/"));
        if length > SOCKET_PATH_MAX {
            let what = format!("the socket path {} is too long", self.socket.display());
            return Err(Error::host("engine-socket-path", what)
                .because(format!("{length} bytes; a Unix socket's path has at most 107"))
                .hint("set XDG_RUNTIME_DIR to a folder with a shorter path"));
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| self.unwritable(folder, error))?;
        // Under a shared temporary folder somebody else could have made it first.
        let owner = fs::metadata(folder).map_err(|error| self.unwritable(folder, error))?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(self.unwritable(folder, format!("it belongs to user {owner}")));
        }
        // Nothing answered on it, so what is there is left over.
        let _absent = fs::remove_file(&self.socket);
        Ok(())
    }

    fn record(&self, pid: Option<u32>) -> Result<()> {
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        let recorded = pid.and_then(|pid| {
            let start_time = owned::start_time(pid)?;
            Some(PidFile { pid, start_time, socket: self.socket.clone() })
        });
        let text = serde_json::to_vec(&recorded).map_err(|e| self.unwritable(&self.pid, e))?;
        fs::write(&self.pid, text).map_err(|error| self.unwritable(&self.pid, error))
    }

    fn unwritable(&self, path: &Path, why: impl std::fmt::Display) -> Error {
        Error::host("runtime-folder", format!("{} cannot be used", path.display()))
            .because(why)
            .hint("set XDG_RUNTIME_DIR to a folder that only you can write to")
    }
}

#[cfg(test)]
mod tests;
