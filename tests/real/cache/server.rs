//! A registry as a process of the test: the stand-in that the image factory built, or with
//! `PIPE_TEST_ZOT` naming a program of Zot's, that one.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pipe::world::registry::Registry;
use serde_json::json;

use crate::host::{podman, tool};

fn image() -> Option<String> {
    let format = "{{.Repository}}:{{.Tag}}";
    let images = podman(["images", "--format", format, "localhost/pipe/registry"]);
    images.lines().next().map(str::to_owned)
}

pub(crate) fn no_registry() -> Option<String> {
    let there = std::env::var_os("PIPE_TEST_ZOT").is_some() || image().is_some();
    (!there).then(|| "the image factory has not built a registry here".to_owned())
}

/// A registry with its store in a folder of its own; killed when dropped.
pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_at("127.0.0.1").await
    }

    /// One that listens on another address, too.
    pub(crate) async fn start_at(host: &str) -> Server {
        Server::start_as(host, None).await
    }

    /// One that keeps what it is given elsewhere.
    pub(crate) async fn start_with_store(store: &Path) -> Server {
        Server::start_as("127.0.0.1", Some(store)).await
    }

    async fn start_as(host: &str, store: Option<&Path>) -> Server {
        let folder = tempfile::tempdir().unwrap();
        // Let go before the server takes it; `ping` asks until it answers.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = folder.path().join("config");
        let store = store.map_or_else(|| folder.path().join("store"), Path::to_path_buf);
        let (program, text) = match std::env::var_os("PIPE_TEST_ZOT") {
            Some(zot) => (PathBuf::from(zot), zot_config(&store, host, port)),
            None => (copied_out(folder.path()), distribution_config(&store, host, port)),
        };
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(program)
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Server { folder, child, address: format!("127.0.0.1:{port}") };
        let registry = server.registry();
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = registry.ping().await {
            let log = std::fs::read_to_string(server.folder.path().join("log"));
            assert!(Instant::now() < deadline, "{error}: {log:?}");
        }
        server
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::own(&self.address, None).unwrap()
    }

    pub(crate) fn cosign(&self, key: &Path, arguments: &[&str]) -> Output {
        Command::new(tool("cosign"))
            .args(arguments)
            .arg("--key")
            .arg(key)
            .args(["--allow-http-registry", "--insecure-ignore-tlog=true"])
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", "")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn distribution_config(store: &Path, host: &str, port: u16) -> String {
    format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
         http: {{addr: \"{host}:{port}\"}}\nvalidation: {{manifests: {{indexes: {{platforms: none}}}}}}\n",
        store.display()
    )
}

fn zot_config(store: &Path, host: &str, port: u16) -> String {
    json!({
        "distSpecVersion": "1.1.1",
        "storage": {"rootDirectory": store, "dedupe": true, "gc": false},
        "http": {"address": host, "port": port.to_string(), "compat": ["docker2s2"]},
        "log": {"level": "warn"},
    })
    .to_string()
}

fn copied_out(folder: &Path) -> PathBuf {
    let program = folder.join("registry");
    let container = podman(["create", &image().expect("checked before")]);
    let container = container.trim();
    podman(["cp", &format!("{container}:/bin/registry"), &program.display().to_string()]);
    podman(["rm", "-v", container]);
    program
}
