//! The same of a server that speaks CQL: types of every kind, with their times, and what stands on tables.

use std::collections::BTreeMap;

use ::pipe::world::cql::{Session, connect, product};
use scylla::value::CqlVarint;
use serde_json::Value;

use super::super::pipe::Home;
use super::super::services::block_on_value;

const ROWS: u64 = 1200;

/// Everything that is compared, in words.
type Seen = BTreeMap<String, String>;

const SCHEMA: &[&str] = &[
    "CREATE TYPE shop.place (street text, doors set<int>)",
    "CREATE TYPE shop.address (name text, at frozen<place>)",
    "CREATE TABLE shop.sales (region text, day date, id int, note text static, seen set<int> static, \
     amount varint, price decimal, took duration, at inet, raw blob, home frozen<address>, \
     away address, tags map<text, int>, steps list<text>, pair tuple<int, text>, \
     PRIMARY KEY ((region, day), id)) WITH CLUSTERING ORDER BY (id DESC) AND comment = 'it''s all'",
    "CREATE TABLE shop.\"OddNames\" (\"a key\" int PRIMARY KEY, \"select\" text) \
     WITH default_time_to_live = 86400",
    "CREATE TABLE shop.counts (id int, at int, sum counter, all counter static, PRIMARY KEY (id, at))",
    "CREATE TABLE shop.empty (id timeuuid PRIMARY KEY)",
    "CREATE INDEX sales_amount ON shop.sales (amount)",
    "CREATE MATERIALIZED VIEW shop.by_amount AS SELECT amount, region, day, id FROM shop.sales WHERE \
     amount IS NOT NULL AND region IS NOT NULL AND day IS NOT NULL AND id IS NOT NULL \
     PRIMARY KEY (amount, region, day, id)",
];

const DATA: &[&str] = &[
    // More than the last value of each is told apart by.
    "UPDATE shop.sales USING TIMESTAMP 1700000000000000 SET price = 1.50, took = 1mo2d3ns, \
     at = '::1', raw = 0x00ff22, home = {name: 'ä', at: {street: 's', doors: {3, 1}}}, \
     away = {name: 'it''s'}, tags = {'b': 2, 'a': 1}, steps = ['x', 'x', 'y'], pair = (1, null) \
     WHERE region = 'eu' AND day = '2026-01-01' AND id = 1",
    "UPDATE shop.sales USING TTL 80000 SET amount = 7 \
     WHERE region = 'eu' AND day = '2026-01-01' AND id = 1",
    "INSERT INTO shop.sales (region, day, note, seen) VALUES ('eu', '2026-01-01', 'static', {1, 2})",
    // A partition without a row, a row of a key alone, an empty value.
    "INSERT INTO shop.sales (region, day, note) VALUES ('none', '2026-01-01', 'alone')",
    "INSERT INTO shop.sales (region, day, id) VALUES ('key', '2026-01-01', 1)",
    "INSERT INTO shop.sales (region, day, id, raw) VALUES ('', '2026-01-01', 2, 0x)",
    "INSERT INTO shop.\"OddNames\" (\"a key\", \"select\") VALUES (1, 'default')",
    "INSERT INTO shop.\"OddNames\" (\"a key\", \"select\") VALUES (2, 'for ever') USING TTL 0",
    "UPDATE shop.counts SET sum = sum + 5, all = all + 3 WHERE id = 1 AND at = 1",
    "UPDATE shop.counts SET sum = sum - 7, all = all + 4 WHERE id = 1 AND at = 2",
];

/// Lost and brought back twice, on the cluster `one`.
pub fn comes_back(home: &Home) {
    let settings = home.json("env one");
    block_on_value(async {
        let session = enter(&settings).await;
        seed(&session).await;
    });
    let before = look(&settings);
    assert_eq!(before["rows"], (ROWS + 4).to_string());

    let (_, made) = home.stream("backup one");
    let backup = &made["backups"][0];
    assert_eq!(backup["holds"], format!("1 keyspace, 4 tables, {} rows", ROWS + 8), "{made}");
    let left_out = backup["left_out"].to_string();
    assert!(left_out.contains("when elements of seen, away, steps, tags expire"), "{left_out}");

    let refused = home.fails("restore one", 1);
    for lost in [format!("table shop.sales ({} rows)", ROWS + 4), "shop.OddNames (2 rows)".into()] {
        assert!(refused.contains(&lost), "{lost}: {refused}");
    }
    assert_same(&before, &settings);

    change(&settings, &["DROP KEYSPACE shop"]);
    let (_, restored) = home.stream("restore one");
    assert_eq!(restored["restored"].as_array().map(Vec::len), Some(1), "{restored}");
    assert_same(&before, &settings);

    // In place of what changed since, with a view that there is no backup of.
    change(
        &settings,
        &[
            "TRUNCATE shop.sales",
            "INSERT INTO shop.sales (region, day, id) VALUES ('new', '2026-01-01', 1)",
            "CREATE MATERIALIZED VIEW shop.other AS SELECT * FROM shop.empty WHERE id IS NOT NULL \
             PRIMARY KEY (id)",
        ],
    );
    let refused = home.fails("restore one", 1);
    assert!(refused.contains("table shop.sales (1 row)"), "{refused}");
    assert!(refused.contains("view shop.other, of that table"), "{refused}");
    home.ok("restore one --replace");
    assert_same(&before, &settings);

    // A type that another table may use is not replaced.
    change(&settings, &["ALTER TYPE shop.place ADD door int"]);
    let refused = home.fails("restore one --replace", 1);
    assert!(refused.contains("type shop.place is there, and another one"), "{refused}");
    change(&settings, &["DROP KEYSPACE shop"]);
}

