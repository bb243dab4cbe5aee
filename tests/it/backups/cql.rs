//! As much of a CQL server as a backup needs: one table, which can fail to be read or written in one way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};

use crate::lying_cql::frame::{self, Answer, Column, Request, Type};
use crate::lying_cql::node;

/// In what it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection ends in the middle of the table.
    BreaksOff,
    /// A page that is shorter than it says.
    CutsAPage,
    /// It says of the first page that it is the last.
    EndsEarly,
    /// Another program's server.
    OtherServer,
    /// An old one, without `DESCRIBE`.
    CannotDescribe,
    /// A type that is another one than in the backup.
    OtherType,
    /// It does not make the table.
    RefusesTheTable,
    /// A row that it acknowledges is not there.
    LosesARow,
}

/// Name, and when it was written, by number.
type Rows = BTreeMap<i32, (Vec<u8>, i64)>;

pub struct Cql {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    password: String,
    fault: Mutex<Fault>,
    /// The table's, while there is one.
    rows: Mutex<Option<Rows>>,
    changes: Mutex<u32>,
}

/// Rows of a page.
const PAGE: usize = 2;

const ROW: [Column; 4] = [
    ("id", Type::Int),
    ("name", Type::Text),
    ("writetime(name)", Type::Bigint),
    ("ttl(name)", Type::Int),
];

