//! A server that says exactly what a test tells it to, on a real socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

/// A request as it arrived.
#[allow(dead_code, reason = "each test file reads what it needs")]
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What the server does about one request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A whole answer.
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// Closes the connection without a word.
    Reset,
    /// Promises more bytes than it sends, then closes.
    Torn(Vec<u8>),
    /// Switches protocols, says this, and closes: an exec.
    Upgraded(Vec<u8>),
    /// Keeps the connection open and says nothing.
    Silence,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply::Answer { status, headers: Vec::new(), body: body.into() }
    }

    /// Podman's form of an error.
    pub fn podman_error(status: u16, cause: &str, message: &str) -> Reply {
        let body = serde_json::json!({ "cause": cause, "message": message, "response": status });
        Reply::new(status, body.to_string())
    }

    pub fn header(mut self, name: &str, value: &str) -> Reply {
        if let Reply::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// The server; ends when dropped.
pub struct Scripted {
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Serves on a Unix socket in `folder`. `script` gets each request and how many came before.
    pub fn unix(
        folder: &Path,
        script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> (Scripted, PathBuf) {
        let path = folder.join("scripted.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (requests, script) = parts(script);
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, seen.clone(), script.clone()));
            }
        });
        (Scripted { requests, task }, path)
    }

    /// Serves on a loopback port; returns `http://127.0.0.1:PORT`.
    pub async fn tcp(
        script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> (Scripted, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (requests, script) = parts(script);
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, seen.clone(), script.clone()));
            }
        });
        (Scripted { requests, task }, base)
    }

    /// Serves TLS on a loopback port; returns `https://localhost:PORT`.
    pub async fn tls(
        config: rustls::ServerConfig,
        script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> (Scripted, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (requests, script) = parts(script);
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen, script) = (acceptor.clone(), seen.clone(), script.clone());
                tokio::spawn(async move {
                    // A client that does not trust us hangs up here.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, seen, script).await;
                    }
                });
            }
        });
        (Scripted { requests, task }, base)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn parts(
    script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
) -> (Arc<Mutex<Vec<Request>>>, Arc<Script>) {
    (Arc::default(), Arc::new(script))
}

/// Serves one request, then closes: every client here opens a connection for each.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: Arc<Mutex<Vec<Request>>>,
    script: Arc<Script>,
) {
    let Some(request) = read_request(&mut stream).await else { return };
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let _client_gone = match script(&request, before) {
        Reply::Reset => Ok(()),
        Reply::Silence => std::future::pending().await,
        Reply::Torn(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len() + 100);
            stream.write_all(&[head.as_bytes(), &body].concat()).await
        }
        Reply::Upgraded(body) => {
            let head = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
                        Content-Type: application/vnd.docker.raw-stream\r\n\r\n";
            stream.write_all(&[head.as_bytes(), &body].concat()).await
        }
        Reply::Answer { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} Scripted\r\nConnection: close\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            stream.write_all(&[head.as_bytes(), &body].concat()).await
        }
    };
}

/// Reads up to the end of the headers, then `Content-Length` bytes.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<String, String> =
        lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |value| value.parse().unwrap());
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    Some(Request { method, target, headers, body: bytes[head_end..].to_vec() })
}
