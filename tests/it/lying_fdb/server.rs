//! An API server that runs one program in pods, as the real one does: over a WebSocket, channel by
//! channel. The program is the fake `fdbcli`.

use std::sync::{Arc, Mutex, MutexGuard};

use futures::SinkExt as _;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

#[allow(dead_code, reason = "backups are for programs in a pod")]
#[path = "../../fakes/foundationdb.rs"]
mod fake;

pub use fake::{Database, Lie};

pub struct LyingFdb {
    port: u16,
    database: Arc<Mutex<Database>>,
    task: JoinHandle<()>,
}

impl Drop for LyingFdb {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LyingFdb {
    pub async fn start(lie: Lie) -> LyingFdb {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let database = Database::new(lie, "foundationdb-0", "10.89.0.2:4500");
        let database = Arc::new(Mutex::new(database));
        let shared = Arc::clone(&database);
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                open.spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        LyingFdb { port, database, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn restart(&self) {
        let mut database = self.lock();
        if database.lie != Lie::DoesNotRestart {
            database.generation += 1;
        }
        if database.lie == Lie::ForgetsOnRestart {
            database.pairs.pop_last();
        }
    }

    pub fn is_clean(&self) -> bool {
        self.lock().pairs.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap()
    }
}

/// One program, run and reported.
async fn serve(socket: TcpStream, database: Arc<Mutex<Database>>) {
    let mut command = Vec::new();
    #[expect(clippy::result_large_err, reason = "the trait of the callback says so")]
    let callback = |request: &Request, mut response: Response| {
        let path = request.uri().path();
        assert_eq!(path, "/api/v1/namespaces/data/pods/foundationdb-0/exec");
        for pair in request.uri().query().unwrap_or_default().split('&') {
            if let Some(word) = pair.strip_prefix("command=") {
                command.push(decoded(word));
            }
        }
        let offered = request.headers()["sec-websocket-protocol"].to_str().unwrap();
        assert!(offered.contains("v5.channel.k8s.io"), "{offered}");
        let chosen = HeaderValue::from_static("v5.channel.k8s.io");
        response.headers_mut().insert("sec-websocket-protocol", chosen);
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(socket, callback).await else { return };
    let lie = database.lock().unwrap().lie;
    if lie == Lie::Silent {
        return std::future::pending().await;
    }
    let mut frames: Vec<(u8, String)> = Vec::new();
    if lie == Lie::NoProgram {
        let message = "exec: \"fdbcli\": executable file not found in $PATH";
        let status = json!({"status": "Failure", "reason": "InternalError", "message": message});
        frames.push((3, status.to_string()));
    } else {
        let (stdout, stderr) = database.lock().unwrap().fdbcli(&command);
        // In two pieces: what belongs together need not come together.
        let half = stdout.chars().count() / 2;
        let (first, second): (String, String) =
            (stdout.chars().take(half).collect(), stdout.chars().skip(half).collect());
        frames.extend([(1, first), (2, stderr)]);
        if lie != Lie::BreaksOff {
            frames.extend([(1, second), (3, json!({"status": "Success"}).to_string())]);
        }
    }
    for (channel, text) in frames {
        let frame = [&[channel], text.as_bytes()].concat();
        let _client_gone = socket.send(Message::binary(frame)).await;
    }
    if lie != Lie::BreaksOff {
        let _client_gone = socket.close(None).await;
    }
}

/// A word of a query, percent-encoded as in a form.
pub fn decoded(word: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
