//! NATS with JetStream: what is acknowledged is stored once, in order, and read back unchanged,
//! and only with the right password.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, StorageType};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use self::door::{Door, jetstream, login};
use super::recorder::Outcome;
use super::{Options, Recorder, Surroundings, Target};
use crate::Result;

mod door;

/// Messages of the first round.
const MESSAGES: u64 = 100;

/// Messages published after the restart.
const MORE_MESSAGES: u64 = 10;

/// For one connection, one request, and the next message of a batch.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// JetStream's code for a stream that is not there.
const STREAM_NOT_FOUND: u64 = 10059;

/// The checks that need a stream, and the connection they use.
struct Session<'a> {
    target: &'a Target,
    door: Door<'a>,
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
        door: Door {
            address: target.address(),
            reach: options.reach,
            component: &target.component,
        },
        subject: format!("pipe.smoke.{}", target.run_id),
        stream: format!("PIPE_SMOKE_{}", target.run_id),
    };
    let username = target.credential("username")?;
    let password = target.credential("password")?;
    let wrong = format!("{password}x");

    let tried = format!("connect to {} as a pod of {}", session.door.address, target.component);
    let right = login(Some((username, password)));
    let identified = recorder.check("connect", tried, session.door.identify(right)).await;
    let Some((client, server_id)) = identified else { return Ok(()) };

    // Independent of all that follows.
    let tried = "connect with a wrong password and be refused";
    let refused = session.door.refused(login(Some((username, &wrong))));
    recorder.check("wrong-password", tried, refused).await;
    let tried = "connect without credentials and be refused";
    recorder.check("no-password", tried, session.door.refused(login(None))).await;

    let context = jetstream(client);
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
        let after = jetstream(renewed);

        let tried = format!("read the {MESSAGES} messages of before the restart");
        if recorder.check("read-again", tried, self.read(&after, MESSAGES)).await.is_some() {
            let tried = format!("publish {MORE_MESSAGES} more messages and read all");
            recorder.check("publish-more", tried, self.publish_more(&after)).await;
        }
        Some(after)
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
                Ok(((), text(error)))
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
        let ((client, server_id), saw) = self.door.identify(login).await?;
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
        format!("{seed} {}", crate::digest::hex(Sha256::digest(&seed).as_slice()))
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn short_digest(digest: &[u8]) -> String {
    crate::digest::hex(digest.get(..6).unwrap_or(digest))
}
