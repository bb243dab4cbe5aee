//! Why a node failed, from what it said itself: kubelet and systemd give up with a sentence that
//! names the cause, thousands of lines above the symptom that a wait sees.

use std::time::Duration;

use super::context::Context;
use crate::world::engine::{Engine, Exec, State};
use crate::{Error, Kind, Result};

/// Time for a node to say something; one that hangs says nothing.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest line of evidence, in characters.
const LINE_MAX: usize = 300;

/// A cause that is known by its words.
struct Sign {
    /// All of these are in one line, in small letters.
    words: &'static [&'static str],
    cause: &'static str,
    remedy: &'static str,
}

const INOTIFY: &str = "sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288 \
                       (in /etc/sysctl.d to keep it)";
const INOTIFY_CAUSE: &str = "this host has no inotify instances or watches left for the node";
pub(super) const DISK: &str =
    "free some: podman system df shows what is in it; pipe list shows other clusters";
const PATCHES: &str =
    "correct patches.kubelet in the cluster file, then make the node again: pipe up --replace";
const CGROUPS: &str = "pipe doctor shows what is delegated and how to change it";

/// The first that fits counts: what is more special comes first.
const SIGNS: &[Sign] = &[
    Sign { words: &["inotify", "too many open files"], cause: INOTIFY_CAUSE, remedy: INOTIFY },
    Sign { words: &["inotify", "no space left on device"], cause: INOTIFY_CAUSE, remedy: INOTIFY },
    Sign {
        words: &["manager object", "too many open files"],
        cause: INOTIFY_CAUSE,
        remedy: INOTIFY,
    },
    Sign { words: &["fsnotify", "too many open files"], cause: INOTIFY_CAUSE, remedy: INOTIFY },
    Sign {
        words: &["too many open files"],
        cause: "a program in the node may open no more files",
        remedy: "raise the limit of open files (nofile) of the engine, then make the node again",
    },
    Sign {
        words: &["no space left on device"],
        cause: "a disk that the node writes to is full",
        remedy: DISK,
    },
    Sign {
        words: &["diskpressure"],
        cause: "the node is short of disk, so kubelet runs nothing more",
        remedy: DISK,
    },
    Sign {
        words: &["attempting to reclaim", "ephemeral-storage"],
        cause: "the node is short of disk, so kubelet removes pods and images",
        remedy: DISK,
    },
    Sign {
        words: &["exec format error"],
        cause: "a program in the node is for another architecture",
        remedy: "use an image for this machine; unset DOCKER_DEFAULT_PLATFORM",
    },
    Sign {
        words: &["certificate has expired or is not yet valid"],
        cause: "the clocks of those who made and those who check the certificates differ",
        remedy: "set this machine's clock; a Podman machine that slept: podman machine stop, then start",
    },
    Sign {
        words: &["failed to load kubelet config file"],
        cause: "kubelet does not understand its configuration",
        remedy: PATCHES,
    },
    Sign {
        words: &["unrecognized feature gate"],
        cause: "kubelet knows no such feature gate",
        remedy: PATCHES,
    },
    Sign {
        words: &["failed to validate kubelet configuration"],
        cause: "kubelet refuses its configuration",
        remedy: PATCHES,
    },
    Sign {
        words: &["cgroup driver"],
        cause: "kubelet and containerd divide control groups differently",
        remedy: "use a node image of kind, or of scripts/images/factory in a clone of pipe, unchanged",
    },
    Sign {
        words: &["kubepods", "permission denied"],
        cause: "control groups are not delegated to this user",
        remedy: CGROUPS,
    },
    Sign {
        words: &["failed to find subsystem mount for required subsystem"],
        cause: "a control group controller is missing",
        remedy: CGROUPS,
    },
    Sign {
        words: &["controllers", "not available"],
        cause: "a control group controller is missing",
        remedy: CGROUPS,
    },
    Sign {
        words: &["cgroup v1 support", "unsupported"],
        cause: "the node's kubelet refuses cgroup v1",
        remedy: "boot with cgroup v2, or use a node image of scripts/images/factory in a clone of pipe",
    },
    Sign {
        words: &["refusing to run under cgroup v1"],
        cause: "the node image needs cgroup v2, and this host has v1",
        remedy: "boot with systemd.unified_cgroup_hierarchy=1, or use a node image of scripts/images/factory in a clone of pipe",
    },
    Sign {
        words: &["running with swap on is not supported"],
        cause: "kubelet refuses to run with swap",
        remedy: "use a node image of kind, or of scripts/images/factory in a clone of pipe, unchanged",
    },
    Sign {
        words: &["out of memory"],
        cause: "the machine ran out of memory",
        remedy: "give it more, or have fewer nodes and components",
    },
    Sign {
        words: &["oom-kill"],
        cause: "the machine ran out of memory",
        remedy: "give it more, or have fewer nodes and components",
    },
    Sign {
        words: &["table does not exist", "insmod"],
        cause: "the kernel lacks a module for packet filters",
        remedy: "load it on the host: modprobe ip_tables iptable_nat ip6_tables ip6table_nat",
    },
    Sign {
        words: &["overlay", "no such device"],
        cause: "the kernel lacks the module overlay",
        remedy: "load it on the host: modprobe overlay",
    },
    Sign {
        words: &["bind: address already in use"],
        cause: "a port in the node is taken",
        remedy: "remove what a patch or a mount starts in the node",
    },
];

