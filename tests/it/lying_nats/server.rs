//! As much of the NATS protocol and the JetStream API as the smoke check uses, with one lie.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};

/// The one thing in which a server does not tell the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    None,
    DeliversFewer,
    DeliversMore,
    Reorders,
    Corrupts,
    AcksWrongSequence,
    AcceptsAnyPassword,
    AcceptsNoPassword,
    ClosesInsteadOfRefusing,
    StoresDuplicates,
    StoresDuplicatesSecretly,
    IgnoresExpectedSequence,
    OtherServer,
    SilentFromTheStart,
    SilentJetStream,
    KeepsStream,
    DoesNotRestart,
    ForgetsOnRestart,
}

impl Lie {
    pub fn is_silent(self) -> bool {
        matches!(self, Lie::SilentFromTheStart | Lie::SilentJetStream)
    }
}

/// A server that runs until it is dropped with its runtime.
pub struct LyingNats {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    lie: Lie,
    user: String,
    password: String,
    starts: AtomicU64,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    config: Option<Value>,
    messages: Vec<Vec<u8>>,
    ids: HashMap<String, u64>,
}

/// A message as it came in.
struct Published {
    subject: String,
    reply: Option<String>,
    headers: BTreeMap<String, String>,
    payload: Vec<u8>,
}

impl LyingNats {
    pub async fn start(lie: Lie, user: &str, password: &str) -> LyingNats {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            lie,
            user: user.to_owned(),
            password: password.to_owned(),
            starts: AtomicU64::new(1),
            store: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&accepting)));
            }
        });
        LyingNats { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn restart(&self) {
        if self.shared.lie != Lie::DoesNotRestart {
            self.shared.starts.fetch_add(1, Ordering::SeqCst);
        }
        if self.shared.lie == Lie::ForgetsOnRestart {
            self.shared.store.lock().unwrap().messages.truncate(90);
        }
    }
}

/// One connection. An end of any kind is only its end.
async fn serve(socket: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let (read, mut write) = socket.into_split();
    let mut read = BufReader::new(read);
    if shared.lie == Lie::SilentFromTheStart {
        read.read_u8().await.ok()?;
        return None;
    }
    let info = format!("INFO {}\r\n", shared.info());
    write.write_all(info.as_bytes()).await.ok()?;
    let mut subscriptions = Vec::<(String, String)>::new();
    loop {
        let mut line = String::new();
        if read.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let mut words = line.split_whitespace();
        match words.next()? {
            "CONNECT" => {
                let login: Value = serde_json::from_str(line.split_once(' ')?.1).ok()?;
                if !shared.lets_in(&login) {
                    if shared.lie != Lie::ClosesInsteadOfRefusing {
                        write.write_all(b"-ERR 'Authorization Violation'\r\n").await.ok()?;
                    }
                    return None;
                }
            }
            "PING" => write.write_all(b"PONG\r\n").await.ok()?,
            "SUB" => {
                let words: Vec<&str> = words.collect();
                subscriptions.push(((*words.first()?).to_owned(), (*words.last()?).to_owned()));
            }
            verb @ ("PUB" | "HPUB") => {
                let words: Vec<&str> = words.collect();
                let message = read_message(&mut read, verb == "HPUB", &words).await?;
                for (subject, reply, body) in shared.answer(&message) {
                    deliver(&mut write, &subscriptions, &subject, reply.as_deref(), &body).await?;
                }
            }
            _ => {}
        }
    }
}

async fn read_message(
    read: &mut (impl AsyncReadExt + Unpin),
    with_headers: bool,
    words: &[&str],
) -> Option<Published> {
    let sizes = if with_headers { 2 } else { 1 };
    let total: usize = words.last()?.parse().ok()?;
    let head: usize = if with_headers { words.get(words.len() - 2)?.parse().ok()? } else { 0 };
    let mut bytes = vec![0; total + 2];
    read.read_exact(&mut bytes).await.ok()?;
    let headers = String::from_utf8(bytes[..head].to_vec()).ok()?;
    Some(Published {
        subject: (*words.first()?).to_owned(),
        reply: (words.len() == 2 + sizes).then(|| words[1].to_owned()),
        headers: headers
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        payload: bytes[head..total].to_vec(),
    })
}

/// Where to, the reply subject to offer, and what.
type Answer = (String, Option<String>, Body);

enum Body {
    Payload(Vec<u8>),
    NoMessages,
}

async fn deliver(
    write: &mut OwnedWriteHalf,
    subscriptions: &[(String, String)],
    subject: &str,
    reply: Option<&str>,
    body: &Body,
) -> Option<()> {
    let matches = |pattern: &str| {
        pattern == subject
            || pattern.strip_suffix('*').is_some_and(|start| subject.starts_with(start))
    };
    let (_, sid) = subscriptions.iter().find(|(pattern, _)| matches(pattern))?;
    let reply = reply.map(|reply| format!(" {reply}")).unwrap_or_default();
    let mut bytes = match body {
        Body::Payload(payload) => {
            let mut bytes =
                format!("MSG {subject} {sid}{reply} {}\r\n", payload.len()).into_bytes();
            bytes.extend(payload);
            bytes
        }
        Body::NoMessages => {
            let status = "NATS/1.0 404 No Messages\r\n\r\n";
            format!("HMSG {subject} {sid} {0} {0}\r\n{status}", status.len()).into_bytes()
        }
    };
    bytes.extend(b"\r\n");
    write.write_all(&bytes).await.ok()
}

