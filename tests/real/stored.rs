//! What somebody stored in NATS before something happened to the cluster, and whether it is there
//! afterwards: through the settings of `env` and a real client.

use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, Context, stream};

use super::pipe::Home;

/// Messages, all different.
const MESSAGES: u64 = 20;

/// Name of the stream, which is on disk.
const STREAM: &str = "KEPT";

/// Content that nothing else can have.
pub struct Stored(String);

impl Stored {
    /// Stores something, and comes back when the server has acknowledged each part.
    pub fn new(home: &Home, cluster: &str) -> Stored {
        let content = format!("{:032x}", rand::random::<u128>());
        run(async {
            let context = connect(home, cluster).await;
            let config = stream::Config {
                name: STREAM.to_owned(),
                subjects: vec!["kept".to_owned()],
                storage: stream::StorageType::File,
                ..stream::Config::default()
            };
            context.create_stream(config).await.expect("a stream");
            for index in 1..=MESSAGES {
                let payload = format!("{content} {index}");
                let sent = context.publish("kept", payload.into()).await.expect("it is sent");
                assert_eq!(sent.await.expect("it is acknowledged").sequence, index);
            }
        });
        Stored(content)
    }

    /// All of it is there, unchanged, and nothing else. The first connection counts: who says that a
    /// cluster serves must mean it.
    pub fn is_there(&self, home: &Home, cluster: &str) {
        run(async {
            let context = connect(home, cluster).await;
            let mut stream = context.get_stream(STREAM).await.expect("the stream is there");
            assert_eq!(stream.info().await.expect("its state").state.messages, MESSAGES);
            for index in 1..=MESSAGES {
                let message = stream.get_raw_message(index).await.expect("the message is there");
                assert_eq!(message.payload, format!("{} {index}", self.0).as_bytes());
            }
        });
    }
}

async fn connect(home: &Home, cluster: &str) -> Context {
    let settings = home.json(&format!("env {cluster}"));
    let text = |name: &str| settings[name].as_str().expect(name).to_owned();
    let login = ConnectOptions::with_user_and_password(text("NATS_USER"), text("NATS_PASSWORD"));
    let login = login.connection_timeout(Duration::from_secs(10));
    let client = login.connect(text("NATS_URL")).await.expect("NATS answers at once");
    assert_eq!(client.server_info().server_name, "nats-0");
    jetstream::new(client)
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(work);
}
