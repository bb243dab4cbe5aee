//! The engine client against a real Podman, started as `pipe` starts it, and the golden
//! descriptions of what kind makes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::time::Duration;

use super::{Case, block_on};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use pipe::world::engine::{
    Bind, ContainerSpec, Engine, Exec, Fault, FileToPut, NetworkSpec, PublishedPort, Pull, State,
    StdStream, Stdin, Ulimit, VolumeMount,
};
use pipe::world::env::Env;
use pipe::world::host::{Host, free_port};
use pipe::world::network::{Subnet, assign_addresses, choose_subnet};
use pipe::world::process::Program;
use pipe::world::service;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const IMAGE: &str = "localhost/test-eng-node:1";
const NETWORK: &str = "test-eng-net";
const NODE: &str = "test-eng-control-plane";

/// PID 1 of the test image: lives until its stop signal, which is kind's.
const INIT: &str = "#!/bin/sh\ntrap 'exit 0' TERM 37\nwhile :; do sleep 1 & wait $!; done\n";

/// The engine of this host, and everything this test made on it.
struct Bench {
    env: Env,
    host: Host,
    engine: Engine,
    _runtime: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Bench {
        let runtime = tempfile::tempdir().unwrap();
        let mut env = Env::read().unwrap();
        env.vars.insert("XDG_RUNTIME_DIR".into(), runtime.path().into());
        let host = Host::measure();
        let found = service::ensure(None, &env, &host).await.unwrap();
        let again = service::ensure(None, &env, &host).await.unwrap();
        assert_eq!(again, found, "one service is enough");
        let engine = Engine::connect(&found.candidate.path).unwrap();
        let bench = Bench { env, host, engine, _runtime: runtime };
        bench.clear().await;
        bench.make_image().await;
        bench
    }

    /// Removes what this test makes, also what an earlier run left.
    async fn clear(&self) {
        self.engine.remove(NODE).await.unwrap();
        for volume in self.engine.volumes(&[NODE]).await.unwrap() {
            self.engine.remove_volume(&volume.name).await.unwrap();
        }
        self.engine.remove_network(NETWORK).await.unwrap();
    }

    async fn podman(&self, args: &[&str], stdin: Vec<u8>) {
        let url = format!("unix://{}", self.engine.socket().display());
        let program = Program::new("podman", &self.env).args(["--remote", "--url", &url]);
        program.args(args).stdin(stdin).run(&CancellationToken::new()).await.unwrap();
    }

