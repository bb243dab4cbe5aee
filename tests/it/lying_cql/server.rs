//! As much of a CQL server as the smoke check and its client ask for, with one lie.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};

use super::frame::{self, Answer, Column, Request, Type};
use super::node;

/// The one thing in which a server does not tell the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    None,
    AcceptsAnyPassword,
    AcceptsAnybody,
    KeepsInitialUser,
    ClosesInsteadOfRefusing,
    OldVersion,
    OtherCluster,
    LosesARow,
    ReturnsStaleRows,
    ReturnsMore,
    HasNoQuorum,
    AppliesTwice,
    AppliesSecretly,
    NeverApplies,
    DoesNotRestart,
    ForgetsOnRestart,
    ComesBackEmpty,
    KeepsKeyspace,
    Silent,
}

/// A server that runs until it is dropped with its runtime.
pub struct LyingCql {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    lie: Lie,
    user: String,
    password: String,
    starts: AtomicI32,
    /// The keyspace's rows, while there is one.
    rows: Mutex<Option<Rows>>,
}

/// Name and amount by number, as they came in.
type Rows = BTreeMap<i32, (Vec<u8>, Vec<u8>)>;

const ROW: [Column; 3] = [("id", Type::Int), ("name", Type::Text), ("amount", Type::Bigint)];
const APPLIED: Column = ("[applied]", Type::Boolean);

impl LyingCql {
    pub async fn start(lie: Lie, user: &str, password: &str) -> LyingCql {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            lie,
            user: user.to_owned(),
            password: password.to_owned(),
            starts: AtomicI32::new(1),
            rows: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&accepting)));
            }
        });
        LyingCql { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn restart(&self) {
        if self.shared.lie != Lie::DoesNotRestart {
            self.shared.starts.fetch_add(1, Ordering::SeqCst);
        }
        if self.shared.lie == Lie::ForgetsOnRestart {
            let mut rows = self.shared.rows.lock().unwrap();
            rows.as_mut().unwrap().retain(|id, _| *id < 190);
        }
    }
}

/// One connection. An end of any kind is only its end.
async fn serve(mut socket: TcpStream, shared: Arc<Shared>) -> Option<()> {
    loop {
        let mut request = Request::read(&mut socket).await?;
        if shared.lie == Lie::Silent {
            continue;
        }
        let answer = match request.opcode {
            frame::OPTIONS => Answer::supported(),
            frame::STARTUP if shared.lie == Lie::AcceptsAnybody => Answer::ready(),
            frame::STARTUP => Answer::authenticate(),
            frame::REGISTER => Answer::ready(),
            frame::AUTH_RESPONSE => {
                let (user, password) = request.login();
                if shared.lets_in(&user, &password) {
                    Answer::authenticated()
                } else if shared.lie == Lie::ClosesInsteadOfRefusing {
                    return None;
                } else {
                    Answer::error(frame::BAD_CREDENTIALS, "Username and/or password are incorrect")
                }
            }
            frame::PREPARE => {
                let statement = request.long_string();
                let bound: &[Column] = if statement.contains("(?, ?, ?)") { &ROW } else { &[] };
                // The client compares nothing of these: each answer brings its own.
                Answer::prepared(&statement, bound, &[])
            }
            frame::EXECUTE => {
                let (statement, values, _) = request.execution();
                shared.answer(&statement, &values)
            }
            frame::QUERY => shared.answer(&request.long_string(), &[]),
            other => panic!("a request of kind {other}"),
        };
        answer.write(&request, &mut socket).await?;
    }
}

impl Shared {
    fn lets_in(&self, user: &str, password: &str) -> bool {
        match self.lie {
            Lie::AcceptsAnyPassword if user == self.user => true,
            Lie::KeepsInitialUser if (user, password) == ("cassandra", "cassandra") => true,
            _ => user == self.user && password == self.password,
        }
    }

    /// Identifies the data: another after a start without it.
    fn host_id(&self) -> Vec<u8> {
        let started = self.starts.load(Ordering::SeqCst);
        let host = if self.lie == Lie::ComesBackEmpty { started } else { 1 };
        vec![u8::try_from(host).unwrap(); 16]
    }

