//! What this host is and has: facts that checks and decisions need, measured once.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::spec::{Arch, Protocol};
use crate::world::network::Subnet;
use crate::{Error, Result};

/// How control groups are mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cgroups {
    /// Version 1 only.
    V1,
    /// Controllers in version 1, with an empty version 2 tree beside them.
    Hybrid,
    /// Version 2 only.
    #[default]
    V2,
}

/// Facts about this host. Numbers that cannot be read are `None`: a check then has nothing to say.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Host {
    /// CPU architecture, if `pipe` knows it.
    pub arch: Option<Arch>,
    /// Kernel release.
    pub kernel: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory_total: Option<u64>,
    /// Bytes of memory that could be had now.
    pub memory_available: Option<u64>,
    /// Bytes of swap that nobody uses.
    pub swap_free: Option<u64>,
    /// What the CPU can do, by the kernel's names: `avx2`.
    pub cpu_features: Option<BTreeSet<String>>,
    /// How control groups are mounted.
    pub cgroups: Cgroups,
    /// Whether systemd is the init of this host.
    pub systemd: bool,
    /// `/lib/modules` exists.
    pub lib_modules: bool,
    /// `fs.inotify.max_user_instances`.
    pub inotify_instances: Option<u64>,
    /// `fs.inotify.max_user_watches`.
    pub inotify_watches: Option<u64>,
    /// Our hard limit of open files; `None` is unlimited.
    pub hard_nofile: Option<u64>,
    /// Our hard limit of processes; `None` is unlimited.
    pub hard_nproc: Option<u64>,
    /// `kernel.pid_max`.
    pub pid_max: Option<u64>,
    /// `fs.aio-max-nr`: events of asynchronous I/O that all programs together may have.
    pub aio_max: Option<u64>,
    /// `fs.aio-nr`: how many they have.
    pub aio_used: Option<u64>,
    /// Whether programs may use io_uring; older kernels without a switch have it on.
    pub io_uring: Option<bool>,
    /// IPv4 networks the host has routes to, the default route left out.
    pub routes: Vec<HostRoute>,
}

/// A network that this host sends packets for somewhere: an interface of its own, a VPN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HostRoute {
    /// The network.
    pub subnet: Subnet,
    /// Where its packets go: `tun0`, or `routing table 52` where only that is known.
    pub through: String,
}