    /// An image with a static busybox and an entrypoint like that of kind's node image.
    async fn make_image(&self) {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|p| Path::new(p).exists());
        let busybox = std::fs::read(busybox.expect("busybox-static is installed")).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, mode, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content).unwrap();
        };
        add("bin/busybox", 0o755, &busybox);
        add("usr/local/bin/entrypoint", 0o755, INIT.as_bytes());
        add("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
        add("var/lib/from-image", 0o644, b"copied into the volume\n");
        for applet in ["sh", "cat", "sleep", "env", "stat", "wc", "ls", "false", "echo"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
        }
        let archive = tar.into_inner().unwrap();
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let changes = [
            r#"ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]"#.to_owned(),
            format!("ENV {path}"),
            "STOPSIGNAL 37".to_owned(),
        ];
        let mut args = vec!["import"];
        changes.iter().for_each(|change| args.extend(["--change", change]));
        args.extend(["-", IMAGE]);
        self.podman(&args, archive).await;
    }

    async fn finish(self) {
        self.clear().await;
        self.podman(&["rmi", "--force", IMAGE], Vec::new()).await;
        assert_eq!(service::running(&self.env).is_some(), service::stop(&self.env).await.unwrap());
        assert_eq!(service::running(&self.env), None);
    }
}

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What `pipe` makes for kind's control plane, with one label of ours on everything.
async fn node(bench: &Bench) -> ContainerSpec {
    let engine = &bench.engine;
    let mut used: Vec<_> = bench.host.routes.iter().map(|route| route.subnet).collect();
    for network in engine.networks(&[]).await.unwrap() {
        used.extend(network.subnets.iter().filter_map(|subnet| subnet.parse::<Subnet>().ok()));
    }
    let subnet = choose_subnet(&used).unwrap();
    let ipv6 = "fc00:f853:ccd:e7aa::/64";
    let spec = NetworkSpec {
        name: NETWORK.to_owned(),
        ipv4: subnet.to_string(),
        ipv6: Some(ipv6.to_owned()),
        labels: strings([("pipe.dev/owner", "test")]),
    };
    let network = engine.create_network(&spec).await.unwrap();
    assert_eq!(network.subnets, [subnet.to_string(), ipv6.to_owned()]);
    assert_eq!(engine.create_network(&spec).await.unwrap_err().fault, Fault::Conflict);

    let labels = strings([(NODE, "true"), ("pipe.dev/cluster", "t1")]);
    let volume = engine.create_volume(None, &labels).await.unwrap();
    let names = [NODE.to_owned()];
    let addresses = assign_addresses(subnet, &names, &BTreeSet::new(), &BTreeMap::new()).unwrap();
    ContainerSpec {
        name: NODE.to_owned(),
        hostname: NODE.to_owned(),
        image: IMAGE.to_owned(),
        env: strings([("container", "podman"), ("KUBECONFIG", "/etc/kubernetes/admin.conf")]),
        labels: strings([
            ("io.x-k8s.kind.cluster", "t1"),
            ("io.x-k8s.kind.role", "control-plane"),
            ("pipe.dev/cluster", "t1"),
        ]),
        tty: true,
        privileged: true,
        tmpfs: strings([("/tmp", ""), ("/run", "")]),
        volumes: vec![VolumeMount {
            volume: volume.name,
            target: "/var".to_owned(),
            options: ["suid", "exec", "dev"].map(str::to_owned).to_vec(),
        }],
        binds: vec![
            Bind::modules(bench.host.lib_modules)
                // Hosts without modules: any folder shows whether a bind is as kind's.
                .unwrap_or_else(|| Bind::read_only("/usr/lib", "/lib/modules")),
        ],
        network: NETWORK.to_owned(),
        ipv4: addresses.get(NODE).copied(),
        ipv6: Some("fc00:f853:ccd:e7aa::fe".parse().unwrap()),
        ports: vec![PublishedPort {
            host_ip: Ipv4Addr::LOCALHOST.into(),
            host_port: free_port(&[]).unwrap(),
            container_port: 6443,
            udp: false,
        }],
        ulimits: Ulimit::needed(&bench.host),
        stop_timeout: 10,
        ..ContainerSpec::default()
    }
}

pub const CASES: [Case; 1] =
    [Case::new("engine_client_from_creation_to_removal", || block_on(from_creation_to_removal()))];

async fn from_creation_to_removal() {
    let bench = Bench::new().await;
    // Whatever fails: nothing is left behind.
    let result = AssertUnwindSafe(whole_life(&bench)).catch_unwind().await;
    bench.finish().await;
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

async fn whole_life(bench: &Bench) {
    let engine = &bench.engine;
    let info = engine.info().await.unwrap();
    assert_eq!(info.arch, bench.host.arch.unwrap().as_str());
    assert!(info.graph_root.is_absolute());

    let spec = node(bench).await;
    engine.create_container(&spec).await.unwrap();
    assert_eq!(engine.create_container(&spec).await.unwrap_err().fault, Fault::Conflict);
    assert_eq!(engine.inspect(NODE).await.unwrap().unwrap().state, State::Created);

    // Before the first start: onto the root file system. (The volume is filled at the start, and
    // stays as it is if something is in it by then.)
    let early = FileToPut::new("/kind/deep/kubeadm.conf", 0o640, "early");
    engine.put_files(NODE, vec![early]).await.unwrap();
    engine.start(NODE).await.unwrap();
    engine.start(NODE).await.unwrap();

    matches_golden(engine, &spec).await;
    reads(engine, &spec).await;
    execs(engine).await;
    files(engine).await;

    let error = engine.remove_volume(&spec.volumes[0].volume).await.unwrap_err();
    assert_eq!(error.fault, Fault::Conflict, "{error}");
    let error = engine.remove_network(NETWORK).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Conflict | Fault::Status(500)), "{error:?}");
    engine.remove(NODE).await.unwrap();
    engine.remove(NODE).await.unwrap();
    assert!(engine.inspect(NODE).await.unwrap().is_none());
    images(bench).await;
}