/// Adds the cause to the error of a deed on a node, where the node or the error says one.
pub(super) async fn explain(
    context: &Context,
    host: &str,
    deed: impl Future<Output = Result<()>>,
) -> Result<()> {
    let Err(error) = deed.await else { return Ok(()) };
    if error.kind == Kind::Interrupted {
        return Err(error);
    }
    let said = what_it_said(&context.world.engine, host).await;
    Err(explained(host, &format!("{error}\n{said}"), error))
}

/// What systemd, kubelet and containerd of a node said, oldest first.
async fn what_it_said(engine: &Engine, host: &str) -> String {
    let running = engine.inspect(host).await.ok().flatten();
    if running.is_some_and(|container| container.state == State::Running) {
        let units = ["-u", "kubelet", "-u", "containerd", "-t", "kernel"];
        let journal = ["journalctl", "--no-pager", "--output=cat", "--boot", "-n", "3000"];
        let read = Exec::new(journal.into_iter().chain(units)).within(ANSWER);
        if let Ok(output) = engine.exec(host, read).await {
            return output.text();
        }
    }
    tokio::time::timeout(ANSWER, engine.last_words(host)).await.unwrap_or_default()
}

/// The error with the first known cause in what was said; as it is where none is known.
fn explained(host: &str, said: &str, error: Error) -> Error {
    // The last occurrence: earlier ones may be of a moment that passed.
    let found = SIGNS.iter().find_map(|sign| {
        let line = said.lines().rev().find(|line| {
            let line = line.to_lowercase();
            sign.words.iter().all(|word| line.contains(word))
        })?;
        Some((sign, line))
    });
    let Some((sign, line)) = found else { return error };
    let line: String = line.trim().chars().take(LINE_MAX).collect();
    let mut error = error;
    error.causes.insert(0, sign.cause.to_owned());
    error.causes.push(format!("{host} said: {line}"));
    error.hints.insert(0, sign.remedy.to_owned());
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_cause(said: &str) -> String {
        let error = Error::timed_out("node-not-ready", "node w did not become Ready within 180 s");
        let error = explained("w", said, error.because("last seen: it has not registered"));
        assert_eq!(error.code, "node-not-ready");
        error.causes[0].clone()
    }

    #[test]
    fn a_known_sentence_becomes_the_first_cause() {
        for (said, cause) in [
            ("Failed to create inotify object: Too many open files", INOTIFY_CAUSE),
            ("Failed to allocate manager object: Too many open files", INOTIFY_CAUSE),
            (
                "\"command failed\" err=\"failed to start cAdvisor: inotify_init: too many open files\"",
                INOTIFY_CAUSE,
            ),
            ("inotify_add_watch /sys/fs/cgroup: no space left on device", INOTIFY_CAUSE),
            ("accept4: too many open files", "a program in the node may open no more files"),
            (
                "mkdir /var/lib/kubelet/x: no space left on device",
                "a disk that the node writes to is full",
            ),
            (
                "x509: certificate has expired or is not yet valid: current time is before",
                "the clocks of those who made and those who check the certificates differ",
            ),
            (
                "mkdir /sys/fs/cgroup/kubepods: permission denied",
                "control groups are not delegated to this user",
            ),
            (
                "exec /usr/local/bin/entrypoint: exec format error",
                "a program in the node is for another architecture",
            ),
            (
                "can't initialize iptables table `nat': Table does not exist (do you need to insmod?)",
                "the kernel lacks a module for packet filters",
            ),
        ] {
            assert_eq!(first_cause(&format!("noise\n{said}\nmore noise")), cause, "{said}");
        }
        assert_eq!(first_cause("Started kubelet"), "last seen: it has not registered");
    }

    #[test]
    fn the_line_itself_is_evidence() {
        let error = Error::failed("kubeadm", "`kubeadm init` failed").hint("look there");
        let said = format!("{} exec format error", "x".repeat(1000));
        let error = explained("w", &said, error);
        assert!(error.causes[1].starts_with("w said: xxx") && error.causes[1].len() < 320);
        assert_eq!(error.hints.len(), 2);
        assert_eq!(error.hints[1], "look there");
    }
}
