//! Every code, by facts that bring it about; snapshots hold what people read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;
use crate::world::certificate::Validity;
use crate::world::facts::kernel::Emulated;
use crate::world::facts::{
    AuthorityFact, Clock, ConfigFacts, Disk, Distribution, Family, Feature, Folder, Kernel, Limits,
    Proxy, Rootless, ToolFact,
};
use crate::world::host::{Cgroups, Host};
use crate::world::tool::ToolOrigin;

/// A laptop on which all is well, about to make three nodes.
fn good() -> Facts {
    let host = Host {
        kernel: "6.12.48".to_owned(),
        memory_available: Some(12_000_000_000),
        systemd: true,
        inotify_instances: Some(1024),
        inotify_watches: Some(524_288),
        hard_nofile: Some(1_048_576),
        hard_nproc: Some(127_000),
        pid_max: Some(4_194_304),
        ..Host::default()
    };
    let present = Feature::Present;
    let kernel = Kernel {
        overlay: present,
        bridge: present,
        veth: present,
        nf_tables: present,
        ip_tables: Feature::Loadable,
        conntrack: present,
        conntrack_max: Some(262_144),
        ip_forward: Some(true),
        unprivileged_port_start: Some(1024),
        binfmt: Vec::new(),
    };
    let disk = |purpose: &str, path: &str, device| Disk {
        purpose: purpose.to_owned(),
        path: PathBuf::from(path),
        device,
        free: 80_000_000_000,
        total: 200_000_000_000,
        free_files: Some(5_000_000),
    };
    let tool = |name: &str, version: &str| ToolFact {
        name: name.to_owned(),
        pinned: version.to_owned(),
        path: Some(PathBuf::from(format!("/usr/bin/{name}"))),
        origin: Some(ToolOrigin::Path),
        version: Some(version.to_owned()),
        refused: None,
    };
    Facts {
        host: HostFacts {
            host,
            distribution: Distribution {
                name: "Debian GNU/Linux 13 (trixie)".to_owned(),
                family: Family::Debian,
            },
            kernel_features: kernel,
            limits: Limits {
                inotify_instances_used: Some(40),
                threads_used: Some(900),
                threads_max: Some(250_000),
                ..Limits::default()
            },
            disks: vec![
                disk(room::IMAGES, "/var/lib/containers/storage", 1),
                disk("state", "/root/.local/state/pipe", 2),
            ],
            state: Folder {
                path: PathBuf::from("/root/.local/state/pipe"),
                mode: Some(0o700),
                owner: Some(0),
                writable: true,
            },
            clock: Clock { now: "2026-11-21T09:12:00Z".parse().unwrap(), ..Clock::default() },
            config: ConfigFacts {
                file: PathBuf::from("/root/.config/pipe/config.yaml"),
                exists: true,
                ..ConfigFacts::default()
            },
            tools: vec![tool("helm", "v4.3.1"), tool("kubectl", "v1.36.4")],
            ..HostFacts::default()
        },
        engine: Ok(EngineFacts {
            info: EngineInfo {
                version: "5.4.2".to_owned(),
                api: "5.4.2".to_owned(),
                cgroup_version: "v2".to_owned(),
                cgroup_manager: "systemd".to_owned(),
                runtime: "crun".to_owned(),
                network_backend: "netavark".to_owned(),
                dns: Some(true),
                storage: "overlay".to_owned(),
                built: 1_750_000_000,
                ..EngineInfo::default()
            },
            socket: "/run/podman/podman.sock".to_owned(),
        }),
        leftovers: Leftovers::default(),
        needs: Needs {
            cluster: Some("dev".to_owned()),
            make: 3,
            control_plane: true,
            image: Some("docker.io/kindest/node:v1.36.4".to_owned()),
            ports: vec![port(4222, PortHolder::Free)],
            ..Needs::default()
        },
    }
}

fn port(port: u16, holder: PortHolder) -> NeededPort {
    NeededPort { port, name: "nats-client".to_owned(), component: "nats".to_owned(), holder }
}

pub(super) fn component(name: &str, memory: u64) -> NeededComponent {
    let name = name.to_owned();
    NeededComponent { name, memory, memory_limit: memory * 2, ..NeededComponent::default() }
}