impl Shared {
    fn info(&self) -> Value {
        let name = if self.lie == Lie::OtherServer { "somebody-elses" } else { "nats-0" };
        json!({
            "server_id": format!("START{}", self.starts.load(Ordering::SeqCst)),
            "server_name": name, "version": "2.15.2", "proto": 1, "headers": true,
            "max_payload": 1_048_576, "jetstream": true, "auth_required": true,
            "host": "0.0.0.0", "port": 4222,
            // Leads nowhere; a client that follows it hangs.
            "connect_urls": ["192.0.2.1:4222"],
        })
    }

    fn lets_in(&self, login: &Value) -> bool {
        let right = login["user"] == self.user && login["pass"] == self.password;
        right
            || self.lie == Lie::AcceptsAnyPassword
            || (self.lie == Lie::AcceptsNoPassword && login["user"].is_null())
    }

    fn answer(&self, message: &Published) -> Vec<Answer> {
        if self.lie == Lie::SilentJetStream {
            return vec![];
        }
        let Some(reply) = &message.reply else { return vec![] };
        let parts: Vec<&str> = message.subject.split('.').collect();
        let mut store = self.store.lock().unwrap();
        let request = || serde_json::from_slice::<Value>(&message.payload).unwrap_or_default();
        let json = match parts.as_slice() {
            ["$JS", "ACK", ..] => return vec![],
            ["$JS", "API", "CONSUMER", "MSG", "NEXT", stream, consumer] => {
                return self.batch(&store, stream, consumer, reply, &request());
            }
            ["$JS", "API", "STREAM", "CREATE", _] => {
                *store = Store { config: Some(request()), ..Store::default() };
                store.info()
            }
            ["$JS", "API", "STREAM", "INFO", _] => store.info(),
            ["$JS", "API", "STREAM", "DELETE", _] => {
                if self.lie != Lie::KeepsStream {
                    store.config = None;
                }
                json!({"success": true})
            }
            ["$JS", "API", "CONSUMER", "CREATE", stream, rest @ ..] => {
                let config = request()["config"].clone();
                let name = rest.first().copied().unwrap_or("ephemeral");
                json!({
                    "stream_name": stream, "name": name, "created": "2026-11-21T00:00:00Z",
                    "config": config, "num_ack_pending": 0, "num_redelivered": 0,
                    "num_waiting": 0, "num_pending": store.messages.len(),
                    "delivered": {"consumer_seq": 0, "stream_seq": 0},
                    "ack_floor": {"consumer_seq": 0, "stream_seq": 0},
                })
            }
            _ => self.publish(&mut store, message),
        };
        vec![(reply.clone(), None, Body::Payload(json.to_string().into_bytes()))]
    }

    fn publish(&self, store: &mut Store, message: &Published) -> Value {
        let stream = store.config.as_ref().map(|config| config["name"].clone());
        let last = store.messages.len() as u64;
        if let Some(expected) = message.headers.get("Nats-Expected-Last-Sequence")
            && self.lie != Lie::IgnoresExpectedSequence
            && *expected != last.to_string()
        {
            let why = format!("wrong last sequence: {last}");
            return json!({"error": {"code": 400, "err_code": 10071, "description": why}});
        }
        let id = message.headers.get("Nats-Msg-Id").cloned();
        let known = id.as_ref().and_then(|id| store.ids.get(id)).copied();
        if let Some(sequence) = known
            && self.lie != Lie::StoresDuplicates
        {
            if self.lie == Lie::StoresDuplicatesSecretly {
                store.messages.push(message.payload.clone());
            }
            return json!({"stream": stream, "seq": sequence, "duplicate": true});
        }
        store.messages.push(message.payload.clone());
        let sequence = last + 1;
        store.ids.extend(id.map(|id| (id, sequence)));
        let told = match self.lie {
            Lie::AcksWrongSequence if sequence == 42 => 41,
            _ => sequence,
        };
        json!({"stream": stream, "seq": told})
    }

    /// What a pull of `batch` messages without waiting brings.
    fn batch(
        &self,
        store: &Store,
        stream: &str,
        consumer: &str,
        inbox: &str,
        request: &Value,
    ) -> Vec<Answer> {
        let wanted = request["batch"].as_u64().unwrap() as usize;
        let mut messages: Vec<(usize, Vec<u8>)> =
            store.messages.iter().cloned().enumerate().take(wanted).collect();
        match self.lie {
            Lie::DeliversFewer => messages.truncate(60),
            Lie::Reorders => messages.swap(41, 42),
            Lie::Corrupts => messages[41].1[0] ^= 1,
            _ => {}
        }
        let more = if self.lie == Lie::DeliversMore { 3 } else { 0 };
        let full = messages.len() == wanted;
        let total = messages.len();
        let mut answers: Vec<Answer> = messages
            .into_iter()
            .enumerate()
            .map(|(place, (index, payload))| {
                let (sequence, pending) = (index + 1, total - place - 1 + more);
                let place = place + 1;
                let ack = format!("$JS.ACK.{stream}.{consumer}.1.{sequence}.{place}.1.{pending}");
                (inbox.to_owned(), Some(ack), Body::Payload(payload))
            })
            .collect();
        if !full {
            answers.push((inbox.to_owned(), None, Body::NoMessages));
        }
        answers
    }
}

impl Store {
    fn info(&self) -> Value {
        let Some(config) = &self.config else {
            return json!({"error": {
                "code": 404, "err_code": 10059, "description": "stream not found",
            }});
        };
        json!({
            "config": config, "created": "2026-11-21T00:00:00Z",
            "state": {
                "messages": self.messages.len(), "bytes": 1, "first_seq": 1,
                "first_ts": "2026-11-21T00:00:00Z", "last_seq": self.messages.len(),
                "last_ts": "2026-11-21T00:00:00Z", "consumer_count": 0,
            },
        })
    }
}