impl Cql {
    pub async fn start(password: &str) -> Cql {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            password: password.to_owned(),
            fault: Mutex::new(Fault::None),
            rows: Mutex::new(Some(seeded())),
            changes: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&accepting)));
            }
        });
        Cql { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn fails(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    pub fn loses_the_table(&self) {
        *self.shared.rows.lock().unwrap() = None;
    }

    /// Whether the table has exactly the rows of the start, with their times.
    pub fn is_whole(&self) -> bool {
        *self.shared.rows.lock().unwrap() == Some(seeded())
    }

    /// Statements that change something.
    pub fn changes(&self) -> u32 {
        *self.shared.changes.lock().unwrap()
    }
}

fn seeded() -> Rows {
    (1..=6).map(|id| (id, (format!("name {id}").into(), 1_700_000_000_000_000))).collect()
}

async fn serve(mut socket: TcpStream, shared: Arc<Shared>) -> Option<()> {
    loop {
        let mut request = Request::read(&mut socket).await?;
        let answer = match request.opcode {
            frame::OPTIONS => Answer::supported(),
            frame::STARTUP => Answer::authenticate(),
            frame::REGISTER => Answer::ready(),
            frame::AUTH_RESPONSE => {
                assert_eq!(request.login(), ("pipe".to_owned(), shared.password.clone()));
                Answer::authenticated()
            }
            frame::PREPARE => {
                let statement = request.long_string();
                let insert = statement.starts_with("INSERT");
                assert!(!insert || statement.ends_with("(?, ?) USING TIMESTAMP ? AND TTL ?"));
                let bound: &[Column] = if insert { &ROW } else { &[] };
                Answer::prepared(&statement, bound, &[])
            }
            frame::EXECUTE => {
                let (statement, values, from) = request.execution();
                match statement.contains("\"shop\".") {
                    true => shared.execute(&statement, &values, &from)?,
                    false => shared.answer(&statement),
                }
            }
            frame::QUERY => shared.answer(&request.long_string()),
            other => panic!("a request of kind {other}"),
        };
        answer.write(&request, &mut socket).await?;
    }
}

impl Shared {
    /// An answer, or the end of the connection.
    fn execute(&self, statement: &str, values: &[Vec<u8>], from: &[u8]) -> Option<Answer> {
        let fault = *self.fault.lock().unwrap();
        let mut rows = self.rows.lock().unwrap();
        let rows = rows.as_mut().expect("a table");
        if let [id, name, written, lives] = values {
            *self.changes.lock().unwrap() += 1;
            assert_eq!(lives[..], [0; 4], "it does not expire");
            let id = i32::from_be_bytes(id.as_slice().try_into().unwrap());
            if fault != Fault::LosesARow || id != 4 {
                let written = i64::from_be_bytes(written.as_slice().try_into().unwrap());
                rows.insert(id, (name.clone(), written));
            }
            return Some(Answer::void());
        }
        let from = usize::from(from.first().copied().unwrap_or_default());
        let end = from + PAGE;
        let keys = statement == "SELECT \"id\" FROM \"shop\".\"sales\"";
        let columns: &[Column] = if keys { &ROW[..1] } else { &ROW };
        let page = rows.iter().skip(from).take(PAGE).map(|(id, (name, written))| {
            let id = Some(id.to_be_bytes().to_vec());
            let mut row = vec![id, Some(name.clone()), Some(written.to_be_bytes().to_vec()), None];
            row.truncate(columns.len());
            row
        });
        let next = (end < rows.len()).then(|| u8::try_from(end).unwrap());
        let page: Vec<_> = page.collect();
        match fault {
            Fault::BreaksOff if !keys && from == PAGE => None,
            Fault::CutsAPage if !keys && from == PAGE => {
                Some(Answer::page(columns, &page, next).cut(20))
            }
            Fault::EndsEarly if !keys => Some(Answer::page(columns, &page, None)),
            _ => Some(Answer::page(columns, &page, next)),
        }
    }

    fn answer(&self, statement: &str) -> Answer {
        let fault = *self.fault.lock().unwrap();
        let text = |text: &str| text.as_bytes().to_vec();
        let texts = |names: &[&'static str], rows: &[&[&str]]| {
            let columns: Vec<Column> = names.iter().map(|name| (*name, Type::Text)).collect();
            let rows: Vec<Vec<Vec<u8>>> =
                rows.iter().map(|row| row.iter().map(|field| text(field)).collect()).collect();
            Answer::rows(&columns, &rows)
        };
        if let Some(answer) = node::answer(statement, &[1; 16]) {
            return answer;
        }
        let mut rows = self.rows.lock().unwrap();
        if ["CREATE", "DROP"].iter().any(|verb| statement.starts_with(verb)) {
            *self.changes.lock().unwrap() += 1;
            if statement.starts_with("DROP TABLE") {
                *rows = None;
            } else if statement.starts_with("CREATE TABLE") {
                if fault == Fault::RefusesTheTable {
                    return Answer::error(frame::INVALID, "Unknown property 'odd'");
                }
                *rows = Some(Rows::new());
            }
            return Answer::schema_changed("shop");
        }
        let place = match fault {
            Fault::OtherType => "CREATE TYPE shop.place (door int);",
            _ => "CREATE TYPE shop.place (street text);",
        };
        match statement {
            q if q.starts_with("SELECT cluster_name, release_version") => {
                let cluster = if fault == Fault::OtherServer { "orders" } else { "scylladb" };
                texts(&["cluster_name", "release_version"], &[&[cluster, "3.0.8"]])
            }
            q if q.contains("FROM system.versions") => texts(&["version"], &[&["2026.1.9"]]),
            q if q.contains("FROM system_schema.keyspaces") => {
                texts(&["keyspace_name"], &[&["system_auth"], &["shop"]])
            }
            "DESCRIBE KEYSPACE \"shop\"" if fault == Fault::CannotDescribe => {
                Answer::error(frame::SYNTAX, "no viable alternative at input 'DESCRIBE'")
            }
            "DESCRIBE KEYSPACE \"shop\"" => texts(
                &["keyspace_name", "type", "name", "create_statement"],
                &[
                    &["shop", "keyspace", "shop", "CREATE KEYSPACE shop WITH replication = {};"],
                    &["shop", "type", "place", place],
                    &["shop", "function", "twice", "CREATE FUNCTION shop.twice () …;"],
                    &["shop", "table", "sales", "CREATE TABLE shop.sales (id int PRIMARY KEY, …);"],
                ],
            ),
            q if q.contains("FROM system_schema.columns") => {
                let columns = ["column_name", "kind", "type"].map(|name| (name, Type::Text));
                let columns = [columns[0], columns[1], ("position", Type::Int), columns[2]];
                let position = |number: i32| number.to_be_bytes().to_vec();
                let id = vec![text("id"), text("partition_key"), position(0), text("int")];
                let name = vec![text("name"), text("regular"), position(-1), text("text")];
                let there = [name, id];
                Answer::rows(&columns, if rows.is_some() { &there } else { &[] })
            }
            q if q.contains("FROM system_schema.views") => {
                texts(&["view_name", "base_table_name"], &[])
            }
            q if q.contains("FROM system_schema.indexes") => texts(&["index_name"], &[]),
            other => panic!("not expected: {other}"),
        }
    }
}