/// As real images of it are.
pub(super) fn on_avx2(component: NeededComponent) -> NeededComponent {
    let cpu = vec!["sse4_2".to_owned(), "avx2".to_owned()];
    NeededComponent { cpu, images: vec!["r.io/clickhouse:26".to_owned()], ..component }
}

pub(super) fn made_for_arm(component: NeededComponent, source: ImageSource) -> NeededComponent {
    let image = format!("r.io/{}:1", component.name);
    let platforms = vec!["linux/arm64".to_owned()];
    NeededComponent { foreign: vec![ForeignImage { image, platforms, source }], ..component }
}

/// An ordinary user with everything set up.
fn rootless() -> Facts {
    let mut facts = good();
    facts.host.uid = 1000;
    facts.host.state.owner = Some(1000);
    facts.host.rootless = Rootless {
        user: Some("ada".to_owned()),
        delegated: Some(["cpuset", "cpu", "io", "memory", "pids"].map(str::to_owned).to_vec()),
        subuids: 65_536,
        subgids: 65_536,
        id_maps: true,
        lingers: true,
    };
    if let Ok(engine) = &mut facts.engine {
        engine.info.rootless = true;
    }
    facts
}

fn engine(facts: &mut Facts) -> &mut EngineInfo {
    &mut facts.engine.as_mut().unwrap().info
}

