//! NATS: of every stream the server's own snapshot, with its consumers' state. Key-value and object-store
//! buckets are streams.
//!
//! ```text
//! $JS.API.STREAM.SNAPSHOT.name ─▶ config, state;  chunk ─▶ inbox ─ ack ─▶ … ─▶ empty, status 204: the end
//! $JS.API.STREAM.RESTORE.name  ─▶ subject;        chunk ─▶ subject ─▶ ack … empty ─▶ the stream as made
//! ```

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::draft::Writing;
use super::{Contents as AnyContents, Draft, Progress, Saved, Shelf, Target};
use crate::Result;
use crate::report::format;
use crate::smoke::door::is_pod_of;

/// For a connection, an answer, the next chunk, and its acknowledgement.
const ANSWER: Duration = Duration::from_secs(30);

/// For a stream to be made of the chunks that it got.
const MADE: Duration = Duration::from_secs(300);

/// Chunks that we ask for, and those that we send: well below the largest message.
const CHUNK: usize = 128 * 1024;

/// JetStream's code for a stream that is not there.
const NOT_FOUND: u64 = 10059;

/// What a backup of a server holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// By name.
    pub streams: Vec<Stream>,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// As the server told it with the snapshot.
    pub config: Value,
    /// The same.
    pub state: Value,
    /// The snapshot, in the server's own form.
    pub file: String,
}

impl Stream {
    /// A count in its state.
    fn count(&self, key: &str) -> u64 {
        self.state.get(key).and_then(Value::as_u64).unwrap_or_default()
    }
}

impl Contents {
    pub(super) fn summary(&self) -> String {
        let messages: u64 = self.streams.iter().map(|stream| stream.count("messages")).sum();
        let messages = format::count(messages, "message");
        format!("{}, {messages}", format::count(self.streams.len(), "stream"))
    }

    pub(super) fn files(&self) -> Vec<&str> {
        self.streams.iter().map(|stream| stream.file.as_str()).collect()
    }
}

/// A connection to the component's own server.
struct Server {
    client: Client,
}

impl Server {
    async fn connect(target: &Target) -> Result<Server, String> {
        let credential = |name| target.credential(name).map_err(|error| error.to_string());
        let (user, password) = (credential("username")?, credential("password")?);
        let client = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            .name("pipe backup")
            .connection_timeout(ANSWER)
            .request_timeout(Some(ANSWER))
            // Addresses that the server advertises are of pods: not reachable from everywhere.
            .ignore_discovered_servers()
            .retain_servers_order()
            .connect(target.address())
            .await
            .map_err(|error| error.to_string())?;
        let name = client.server_info().server_name;
        match is_pod_of(&target.component, &name) {
            true => Ok(Server { client }),
            false => Err(format!(
                "server {name} is no pod of {}: another program holds the port",
                target.component
            )),
        }
    }

    fn product(&self) -> String {
        format!("nats-server {}", self.client.server_info().version)
    }

    /// An answer of the JetStream API, whose refusals are errors: code and text.
    async fn ask(&self, subject: String, request: &Value) -> Result<Value, (u64, String)> {
        let payload = Bytes::from(request.to_string());
        let answer = self.client.request(subject, payload).await;
        let answer = answer.map_err(|error| (0, error.to_string()))?;
        let answer: Value =
            serde_json::from_slice(&answer.payload).map_err(|error| (0, error.to_string()))?;
        match refusal(&answer) {
            Some(refusal) => Err(refusal),
            None => Ok(answer),
        }
    }

