//! As much of ClickHouse over HTTP as the smoke check uses, with one lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::scripted::{Reply, Request, Scripted};

pub const PASSWORD: &str = "right-password";

/// The server had been up for this long when the test began.
const UPTIME: u64 = 1000;

/// The one thing in which a server does not tell the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    None,
    OtherServer,
    NoClickHouse,
    StrangerAtFirst,
    AcceptsAnyPassword,
    AcceptsNobody,
    RefusesForAnotherReason,
    OldVersion,
    OtherEngine,
    LosesABatch,
    Reorders,
    Corrupts,
    Miscounts,
    LosesInMerge,
    AcceptsBadRows,
    StoresGoodRowsOfABadInsert,
    FailsBehind200,
    KeepsDatabase,
    DoesNotRestart,
    ForgetsOnRestart,
    Silent,
}

/// A server that runs until it is dropped.
pub struct LyingClickHouse {
    _server: Scripted,
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    lie: Lie,
    began: Instant,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    restarted: Option<Instant>,
    database: Option<String>,
    rows: BTreeMap<u64, String>,
}

impl LyingClickHouse {
    pub async fn start(lie: Lie) -> LyingClickHouse {
        let shared = Arc::new(Shared { lie, began: Instant::now(), store: Mutex::default() });
        let answering = Arc::clone(&shared);
        let (server, base) =
            Scripted::tcp(move |request, before| answering.answer(request, before)).await;
        let port = base.rsplit_once(':').unwrap().1.parse().unwrap();
        LyingClickHouse { _server: server, port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn restart(&self) {
        let mut store = self.shared.store.lock().unwrap();
        if self.shared.lie != Lie::DoesNotRestart {
            store.restarted = Some(Instant::now());
        }
        if self.shared.lie == Lie::ForgetsOnRestart {
            store.rows.pop_last();
        }
    }

    /// Whether the database was left.
    pub fn is_clean(&self) -> bool {
        self.shared.store.lock().unwrap().database.is_none()
    }
}

impl Shared {
    fn answer(&self, request: &Request, before: usize) -> Reply {
        match self.lie {
            Lie::Silent => return Reply::Silence,
            Lie::NoClickHouse => return Reply::new(200, "<html>hello</html>"),
            Lie::StrangerAtFirst if before < 2 => return Reply::new(403, "not from here"),
            _ => {}
        }
        let right = format!("Basic {}", STANDARD.encode(format!("pipe:{PASSWORD}")));
        let let_in = match request.headers.get("authorization") {
            Some(login) if *login == right => true,
            Some(_) => self.lie == Lie::AcceptsAnyPassword,
            None => self.lie == Lie::AcceptsNobody,
        };
        if !let_in {
            return match self.lie {
                Lie::RefusesForAnotherReason => failed(500, 241),
                _ => failed(403, 516),
            };
        }
        let url: reqwest::Url = format!("http://x{}", request.target).parse().unwrap();
        let query = url.query_pairs().find(|(name, _)| name == "query");
        let body = String::from_utf8(request.body.clone()).unwrap();
        let result = match query {
            Some((_, statement)) => self.insert(&statement, &body),
            None => self.execute(&body),
        };
        match result {
            Ok(text) => Reply::new(200, text),
            Err(_) if self.lie == Lie::FailsBehind200 => failed(200, 27),
            Err(code) => failed(400, code),
        }
    }

    fn insert(&self, statement: &str, rows: &str) -> Result<String, u32> {
        assert!(statement.starts_with("INSERT INTO pipe_smoke_t1.events FORMAT"), "{statement}");
        let mut store = self.store.lock().unwrap();
        let parsed: Result<Vec<(u64, String)>, u32> = rows
            .lines()
            .map(|row| {
                let id = row.split('\t').next().unwrap().parse().map_err(|_| 27_u32)?;
                Ok((id, row.to_owned()))
            })
            .collect();
        let bad = parsed.is_err();
        let rows = match parsed {
            Ok(rows) => rows,
            Err(code) if self.lie == Lie::StoresGoodRowsOfABadInsert => {
                store.rows.insert(10_000, rows.lines().next().unwrap().to_owned());
                return Err(code);
            }
            Err(code) if self.lie != Lie::AcceptsBadRows => return Err(code),
            Err(_) => Vec::new(),
        };
        let second = rows.first().is_some_and(|(id, _)| *id == 2_500);
        let lost = self.lie == Lie::LosesABatch && second;
        if !bad && !lost {
            store.rows.extend(rows);
        }
        Ok(String::new())
    }

    fn execute(&self, statement: &str) -> Result<String, u32> {
        let lie = self.lie;
        let mut store = self.store.lock().unwrap();
        let words: Vec<&str> = statement.split_whitespace().collect();
        Ok(match words.as_slice() {
            ["SELECT", "1"] => "1\n".to_owned(),
            ["SELECT", "hostName(),", ..] => {
                let host = if lie == Lie::OtherServer { "somebody" } else { "clickhouse-0" };
                let uptime = match store.restarted {
                    Some(then) => then.elapsed().as_secs(),
                    None => UPTIME + self.began.elapsed().as_secs(),
                };
                format!("{host}\t26.8.40.1\t{uptime}\n")
            }
            ["SELECT", "version()"] => match lie {
                Lie::OldVersion => "26.8.36.2\n".to_owned(),
                _ => "26.8.40.1\n".to_owned(),
            },
            ["CREATE", "DATABASE", name] => {
                store.database = Some((*name).to_owned());
                String::new()
            }
            ["CREATE", "TABLE", ..] | ["OPTIMIZE", ..] => {
                if words[0] == "OPTIMIZE" && lie == Lie::LosesInMerge {
                    store.rows.remove(&7);
                }
                String::new()
            }
            ["SELECT", "engine", ..] => match lie {
                Lie::OtherEngine => "Log\n".to_owned(),
                _ => "MergeTree\n".to_owned(),
            },
            ["SELECT", "id,", ..] => {
                let mut rows: Vec<String> = store.rows.values().cloned().collect();
                match lie {
                    Lie::Reorders => rows.swap(41, 42),
                    Lie::Corrupts => rows[41] = rows[41].replace("2026", "2025"),
                    _ => {}
                }
                rows.iter().map(|row| format!("{row}\n")).collect()
            }
            ["SELECT", "count(),", ..] => {
                let sum: i64 =
                    store.rows.values().map(|row| field(row, 2).parse::<i64>().unwrap()).sum();
                let count = store.rows.len() + usize::from(lie == Lie::Miscounts);
                format!("{count}\t{sum}\t{}\n", store.rows.len())
            }
            ["SELECT", "count()", "FROM", "system.databases", ..] => {
                format!("{}\n", u8::from(store.database.is_some()))
            }
            ["SELECT", "count()", ..] => format!("{}\n", store.rows.len()),
            ["DROP", "DATABASE", ..] => {
                if lie != Lie::KeepsDatabase {
                    *store = Store { restarted: store.restarted, ..Store::default() };
                }
                String::new()
            }
            _ => return Err(62),
        })
    }
}

/// A field of a row; the text within it holds an escaped tab, no real one.
fn field(row: &str, index: usize) -> &str {
    row.split('\t').nth(index).unwrap()
}

fn failed(status: u16, code: u32) -> Reply {
    Reply::new(status, format!("Code: {code}. DB::Exception: no (PIPE)"))
}