/// Facts that differ from a good host's in one way or a few, and the codes that must come of them.
fn scenarios() -> Vec<(&'static [&'static str], Facts)> {
    let mut all: Vec<(&'static [&'static str], Facts)> = Vec::new();
    let mut add = |codes: &'static [&'static str], change: &dyn Fn(&mut Facts)| {
        let mut facts = good();
        change(&mut facts);
        all.push((codes, facts));
    };
    add(&["no-podman"], &|f| {
        f.engine = Err(Error::host("no-podman", "Podman is not installed")
            .because("no engine answers")
            .hint("apt-get install podman"));
    });
    add(&["no-runc"], &|f| f.engine = Err(Error::host("no-runc", "runc is not installed")));
    add(&["engine-too-old"], &|f| {
        f.engine = Err(Error::host("engine-too-old", "Podman 3.4.4 is too old"));
    });
    add(&["engine-forbidden"], &|f| {
        f.engine = Err(Error::host("engine-forbidden", "you may not use the engine"));
    });
    add(&["engine-unreachable"], &|f| {
        f.engine = Err(Error::timed_out("engine-timeout", "cannot reach the engine"));
    });
    add(&["engine-newer", "cgroup-v1-engine", "no-nf-tables", "cgroup-v1"], &|f| {
        engine(f).version = "6.1.0".to_owned();
        engine(f).runtime = "runc".to_owned();
        f.host.host.cgroups = Cgroups::V1;
        f.host.kernel_features.nf_tables = Feature::Absent;
        f.needs.image = None;
    });
    add(&["engine-known-fault"], &|f| engine(f).version = "5.5.0".to_owned());
    add(&["network-backend-cni"], &|f| engine(f).network_backend = "cni".to_owned());
    add(&["no-network-dns"], &|f| engine(f).dns = Some(false));
    add(&["storage-vfs"], &|f| engine(f).storage = "vfs".to_owned());
    add(&["cgroup-v1", "cgroup-v1-crun", "node-image-cgroup-v1"], &|f| {
        f.host.host.cgroups = Cgroups::Hybrid;
    });
    add(&["cgroup-manager"], &|f| f.host.host.systemd = false);
    add(&["kernel-feature", "no-packet-filter"], &|f| {
        let kernel = &mut f.host.kernel_features;
        (kernel.overlay, kernel.nf_tables, kernel.ip_tables) =
            (Feature::Absent, Feature::Absent, Feature::Absent);
    });
    add(&["emulation"], &|f| {
        f.host.kernel_features.binfmt = vec![
            Emulated { arch: "aarch64".to_owned(), fixed: true },
            Emulated { arch: "s390x".to_owned(), fixed: false },
        ];
    });
    add(&["nofile-low"], &|f| f.host.host.hard_nofile = Some(20_000));
    add(&["processes-low"], &|f| {
        f.host.host.hard_nproc = Some(2_000);
        f.host.host.pid_max = Some(3_000);
        f.host.limits.group_pids_max = Some(2_048);
    });
    add(&["inotify-full"], &|f| {
        f.host.host.inotify_instances = Some(128);
        f.host.limits.inotify_instances_used = Some(100);
    });
    add(&["inotify-low"], &|f| {
        f.host.host.inotify_instances = Some(128);
        f.host.limits.inotify_instances_used = Some(10);
        f.host.host.inotify_watches = Some(1_024);
    });
    add(&["memory-low"], &|f| {
        f.host.host.memory_available = Some(900_000_000);
        f.host.host.swap_free = Some(2_000_000_000);
    });
    add(&["memory-short"], &|f| f.host.host.memory_available = Some(900_000_000));
    add(&["memory-short"], &|f| {
        f.host.host.memory_available = Some(2_000_000_000);
        f.needs.components =
            vec![component("nats", 67_000_000), component("scylladb", 944_000_000)];
    });
    add(&["memory-promise"], &|f| {
        f.needs.names = ["core", "edge", "gpu"].map(str::to_owned).to_vec();
        f.needs.promise = Some(2_000_000_000);
        f.needs.components =
            vec![component("nats", 67_000_000), component("scylladb", 944_000_000)];
    });
    add(&["cpu-feature"], &|f| {
        f.host.host.cpu_features = Some(BTreeSet::from(["sse4_2".to_owned()]));
        f.needs.components = vec![on_avx2(component("clickhouse", 0))];
    });
    add(&["image-architecture"], &|f| {
        let (lock, engine) = (ImageSource::Lock, ImageSource::Engine);
        f.needs.platform = "linux/amd64".to_owned();
        f.needs.names = vec!["core".to_owned(), "edge".to_owned()];
        f.needs.components = vec![
            made_for_arm(component("nats", 0), lock),
            made_for_arm(component("silo", 0), engine),
        ];
    });
    add(&["component-skipped"], &|f| {
        f.host.host.cpu_features = Some(BTreeSet::from(["sse4_2".to_owned()]));
        let clickhouse = on_avx2(component("clickhouse", 0));
        f.needs.components = vec![NeededComponent { optional: true, ..clickhouse }];
    });
    add(&["no-disk"], &|f| f.host.disks[0].free = 5_400_000_000);
    add(&["disk-low"], &|f| f.host.disks[1].free = 100_000_000);
    add(&["files-low"], &|f| f.host.disks[0].free_files = Some(50_000));
    add(&["port-taken"], &|f| {
        f.needs.ports = vec![
            port(4222, PortHolder::Program(Some("nats-server (pid 812)".to_owned()))),
            port(8222, PortHolder::Cluster("ci".to_owned())),
        ];
    });
    add(&["port-taken"], &|f| {
        let port = |shown: &str, fault: Option<&str>| PublishedPort {
            shown: shown.to_owned(),
            fault: fault.map(str::to_owned),
        };
        f.needs.published = vec![
            port("127.0.0.1:8080/tcp", Some("is held by another program")),
            port("127.0.0.1:8081/tcp", None),
        ];
    });
    add(&["config-invalid"], &|f| {
        let error = Error::new(Kind::Files, "files-invalid", "1 problem");
        f.host.config.file = PathBuf::from("/root/.config/pipe/config.yaml");
        f.host.config.fault = Some(error.because(
            "/root/.config/pipe/config.yaml:3:14: company.pem cannot be read (not found)",
        ));
    });
    add(&["authority-broken", "authority-expired"], &|f| {
        let valid = |from: &str, to: &str| {
            Ok(Validity { not_before: from.parse().unwrap(), not_after: to.parse().unwrap() })
        };
        f.host.config.exists = true;
        f.host.config.authorities = vec![AuthorityFact {
            file: PathBuf::from("/etc/ssl/company.pem"),
            certificates: vec![
                valid("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
                Err("it is no X.509 certificate".to_owned()),
                valid("2020-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
                valid("2027-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
            ],
        }];
    });
    add(&["mount-missing"], &|f| {
        let path = PathBuf::from("/home/ada/my project");
        f.needs.mounts = vec![MissingMount { path, nodes: vec!["core".to_owned()] }];
    });
    add(&["licence-not-accepted"], &|f| {
        f.needs.licences = vec![LicenceToAccept {
            name: "scylladb-source-available".to_owned(),
            text: "https://example.com/LICENSE.md".to_owned(),
            component: "scylladb".to_owned(),
        }];
    });
    add(&["aio-full"], &|f| {
        (f.host.host.aio_max, f.host.host.aio_used) = (Some(65_536), Some(61_000));
        f.needs.components = vec![NeededComponent { aio: 6_100, ..component("scylladb", 0) }];
    });
    add(&["ip-forward-off"], &|f| f.host.kernel_features.ip_forward = Some(false));
    add(&["proxy-set", "proxy-invalid"], &|f| {
        let proxy = |name: &str, value: &str, valid| Proxy {
            name: name.to_owned(),
            value: value.to_owned(),
            valid,
        };
        f.host.proxies = vec![
            proxy("HTTPS_PROXY", "http://proxy:3128/", true),
            proxy("ALL_PROXY", "•••", false),
        ];
    });
    add(&["selinux", "firewalld", "wsl"], &|f| {
        f.host.security.selinux_enforcing = Some(true);
        f.host.security.firewalld = true;
        f.host.security.wsl = true;
    });
    add(&["clock-wrong"], &|f| f.host.clock.now = "2020-01-01T00:00:00Z".parse().unwrap());
    add(&["tool-fetched", "tool-refused"], &|f| {
        f.host.tools[0].path = None;
        f.host.tools[1].refused = Some(PathBuf::from("/usr/local/bin/kubectl"));
    });
    add(&["state-unwritable", "state-foreign", "state-open"], &|f| {
        f.host.state.mode = Some(0o755);
        f.host.state.owner = Some(1000);
        f.host.state.writable = false;
    });
    add(&["cluster-leftovers", "cluster-stranger", "lock-left", "service-left"], &|f| {
        f.leftovers = Leftovers {
            without_containers: vec!["old".to_owned()],
            without_state: vec!["theirs".to_owned()],
            locks: vec!["/root/.local/state/pipe/locks/cluster-dev.lock".to_owned()],
            service: Some("/run/pipe/podman-service.json".to_owned()),
        };
    });
    let mut add = |codes: &'static [&'static str], change: &dyn Fn(&mut Facts)| {
        let mut facts = rootless();
        change(&mut facts);
        all.push((codes, facts));
    };
    add(&["rootless-ready"], &|_| {});
    add(&["rootless-cgroup-v1", "cgroup-v1"], &|f| {
        engine(f).runtime = "runc".to_owned();
        f.host.host.cgroups = Cgroups::V1;
        f.needs.image = None;
    });
    add(
        &[
            "rootless-not-delegated",
            "rootless-no-subids",
            "rootless-no-id-maps",
            "rootless-no-linger",
            "rootless-module",
        ],
        &|f| {
            f.host.rootless = Rootless {
                delegated: Some(vec!["memory".to_owned(), "pids".to_owned()]),
                ..f.host.rootless.clone()
            };
            f.host.rootless.subgids = 0;
            f.host.rootless.id_maps = false;
            f.host.rootless.lingers = false;
            f.host.kernel_features.nf_tables = Feature::Loadable;
        },
    );
    add(&["rootless-cpuset"], &|f| {
        f.host.rootless.delegated = Some(["cpu", "memory", "pids"].map(str::to_owned).to_vec());
    });
    add(&["port-privileged"], &|f| f.needs.ports = vec![port(80, PortHolder::Free)]);
    all
}

/// Findings that are not as they should be.
fn complaints(facts: &Facts) -> Vec<Finding> {
    examine(facts).into_iter().filter(|finding| finding.severity != Severity::Ok).collect()
}

#[test]
fn a_good_host_has_nothing_to_complain_about() {
    let report = Report::new(good());
    assert!(report.ok);
    insta::assert_snapshot!(report.to_text());
    assert_eq!(complaints(&rootless()), []);
}

#[test]
fn each_scenario_brings_its_codes_and_no_other() {
    for (codes, facts) in scenarios() {
        let seen: BTreeSet<&str> = complaints(&facts).iter().map(|finding| finding.code).collect();
        let wanted: BTreeSet<&str> =
            codes.iter().copied().filter(|code| *code != "rootless-ready").collect();
        assert_eq!(seen, wanted);
    }
}

#[test]
fn every_code_is_brought_about_by_some_facts_and_stands_once() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for facts in scenarios().into_iter().map(|(_, facts)| facts).chain([good()]) {
        seen.extend(examine(&facts).iter().map(|finding| finding.code));
    }
    let all: BTreeSet<&str> = codes::CODES.iter().map(|code| code.name).collect();
    assert_eq!(all.len(), codes::CODES.len(), "a code stands twice");
    assert_eq!(seen, all);
}