impl Host {
    /// Measures the host.
    pub fn measure() -> Host {
        let memory = sysinfo::System::new().ok().map(|mut system| {
            system.refresh_memory();
            (system.total_memory(), system.available_memory(), system.free_swap())
        });
        Host {
            arch: Arch::host(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_total: memory.map(|(total, _, _)| total),
            memory_available: memory.map(|(_, available, _)| available),
            swap_free: memory.map(|(_, _, swap)| swap),
            hard_nofile: getrlimit(Resource::Nofile).maximum,
            hard_nproc: getrlimit(Resource::Nproc).maximum,
            ..Host::read(Path::new("/"))
        }
    }

    /// The facts that are files below `root`.
    fn read(root: &Path) -> Host {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let number = |path: &str| text(path).trim().parse().ok();
        Host {
            cpu_features: cpu_features(&text("proc/cpuinfo")),
            kernel: text("proc/sys/kernel/osrelease").trim().to_owned(),
            cgroups: cgroups(root),
            systemd: root.join("run/systemd/system").is_dir(),
            lib_modules: root.join("lib/modules").is_dir(),
            inotify_instances: number("proc/sys/fs/inotify/max_user_instances"),
            inotify_watches: number("proc/sys/fs/inotify/max_user_watches"),
            pid_max: number("proc/sys/kernel/pid_max"),
            aio_max: number("proc/sys/fs/aio-max-nr"),
            aio_used: number("proc/sys/fs/aio-nr"),
            // 1: for members of one group only, in which no pod is.
            io_uring: number("proc/sys/kernel/io_uring_disabled").map(|switch| switch == 0),
            routes: routes(&text("proc/net/route"), &text("proc/net/fib_trie")),
            ..Host::default()
        }
    }
}

/// Whether the kernel has IPv6, so that the engine can give a network an IPv6 subnet.
pub fn has_ipv6() -> bool {
    Path::new("/proc/net/if_inet6").exists()
}

/// Whether another program holds this TCP port on the loopback address, or on all addresses.
pub fn port_in_use(port: u16) -> bool {
    // Binding asks the kernel the very question that Podman will ask it later. (Privileged ports
    // answer "permission denied", which is not "in use".)
    let bound = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// Why the engine could not publish a port at `address`; `None` where nothing speaks against it.
pub fn port_fault(address: IpAddr, port: u16, protocol: Protocol) -> Option<&'static str> {
    let bound = match protocol {
        Protocol::Tcp => TcpListener::bind((address, port)).map(drop),
        Protocol::Udp => UdpSocket::bind((address, port)).map(drop),
    };
    match bound.map_err(|error| error.kind()) {
        Err(std::io::ErrorKind::AddrInUse) => Some("is held by another program"),
        Err(std::io::ErrorKind::AddrNotAvailable) => {
            Some("is at an address that this host has not")
        }
        // "Permission denied" is about us, and the engine may be somebody else.
        _ => None,
    }
}

/// A TCP port that nobody holds on the loopback address at this moment, and that is none of
/// `taken`: ports already given away whose owner has not bound them yet.
pub fn free_port(taken: &[u16]) -> Result<u16> {
    // Refused ones stay bound until the search is over, or the kernel would offer them again.
    let mut refused = Vec::new();
    let exhausted =
        |why: String| Error::host("no-free-port", "no free port on 127.0.0.1").because(why);
    while refused.len() <= taken.len() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.map_err(|error| exhausted(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| exhausted(error.to_string()))?;
        if !taken.contains(&address.port()) {
            return Ok(address.port());
        }
        refused.push(listener);
    }
    Err(exhausted("all that were offered are taken".to_owned()))
}

/// Those of the first CPU: `flags` on x86-64, `Features` on ARM.
fn cpu_features(text: &str) -> Option<BTreeSet<String>> {
    let of_line = |line: &str| {
        let (key, features) = line.split_once(':')?;
        let is_key = matches!(key.trim_end(), "flags" | "Features");
        is_key.then(|| features.split_whitespace().map(str::to_owned).collect())
    };
    text.lines().find_map(of_line)
}

fn cgroups(root: &Path) -> Cgroups {
    let mount = root.join("sys/fs/cgroup");
    if mount.join("cgroup.controllers").exists() {
        Cgroups::V2
    } else if mount.join("unified/cgroup.controllers").exists() {
        Cgroups::Hybrid
    } else if mount.exists() {
        Cgroups::V1
    } else {
        Cgroups::default()
    }
}

/// Every route but default ones: those of the main table, and those that VPNs keep in tables of
/// their own.
fn routes(main: &str, tables: &str) -> Vec<HostRoute> {
    let mut routes: Vec<HostRoute> =
        main.lines().skip(1).filter_map(main_route).chain(other_tables(tables)).collect();
    routes.sort();
    routes.dedup();
    routes
}

/// A line of `/proc/net/route`: hexadecimal words in the kernel's byte order (little-endian on every
/// architecture we know), destination in column 2, flags in column 4, mask in column 8.
fn main_route(line: &str) -> Option<HostRoute> {
    /// A route that leads nowhere.
    const REJECT: u32 = 0x200;
    let columns: Vec<&str> = line.split_whitespace().collect();
    let word = |index: usize| u32::from_str_radix(columns.get(index)?, 16).ok();
    let (destination, mask) = (word(1)?.swap_bytes(), word(7)?.swap_bytes());
    let prefix = u8::try_from(mask.leading_ones()).ok()?;
    let subnet = Subnet::new(Ipv4Addr::from_bits(destination), prefix);
    let leads = prefix > 0 && word(3)? & REJECT == 0;
    leads.then(|| HostRoute { subnet, through: columns.first().copied().unwrap_or("").to_owned() })
}

/// Routes of `/proc/net/fib_trie` outside of the kernel's own tables. It names no interfaces:
///
/// ```text
/// Id 52:
///   +-- 10.0.0.0/8 2 0 2
///      |-- 10.0.0.0
///         /8 universe UNICAST
/// ```
fn other_tables(trie: &str) -> Vec<HostRoute> {
    let (mut table, mut address, mut routes) = (None, None, Vec::new());
    for line in trie.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Id", id] => table = Some(id.trim_end_matches(':')),
            ["Main:" | "Local:"] => table = None,
            ["|--", leaf] => address = leaf.parse::<Ipv4Addr>().ok(),
            [prefix, _, "UNICAST", ..] => {
                let prefix = prefix.strip_prefix('/').and_then(|text| text.parse::<u8>().ok());
                if let (Some(table), Some(address), Some(prefix @ 1..)) = (table, address, prefix) {
                    let through = format!("routing table {table}");
                    routes.push(HostRoute { subnet: Subnet::new(address, prefix), through });
                }
            }
            _ => {}
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn reads_the_files_of_a_hybrid_host() {
        let root = tree(&[
            ("sys/fs/cgroup/unified/cgroup.controllers", ""),
            ("proc/sys/kernel/osrelease", "6.18.44\n"),
            ("proc/sys/fs/inotify/max_user_instances", "128\n"),
        ]);
        let host = Host::read(root.path());
        assert_eq!((host.cgroups, host.systemd, host.lib_modules), (Cgroups::Hybrid, false, false));
        assert_eq!((host.kernel.as_str(), host.inotify_instances), ("6.18.44", Some(128)));
        assert_eq!(host.inotify_watches, None);
    }

    #[test]
    fn tells_cgroup_versions_apart() {
        let root =
            tree(&[("sys/fs/cgroup/cgroup.controllers", "cpu\n"), ("run/systemd/system/x", "")]);
        let host = Host::read(root.path());
        assert_eq!((host.cgroups, host.systemd), (Cgroups::V2, true));
        let root = tree(&[("sys/fs/cgroup/memory/tasks", "")]);
        assert_eq!(Host::read(root.path()).cgroups, Cgroups::V1);
    }

    #[test]
    fn what_the_cpu_can_do() {
        let features = |text| cpu_features(text).map(|them| them.into_iter().collect::<Vec<_>>());
        let intel = "processor\t: 0\nflags\t\t: sse4_2 avx2\nvmx flags\t: vnmi\n\nflags\t\t: x\n";
        assert_eq!(features(intel), Some(vec!["avx2".to_owned(), "sse4_2".to_owned()]));
        let arm = "processor\t: 0\nFeatures\t: fp atomics lrcpc\n";
        assert_eq!(features(arm).map(|them| them.len()), Some(3));
        assert_eq!(features("cpu\t: POWER9\n"), None);
    }

    #[test]
    fn routes_without_the_default() {
        let main = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                    eth0 00000000 0100000A 0003 0 0 0 00000000 0 0 0\n\
                    eth0 0000000A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n\
                    * 000010AC 00000000 0201 0 0 0 0000F0FF 0 0 0\n\
                    podman1 0002590A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
        let tables = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n\
                      Id 52:\n  +-- 0.0.0.0/0 2 0 2\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                      \x20    |-- 10.244.0.0\n        /16 universe UNICAST\n\
                      \x20    |-- 10.245.0.1\n        /32 host LOCAL\n\
                      Local:\n     |-- 127.0.0.0\n        /8 host LOCAL\n";
        let lines: Vec<String> = routes(main, tables)
            .iter()
            .map(|route| format!("{} {}", route.subnet, route.through))
            .collect();
        assert_eq!(
            lines,
            ["10.0.0.0/24 eth0", "10.89.2.0/24 podman1", "10.244.0.0/16 routing table 52"]
        );
        assert_eq!(routes("garbage\nmore garbage\n", "more\n garbage UNICAST"), []);
    }

    #[test]
    fn ports() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        assert!(port_in_use(port));
        let fault = |address: &str, protocol| {
            port_fault(address.parse().unwrap(), port, protocol).unwrap_or_default()
        };
        assert_eq!(fault("127.0.0.1", Protocol::Tcp), "is held by another program");
        assert_eq!(fault("127.0.0.1", Protocol::Udp), "");
        assert!(fault("203.0.113.7", Protocol::Tcp).contains("this host has not"));
        let free = free_port(&[port]).unwrap();
        assert_ne!(free, port);
        assert!(!port_in_use(free));
    }

    #[test]
    fn measures_this_host() {
        let host = Host::measure();
        assert!(host.cpus > 0 && host.memory_total > host.memory_available);
        assert!(host.memory_available > Some(0));
        assert!(!host.kernel.is_empty());
    }
}
