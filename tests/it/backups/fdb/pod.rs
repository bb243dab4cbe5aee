//! A pod of FoundationDB without a cluster: an API server that lists it and runs programs in it, as the
//! real one does, and the very programs that the fake image has, as processes of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::lying_fdb::server::decoded;

/// Between the words of a command line on the database's socket.
const SEPARATOR: char = '\u{1f}';

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;

/// In what it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    NoPod,
    /// The pod's disk is full.
    Full,
    /// One of the programs; see `tests/fakes/foundationdb_backup.rs`.
    Program(&'static str),
    /// The connection ends where this is said, while agents do nothing.
    BreaksOff(&'static str),
    /// The same, in the middle of the archive.
    BreaksOffArchive,
    /// The whole pod is killed there.
    Killed(&'static str),
}

pub struct Pod {
    folder: tempfile::TempDir,
    port: u16,
    database: String,
    server: Child,
    fault: Arc<Mutex<Fault>>,
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _gone = self.server.wait();
    }
}

/// The programs, compiled once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foundationdb_program");
        let compiled = Command::new("rustc")
            .args(["--edition", "2024", "-o"])
            .arg(&path)
            .arg(root.join("tests/fakes/foundationdb_program.rs"))
            .status();
        assert!(compiled.expect("rustc runs").success());
        path
    })
}

