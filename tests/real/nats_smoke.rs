//! The smoke check against a real nats-server with the configuration of the chart.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::host::podman;
use super::{Case, block_on};
use pipe::smoke::{self, Driver, Options, Report, Surroundings, Target};

/// Digits only, which NATS takes for a number unless the variable is quoted, as the chart does.
const PASSWORD: &str = "0123456789";

pub const CASES: [Case; 4] = [
    case("smoke_passes_on_a_real_server_and_survives_its_restart", || block_on(passes())),
    case("smoke_fails_on_a_server_that_lost_its_volume", || block_on(lost_volume())),
    case("smoke_fails_at_once_with_wrong_credentials", || block_on(wrong_credentials())),
    case("smoke_fails_on_a_server_of_another_component", || block_on(other_component())),
];

const fn case(name: &'static str, run: fn()) -> Case {
    Case { name, skip: || no_server(), run }
}

/// The NATS image that was built from source: its server is static and runs on the host too.
fn image() -> Option<String> {
    let images = podman(["images", "--format", "{{.Repository}}:{{.Tag}}", "localhost/pipe/nats"]);
    images.lines().next().map(str::to_owned)
}

fn no_server() -> Option<String> {
    image().is_none().then(|| "the image factory has not built NATS here".to_owned())
}

fn server_program(folder: &Path) -> PathBuf {
    let program = folder.join("nats-server");
    let container = podman(["create", &image().expect("checked before")]);
    let container = container.trim();
    podman(["cp", &format!("{container}:/nats-server"), &program.display().to_string()]);
    podman(["rm", "-v", container]);
    program
}

/// A server with its store in `folder`; killed when dropped.
struct Server {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Server {
    fn start(program: &Path, folder: &Path) -> Server {
        // Let go before the server takes it; the smoke check waits for the port.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "server_name: $SERVER_NAME\nhost: 127.0.0.1\nport: {port}\n\
             jetstream {{ store_dir: \"{}\", max_file_store: 64MiB, max_memory_store: 16MiB }}\n\
             authorization {{ users: [ {{user: $NATS_USERNAME, password: $NATS_PASSWORD}} ] }}\n",
            folder.join("data").display(),
        );
        std::fs::write(folder.join("nats.conf"), config).unwrap();
        let child = spawn(program, folder);
        Server { program: program.to_owned(), folder: folder.to_owned(), port, child }
    }

    fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.program, &self.folder);
    }

    fn kill(&mut self) {
        let _gone_already = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &Path, folder: &Path) -> Child {
    Command::new(program)
        .arg("--config")
        .arg(folder.join("nats.conf"))
        .env("SERVER_NAME", "\"nats-0\"")
        .env("NATS_USERNAME", "\"pipe\"")
        .env("NATS_PASSWORD", format!("\"{PASSWORD}\""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn check(component: &str, password: &str, loses_data: bool) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let program = server_program(folder.path());
    let server = Server::start(&program, folder.path());
    let target = Target {
        component: component.into(),
        namespace: "messaging".into(),
        host: "127.0.0.1".into(),
        port: Some(server.port),
        buckets: vec![],
        floor: vec![],
        stand_in: None,
        credentials: BTreeMap::from([
            ("username".into(), "pipe".into()),
            ("password".into(), password.into()),
        ]),
        run_id: "real1".into(),
    };
    let server = Arc::new(Mutex::new(server));
    let surroundings = Surroundings {
        restart: Box::new(move || {
            let mut server = server.lock().unwrap();
            if loses_data {
                server.kill();
                std::fs::remove_dir_all(server.folder.join("data")).unwrap();
            }
            server.restart();
            Box::pin(async { Ok(()) })
        }),
        exec: None,
        evidence: Box::new(|| Box::pin(async { "no cluster".into() })),
    };
    let options = Options { restart: true, reach: smoke::REACH, within: Duration::from_secs(60) };
    smoke::run(Driver::Nats, &target, options, &surroundings).await.unwrap()
}

fn failed(report: &Report) -> Vec<&str> {
    report.checks.iter().filter(|c| !c.passed).map(|c| c.name.as_str()).collect()
}

async fn passes() {
    let report = check("nats", PASSWORD, false).await;
    assert!(report.passed, "{report}");
    assert_eq!(report.checks.len(), 12, "{report}");
}

async fn lost_volume() {
    let report = check("nats", PASSWORD, true).await;
    assert_eq!(failed(&report), ["read-again", "clean-up"], "{report}");
}

async fn wrong_credentials() {
    let report = check("nats", "another", false).await;
    assert_eq!(failed(&report), ["connect"], "{report}");
    assert!(report.checks[0].saw.contains("authorization violation"), "{report}");
}

async fn other_component() {
    let report = check("events", PASSWORD, false).await;
    assert_eq!(failed(&report), ["connect"], "{report}");
    assert!(report.checks[0].saw.contains("no pod of events"), "{report}");
}