/// Every field of kind's own containers, volumes and networks that is not a fact of the host they
/// were made on (`tests/golden/README.md`).
async fn matches_golden(engine: &Engine, spec: &ContainerSpec) {
    let golden = |file: &str| -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let mut wanted = golden("kind-control-plane.inspect.json");
    let seen = engine.inspect_raw(NODE).await.unwrap();
    for pointer in [
        "/Config/Entrypoint",
        "/Config/Cmd",
        "/Config/Tty",
        "/Config/StopSignal",
        "/Config/StopTimeout",
        "/HostConfig/Privileged",
        "/HostConfig/Tmpfs",
        "/HostConfig/CgroupMode",
        "/HostConfig/IpcMode",
        "/HostConfig/UTSMode",
        "/HostConfig/UsernsMode",
        "/HostConfig/PidMode",
        "/HostConfig/Init",
        "/HostConfig/RestartPolicy",
        "/HostConfig/SecurityOpt",
        "/HostConfig/ExtraHosts",
        "/HostConfig/NetworkMode",
        "/HostConfig/ReadonlyRootfs",
        "/HostConfig/ShmSize",
    ] {
        let value = |inspect: &Value| inspect.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(value(&seen), value(&wanted), "{pointer}");
    }
    assert_eq!(seen["Name"], NODE);
    assert_eq!(seen["Config"]["Hostname"], NODE);
    for (label, value) in wanted["Config"]["Labels"].as_object().unwrap() {
        if label.starts_with("io.x-k8s.kind.") {
            assert_eq!(&seen["Config"]["Labels"][label], value);
        }
    }
    let variables = |inspect: &Value, name: &str| -> BTreeSet<String> {
        let all = inspect["Config"]["Env"].as_array().unwrap().iter();
        all.map(|v| v.as_str().unwrap().replace(name, NODE)).collect()
    };
    assert_eq!(variables(&seen, NODE), variables(&wanted, "t1-control-plane"));
    let port = &spec.ports[0];
    wanted["HostConfig"]["PortBindings"]["6443/tcp"][0]["HostPort"] =
        json!(port.host_port.to_string());
    assert_eq!(seen["HostConfig"]["PortBindings"], wanted["HostConfig"]["PortBindings"]);

    // Not compared (facts of that host): but they must be what was asked for.
    assert_eq!(seen["HostConfig"]["PidsLimit"], -1);
    for limit in &spec.ulimits {
        let name = format!("RLIMIT_{}", limit.name.to_uppercase());
        let line = json!({ "Name": name, "Soft": limit.value, "Hard": limit.value });
        assert!(seen["HostConfig"]["Ulimits"].as_array().unwrap().contains(&line), "{line}");
    }

    // The golden files leave out the names and host paths of mounts.
    for wanted in wanted["Mounts"].as_array().unwrap() {
        let target = &wanted["Destination"];
        let all = seen["Mounts"].as_array().unwrap();
        let mount = all.iter().find(|mount| &mount["Destination"] == target);
        for key in ["Type", "Driver", "Mode", "Options", "RW", "Propagation"] {
            assert_eq!(mount.unwrap()[key], wanted[key], "{target} {key}");
        }
    }
    let wanted_network = &wanted["Networks"]["kind"];
    let network = &seen["NetworkSettings"]["Networks"][NETWORK];
    assert_eq!(network["IPPrefixLen"], wanted_network["IPPrefixLen"]);
    let short_id = &seen["Id"].as_str().unwrap()[..12];
    assert_eq!(network["Aliases"], json!([short_id]), "as kind's: its short id alone");

    let (wanted, seen) = (golden("kind-network.json"), engine.network_raw(NETWORK).await.unwrap());
    for (key, value) in wanted.as_object().unwrap() {
        if key != "name" && key != "labels" {
            assert_eq!(seen.get(key).unwrap_or(&Value::Null), value, "network {key}");
        }
    }
    let volume = engine.volume(&spec.volumes[0].volume).await.unwrap().unwrap();
    assert_eq!(volume.labels.get(NODE).map(String::as_str), Some("true"), "kind finds it by this");
    assert_eq!(golden("kind-volumes.json")[0]["Driver"], "local");
}