impl Pod {
    pub async fn start() -> Pod {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "full", "tmp", "data"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["fdbserver", "fdbcli", "backup_agent", "fdbbackup", "fdbrestore"] {
            symlink(program(), folder.path().join("bin").join(name)).unwrap();
        }
        symlink(program(), folder.path().join("full/df")).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let database = free.local_addr().unwrap().to_string();
        drop(free);
        fs::write(folder.path().join("fdb.cluster"), format!("pipe:pipe@{database}\n")).unwrap();
        let data = folder.path().join("data");
        let server = Command::new(folder.path().join("bin/fdbserver"))
            .arg(format!("--public_address={database}"))
            .args(["--listen_address=public", "--knob_disable_posix_kernel_aio=1"])
            .args(
                ["memory", "cache_memory", "logsize", "maxlogssize"].map(|x| format!("--{x}=1MiB")),
            )
            .args(["datadir", "logdir"].map(|x| format!("--{x}={}", data.display())))
            .arg("--locality_instance_id=foundationdb-0")
            .env("FDB_CLUSTER_FILE", folder.path().join("fdb.cluster"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::new(Mutex::new(Fault::None));
        let pod = Pod { folder, port, database, server, fault };
        soon(|| std::net::TcpStream::connect(&pod.database).is_ok());
        pod.cli("configure new single ssd");
        let (shared, root) = (Arc::clone(&pod.fault), pod.folder.path().to_owned());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let fault = *shared.lock().unwrap();
                tokio::spawn(serve(socket, fault, root.clone()));
            }
        });
        pod
    }

    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: s\n\
             clusters: [{{name: s, cluster: {{server: \"http://127.0.0.1:{}\"}}}}]\n\
             contexts: [{{name: s, context: {{cluster: s, user: s}}}}]\nusers: [{{name: s, user: {{}}}}]\n",
            self.port
        )
    }

    pub fn fails(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub fn set(&self, key: &str, value: &str) {
        let said = self.cli(&format!("writemode on; set {key} {value}"));
        assert!(said.contains("Committed ("), "{said}");
    }

    pub fn clear(&self) {
        let said = self.cli(r#"writemode on; clearrange "" \xff"#);
        assert!(said.contains("Committed ("), "{said}");
    }

    /// Every key with its value.
    pub fn pairs(&self) -> BTreeMap<String, String> {
        let said = self.ask(&["work", "read"]);
        let pairs = said.lines().skip(1).filter_map(|line| line.split_once(' '));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    pub fn cli(&self, commands: &str) -> String {
        self.ask(&["fdbcli", "--timeout", "5", "--exec", commands])
    }

    /// Nothing goes on in the pod, and nothing lies there; which may take a moment.
    pub fn is_clean(&self) -> bool {
        let programs = self.folder.path().join("bin");
        let runs = |program: &str| {
            let path = programs.join(program).to_string_lossy().into_owned();
            let processes = fs::read_dir("/proc").unwrap().flatten();
            let mut lines = processes.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
            lines.any(|line| line.starts_with(path.as_bytes()))
        };
        soon(|| {
            let idle = ["backup", "restore"]
                .iter()
                .all(|kind| self.ask(&["work", "state", kind]) != "running");
            idle && self.is_empty()
                && !["backup_agent", "fdbbackup", "fdbrestore"].iter().any(|it| runs(it))
        })
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.folder.path().join("tmp")).unwrap().next().is_none()
    }

    fn ask(&self, words: &[&str]) -> String {
        let mut server = std::net::TcpStream::connect(&self.database).unwrap();
        server.write_all(words.join(&SEPARATOR.to_string()).as_bytes()).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        server.read_to_string(&mut answer).unwrap();
        answer.replace(SEPARATOR, "")
    }
}

/// Whether something holds within some seconds.
fn soon(holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

async fn serve(mut socket: TcpStream, fault: Fault, root: PathBuf) {
    let mut start = [0; 1024];
    let length = socket.peek(&mut start).await.unwrap();
    let line = String::from_utf8_lossy(&start[..length]).into_owned();
    let line = line.lines().next().unwrap_or_default();
    if line.contains("/exec?") {
        exec(socket, fault, &root).await;
        return;
    }
    let pods = line.starts_with("GET /api/v1/namespaces/data/pods?");
    assert!(pods && line.contains("instance%3Dfoundationdb"), "{line}");
    let pod = json!({
        "metadata": {"name": "foundationdb-0", "namespace": "data", "uid": "u"},
        "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let items = if fault == Fault::NoPod { json!([]) } else { json!([pod]) };
    let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items});
    let body = list.to_string();
    let mut request = vec![0; 8192];
    let _read = socket.read(&mut request).await;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    let _client_gone = socket.write_all(format!("{head}{body}").as_bytes()).await;
}

/// Runs one program, with everything that it says and is told, to its end or to the client's.
#[expect(clippy::disallowed_types, reason = "a pod's program is no program of ours")]
async fn exec(socket: TcpStream, fault: Fault, root: &Path) {
    let mut command = Vec::new();
    #[expect(clippy::result_large_err, reason = "the trait of the callback says so")]
    let callback = |request: &Request, mut response: Response| {
        assert_eq!(request.uri().path(), "/api/v1/namespaces/data/pods/foundationdb-0/exec");
        for pair in request.uri().query().unwrap_or_default().split('&') {
            command.extend(pair.strip_prefix("command=").map(decoded));
        }
        let chosen = HeaderValue::from_static("v5.channel.k8s.io");
        response.headers_mut().insert("sec-websocket-protocol", chosen);
        Ok(response)
    };
    let Ok(socket) = accept_hdr_async(socket, callback).await else { return };
    let folder = |name: &str| root.join(name).to_string_lossy().into_owned();
    let full = if fault == Fault::Full { folder("full") } else { folder("bin") };
    let program = match fault {
        Fault::Program(name) => name,
        Fault::BreaksOff(_) | Fault::Killed(_) => "idle",
        _ => "",
    };
    let mut child = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .env_clear()
        .env("PATH", format!("{full}:{}:/usr/bin:/bin", folder("bin")))
        .env("TMPDIR", folder("tmp"))
        .env("FDB_CLUSTER_FILE", folder("fdb.cluster"))
        .env("FAKE_FAULT", program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let group = child.id().unwrap();
    let stdin = child.stdin.take();
    let (sender, mut frames) = mpsc::channel::<Vec<u8>>(4);
    let stdout = forward(child.stdout.take().unwrap(), STDOUT, sender.clone());
    let stderr = forward(child.stderr.take().unwrap(), STDERR, sender);
    let (mut sink, mut source) = socket.split();
    let talk = async {
        // Ends where the client does, as in a pod.
        let mut stdin = stdin;
        let whole = loop {
            tokio::select! {
                frame = frames.recv() => {
                    let Some(frame) = frame else { break true };
                    let text = String::from_utf8_lossy(&frame[1..]).into_owned();
                    let at = |word: &str| frame[0] == STDERR && text.contains(word);
                    match fault {
                        Fault::BreaksOff(word) if at(word) => break false,
                        Fault::BreaksOffArchive if frame[0] == STDOUT && command[0] == "/bin/sh" => break false,
                        Fault::Killed(word) if at(word) => {
                            let group = format!("-{group}");
                            let _gone = Command::new("kill").args(["-KILL", "--", &group]).status();
                            break false;
                        }
                        _ => {}
                    }
                    if sink.send(Message::binary(frame)).await.is_err() {
                        break false;
                    }
                }
                message = source.next() => match message {
                    Some(Ok(Message::Binary(bytes))) if bytes[0] == STDIN => {
                        if let Some(stdin) = &mut stdin {
                            let _ended = stdin.write_all(&bytes[1..]).await;
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => break false,
                },
            }
        };
        frames.close();
        whole
    };
    let (whole, (), ()) = tokio::join!(talk, stdout, stderr);
    if !whole {
        return;
    }
    let code = child.wait().await.unwrap().code();
    let status = match code {
        Some(0) => json!({"status": "Success"}),
        code => json!({
            "status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.unwrap_or(137).to_string()}]},
        }),
    };
    let frame = [&[STATUS], status.to_string().as_bytes()].concat();
    let _client_gone = sink.send(Message::binary(frame)).await;
    let _client_gone = sink.close().await;
}

async fn forward(mut stream: impl AsyncRead + Unpin, channel: u8, sender: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        // Where nobody listens any more, it is taken all the same: only its input tells the program.
        let _gone = sender.send([&[channel], &buffer[..length]].concat()).await;
    }
}
