//! What the kernel can do: from what is loaded, what is built in, and its own configuration.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Serialize;

/// Most bytes of a kernel configuration or list of modules; real ones have less than a tenth.
const AT_MOST: u64 = 16 << 20;

/// Whether the kernel has something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// In use, or built in.
    Present,
    /// A module that is not loaded.
    Loadable,
    /// Neither built in nor a module.
    Absent,
    /// Nothing says so.
    #[default]
    Unknown,
}

/// Features that nodes need, and a few settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Layers of images.
    pub overlay: Feature,
    /// The engine's networks.
    pub bridge: Feature,
    /// Both ends of a container's network.
    pub veth: Feature,
    /// Packet filter of today.
    pub nf_tables: Feature,
    /// Packet filter of before.
    pub ip_tables: Feature,
    /// Tracks connections, for Services.
    pub conntrack: Feature,
    /// `net.netfilter.nf_conntrack_max`.
    pub conntrack_max: Option<u64>,
    /// `net.ipv4.ip_forward`.
    pub ip_forward: Option<bool>,
    /// First port that an ordinary user may listen on.
    pub unprivileged_port_start: Option<u16>,
    /// Foreign architectures that run by emulation: `aarch64`, and whether inside containers too.
    pub binfmt: Vec<Emulated>,
}

/// One foreign architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Emulated {
    /// QEMU's name for it.
    pub arch: String,
    /// Flag `F`: the emulator is held open, so that it works where its file is not.
    pub fixed: bool,
}

/// Reads the kernel's features; `release` as `uname -r` says.
pub(super) fn read(root: &Path, release: &str) -> Kernel {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let exists = |path: &str| root.join(path).exists();
    let modules = Modules::read(root, release);
    let file_systems = text("proc/filesystems");
    let overlay =
        file_systems.lines().any(|line| line.split_whitespace().last() == Some("overlay"));
    let feature = |loaded, module, symbol| modules.feature(loaded, module, symbol);
    let sys = |module: &str| exists(&format!("sys/module/{module}"));
    Kernel {
        overlay: feature(overlay, "overlay", "OVERLAY_FS"),
        bridge: feature(sys("bridge"), "bridge", "BRIDGE"),
        veth: feature(sys("veth"), "veth", "VETH"),
        nf_tables: feature(sys("nf_tables"), "nf_tables", "NF_TABLES"),
        ip_tables: feature(exists("proc/net/ip_tables_names"), "ip_tables", "IP_NF_IPTABLES"),
        conntrack: feature(
            exists("proc/sys/net/netfilter/nf_conntrack_max"),
            "nf_conntrack",
            "NF_CONNTRACK",
        ),
        conntrack_max: text("proc/sys/net/netfilter/nf_conntrack_max").trim().parse().ok(),
        ip_forward: match text("proc/sys/net/ipv4/ip_forward").trim() {
            "" => None,
            value => Some(value != "0"),
        },
        unprivileged_port_start: text("proc/sys/net/ipv4/ip_unprivileged_port_start")
            .trim()
            .parse()
            .ok(),
        binfmt: binfmt(root),
    }
}

/// What is known of modules that are not in use.
struct Modules {
    /// `modules.builtin`.
    built_in: Option<String>,
    /// `modules.dep`: every module there is.
    available: Option<String>,
    /// `CONFIG_…` lines.
    configuration: Option<String>,
}

impl Modules {
    fn read(root: &Path, release: &str) -> Modules {
        let folder = root.join("lib/modules").join(release);
        let configuration = unpacked(&root.join("proc/config.gz"))
            .or_else(|| fs::read_to_string(root.join(format!("boot/config-{release}"))).ok())
            .or_else(|| fs::read_to_string(folder.join("config")).ok());
        Modules {
            built_in: fs::read_to_string(folder.join("modules.builtin")).ok(),
            available: fs::read_to_string(folder.join("modules.dep")).ok(),
            configuration,
        }
    }

