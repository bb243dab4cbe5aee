//! NATS with JetStream: what is acknowledged is stored once, in order, and read back unchanged,
//! and only with the right password.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, ServerInfo};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, interval, timeout};

use super::recorder::Outcome;
use super::{Options, Recorder, Surroundings, Target};
use crate::Result;

/// Messages of the first round.
const MESSAGES: u64 = 100;

/// Messages published after the restart.
const MORE_MESSAGES: u64 = 10;

/// A ready pod's port may take this long to reach it: node ports are programmed by another program.
const REACH_DEADLINE: Duration = Duration::from_secs(30);

/// Between attempts to reach it.
const REACH_INTERVAL: Duration = Duration::from_millis(250);

/// For one connection, one request, and the next message of a batch.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// JetStream's code for a stream that is not there.
const STREAM_NOT_FOUND: u64 = 10059;

/// The checks that need a stream, and the connection they use.
struct Session<'a> {
    target: &'a Target,
    address: String,
    subject: String,
    stream: String,
}

pub(super) async fn run(
    target: &Target,
    options: Options,
    surroundings: &Surroundings<'_>,
    recorder: &mut Recorder,
) -> Result<()> {
    let session = Session {
        target,
        address: format!("{}:{}", target.host, target.port("client")?),
        subject: format!("pipe.smoke.{}", target.run_id),
        stream: format!("PIPE_SMOKE_{}", target.run_id),
    };
    let username = target.credential("username")?;
    let password = target.credential("password")?;
    let wrong = format!("{password}x");

    let tried = format!("connect to {} as a pod of {}", session.address, target.component);
    let right = login(Some((username, password)));
    let identified = recorder.check("connect", tried, session.identify(right)).await;

    // Independent of each other, and worth knowing even if the rest fails.
    if identified.is_some() {
        let tried = "connect with a wrong password and be refused";
        let refused = session.refused(login(Some((username, &wrong))));
        recorder.check("wrong-password", tried, refused).await;
        let tried = "connect without credentials and be refused";
        recorder.check("no-password", tried, session.refused(login(None))).await;
    }

    let Some((client, server_id)) = identified else { return Ok(()) };
    let context = context(client);
    let tried = format!("create stream {} on disk", session.stream);
    if recorder.check("stream", tried, session.create(&context)).await.is_some() {
        let restart = options.restart.then_some((surroundings, server_id.as_str()));
        // The stream is removed through whichever connection is alive then.
        let last = session.with_stream(&context, restart, recorder).await;
        let tried = format!("delete stream {} and find it gone", session.stream);
        recorder
            .clean_up("clean-up", tried, session.delete(last.as_ref().unwrap_or(&context)))
            .await;
    }
    Ok(())
}