    /// Names of all streams, sorted.
    async fn streams(&self) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        loop {
            let request = json!({ "offset": names.len() });
            let answer = self.ask("$JS.API.STREAM.NAMES".to_owned(), &request).await;
            let answer = answer.map_err(|(_, why)| why)?;
            let page = answer.get("streams").and_then(Value::as_array);
            let page = page.into_iter().flatten().filter_map(Value::as_str);
            let before = names.len();
            names.extend(page.map(str::to_owned));
            let total = answer.get("total").and_then(Value::as_u64).unwrap_or_default();
            if names.len() as u64 >= total || names.len() == before {
                break;
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// A stream's state; `None` if there is no such stream.
    async fn state(&self, name: &str) -> Result<Option<Value>, String> {
        match self.ask(format!("$JS.API.STREAM.INFO.{name}"), &json!({})).await {
            Ok(info) => Ok(Some(info.get("state").cloned().unwrap_or_default())),
            Err((NOT_FOUND, _)) => Ok(None),
            Err((_, why)) => Err(why),
        }
    }
}

pub(super) async fn save(
    target: &Target,
    draft: &mut Draft<'_>,
    progress: &Progress,
) -> Result<Saved> {
    let server = Server::connect(target).await.map_err(|why| target.unread(why))?;
    let names = server.streams().await.map_err(|why| target.unread(why))?;
    let mut streams = Vec::new();
    for name in names {
        progress.item(shown(&name));
        let mut file = draft.file("snapshot").await?;
        let taken = snapshot(target, &server, &name, &mut file, progress).await?;
        let file = file.close().await?;
        streams.push(Stream { name, config: taken.0, state: taken.1, file });
    }
    let contents = AnyContents::Nats(Contents { streams });
    Ok(Saved { product: server.product(), contents, left_out: Vec::new() })
}

/// Writes the snapshot of a stream; gives its configuration and state.
async fn snapshot(
    target: &Target,
    server: &Server,
    name: &str,
    file: &mut Writing<'_>,
    progress: &Progress,
) -> Result<(Value, Value)> {
    let failed = |why: String| target.unread(format!("stream {name}: {why}"));
    let client = &server.client;
    let inbox = client.new_inbox();
    let mut chunks =
        client.subscribe(inbox.clone()).await.map_err(|error| failed(error.to_string()))?;
    // With a round trip, so that the subscription is there before the first chunk is.
    client.flush().await.map_err(|error| failed(error.to_string()))?;
    let request = json!({ "deliver_subject": inbox, "chunk_size": CHUNK, "jsck": true });
    let subject = format!("$JS.API.STREAM.SNAPSHOT.{name}");
    let answer = server.ask(subject, &request).await.map_err(|(_, why)| failed(why))?;
    let part = |key: &str| match answer.get(key) {
        Some(value) if value.is_object() => Ok(value.clone()),
        _ => Err(failed(format!("the server told no {key}"))),
    };
    let (config, state) = (part("config")?, part("state")?);
    let mut received = 0;
    loop {
        let chunk = timeout(ANSWER, chunks.next()).await;
        let chunk = chunk.map_err(|_elapsed| {
            failed(format!("no more of its snapshot within {} s", ANSWER.as_secs()))
        })?;
        let Some(chunk) = chunk else {
            return Err(failed("the connection ended in the middle of its snapshot".to_owned()));
        };
        if chunk.payload.is_empty() {
            let status = chunk.status.map_or(204, |status| status.as_u16());
            if status == 204 {
                return Ok((config, state));
            }
            let why = chunk.description.unwrap_or_default();
            return Err(failed(format!("the server broke its snapshot off: {status} {why}")));
        }
        received += 1;
        if let Some(reply) = chunk.reply {
            if !follows(reply.as_str(), received, chunk.payload.len()) {
                return Err(failed(format!("chunk {received} of its snapshot is missing")));
            }
            file.write(&chunk.payload).await?;
            // Only now: what is written slowly is sent slowly.
            client.publish(reply, Bytes::new()).await.map_err(|error| failed(error.to_string()))?;
        } else {
            file.write(&chunk.payload).await?;
        }
        progress.advance(chunk.payload.len() as u64);
    }
}

/// Whether the subject of an acknowledgement, `….LENGTH.NUMBER`, is that of this chunk; subjects of
/// another form say nothing.
fn follows(reply: &str, number: u64, length: usize) -> bool {
    let mut tokens = reply.rsplit('.');
    let mut last = || tokens.next().and_then(|token| token.parse::<u64>().ok());
    match (last(), last()) {
        (Some(said), Some(bytes)) => said == number && bytes == length as u64,
        _ => true,
    }
}

pub(super) async fn survey(target: &Target, contents: &Contents) -> Result<Vec<String>> {
    let server = Server::connect(target).await.map_err(|why| target.unwritten(why))?;
    let mut lost = Vec::new();
    for Stream { name, .. } in &contents.streams {
        let state = server.state(name).await;
        let state = state.map_err(|why| target.unwritten(format!("stream {name}: {why}")))?;
        if let Some(state) = state {
            let messages = state.get("messages").and_then(Value::as_u64).unwrap_or_default();
            lost.push(format!("{} ({})", shown(name), format::count(messages, "message")));
        }
    }
    Ok(lost)
}

pub(super) async fn restore(
    target: &Target,
    contents: &Contents,
    shelf: &Shelf<'_>,
    progress: &Progress,
) -> Result<()> {
    let server = Server::connect(target).await.map_err(|why| target.unwritten(why))?;
    for stream in &contents.streams {
        progress.item(shown(&stream.name));
        let failed = |why: String| target.unwritten(format!("stream {}: {why}", stream.name));
        if server.state(&stream.name).await.map_err(failed)?.is_some() {
            let subject = format!("$JS.API.STREAM.DELETE.{}", stream.name);
            server.ask(subject, &json!({})).await.map_err(|(_, why)| failed(why))?;
        }
        one(target, &server, stream, shelf, progress).await?;
    }
    Ok(())
}

/// Makes one stream of its snapshot.
async fn one(
    target: &Target,
    server: &Server,
    stream: &Stream,
    shelf: &Shelf<'_>,
    progress: &Progress,
) -> Result<()> {
    let failed = |why: String| target.unwritten(format!("stream {}: {why}", stream.name));
    let request = json!({ "config": stream.config, "state": stream.state });
    let subject = format!("$JS.API.STREAM.RESTORE.{}", stream.name);
    let answer = server.ask(subject, &request).await.map_err(|(_, why)| failed(why))?;
    let subject = answer.get("deliver_subject").and_then(Value::as_str);
    let subject = subject.ok_or_else(|| failed("the server told no subject".to_owned()))?;
    let mut content = shelf.open(&stream.file).await?;
    while let Some(chunk) = content.next().await {
        let mut chunk = chunk?;
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(CHUNK));
            let length = part.len() as u64;
            let ack = send(server, subject, part, ANSWER).await.map_err(failed)?;
            if let Some((_, why)) = refusal(&ack) {
                return Err(failed(why));
            }
            progress.advance(length);
        }
    }
    let made = send(server, subject, Bytes::new(), MADE).await.map_err(failed)?;
    if let Some((_, why)) = refusal(&made) {
        return Err(failed(why));
    }
    let state = made.get("state").cloned().unwrap_or_default();
    for key in ["messages", "last_seq"] {
        let is = state.get(key).and_then(Value::as_u64).unwrap_or_default();
        let was = stream.count(key);
        if is != was {
            return Err(failed(format!("{key} is {is} instead of {was}")));
        }
    }
    Ok(())
}