    fn answer(&self, statement: &str, values: &[Vec<u8>]) -> Answer {
        let text = |text: &str| text.as_bytes().to_vec();
        let int = |number: i32| number.to_be_bytes().to_vec();
        if let Some(answer) = node::answer(statement, &self.host_id()) {
            return answer;
        }
        if statement.starts_with("SELECT cluster_name, release_version") {
            let cluster = if self.lie == Lie::OtherCluster { "orders" } else { "scylladb" };
            let columns = [
                ("cluster_name", Type::Text),
                ("release_version", Type::Text),
                ("data_center", Type::Text),
                ("host_id", Type::Uuid),
                ("gossip_generation", Type::Int),
            ];
            let started = int(self.starts.load(Ordering::SeqCst));
            let row = vec![text(cluster), text("3.0.8"), text("dc1"), self.host_id(), started];
            return Answer::rows(&columns, &[row]);
        }
        if statement.contains("FROM system.versions") {
            let old = self.lie == Lie::OldVersion;
            let version = if old { "2026.1.3-0.20260601" } else { "2026.1.9-0.20260717" };
            return Answer::rows(&[("version", Type::Text)], &[vec![text(version)]]);
        }
        if statement.contains("FROM system_schema.tables") {
            return Answer::rows(&[("table_name", Type::Text)], &[vec![text("events")]]);
        }
        let mut rows = self.rows.lock().unwrap();
        if statement.starts_with("CREATE KEYSPACE") {
            assert!(statement.contains("'NetworkTopologyStrategy', 'dc1': 1"), "{statement}");
            *rows = Some(BTreeMap::new());
            return Answer::schema_changed("pipe_smoke_t1");
        }
        if statement.starts_with("DROP KEYSPACE") {
            if self.lie != Lie::KeepsKeyspace {
                *rows = None;
            }
            return Answer::schema_changed("pipe_smoke_t1");
        }
        let Some(rows) = rows.as_mut() else {
            return Answer::error(frame::INVALID, "keyspace pipe_smoke_t1 does not exist");
        };
        if statement.starts_with("CREATE TABLE") {
            return Answer::schema_changed("pipe_smoke_t1");
        }
        if let [id, name, amount] = values {
            return self.write(rows, id, name, amount);
        }
        if statement.ends_with("IF NOT EXISTS") {
            return self.insert_once(rows, statement);
        }
        if statement.starts_with("DELETE") {
            let there = rows.remove(&2000).is_some();
            return Answer::rows(&[APPLIED], &[vec![vec![u8::from(there)]]]);
        }
        if statement.starts_with("SELECT id") {
            return self.read(rows, statement);
        }
        panic!("not expected: {statement}")
    }

    fn write(&self, rows: &mut Rows, id: &[u8], name: &[u8], amount: &[u8]) -> Answer {
        let id = i32::from_be_bytes(id.try_into().unwrap());
        let amount = match (self.lie, id) {
            (Lie::HasNoQuorum, _) => {
                return Answer::error(
                    frame::UNAVAILABLE,
                    "Cannot achieve consistency level QUORUM",
                );
            }
            (Lie::LosesARow, 42) => return Answer::void(),
            (Lie::ReturnsStaleRows, 42) => 0_i64.to_be_bytes().to_vec(),
            _ => amount.to_vec(),
        };
        rows.insert(id, (name.to_vec(), amount));
        Answer::void()
    }

    fn insert_once(&self, rows: &mut Rows, statement: &str) -> Answer {
        let name = statement.split('\'').nth(1).unwrap();
        let row = (name.as_bytes().to_vec(), 1_i64.to_be_bytes().to_vec());
        let there = rows.get(&2000).cloned();
        let applied = match self.lie {
            Lie::AppliesTwice => true,
            Lie::NeverApplies => false,
            _ => there.is_none(),
        };
        if applied || self.lie == Lie::AppliesSecretly {
            rows.insert(2000, row);
        }
        let first = vec![u8::from(applied)];
        match there {
            Some((name, amount)) if !applied => {
                let row = vec![first, 2000_i32.to_be_bytes().to_vec(), name, amount];
                Answer::rows(&[&[APPLIED], &ROW[..]].concat(), &[row])
            }
            _ => Answer::rows(&[APPLIED], &[vec![first]]),
        }
    }

    fn read(&self, rows: &Rows, statement: &str) -> Answer {
        let one = statement.split_once("WHERE id = ").map(|(_, id)| id.parse::<i32>().unwrap());
        let found = rows.iter().filter(|(id, _)| one.is_none_or(|one| one == **id));
        let mut found: Vec<Vec<Vec<u8>>> = found
            .map(|(id, (name, amount))| {
                vec![id.to_be_bytes().to_vec(), name.clone(), amount.clone()]
            })
            .collect();
        // As tokens order them: not by their numbers.
        found.reverse();
        if self.lie == Lie::ReturnsMore {
            let more = 5000_i32.to_be_bytes().to_vec();
            found.push(vec![more, b"of another run".to_vec(), 1_i64.to_be_bytes().to_vec()]);
        }
        Answer::rows(&ROW, &found)
    }
}