/// Our own structs say the same.
async fn reads(engine: &Engine, spec: &ContainerSpec) {
    let container = engine.inspect(NODE).await.unwrap().unwrap();
    assert_eq!((&container.state, container.image.as_str()), (&State::Running, IMAGE));
    assert_eq!(
        (container.labels.clone(), container.ports),
        (spec.labels.clone(), spec.ports.clone())
    );
    let addresses = &container.networks[NETWORK];
    assert_eq!((addresses.ipv4, addresses.ipv6), (spec.ipv4, spec.ipv6));
    assert!(addresses.ipv6.is_some_and(|a: Ipv6Addr| a.to_string().ends_with("::fe")));
    assert_eq!(container.mounts[0].name, spec.volumes[0].volume);

    let lines = engine.containers(&["pipe.dev/cluster=t1", "io.x-k8s.kind.role"]).await.unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].name.as_str(), &lines[0].id), (NODE, &container.id));
    assert_eq!(
        (&lines[0].state, lines[0].networks.as_slice()),
        (&State::Running, &[NETWORK.to_owned()][..])
    );
    assert_eq!(engine.containers(&["pipe.dev/cluster=other"]).await.unwrap().len(), 0);
    assert_eq!(engine.volumes(&[&format!("{NODE}=true")]).await.unwrap().len(), 1);
    assert_eq!(engine.networks(&["pipe.dev/owner=test"]).await.unwrap().len(), 1);
    assert!(engine.network(NETWORK).await.unwrap().unwrap().dns);
}

async fn execs(engine: &Engine) {
    let script = "echo out; echo err >&2; echo $COLOUR; exit 3";
    let exec = Exec::new(["sh", "-c", script]).var("COLOUR", "red");
    let output = engine.exec(NODE, exec).await.unwrap();
    assert_eq!((output.code, output.text().as_str()), (3, "out\nred"));
    assert_eq!(output.stderr, b"err\n");
    let error = output.checked().unwrap_err();
    assert_eq!(error.code, "exec-failed");
    assert!(error.what.starts_with(&format!("`podman exec {NODE} sh -c 'echo out;")), "{error}");

    // Input of several megabytes, as bytes and as a stream; its end is seen.
    let megabytes = 8 << 20;
    let wc = || Exec::new(["wc", "-c"]);
    let bytes = Stdin::Bytes(Bytes::from(vec![b'x'; megabytes]));
    assert_eq!(engine.exec(NODE, wc().stdin(bytes)).await.unwrap().text(), megabytes.to_string());
    let chunk = Bytes::from(vec![b'y'; 64 << 10]);
    let chunks = futures::stream::iter((0..128).map(move |_| Ok(chunk.clone()))).boxed();
    let output = engine.exec(NODE, wc().stdin(Stdin::Stream(chunks))).await.unwrap();
    assert_eq!(output.text(), megabytes.to_string());
    // All of a long output arrives.
    let cat = Exec::new(["cat", "/bin/busybox"]).stdin(Stdin::Bytes(Bytes::from("unread")));
    let seen = engine.exec(NODE, cat).await.unwrap();
    assert!(Some(seen.stdout) == engine.get_file(NODE, "/bin/busybox").await.unwrap());
    // A program that ends without reading its input is judged by its exit code alone.
    let bytes = Stdin::Bytes(Bytes::from(vec![b'z'; megabytes]));
    let deaf = Exec::new(["sh", "-c", "exit 7"]).stdin(bytes);
    assert_eq!(engine.exec(NODE, deaf).await.unwrap().code, 7);
    // Where the rest is taken from it, what it said is heard, too.
    for _ in 0..10 {
        let bytes = Stdin::Bytes(Bytes::from(vec![b'z'; megabytes]));
        let deaf = Exec::new(["sh", "-c", "echo why >&2; exit 7"]).stdin(bytes).drained();
        let seen = engine.exec(NODE, deaf).await.unwrap();
        assert_eq!((seen.code, seen.stderr.as_slice()), (7, b"why\n".as_slice()));
    }

    let mut lines = Vec::new();
    let exec = Exec::new(["sh", "-c", "echo one; echo two >&2; printf rest"]);
    let code = engine.exec_lines(NODE, exec, |stream, line| lines.push((stream, line.to_owned())));
    assert_eq!(code.await.unwrap(), 0);
    lines.sort_by_key(|(stream, _)| *stream == StdStream::Err);
    let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, ["one", "rest", "two"]);

    let late = Exec::new(["sleep", "100"]).within(Duration::from_millis(300));
    assert_eq!(engine.exec(NODE, late).await.unwrap_err().fault, Fault::TimedOut);
    let missing = engine.exec(NODE, Exec::new(["no-such-program"])).await;
    assert!(missing.is_err() || missing.is_ok_and(|output| output.code != 0));
    let nobody = engine.exec("test-eng-nobody", Exec::new(["true"])).await.unwrap_err();
    assert_eq!(nobody.fault, Fault::NotFound);
}