    fn feature(&self, loaded: bool, module: &str, symbol: &str) -> Feature {
        let listed = |list: &Option<String>| {
            let list = list.as_deref()?;
            Some(list.contains(&format!("/{module}.ko")))
        };
        if loaded || listed(&self.built_in) == Some(true) {
            return Feature::Present;
        }
        if listed(&self.available) == Some(true) {
            return Feature::Loadable;
        }
        match (self.symbol(symbol), &self.available) {
            (Some('y'), _) => Feature::Present,
            // A module by configuration whose files are not here: perhaps they are elsewhere.
            (Some('m'), None) => Feature::Unknown,
            (Some(_), _) => Feature::Absent,
            (None, Some(_)) => Feature::Absent,
            (None, None) => Feature::Unknown,
        }
    }

    /// `y`, `m` or `n` for `CONFIG_<symbol>`.
    fn symbol(&self, symbol: &str) -> Option<char> {
        let text = self.configuration.as_deref()?;
        let start = format!("CONFIG_{symbol}=");
        let value = text.lines().find_map(|line| line.strip_prefix(start.as_str()));
        Some(value.and_then(|value| value.chars().next()).unwrap_or('n'))
    }
}

fn unpacked(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    GzDecoder::new(file).take(AT_MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

fn binfmt(root: &Path) -> Vec<Emulated> {
    let folder = root.join("proc/sys/fs/binfmt_misc");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let handler = |entry: fs::DirEntry| {
        let arch = entry.file_name().to_string_lossy().strip_prefix("qemu-")?.to_owned();
        let text = fs::read_to_string(entry.path()).ok()?;
        let enabled = text.lines().next()?.trim() == "enabled";
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
        enabled.then(|| Emulated { arch, fixed: flags.contains('F') })
    };
    let mut handlers: Vec<Emulated> = entries.filter_map(handler).collect();
    handlers.sort_by(|a, b| a.arch.cmp(&b.arch));
    handlers
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::tests::tree;
    use super::*;

    #[test]
    fn a_distribution_with_modules() {
        let root = tree(&[
            ("proc/filesystems", "nodev\tsysfs\nnodev\toverlay\n"),
            ("sys/module/bridge/x", ""),
            ("lib/modules/6.1.0/modules.dep", "kernel/drivers/net/veth.ko.xz: a\n"),
            ("lib/modules/6.1.0/modules.builtin", "kernel/net/netfilter/nf_tables.ko\n"),
            ("proc/sys/net/ipv4/ip_forward", "0\n"),
            ("proc/sys/fs/binfmt_misc/qemu-aarch64", "enabled\ninterpreter /x\nflags: PF\n"),
            ("proc/sys/fs/binfmt_misc/qemu-arm", "disabled\ninterpreter /x\nflags: F\n"),
            ("proc/sys/fs/binfmt_misc/python3", "enabled\n"),
        ]);
        let kernel = read(root.path(), "6.1.0");
        assert_eq!((kernel.overlay, kernel.bridge), (Feature::Present, Feature::Present));
        assert_eq!((kernel.veth, kernel.nf_tables), (Feature::Loadable, Feature::Present));
        assert_eq!(kernel.ip_tables, Feature::Absent);
        assert_eq!(kernel.ip_forward, Some(false));
        assert_eq!(kernel.binfmt, [Emulated { arch: "aarch64".into(), fixed: true }]);
    }

    #[test]
    fn a_kernel_without_modules_says_by_its_configuration() {
        let root = tree(&[("proc/x", "")]);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed
            .write_all(b"CONFIG_NF_TABLES=y\n# CONFIG_VETH is not set\nCONFIG_BRIDGE=m\n")
            .unwrap();
        std::fs::write(root.path().join("proc/config.gz"), packed.finish().unwrap()).unwrap();
        let kernel = read(root.path(), "6.18.44");
        assert_eq!((kernel.nf_tables, kernel.veth), (Feature::Present, Feature::Absent));
        assert_eq!(kernel.bridge, Feature::Unknown);
    }

    #[test]
    fn nothing_known_is_unknown() {
        let root = tree(&[]);
        assert_eq!(read(root.path(), "6.1.0"), Kernel::default());
    }
}
