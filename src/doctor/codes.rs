//! Every code, as data. Codes are a contract with scripts: none changes its meaning.

use super::finding::Severity::{self, Error, Info, Ok, Warning};

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable name.
    pub name: &'static str,
    /// How bad it always is.
    pub severity: Severity,
    /// Which part of the host it is about.
    pub topic: &'static str,
    /// What it means, for the table in `docs/doctor.md`.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($topic:literal { $($name:ident $code:literal $severity:ident $meaning:literal)* })*) => {
        $($(
            #[doc = $meaning]
            pub const $name: Code =
                Code { name: $code, severity: $severity, topic: $topic, meaning: $meaning };
        )*)*

        /// All of them, by topic.
        pub const CODES: &[Code] = &[$($($name),*),*];
    };
}

codes! {
    "engine" {
        ENGINE_ANSWERS "engine-answers" Ok "Podman answers and is new enough"
        NO_PODMAN "no-podman" Error "no engine answers, and Podman is not installed"
        NO_RUNC "no-runc" Error "cgroup v1 needs runc, which is not installed"
        ENGINE_TOO_OLD "engine-too-old" Error "Podman is older than 4.3"
        ENGINE_FORBIDDEN "engine-forbidden" Error "the engine belongs to another user"
        ENGINE_UNREACHABLE "engine-unreachable" Error "no engine can be used, for the reason given"
        ENGINE_NEWER "engine-newer" Info "a major version that pipe was not tried with"
        ENGINE_KNOWN_FAULT "engine-known-fault" Warning "this version of Podman has a known fault that concerns nodes"
        NETWORK_BACKEND_CNI "network-backend-cni" Warning "networks are made by CNI, which Podman gave up; pipe is tested with netavark"
        NO_NETWORK_DNS "no-network-dns" Error "nodes would not find each other by name: aardvark-dns is missing"
        STORAGE_VFS "storage-vfs" Warning "images are copied whole for each container: slow, and much disk"
    }
    "cgroups" {
        CGROUPS_V2 "cgroup-v2" Ok "control groups are version 2"
        CGROUPS_V1 "cgroup-v1" Info "control groups are version 1, which Kubernetes and Podman are giving up"
        CGROUP_V1_CRUN "cgroup-v1-crun" Error "the engine's runtime is crun, which refuses hybrid control groups"
        CGROUP_V1_ENGINE "cgroup-v1-engine" Error "Podman 6 and newer need cgroup v2"
        CGROUP_MANAGER "cgroup-manager" Error "the engine asks systemd for control groups, and there is no systemd"
        NODE_IMAGE_CGROUP_V1 "node-image-cgroup-v1" Error "upstream's node images from 1.35 on need cgroup v2"
        ROOTLESS_CGROUP_V1 "rootless-cgroup-v1" Error "a rootless Podman cannot run nodes on cgroup v1"
    }
    "rootless" {
        ROOTLESS_READY "rootless-ready" Ok "an ordinary user's containers have what they need"
        ROOTLESS_NOT_DELEGATED "rootless-not-delegated" Error "systemd does not let the user divide cpu, memory and pids"
        ROOTLESS_CPUSET "rootless-cpuset" Info "cpuset is not delegated: pods cannot be pinned to CPUs"
        ROOTLESS_NO_SUBIDS "rootless-no-subids" Error "the user has no 65536 subordinate user and group ids"
        ROOTLESS_NO_ID_MAPS "rootless-no-id-maps" Error "newuidmap and newgidmap are not installed"
        ROOTLESS_NO_LINGER "rootless-no-linger" Warning "the user's containers end when the user logs out"
        ROOTLESS_MODULE "rootless-module" Warning "a kernel module that only root can load is not loaded"
    }
    "kernel" {
        KERNEL_READY "kernel-ready" Ok "the kernel has what nodes need"
        KERNEL_FEATURE "kernel-feature" Error "the kernel lacks something that nodes need"
        NO_PACKET_FILTER "no-packet-filter" Error "the kernel has neither nf_tables nor ip_tables"
        NO_NF_TABLES "no-nf-tables" Error "Podman 6 and newer need nf_tables"
        EMULATION "emulation" Info "foreign architectures that run here by emulation"
    }
    "limits" {
        LIMITS_READY "limits-ready" Ok "limits of files and processes are high enough"
        NOFILE_LOW "nofile-low" Warning "the hard limit of open files is low for databases in pods"
        PROCESSES_LOW "processes-low" Warning "too few processes may be started"
        INOTIFY_READY "inotify-ready" Ok "there are inotify instances and watches for the nodes"
        INOTIFY_FULL "inotify-full" Error "there are no inotify instances left for the nodes"
        INOTIFY_LOW "inotify-low" Warning "inotify instances or watches are scarce"
        AIO_FULL "aio-full" Error "a component's server would find no room for asynchronous I/O"
    }
    "room" {
        MEMORY_READY "memory-ready" Ok "there is memory for the nodes and components"
        MEMORY_LOW "memory-low" Warning "less memory is free than the nodes and components take, and the rest would be swapped out"
        MEMORY_SHORT "memory-short" Error "the nodes and components do not fit into memory and swap"
        MEMORY_PROMISE "memory-promise" Warning "nodes and components may take more than the memory that the profile is made for"
        DISK_READY "disk-ready" Ok "there is disk for the nodes"
        NO_DISK "no-disk" Error "the nodes do not fit on the engine's disk"
        DISK_LOW "disk-low" Warning "a disk that pipe writes to is nearly full"
        FILES_LOW "files-low" Warning "a file system has few inodes left"
    }
    "files" {
        MOUNT_MISSING "mount-missing" Error "a folder or file that the cluster mounts is not on this host"
    }
    "fit" {
        CPU_FEATURE "cpu-feature" Error "the CPU cannot do what a component's images need"
        IMAGE_ARCHITECTURE "image-architecture" Error "a component's image is made for other CPUs than the nodes have"
        COMPONENT_SKIPPED "component-skipped" Warning "a component cannot run here and will be left out, as the profile allows"
    }
    "licences" {
        LICENCE_NOT_ACCEPTED "licence-not-accepted" Error "a component's licence must be accepted before it is run"
    }
    "network" {
        PORTS_FREE "ports-free" Ok "the host ports of the cluster are free"
        PORT_TAKEN "port-taken" Error "a host port of a component, or of `ports` in the cluster file, is held"
        PORT_PRIVILEGED "port-privileged" Error "an ordinary user may not listen on that port"
        IP_FORWARD_OFF "ip-forward-off" Info "forwarding is off; a rootful Podman switches it on with its first network"
        PROXY_SET "proxy-set" Info "proxy variables are set"
        PROXY_INVALID "proxy-invalid" Warning "a proxy variable cannot be understood"
    }
    "config" {
        CONFIG_READY "config-ready" Ok "the user's config.yaml is there and can be used"
        CONFIG_INVALID "config-invalid" Error "the user's config.yaml has mistakes, or names a file of certificates that cannot be used"
        AUTHORITY_BROKEN "authority-broken" Error "a certificate that config.yaml names cannot be read"
        AUTHORITY_EXPIRED "authority-expired" Warning "a certificate that config.yaml names is not valid now"
    }
    "guards" {
        SELINUX "selinux" Info "SELinux is enforcing"
        FIREWALLD "firewalld" Info "firewalld runs: a reload of it cuts containers off"
        WSL "wsl" Info "this is Windows' subsystem for Linux"
        CLOCK_READY "clock-ready" Ok "the clock is plausible"
        CLOCK_WRONG "clock-wrong" Error "the clock is before the time at which programs here were made"
    }
    "tools" {
        TOOL_FOUND "tool-found" Ok "a program that pipe runs is there"
        TOOL_FETCHED "tool-fetched" Info "a program is missing and will be downloaded when it is needed"
        TOOL_REFUSED "tool-refused" Info "the program on PATH is too old; another is used"
    }
    "state" {
        STATE_READY "state-ready" Ok "the state folder can be written to and is private"
        STATE_UNWRITABLE "state-unwritable" Error "the state folder cannot be written to"
        STATE_OPEN "state-open" Warning "others can read the state folder, which holds credentials"
        STATE_FOREIGN "state-foreign" Warning "the state folder belongs to another user"
        CLUSTER_LEFTOVERS "cluster-leftovers" Warning "state of a cluster of which no container is left"
        CLUSTER_STRANGER "cluster-stranger" Warning "containers of a cluster whose state is not here"
        LOCK_LEFT "lock-left" Info "a lock file that nobody holds; the next command takes it over"
        SERVICE_LEFT "service-left" Info "a record of an engine service that has ended; the next command clears it"
    }
}