async fn files(engine: &Engine) {
    let text = async |path: &str| {
        let content = engine.get_file(NODE, path).await.unwrap();
        content.map(|content| String::from_utf8(content).unwrap())
    };
    assert_eq!(text("/kind/deep/kubeadm.conf").await.as_deref(), Some("early"));
    assert_eq!(text("/var/lib/from-image").await.as_deref(), Some("copied into the volume\n"));
    assert_eq!(text("/no/such/file").await, None);

    let put = async |content: &str| {
        let paths = ["/etc/a/b", "/var/lib/new/c", "/run/d"];
        let files = paths.map(|path| FileToPut::new(path, 0o600, content)).to_vec();
        engine.put_files(NODE, files).await.unwrap();
    };
    put("while running").await;
    let exec = Exec::new(["cat", "/etc/a/b", "/var/lib/new/c", "/run/d"]);
    assert_eq!(engine.exec(NODE, exec).await.unwrap().text(), "while running".repeat(3));
    let stat = Exec::new(["stat", "-c", "%a %u:%g", "/etc/a/b"]);
    assert_eq!(engine.exec(NODE, stat).await.unwrap().text(), "600 0:0");

    let started = std::time::Instant::now();
    engine.stop(NODE, Duration::from_secs(30)).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "the image's stop signal works");
    engine.stop(NODE, Duration::from_secs(1)).await.unwrap();
    let container = engine.inspect(NODE).await.unwrap().unwrap();
    assert_eq!(container.state, State::Exited);
    put("while stopped").await;
    assert_eq!(text("/etc/a/b").await.as_deref(), Some("while stopped"));
    assert_eq!(text("/var/lib/new/c").await.as_deref(), Some("while stopped"));
    let address = || async { engine.inspect(NODE).await.unwrap().unwrap().networks[NETWORK].ipv4 };
    engine.start(NODE).await.unwrap();
    let exec = Exec::new(["cat", "/etc/a/b", "/var/lib/new/c"]);
    assert_eq!(engine.exec(NODE, exec).await.unwrap().text(), "while stopped".repeat(2));
    assert!(address().await.is_some_and(|address| address.octets()[3] == 254), "it is static");
}

async fn images(bench: &Bench) {
    let engine = &bench.engine;
    let image = engine.image(IMAGE).await.unwrap().unwrap();
    assert_eq!(image.arch, bench.host.arch.unwrap().as_str());
    assert!(image.size > 1_000_000 && image.digest.starts_with("sha256:"), "{image:?}");
    assert!(engine.image("localhost/test-eng-none:1").await.unwrap().is_none());

    engine.tag(IMAGE, "localhost/test-eng-node", "2").await.unwrap();
    let tagged = "localhost/test-eng-node:2";
    assert_eq!(engine.image(tagged).await.unwrap().unwrap().id, image.id);
    let archive: Vec<Bytes> = engine.export(&[IMAGE, tagged]).try_collect().await.unwrap();
    let archive = archive.concat();
    let mut tar = tar::Archive::new(&archive[..]);
    let manifest = tar
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path().unwrap().to_str() == Some("manifest.json"));
    let manifest: Value = serde_json::from_reader(manifest.unwrap()).unwrap();
    let mut tags: Vec<&str> = manifest[0]["RepoTags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag.as_str().unwrap())
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, [IMAGE, tagged]);
    bench.podman(&["rmi", tagged], Vec::new()).await;
    let missing: Result<Vec<Bytes>, _> =
        engine.export(&["localhost/test-eng-none:1"]).try_collect().await;
    assert!(missing.is_err());

    // Nothing answers there: the engine's words are in the error.
    let none = Pull { name: "localhost:1/test-eng/none:1", login: None, plain: false };
    let error = engine.pull(&none, |_| {}).await.unwrap_err();
    assert!(error.message.contains("localhost:1"), "{error}");
}
