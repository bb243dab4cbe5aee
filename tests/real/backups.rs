//! What the test of a whole cluster asks of backups: data written into each service, backed up, destroyed,
//! restored and compared, once through a folder and once through the cluster's own store.

use std::collections::BTreeMap;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, stream};
use futures::StreamExt as _;
use serde_json::Value;

use super::pipe::Home;
use super::services::{S3, block_on_value};

pub mod cql;

const STREAM: &str = "ORDERS";
const BUCKET: &str = "KV_settings";
const MESSAGES: u64 = 500;
const ACKNOWLEDGED: u64 = 3;
const ROWS: u64 = 20_000;

/// Everything that is compared, in words.
type Seen = BTreeMap<&'static str, String>;

/// All three services lose everything twice, and get it back.
pub fn come_back(home: &Home) {
    let settings = home.json("env one");
    let s3 = S3::new(home);
    seed(&settings, &s3);
    let before = look(&settings, &s3);
    assert_eq!(before["messages"], MESSAGES.to_string(), "{before:?}");

    let (_, made) = home.stream("backup one");
    let backups = made["backups"].as_array().expect("backups");
    assert_eq!(backups.len(), 3, "{made}");
    assert!(made["left_out"].as_array().is_some_and(Vec::is_empty), "{made}");
    // The materialised view is named as what it is: not in it.
    let left_out = backups.iter().map(|made| made["left_out"].to_string()).collect::<String>();
    assert!(left_out.contains("shop.totals: a materialised view"), "{left_out}");

    let refused = home.fails("restore one", 1);
    for lost in
        ["stream ORDERS (500 messages)", "table shop.sales (20000 rows)", "bucket artifacts"]
    {
        assert!(refused.contains(lost), "{lost}: {refused}");
    }
    assert_eq!(look(&settings, &s3), before, "it was only asked");

    destroy(&settings, &s3);
    let (_, restored) = home.stream("restore one");
    assert_eq!(restored["restored"].as_array().map(Vec::len), Some(3), "{restored}");
    assert_eq!(look(&settings, &s3), before);

    // The store keeps the others' backups, and none of itself.
    let (_, made) = home.stream("backup one --to s3:");
    assert_eq!(made["left_out"][0]["component"], "minio", "{made}");
    assert_eq!(made["place"], "s3:minio/backups", "{made}");
    // Over what changed since, only when told to.
    block_on_value(async {
        query(&settings, "TRUNCATE TABLE shop.sales").await;
        let context = context(&settings).await;
        let orders = context.get_stream(STREAM).await.expect("the stream");
        orders.purge().await.expect("it is emptied");
    });
    home.fails("restore one nats clickhouse --from s3:minio", 1);
    home.ok("restore one nats clickhouse --from s3:minio --replace");
    assert_eq!(look(&settings, &s3), before);
    let list = home.json("backup list one --from s3:minio");
    assert_eq!(list["backups"].as_array().map(Vec::len), Some(2), "{list}");
    by_the_cluster_itself(home);
    block_on_value(query(&settings, "TRUNCATE TABLE shop.sales"));
    home.ok("restore one nats clickhouse --from s3:minio --replace");
    assert_eq!(look(&settings, &s3), before);
}

/// What the cluster does at night, begun by hand: a pod of its own makes what can be restored from here.
fn by_the_cluster_itself(home: &Home) {
    let refused = home.fails("backup schedule one --at tomorrow", 1);
    assert!(refused.contains("tomorrow"), "{refused}");
    let before = home.json("backup list one --from s3:minio");
    let before = before["backups"].as_array().expect("backups").len();
    let (_, set) = home.stream("backup schedule one");
    assert_eq!((&set["at"], &set["last_whole"]), (&"0 2 * * *".into(), &Value::Null), "{set}");
    let job = "kubectl -c one -- -n kube-system";
    home.ok(&format!("{job} create job --from=cronjob/pipe-backup tonight"));
    let done = home.run(&format!("{job} wait job/tonight --for=condition=Complete --timeout=120s"));
    let said = home.ok(&format!("{job} logs job/tonight"));
    assert!(done.status.success(), "{said}");
    let made = home.json("backup list one --from s3:minio");
    let made = made["backups"].as_array().expect("backups");
    // Of one day retention keeps the newest.
    assert_eq!((before, made.len()), (2, 2), "{made:?}");
    assert!(made.iter().all(|backup| backup["state"] == "complete"), "{made:?}");
    let secret = home.ok(&format!("{job} get secret pipe-backup -o name"));
    assert_eq!(secret.trim(), "secret/pipe-backup");
    home.ok(&format!("{job} delete job tonight"));
    let (_, off) = home.stream("backup schedule one --off");
    assert_eq!(off["at"], Value::Null, "{off}");
    let left = home
        .ok(&format!("{job} get cronjobs,secrets -l app.kubernetes.io/managed-by=pipe -o name"));
    assert!(!left.contains("pipe-backup"), "{left}");
}

fn text<'a>(settings: &'a Value, name: &str) -> &'a str {
    settings[name].as_str().unwrap_or_else(|| panic!("{name} in {settings}"))
}