/// Sends a chunk; its acknowledgement is empty, and the last one's says what was made.
async fn send(
    server: &Server,
    subject: &str,
    chunk: Bytes,
    within: Duration,
) -> Result<Value, String> {
    let request = async_nats::Request::new().payload(chunk).timeout(Some(within));
    let answer = server.client.send_request(subject.to_owned(), request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.payload.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())
}

/// Code and text of a refusal.
fn refusal(answer: &Value) -> Option<(u64, String)> {
    let error = answer.get("error")?;
    let code = error.get("err_code").and_then(Value::as_u64).unwrap_or_default();
    let text = error.get("description").and_then(Value::as_str).unwrap_or("refused");
    Some((code, format!("{text} ({code})")))
}

/// A stream as people know it.
fn shown(name: &str) -> String {
    match (name.strip_prefix("KV_"), name.strip_prefix("OBJ_")) {
        (Some(bucket), _) => format!("key-value bucket {bucket}"),
        (_, Some(bucket)) => format!("object-store bucket {bucket}"),
        _ => format!("stream {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_chunk_shows_in_the_next_ones_acknowledgement() {
        let reply = "$JS.SNAPSHOT.ACK.ORDERS.x9.131072.3";
        assert!(follows(reply, 3, 131_072));
        assert!(!follows(reply, 2, 131_072) && !follows(reply, 3, 131_071));
        assert!(follows("_INBOX.other", 1, 5), "of another form");
    }

    #[test]
    fn refusals_and_names_are_read() {
        let refused =
            json!({"error": {"code": 404, "err_code": 10059, "description": "stream not found"}});
        assert_eq!(refusal(&refused), Some((10059, "stream not found (10059)".to_owned())));
        assert_eq!(refusal(&json!({"type": "x"})), None);
        assert_eq!(shown("KV_config"), "key-value bucket config");
        assert_eq!(shown("OBJ_files"), "object-store bucket files");
        assert_eq!(shown("ORDERS"), "stream ORDERS");
    }
}
