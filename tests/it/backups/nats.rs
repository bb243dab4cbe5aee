//! As much of a NATS server as snapshots need: one stream, whose snapshot can break off in one way.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};

/// In what a snapshot fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The server says in the middle that it cannot go on.
    BreaksOff,
    /// A chunk never comes.
    LosesAChunk,
    /// Another program's server.
    OtherServer,
    /// It makes a stream of fewer messages than it was given.
    RestoresFewer,
}

const CHUNKS: [&[u8]; 3] = [b"first chunk", b"second chunk", b"third chunk"];

pub struct Nats {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    fault: Mutex<Fault>,
    /// Whether the stream is there.
    there: Mutex<bool>,
    restored: Mutex<Vec<u8>>,
}

impl Nats {
    pub async fn start() -> Nats {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            there: Mutex::new(true),
            restored: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&accepting)));
            }
        });
        Nats { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn fails(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    pub fn loses_the_stream(&self) {
        *self.shared.there.lock().unwrap() = false;
    }

    /// Whether the stream is there, made of exactly what was handed out.
    pub fn is_back(&self) -> bool {
        *self.shared.there.lock().unwrap()
            && *self.shared.restored.lock().unwrap() == CHUNKS.concat()
    }
}

/// Where to, the subject of the acknowledgement, a status line, and what.
type Answer = (String, Option<String>, Option<&'static str>, Vec<u8>);

async fn serve(socket: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let (read, mut write) = socket.into_split();
    let mut read = BufReader::new(read);
    let fault = *shared.fault.lock().unwrap();
    let name = if fault == Fault::OtherServer { "somebody-elses" } else { "nats-0" };
    let info = json!({
        "server_id": "S", "server_name": name, "version": "2.15.2", "proto": 1, "headers": true,
        "max_payload": 1_048_576, "jetstream": true, "auth_required": true, "host": "0.0.0.0", "port": 4222,
    });
    write.write_all(format!("INFO {info}\r\n").as_bytes()).await.ok()?;
    let mut subscriptions = Vec::<(String, String)>::new();
    loop {
        let mut line = String::new();
        if read.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first().copied()? {
            "PING" => write.write_all(b"PONG\r\n").await.ok()?,
            "SUB" => subscriptions.push((words[1].to_owned(), words[words.len() - 1].to_owned())),
            "PUB" => {
                let mut payload = vec![0; words[words.len() - 1].parse::<usize>().ok()? + 2];
                read.read_exact(&mut payload).await.ok()?;
                payload.truncate(payload.len() - 2);
                let reply = if words.len() == 4 { words[2] } else { "" };
                for answer in shared.answer(words[1], reply, &payload) {
                    deliver(&mut write, &subscriptions, answer).await?;
                }
            }
            _ => {}
        }
    }
}

async fn deliver(
    write: &mut OwnedWriteHalf,
    subscriptions: &[(String, String)],
    (subject, reply, status, payload): Answer,
) -> Option<()> {
    let matches = |pattern: &str| {
        pattern == subject
            || pattern.strip_suffix('*').is_some_and(|start| subject.starts_with(start))
    };
    let (_, sid) = subscriptions.iter().rev().find(|(pattern, _)| matches(pattern))?;
    let reply = reply.map(|reply| format!(" {reply}")).unwrap_or_default();
    let mut bytes = match status {
        None => format!("MSG {subject} {sid}{reply} {}\r\n", payload.len()).into_bytes(),
        Some(status) => {
            let head = format!("NATS/1.0 {status}\r\n\r\n");
            format!("HMSG {subject} {sid}{reply} {0} {0}\r\n{head}", head.len()).into_bytes()
        }
    };
    bytes.extend(payload);
    bytes.extend(b"\r\n");
    write.write_all(&bytes).await.ok()
}

impl Shared {
    fn answer(&self, subject: &str, reply: &str, payload: &[u8]) -> Vec<Answer> {
        let fault = *self.fault.lock().unwrap();
        let state =
            json!({"messages": 7, "bytes": 1, "first_seq": 1, "last_seq": 7, "consumer_count": 0});
        let config = json!({"name": "ORDERS", "subjects": ["orders.>"], "storage": "file"});
        let missing = json!({"error": {
            "code": 404, "err_code": 10059, "description": "stream not found",
        }});
        let there = *self.there.lock().unwrap();
        let say =
            |value: Value| vec![(reply.to_owned(), None, None, value.to_string().into_bytes())];
        match subject {
            "$JS.API.STREAM.NAMES" => say(json!({"total": 1, "streams": ["ORDERS"]})),
            "$JS.API.STREAM.INFO.ORDERS" if there => say(json!({"config": config, "state": state})),
            "$JS.API.STREAM.INFO.ORDERS" => say(missing),
            "$JS.API.STREAM.DELETE.ORDERS" => {
                *self.there.lock().unwrap() = false;
                say(json!({"success": true}))
            }
            "$JS.API.STREAM.SNAPSHOT.ORDERS" => {
                let request: Value = serde_json::from_slice(payload).unwrap();
                let inbox = request["deliver_subject"].as_str().unwrap().to_owned();
                let mut answers = say(json!({"config": config, "state": state}));
                for (index, chunk) in CHUNKS.iter().enumerate() {
                    if fault == Fault::LosesAChunk && index == 1 {
                        continue;
                    }
                    if fault == Fault::BreaksOff && index == 2 {
                        answers.push((inbox, None, Some("500 disk is broken"), Vec::new()));
                        return answers;
                    }
                    let ack = format!("$JS.SNAPSHOT.ACK.ORDERS.x.{}.{}", chunk.len(), index + 1);
                    answers.push((inbox.clone(), Some(ack), None, chunk.to_vec()));
                }
                answers.push((inbox, None, Some("204"), Vec::new()));
                answers
            }
            "$JS.API.STREAM.RESTORE.ORDERS" => {
                self.restored.lock().unwrap().clear();
                say(json!({"deliver_subject": "$JS.SNAPSHOT.RESTORE.ORDERS.x"}))
            }
            "$JS.SNAPSHOT.RESTORE.ORDERS.x" if payload.is_empty() => {
                *self.there.lock().unwrap() = true;
                let messages = if fault == Fault::RestoresFewer { 6 } else { 7 };
                say(json!({"config": config, "state": {"messages": messages, "last_seq": 7}}))
            }
            "$JS.SNAPSHOT.RESTORE.ORDERS.x" => {
                self.restored.lock().unwrap().extend(payload);
                vec![(reply.to_owned(), None, None, Vec::new())]
            }
            _ => Vec::new(),
        }
    }
}