#[test]
fn what_people_read() {
    let mut text = String::new();
    for (_, facts) in scenarios() {
        for finding in complaints(&facts) {
            let remedies: Vec<String> = finding
                .remedies
                .iter()
                .map(|remedy| format!("\n  -> {}", remedy.replace('\n', "\n     ")))
                .collect();
            let evidence = finding.evidence().map(|e| format!("\n  {e}")).unwrap_or_default();
            let severity = finding.severity.as_str();
            text += &format!("{severity}: {}{evidence}{}\n", finding.line(), remedies.concat());
        }
    }
    insta::assert_snapshot!(text);
}

/// Errors and warnings say what to do.
#[test]
fn what_is_wrong_has_a_remedy() {
    for (_, facts) in scenarios() {
        for finding in complaints(&facts) {
            let fine = finding.severity == Severity::Info || !finding.remedies.is_empty();
            // What discovery says comes with hints of its own.
            assert!(fine || facts.engine.is_err(), "{}", finding.line());
        }
    }
}

#[test]
fn an_up_is_refused_with_everything_at_once_and_one_error_keeps_its_code() {
    assert!(refusal(&examine(&good())).is_none());
    let mut facts = good();
    facts.host.disks[0].free = 1_000_000_000;
    let error = refusal(&examine(&facts)).unwrap();
    assert_eq!((error.kind, error.code), (Kind::Host, "no-disk"));
    facts.host.host.cgroups = Cgroups::Hybrid;
    let error = refusal(&examine(&facts)).unwrap();
    insta::assert_snapshot!(crate::report::error::text(&error, crate::report::Style::PLAIN));
}

