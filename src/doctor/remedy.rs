//! Commands that can be pasted, for the distribution at hand.

use crate::world::facts::{Family, HostFacts};

/// A file of ours among a folder of settings.
const OURS: &str = "90-pipe.conf";

/// `command` for this user: with sudo unless it is root.
pub(super) fn as_root(host: &HostFacts, command: &str) -> String {
    if host.uid == 0 { command.to_owned() } else { format!("sudo {command}") }
}

/// What a package is called by each family of distributions.
pub(super) struct Package {
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
    suse: &'static str,
    alpine: &'static str,
}

/// A package that everybody calls the same.
const fn same(name: &'static str) -> Package {
    Package { debian: name, fedora: name, arch: name, suse: name, alpine: name }
}

pub(super) const PODMAN: Package = same("podman");
pub(super) const RUNC: Package = same("runc");
pub(super) const NETAVARK: Package = same("netavark aardvark-dns");
pub(super) const AARDVARK: Package = same("aardvark-dns");
pub(super) const ID_MAPS: Package = Package {
    debian: "uidmap",
    fedora: "shadow-utils",
    arch: "shadow",
    suse: "shadow",
    alpine: "shadow-uidmap",
};

/// Installs a package.
pub(super) fn install(host: &HostFacts, package: &Package) -> String {
    let command = match host.distribution.family {
        Family::Debian => format!("apt-get install {}", package.debian),
        Family::Fedora => format!("dnf install {}", package.fedora),
        Family::Arch => format!("pacman -S {}", package.arch),
        Family::Suse => format!("zypper install {}", package.suse),
        Family::Alpine => format!("apk add {}", package.alpine),
        Family::Other => return format!("install {} with your package manager", package.arch),
    };
    as_root(host, &command)
}

/// Sets a kernel setting now, and after the next start.
pub(super) fn sysctl(host: &HostFacts, name: &str, value: u64) -> String {
    let now = as_root(host, &format!("sysctl -w {name}={value}"));
    let tee = as_root(host, &format!("tee -a /etc/sysctl.d/{OURS}"));
    format!("{now}\necho {name}={value} | {tee}")
}

/// Raises the limits of a user's sessions.
pub(super) fn limit(host: &HostFacts, name: &str, value: u64) -> String {
    // A star means everybody but root.
    let who = if host.uid == 0 { "root" } else { "'*'" };
    let tee = as_root(host, &format!("tee -a /etc/security/limits.d/{OURS}"));
    format!("echo {who} - {name} {value} | {tee}\nthen log in again and restart the engine")
}

/// Boots with control groups of version 2.
pub(super) fn cgroup_v2(host: &HostFacts) -> String {
    let argument = "systemd.unified_cgroup_hierarchy=1";
    match host.distribution.family {
        Family::Fedora => {
            let command = format!("grubby --update-kernel=ALL --args={argument}");
            format!("{}\nthen restart the host", as_root(host, &command))
        }
        _ if host.host.systemd => format!("boot with cgroup v2: kernel argument {argument}"),
        _ => "use a host with cgroup v2".to_owned(),
    }
}

/// `1.5 GB`.
pub(super) fn gigabytes(bytes: u64) -> String {
    format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10)
}

/// The same, and `512 MB` where it is less.
pub(super) fn amount(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => gigabytes(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::facts::Distribution;

    #[test]
    fn distributions_and_users_get_their_own_commands() {
        let host = |family, uid| HostFacts {
            uid,
            distribution: Distribution { name: String::new(), family },
            ..HostFacts::default()
        };
        assert_eq!(install(&host(Family::Debian, 0), &ID_MAPS), "apt-get install uidmap");
        assert_eq!(install(&host(Family::Fedora, 7), &ID_MAPS), "sudo dnf install shadow-utils");
        assert_eq!(
            install(&host(Family::Other, 7), &ID_MAPS),
            "install shadow with your package manager"
        );
        assert_eq!(
            sysctl(&host(Family::Debian, 7), "fs.x", 5),
            "sudo sysctl -w fs.x=5\necho fs.x=5 | sudo tee -a /etc/sysctl.d/90-pipe.conf"
        );
        assert!(
            limit(&host(Family::Arch, 0), "nofile", 9).starts_with("echo root - nofile 9 | tee")
        );
    }
}
