//! The smoke check against a real nats-server with the configuration of the chart.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipe::smoke::{self, Driver, Options, Report, Surroundings, Target};

/// Digits only, which NATS takes for a number unless the variable is quoted, as the chart does.
const PASSWORD: &str = "0123456789";

/// The server that `PIPE_TEST_NATS_SERVER` names, or the one in the user's cache.
fn server_program() -> Option<PathBuf> {
    let named = std::env::var_os("PIPE_TEST_NATS_SERVER").map(PathBuf::from);
    let cached = || {
        let home = PathBuf::from(std::env::var_os("HOME")?);
        Some(home.join(".cache/pipe/tools/nats-server/v2.15.2/nats-server"))
    };
    named.or_else(cached).filter(|path| path.is_file())
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

async fn check(component: &str, password: &str, loses_data: bool) -> Option<Report> {
    let Some(program) = server_program() else {
        crate::skip("no nats-server; name one in PIPE_TEST_NATS_SERVER");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&program, folder.path());
    let target = Target {
        component: component.into(),
        namespace: "messaging".into(),
        host: "127.0.0.1".into(),
        ports: BTreeMap::from([("client".into(), server.port)]),
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
        evidence: Box::new(|| Box::pin(async { "no cluster".into() })),
    };
    let options = Options { restart: true, within: Duration::from_secs(60) };
    Some(smoke::run(Driver::Nats, &target, options, &surroundings).await.unwrap())
}

fn failed(report: &Report) -> Vec<&str> {
    report.checks.iter().filter(|c| !c.passed).map(|c| c.name.as_str()).collect()
}

#[tokio::test]
async fn a_real_server_passes_and_survives_a_restart() {
    let Some(report) = check("nats", PASSWORD, false).await else { return };
    assert!(report.passed, "{report}");
    assert_eq!(report.checks.len(), 12, "{report}");
}

#[tokio::test]
async fn a_server_that_lost_its_volume_fails() {
    let Some(report) = check("nats", PASSWORD, true).await else { return };
    assert_eq!(failed(&report), ["read-again", "clean-up"], "{report}");
}

#[tokio::test]
async fn the_wrong_credentials_fail_at_once() {
    let Some(report) = check("nats", "another", false).await else { return };
    assert_eq!(failed(&report), ["connect"], "{report}");
    assert!(report.checks[0].saw.contains("authorization violation"), "{report}");
}

#[tokio::test]
async fn a_server_of_another_component_fails() {
    let Some(report) = check("events", PASSWORD, false).await else { return };
    assert_eq!(failed(&report), ["connect"], "{report}");
    assert!(report.checks[0].saw.contains("no pod of events"), "{report}");
}