impl Session<'_> {
    /// Everything between making and removing the stream; the newest connection, if it was
    /// renewed. Stops at the first failure: the later checks count on the messages before.
    async fn with_stream(
        &self,
        context: &Context,
        restart: Option<(&Surroundings<'_>, &str)>,
        recorder: &mut Recorder,
    ) -> Option<Context> {
        let tried = format!("publish {MESSAGES} messages, each acknowledged in sequence");
        recorder.check("publish", tried, self.publish(context, 0, MESSAGES)).await?;

        let tried = format!("read {MESSAGES} messages in order through a pull consumer, unchanged");
        recorder.check("read-back", tried, self.read(context, MESSAGES)).await?;

        let tried = "publish message 1 again under its id; stored once, called a duplicate";
        let duplicate = recorder.check("duplicate", tried, self.duplicate(context)).await;

        let tried = "publish with a wrong expected last sequence and be refused";
        let stale = recorder.check("stale-sequence", tried, self.stale(context)).await;

        // Both tell whether more is stored than was meant to be, which the restart would count.
        let (Some(()), Some(()), Some((surroundings, before))) = (duplicate, stale, restart) else {
            return None;
        };
        let tried = "delete the pod and connect to another process of the same server";
        let renewed = recorder.check("restart", tried, self.restart(surroundings, before)).await?;
        let after = crate::smoke::nats::context(renewed);

        let tried = format!("read the {MESSAGES} messages of before the restart");
        if recorder.check("read-again", tried, self.read(&after, MESSAGES)).await.is_some() {
            let tried = format!("publish {MORE_MESSAGES} more messages and read all");
            recorder.check("publish-more", tried, self.publish_more(&after)).await;
        }
        Some(after)
    }

    /// Connects, waiting for the port if need be, and makes sure it is the server we mean: another
    /// program's NATS on that port has another name, and does not know the password.
    async fn identify(&self, login: ConnectOptions) -> Outcome<(Client, String)> {
        let client = self.reach(login).await?;
        let info = client.server_info();
        if !is_pod_of(&self.target.component, &info.server_name) {
            return Err(format!(
                "{}, which is no pod of {}: another program holds the port",
                described(&info),
                self.target.component
            ));
        }
        if !info.jetstream {
            return Err(format!("{} without JetStream", described(&info)));
        }
        let saw = format!("{}; it accepted the credentials", described(&info));
        Ok(((client, info.server_id), saw))
    }

    async fn reach(&self, login: ConnectOptions) -> Result<Client, String> {
        let deadline = Instant::now() + REACH_DEADLINE;
        let mut tick = interval(REACH_INTERVAL);
        loop {
            tick.tick().await;
            match login.clone().connect(&self.address).await {
                Ok(client) => return Ok(client),
                Err(error) if is_refusal(&error) => return Err(reason(&error)),
                Err(error) if Instant::now() > deadline => {
                    let waited = REACH_DEADLINE.as_secs();
                    return Err(format!("no server within {waited} s; last: {}", reason(&error)));
                }
                Err(_not_yet) => {}
            }
        }
    }

    /// Passes only if the server says no; a connection that fails otherwise proves nothing.
    async fn refused(&self, login: ConnectOptions) -> Outcome<()> {
        match login.connect(&self.address).await {
            Ok(client) => Err(format!("{} let it in", described(&client.server_info()))),
            Err(error) if is_refusal(&error) => Ok(((), reason(&error))),
            Err(error) => Err(reason(&error)),
        }
    }

    async fn create(&self, context: &Context) -> Outcome<()> {
        let config = Config {
            name: self.stream.clone(),
            subjects: vec![self.subject.clone()],
            storage: StorageType::File,
            num_replicas: 1,
            max_messages: 1000,
            max_bytes: 10 * 1024 * 1024,
            duplicate_window: Duration::from_secs(120),
            ..Config::default()
        };
        let stream = context.create_stream(config).await.map_err(text)?;
        let made = &stream.cached_info().config;
        if made.name != self.stream || made.storage != StorageType::File {
            return Err(format!("stream {} with storage {:?}", made.name, made.storage));
        }
        Ok(((), format!("stream {} with storage {:?}", made.name, made.storage)))
    }

    /// Publishes messages `from` to `to` (counted from 0), all in flight at once.
    async fn publish(&self, context: &Context, from: u64, to: u64) -> Outcome<()> {
        let mut acks = Vec::new();
        for index in from..to {
            let message = self.message(index);
            acks.push(context.send_publish(self.subject.clone(), message).await.map_err(text)?);
        }
        for (index, ack) in (from..to).zip(acks) {
            let ack = ack.await.map_err(|error| format!("message {}: {error}", index + 1))?;
            if ack.stream != self.stream || ack.sequence != index + 1 || ack.duplicate {
                return Err(format!(
                    "message {} acknowledged as sequence {} of stream {}{}",
                    index + 1,
                    ack.sequence,
                    ack.stream,
                    if ack.duplicate { ", a duplicate" } else { "" }
                ));
            }
        }
        Ok(((), format!("sequences {} to {to} acknowledged", from + 1)))
    }

    /// Reads the stream from its beginning: exactly `count` messages, in order, unchanged.
    async fn read(&self, context: &Context, count: u64) -> Outcome<()> {
        let config = pull::Config { ack_policy: AckPolicy::Explicit, ..pull::Config::default() };
        let consumer: PullConsumer =
            context.create_consumer_on_stream(config, &self.stream).await.map_err(text)?;
        let batch = usize::try_from(count).unwrap_or(usize::MAX);
        let mut messages = consumer.fetch().max_messages(batch).messages().await.map_err(text)?;
        let (mut sent, mut received) = (Sha256::new(), Sha256::new());
        for index in 0..count {
            let next = timeout(ANSWER_DEADLINE, messages.next()).await;
            let message = match next {
                Ok(Some(message)) => message.map_err(text)?,
                Ok(None) => return Err(format!("{index} of {count} messages, then no more")),
                Err(_elapsed) => {
                    let waited = ANSWER_DEADLINE.as_secs();
                    return Err(format!("{index} of {count} messages, then none for {waited} s"));
                }
            };
            let info = message.info().map_err(text)?;
            if info.stream_sequence != index + 1 {
                let found = info.stream_sequence;
                return Err(format!("sequence {found} where {} was due", index + 1));
            }
            let payload = self.payload(index);
            if message.payload != payload.as_bytes() {
                return Err(format!(
                    "message {} with other content: {} bytes of digest {} instead of {} of {}",
                    index + 1,
                    message.payload.len(),
                    short_digest(Sha256::digest(&message.payload).as_slice()),
                    payload.len(),
                    short_digest(Sha256::digest(&payload).as_slice()),
                ));
            }
            if index + 1 == count && info.pending != 0 {
                return Err(format!("{} messages more than were published", info.pending));
            }
            sent.update(&payload);
            received.update(&message.payload);
            message.ack().await.map_err(text)?;
        }
        let (sent, received) = (sent.finalize(), received.finalize());
        let digest = short_digest(received.as_slice());
        if sent != received {
            return Err(format!("{count} messages of digest {digest}, which is not what was sent"));
        }
        Ok(((), format!("{count} messages, sequences 1 to {count}, digest {digest} as sent")))
    }

    async fn duplicate(&self, context: &Context) -> Outcome<()> {
        let ack =
            context.send_publish(self.subject.clone(), self.message(0)).await.map_err(text)?;
        let ack = ack.await.map_err(text)?;
        if !ack.duplicate {
            return Err(format!("stored again, as sequence {}", ack.sequence));
        }
        let info = context.get_stream(&self.stream).await.map_err(text)?;
        let stored = info.cached_info().state.messages;
        if stored != MESSAGES {
            return Err(format!("called a duplicate, but {stored} messages are stored"));
        }
        Ok(((), format!("called a duplicate of sequence {}; {stored} stored", ack.sequence)))
    }

    async fn stale(&self, context: &Context) -> Outcome<()> {
        // No id: the refusal must come from the sequence alone.
        let message = PublishMessage::build()
            .payload("stale".into())
            .expected_last_sequence(MESSAGES.saturating_sub(1));
        let ack = context.send_publish(self.subject.clone(), message).await.map_err(text)?;
        match ack.await {
            Ok(ack) => Err(format!("accepted as sequence {}", ack.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Ok(((), format!("refused: {error}")))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn restart(&self, surroundings: &Surroundings<'_>, before: &str) -> Outcome<Client> {
        (surroundings.restart)().await.map_err(|error| error.to_string())?;
        let login = login(Some((
            self.target.credential("username").map_err(text)?,
            self.target.credential("password").map_err(text)?,
        )));
        let ((client, server_id), saw) = self.identify(login).await?;
        if server_id == before {
            return Err(format!("the same process as before ({server_id}); nothing restarted"));
        }
        Ok((client, saw))
    }

    async fn publish_more(&self, context: &Context) -> Outcome<()> {
        self.publish(context, MESSAGES, MESSAGES + MORE_MESSAGES).await?;
        self.read(context, MESSAGES + MORE_MESSAGES).await
    }

    async fn delete(&self, context: &Context) -> Outcome<()> {
        context.delete_stream(&self.stream).await.map_err(text)?;
        match context.get_stream(&self.stream).await {
            Ok(_) => Err("deleted, and still there".to_owned()),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(cause)
                    if cause.error_code().0 == STREAM_NOT_FOUND =>
                {
                    Ok(((), "deleted and gone".to_owned()))
                }
                _ => Err(format!("deleted; then {error}")),
            },
        }
    }

    fn message(&self, index: u64) -> PublishMessage {
        PublishMessage::build().payload(self.payload(index).into()).message_id(format!(
            "{}-{}",
            self.target.run_id,
            index + 1
        ))
    }

    /// Different for every run and message, so that nothing old or repeated passes for it.
    fn payload(&self, index: u64) -> String {
        let seed = format!("{} {}", self.target.run_id, index + 1);
        format!("{seed} {}", hex(Sha256::digest(&seed).as_slice()))
    }
}

fn login(credentials: Option<(&str, &str)>) -> ConnectOptions {
    let options = match credentials {
        Some((user, password)) => {
            ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        }
        None => ConnectOptions::new(),
    };
    options
        .name("pipe smoke")
        .connection_timeout(ANSWER_DEADLINE)
        .request_timeout(Some(ANSWER_DEADLINE))
        // Addresses that the server advertises are of pods: not reachable from here.
        .ignore_discovered_servers()
        .retain_servers_order()
}

fn context(client: Client) -> Context {
    let mut context = jetstream::new(client);
    context.set_timeout(ANSWER_DEADLINE);
    context
}

fn is_refusal(error: &ConnectError) -> bool {
    matches!(
        error.kind(),
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication
    )
}

/// Whether `server` is `component` and an ordinal: a StatefulSet's pod, which names its server.
fn is_pod_of(component: &str, server: &str) -> bool {
    server
        .strip_prefix(component)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|ordinal| !ordinal.is_empty() && ordinal.bytes().all(|b| b.is_ascii_digit()))
}

fn described(info: &ServerInfo) -> String {
    format!("NATS server {} {} (id {})", info.server_name, info.version, info.server_id)
}

fn reason(error: &ConnectError) -> String {
    text(error)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn short_digest(digest: &[u8]) -> String {
    hex(digest.get(..6).unwrap_or(digest))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_the_component_is_known_by_its_name() {
        assert!(is_pod_of("nats", "nats-0"));
        assert!(is_pod_of("nats-2", "nats-2-10"));
        for other in ["nats", "nats-", "nats-x", "NATS-0", "nats2-0", "my-nats-0", ""] {
            assert!(!is_pod_of("nats", other), "{other}");
        }
    }
}