fn assert_same(before: &Seen, settings: &Value) {
    let after = look(settings);
    for (what, was) in before {
        assert_eq!(after.get(what), Some(was), "{what}");
    }
    assert_eq!(after.len(), before.len(), "{:?}", after.keys());
}

async fn enter(settings: &Value) -> Session {
    let text = |name: &str| {
        settings[name].as_str().unwrap_or_else(|| panic!("{name} in {settings}")).to_owned()
    };
    let address = format!("{}:{}", text("CQL_HOST"), text("CQL_PORT"));
    let (user, password) = (text("CQL_USERNAME"), text("CQL_PASSWORD"));
    connect(&address, Some((&user, &password))).await.expect("a session")
}

async fn obey(session: &Session, statement: &str) {
    session
        .query_unpaged(statement, ())
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn change(settings: &Value, statements: &[&str]) {
    block_on_value(async {
        let session = enter(settings).await;
        for statement in statements {
            obey(&session, statement).await;
        }
    });
}

async fn seed(session: &Session) {
    let answer = session.query_unpaged("SELECT data_center FROM system.local", ()).await;
    let answer = answer.expect("an answer").into_rows_result().expect("rows");
    let (datacentre,) = answer.single_row::<(String,)>().expect("a row");
    // What ScyllaDB spreads by tablets has no counters, which are to be seen, too.
    let product = product(session, "").await.expect("a product");
    let tablets = product.starts_with("ScyllaDB").then_some(" AND tablets = {'enabled': false}");
    let keyspace = format!(
        "CREATE KEYSPACE shop WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{datacentre}': 1}}{}",
        tablets.unwrap_or_default()
    );
    obey(session, &keyspace).await;
    for statement in SCHEMA.iter().chain(DATA) {
        obey(session, statement).await;
    }
    let insert =
        "INSERT INTO shop.sales (region, day, id, amount) VALUES ('us', '2026-01-02', ?, ?)";
    let mut insert = session.prepare(insert).await.expect("prepared");
    insert.set_is_idempotent(true);
    for id in 0..i32::try_from(ROWS).expect("few") {
        let amount = CqlVarint::from_signed_bytes_be(vec![u8::try_from(id % 100).expect("small")]);
        session.execute_unpaged(&insert, (id, amount)).await.expect("written");
    }
}

/// Every row as the server shows it, and the times of those that have any of their own.
fn look(settings: &Value) -> Seen {
    block_on_value(async {
        let session = enter(settings).await;
        let mut seen = Seen::new();
        for table in ["sales", "\"OddNames\"", "counts", "empty"] {
            let rows = json(&session, &format!("SELECT JSON * FROM shop.{table}")).await;
            if table == "sales" {
                seen.insert("rows".to_owned(), rows.len().to_string());
            }
            seen.insert(table.to_owned(), rows.join("\n"));
        }
        for (table, column) in [("sales", "price"), ("sales", "amount"), ("sales", "note")] {
            let query = format!("SELECT JSON WRITETIME({column}) FROM shop.{table}");
            let mut times = json(&session, &query).await;
            times.retain(|time| !time.ends_with(": null}"));
            seen.insert(format!("{table}.{column} written"), times.join(" "));
        }
        // Within an hour: it goes on.
        for (table, column) in [("sales", "amount"), ("\"OddNames\"", "\"select\"")] {
            let lives =
                session.query_unpaged(format!("SELECT TTL({column}) FROM shop.{table}"), ());
            let lives = lives.await.expect("an answer").into_rows_result().expect("rows");
            let lives = lives
                .rows::<(Option<i32>,)>()
                .expect("numbers")
                .map(|row| format!("{:?}", row.expect("a row").0.map(|seconds| seconds / 3600)));
            seen.insert(format!("{table}.{column} lives"), lives.collect::<Vec<_>>().join(" "));
        }
        let indexed = json(&session, "SELECT JSON id FROM shop.sales WHERE amount = 7").await;
        seen.insert("index".to_owned(), format!("{}", indexed.len()));
        let schema = session.query_unpaged("DESCRIBE KEYSPACE shop", ()).await.expect("an answer");
        let schema = schema.into_rows_result().expect("rows");
        for row in schema.rows::<(String, String, String, String)>().expect("texts") {
            let (_, what, name, statement) = row.expect("a row");
            seen.insert(format!("{what} {name}"), statement);
        }
        seen
    })
}

/// Rows in a column of JSON, in the order of the table.
async fn json(session: &Session, query: &str) -> Vec<String> {
    let answer = session.query_unpaged(query, ()).await.expect("an answer");
    let answer = answer.into_rows_result().expect("rows");
    answer.rows::<(String,)>().expect("texts").map(|row| row.expect("a row").0).collect()
}