#[test]
fn warnings_are_one_line() {
    let mut facts = good();
    assert_eq!(brief(&examine(&facts)), None);
    facts.host.host.hard_nofile = Some(20_000);
    facts.host.host.memory_available = Some(900_000_000);
    facts.host.host.swap_free = Some(2_000_000_000);
    insta::assert_snapshot!(brief(&examine(&facts)).unwrap());
}

/// `docs/doctor.md` holds the table that follows from [`codes::CODES`]; `INSTA_UPDATE=always` writes
/// it.
#[test]
fn the_documentation_lists_every_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/doctor.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- codes: begin -->\n", "<!-- codes: end -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (table, after) = rest.split_once(end).unwrap();
    let rows = codes::CODES.iter().map(|code| {
        format!(
            "| `{}` | {} | {} | {} |\n",
            code.name,
            code.severity.as_str(),
            code.topic,
            code.meaning
        )
    });
    let head = "| code | severity | topic | meaning |\n| --- | --- | --- | --- |\n";
    let wanted = format!("{head}{}", rows.collect::<String>());
    #[expect(clippy::disallowed_methods, reason = "insta's own switch")]
    let update = std::env::var("INSTA_UPDATE");
    if update.is_ok_and(|update| update == "always") {
        std::fs::write(path, format!("{before}{begin}{wanted}{end}{after}")).unwrap();
    } else {
        assert_eq!(table, wanted, "run INSTA_UPDATE=always cargo test doctor");
    }
}
