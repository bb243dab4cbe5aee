//! An HTTP server that answers from a list and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One answer.
pub enum Reply {
    Answer { status: u16, content_type: &'static str, body: String },
    Silence,
}

impl Reply {
    pub fn json(body: &Value) -> Reply {
        Reply::Answer { status: 200, content_type: "application/json", body: body.to_string() }
    }

    pub fn text(status: u16, body: &str) -> Reply {
        Reply::Answer { status, content_type: "text/plain", body: body.to_owned() }
    }

    /// A Kubernetes `Status`, as a real API server refuses.
    pub fn status(code: u16, message: &str) -> Reply {
        let reason = if code == 404 { "NotFound" } else { "Scripted" };
        let body = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        });
        Reply::Answer { status: code, content_type: "application/json", body: body.to_string() }
    }
}

pub struct ScriptedKube {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ScriptedKube {
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> ScriptedKube {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut replies: VecDeque<Reply> = replies.into_iter().collect();
        let task = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let request = read_request(&mut socket).await;
                seen.lock().unwrap().push(request);
                match replies.pop_front() {
                    Some(Reply::Answer { status, content_type, body }) => {
                        let head = format!(
                            "HTTP/1.1 {status} Scripted\r\ncontent-type: {content_type}\r\n\
                             content-length: {}\r\nconnection: close\r\n\r\n",
                            body.len()
                        );
                        let _client_gone = socket.write_all((head + &body).as_bytes()).await;
                    }
                    Some(Reply::Silence) => silent.push(socket),
                    None => drop(socket),
                }
            }
        });
        ScriptedKube { port, requests, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every request as text: head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Closes the port.
    pub async fn stop(self) {
        self.task.abort();
        let _aborted = self.task.await;
    }
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.trim().parse().unwrap());
            if body.len() >= length {
                return text.into_owned();
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

pub fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: scripted
clusters: [{{name: scripted, cluster: {{server: \"http://127.0.0.1:{port}\"}}}}]
contexts: [{{name: scripted, context: {{cluster: scripted, user: scripted}}}}]
users: [{{name: scripted, user: {{}}}}]
"
    )
}