async fn context(settings: &Value) -> jetstream::Context {
    let (user, password) = (text(settings, "NATS_USER"), text(settings, "NATS_PASSWORD"));
    let client =
        async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            .ignore_discovered_servers()
            .connect(text(settings, "NATS_URL"))
            .await
            .expect("a connection");
    jetstream::new(client)
}

async fn query(settings: &Value, statement: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(text(settings, "CLICKHOUSE_URL")).body(statement.to_owned());
    let login = (text(settings, "CLICKHOUSE_USER"), text(settings, "CLICKHOUSE_PASSWORD"));
    let reply = request.basic_auth(login.0, Some(login.1)).send().await.expect("an answer");
    let status = reply.status();
    let answer = reply.text().await.expect("text");
    assert!(status.is_success(), "{statement}: {answer}");
    answer
}

fn seed(settings: &Value, s3: &S3) {
    s3.put("artifacts", "deep/ä b+c", "an object");
    block_on_value(async {
        let context = context(settings).await;
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["orders.>".to_owned()],
            ..stream::Config::default()
        };
        let orders = context.create_stream(config).await.expect("a stream");
        // As any client makes a key-value bucket.
        let config = stream::Config {
            name: BUCKET.to_owned(),
            subjects: vec!["$KV.settings.>".to_owned()],
            max_messages_per_subject: 5,
            allow_rollup: true,
            deny_delete: true,
            ..stream::Config::default()
        };
        context.create_stream(config).await.expect("a bucket");
        for value in ["blue", "green"] {
            let ack = context.publish("$KV.settings.color", value.into()).await;
            ack.expect("published").await.expect("stored");
        }
        for number in 0..MESSAGES {
            let ack = context.publish("orders.new", format!("order {number}").into()).await;
            ack.expect("published").await.expect("stored");
        }
        let config = pull::Config { durable_name: Some("work".to_owned()), ..Default::default() };
        let consumer: PullConsumer = orders.create_consumer(config).await.expect("a consumer");
        let count = usize::try_from(ACKNOWLEDGED).expect("few");
        let mut messages = consumer.fetch().max_messages(count).messages().await.expect("messages");
        while let Some(message) = messages.next().await {
            message.expect("a message").double_ack().await.expect("acknowledged");
        }
        for statement in [
            "CREATE DATABASE shop".to_owned(),
            "CREATE TABLE shop.sales (id UInt64, name String, day Date) ENGINE = MergeTree \
             PARTITION BY toYYYYMM(day) ORDER BY id"
                .to_owned(),
            "CREATE VIEW shop.named AS SELECT name FROM shop.sales".to_owned(),
            "CREATE MATERIALIZED VIEW shop.totals ENGINE = MergeTree ORDER BY id AS SELECT id FROM \
             shop.sales"
                .to_owned(),
            format!(
                "INSERT INTO shop.sales SELECT number, concat('näme\\t', toString(number)), \
                 toDate('2026-01-01') + number % 90 FROM system.numbers LIMIT {ROWS}"
            ),
        ] {
            query(settings, &statement).await;
        }
    });
}

fn look(settings: &Value, s3: &S3) -> Seen {
    block_on_value(async {
        let context = context(settings).await;
        let mut orders = context.get_stream(STREAM).await.expect("the stream");
        let last = orders.get_last_raw_message_by_subject("orders.new").await.expect("a message");
        let mut consumer: PullConsumer = orders.get_consumer("work").await.expect("the consumer");
        let floor = consumer.info().await.expect("the consumer's state").ack_floor.stream_sequence;
        assert_eq!(floor, ACKNOWLEDGED);
        let state = orders.info().await.expect("the stream's state").state.clone();
        let bucket = context.get_stream(BUCKET).await.expect("the bucket");
        let mut values = String::new();
        for sequence in 1..=2 {
            let entry = bucket.get_raw_message(sequence).await.expect("a value");
            values += &format!("{} {:?} ", entry.subject, entry.payload);
        }
        let rows = "SELECT count(), sum(id), sum(cityHash64(name, toString(day))) FROM shop.sales";
        Seen::from([
            ("messages", state.messages.to_string()),
            ("sequences", format!("{} to {}", state.first_sequence, state.last_sequence)),
            ("last message", format!("{:?} {}", last.payload, last.time)),
            ("values", values),
            ("rows", query(settings, rows).await),
            ("view", query(settings, "SELECT count() FROM shop.named").await),
        ])
    })
    .into_iter()
    .chain([("object", s3.get("artifacts", "deep/ä b+c"))])
    .collect()
}

fn destroy(settings: &Value, s3: &S3) {
    block_on_value(async {
        let context = context(settings).await;
        context.delete_stream(STREAM).await.expect("deleted");
        context.delete_stream(BUCKET).await.expect("deleted");
        query(settings, "DROP DATABASE shop").await;
    });
    for key in ["deep/ä b+c", "kept"] {
        s3.delete("artifacts", key);
    }
    s3.remove("artifacts");
}
