//! Which Linux this is, what guards it, its clock and its proxies.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use reqwest::Url;
use serde::Serialize;

use crate::world::env::Env;

/// Variables by which programs find a proxy; both cases are in use.
const PROXY_NAMES: [&str; 8] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Distributions by their package manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// apt-get.
    Debian,
    /// dnf.
    Fedora,
    /// pacman.
    Arch,
    /// zypper.
    Suse,
    /// apk.
    Alpine,
    /// Unknown.
    #[default]
    Other,
}

/// Which Linux.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// As it calls itself: `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
    /// How software is installed.
    pub family: Family,
}

/// What guards the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Security {
    /// SELinux: enforcing, permissive, or `None` where it is not.
    pub selinux_enforcing: Option<bool>,
    /// firewalld runs.
    pub firewalld: bool,
    /// The kernel is that of Windows' subsystem for Linux.
    pub wsl: bool,
}

/// Time on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// Now.
    pub now: Timestamp,
    /// When this program was written to disk: the clock cannot rightly be before it.
    pub program: Option<Timestamp>,
    /// A time service of systemd said that the clock is right.
    pub synchronised: bool,
}

/// One proxy variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// Its value, without user and password.
    pub value: String,
    /// Whether it can be understood.
    pub valid: bool,
}

/// Reads `os-release`.
pub(super) fn distribution(root: &Path) -> Distribution {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let text = read("etc/os-release").or_else(|| read("usr/lib/os-release")).unwrap_or_default();
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    let ids = format!("{} {}", field("ID"), field("ID_LIKE"));
    let family = |id: &str| match id {
        "debian" | "ubuntu" => Some(Family::Debian),
        "fedora" | "rhel" | "centos" => Some(Family::Fedora),
        "arch" => Some(Family::Arch),
        "suse" | "opensuse" | "opensuse-tumbleweed" | "sles" => Some(Family::Suse),
        "alpine" => Some(Family::Alpine),
        _ => None,
    };
    Distribution {
        name: field("PRETTY_NAME"),
        family: ids.split_whitespace().find_map(family).unwrap_or_default(),
    }
}

/// What guards the host; `release` as `uname -r` says.
pub(super) fn security(root: &Path, release: &str) -> Security {
    let enforce = fs::read_to_string(root.join("sys/fs/selinux/enforce")).ok();
    // systemd removes a service's control group when the service has ended.
    let groups = ["sys/fs/cgroup/system.slice", "sys/fs/cgroup/systemd/system.slice"];
    let running = |unit: &str| groups.iter().any(|group| root.join(group).join(unit).exists());
    Security {
        selinux_enforcing: enforce.map(|text| text.trim() == "1"),
        firewalld: running("firewalld.service"),
        wsl: release.to_ascii_lowercase().contains("microsoft"),
    }
}

/// What is to be known of the clock.
pub(super) fn clock(root: &Path) -> Clock {
    let program = std::env::current_exe().and_then(fs::metadata).and_then(|data| data.modified());
    Clock {
        now: Timestamp::now(),
        program: program.ok().and_then(|at| Timestamp::try_from(at).ok()),
        synchronised: root.join("run/systemd/timesync/synchronized").exists(),
    }
}

/// The proxy variables that are set.
pub(super) fn proxies(env: &Env) -> Vec<Proxy> {
    let set = PROXY_NAMES.iter().filter_map(|name| Some((*name, env.get(name)?)));
    set.map(|(name, value)| proxy(name, value)).collect()
}

fn proxy(name: &str, value: &str) -> Proxy {
    let made = |value: String, valid| Proxy { name: name.to_owned(), value, valid };
    if name.eq_ignore_ascii_case("NO_PROXY") {
        return made(value.to_owned(), true);
    }
    // `proxy.example:3128` is understood by most programs as HTTP.
    let address = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    match Url::parse(&address) {
        Ok(mut url) if url.host_str().is_some_and(|host| !host.is_empty()) => {
            let hidden = url.password().is_some() || !url.username().is_empty();
            if hidden && (url.set_username("").is_err() || url.set_password(None).is_err()) {
                return made("•••".to_owned(), true);
            }
            made(url.to_string(), true)
        }
        // What cannot be understood may hold a password anywhere.
        _ => made("•••".to_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    #[test]
    fn distributions_by_id_and_by_likeness() {
        let of = |text: &str| distribution(tree(&[("etc/os-release", text)]).path());
        let debian = of("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n");
        assert_eq!((debian.name.as_str(), debian.family), ("Debian GNU/Linux 12", Family::Debian));
        assert_eq!(of("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n").family, Family::Debian);
        assert_eq!(of("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n").family, Family::Fedora);
        assert_eq!(of("ID=nixos\n").family, Family::Other);
    }

    #[test]
    fn a_proxys_password_is_not_kept() {
        let env = Env::from([
            ("HTTPS_PROXY", "http://ada:hunter22@proxy.example:3128"),
            ("http_proxy", "proxy.example:3128"),
            ("ALL_PROXY", "http://:hunter22@"),
            ("no_proxy", "localhost"),
        ]);
        let seen = proxies(&env);
        assert!(!format!("{seen:?}").contains("hunter22"), "{seen:?}");
        assert!(!format!("{seen:?}").contains("ada"), "{seen:?}");
        let valid: Vec<(&str, bool)> = seen.iter().map(|p| (p.name.as_str(), p.valid)).collect();
        let wanted =
            [("http_proxy", true), ("HTTPS_PROXY", true), ("ALL_PROXY", false), ("no_proxy", true)];
        assert_eq!(valid, wanted);
    }

    #[test]
    fn guards() {
        let root = tree(&[
            ("sys/fs/selinux/enforce", "1"),
            ("sys/fs/cgroup/system.slice/firewalld.service/x", ""),
        ]);
        let seen = security(root.path(), "6.6.87.2-microsoft-standard-WSL2");
        assert_eq!(seen, Security { selinux_enforcing: Some(true), firewalld: true, wsl: true });
        assert_eq!(security(tree(&[]).path(), "6.1.0"), Security::default());
    }
}
