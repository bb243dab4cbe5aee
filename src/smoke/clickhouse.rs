//! ClickHouse over HTTP: rows come back as they went in, merged or not, a wrong row is refused with
//! all that came with it, and so is everybody without the password.

use std::fmt::Write as _;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::recorder::Outcome;
use super::{Options, Recorder, Surroundings, Target, door, version};
use crate::Result;
use crate::world::clickhouse::{Failure, Server};

/// Rows of each batch, and how many batches make the first round: each is a part of its own.
const BATCH: u64 = 2_500;
const BATCHES: u64 = 4;
const ROWS: u64 = BATCH * BATCHES;

/// Rows inserted after the restart.
const MORE_ROWS: u64 = 100;

/// The checks that need a database.
struct Session<'a> {
    target: &'a Target,
    server: Server,
    database: String,
    reach: Duration,
}

/// What the server said about itself, and when.
struct Identity {
    uptime: u64,
    asked: Instant,
}

pub(super) async fn run(
    target: &Target,
    options: Options,
    surroundings: &Surroundings<'_>,
    recorder: &mut Recorder,
) -> Result<()> {
    let username = target.credential("username")?;
    let password = target.credential("password")?;
    let server = Server::new(&target.address(), Some((username, password)))?;
    let wrong = format!("{password}x");
    let session = Session {
        target,
        server,
        database: format!("pipe_smoke_{}", target.run_id),
        reach: options.reach,
    };

    let tried = format!("ask {} who it is, as a pod of {}", target.address(), target.component);
    let Some(before) = recorder.check("connect", tried, session.identify()).await else {
        return Ok(());
    };
    if target.stand_in.is_none() && !target.floor.is_empty() {
        let tried = format!("find a version of at least {}", target.floor.join(", "));
        recorder.check("version", tried, session.version()).await;
    }
    let tried = "ask with a wrong password and be refused";
    let stranger = session.server.with_login(Some((username, &wrong)));
    recorder.check("wrong-password", tried, refused(&stranger)).await;
    let tried = "ask without credentials and be refused";
    let anybody = session.server.with_login(None);
    recorder.check("no-password", tried, refused(&anybody)).await;

    let tried = format!("make database {} with a table", session.database);
    if recorder.check("table", tried, session.create()).await.is_some() {
        let restart = options.restart.then_some((surroundings, &before));
        session.with_table(restart, recorder).await;
    }
    // What failed in the middle of being made is there too.
    let tried = format!("drop database {} and find it gone", session.database);
    recorder.clean_up("clean-up", tried, session.drop()).await;
    Ok(())
}

impl Session<'_> {
    /// Everything between making and dropping the database. Stops at the first failure: the later
    /// checks count on the rows before.
    async fn with_table(
        &self,
        restart: Option<(&Surroundings<'_>, &Identity)>,
        recorder: &mut Recorder,
    ) -> Option<()> {
        let tried = format!("insert {ROWS} rows in {BATCHES} batches");
        recorder.check("insert", tried, self.insert_all()).await?;
        let tried = format!("select the {ROWS} rows in order and compare every byte");
        recorder.check("read-back", tried, self.read(ROWS)).await?;
        let tried = "let the server count and sum, and compare with our own";
        recorder.check("aggregate", tried, self.aggregate(ROWS)).await?;
        let tried = "merge all parts into one and compare every byte again";
        recorder.check("merge", tried, self.merge()).await?;
        let tried = "insert a good row with a bad one and be refused, neither stored";
        let bad = recorder.check("bad-row", tried, self.bad_row()).await;

        let ((), Some((surroundings, before))) = (bad?, restart) else { return None };
        let tried = "delete the pod and be answered by another process";
        recorder.check("restart", tried, self.restart(surroundings, before)).await?;
        let tried = format!("select the {ROWS} rows of before the restart");
        recorder.check("read-again", tried, self.read(ROWS)).await?;
        let tried = format!("insert {MORE_ROWS} more rows and select all");
        recorder.check("insert-more", tried, self.insert_more()).await
    }

    /// Waits for the port if need be, and makes sure it is the server we mean.
    async fn identify(&self) -> Outcome<Identity> {
        let query = "SELECT hostName(), version(), uptime()";
        let reply = door::reach(self.reach, || async {
            match self.server.query(query).await {
                // ClickHouse's own refusal: asking again would change nothing.
                Err(refused @ Failure::Refused { .. }) => Ok(Err(refused)),
                Err(other) => Err(other.to_string()),
                Ok(text) if text.split('\t').count() == 3 => Ok(Ok(text)),
                Ok(text) => Err(format!("{:?}, which is no answer of ClickHouse", excerpt(&text))),
            }
        });
        let text = reply.await?.map_err(|failure| failure.to_string())?;
        let fields: Vec<&str> = text.trim_end().split('\t').collect();
        let &[host, version, uptime] = fields.as_slice() else {
            return Err(format!("{:?}, which is no answer of ClickHouse", excerpt(&text)));
        };
        let uptime = uptime.parse().map_err(|_| format!("an uptime of {uptime:?}"))?;
        let saw = format!("ClickHouse {version} on {host}, up for {uptime} s");
        if !door::is_pod_of(&self.target.component, host) {
            let component = &self.target.component;
            return Err(format!(
                "{saw}, which is no pod of {component}: another program holds the port"
            ));
        }
        Ok((Identity { uptime, asked: Instant::now() }, saw))
    }

    async fn version(&self) -> Outcome<()> {
        let version = self.ask("SELECT version()").await?;
        let version = version.trim_end();
        match version::at_least(version, &self.target.floor) {
            true => Ok(((), version.to_owned())),
            false => Err(format!("{version}, which has known holes: use a newer image")),
        }
    }

    async fn create(&self) -> Outcome<()> {
        let database = &self.database;
        self.ask(&format!("CREATE DATABASE {database}")).await?;
        self.ask(&format!(
            "CREATE TABLE {database}.events (id UInt64, name String, amount Int64, day Date) \
             ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY id"
        ))
        .await?;
        let engine = format!(
            "SELECT engine FROM system.tables WHERE database = '{database}' AND name = 'events'"
        );
        match self.ask(&engine).await?.trim_end() {
            "MergeTree" => Ok(((), "a table of engine MergeTree".to_owned())),
            other => Err(format!("a table of engine {other:?}")),
        }
    }

    async fn insert_all(&self) -> Outcome<()> {
        for batch in 0..BATCHES {
            let from = batch * BATCH;
            self.insert(from, from + BATCH)
                .await
                .map_err(|why| format!("batch {}: {why}", batch + 1))?;
        }
        Ok(((), format!("{ROWS} rows accepted")))
    }

    async fn insert(&self, from: u64, to: u64) -> std::result::Result<(), String> {
        let query = format!("INSERT INTO {}.events FORMAT TabSeparated", self.database);
        self.server
            .send(&query, self.rows(from, to))
            .await
            .map_err(|failure| failure.to_string())?;
        Ok(())
    }

    /// Reads the table from its beginning: exactly `count` rows, in order, unchanged.
    async fn read(&self, count: u64) -> Outcome<()> {
        let query =
            format!("SELECT id, name, amount, day FROM {}.events ORDER BY id", self.database);
        let received = self.ask(&query).await?;
        let sent = self.rows(0, count);
        if received != sent {
            let (found, wanted) = (received.lines().count(), sent.lines().count());
            let first = received.lines().zip(sent.lines()).position(|(one, other)| one != other);
            return Err(match first {
                Some(row) => format!("row {} of {found} with other content", row + 1),
                None => format!("{found} rows instead of {wanted}"),
            });
        }
        let digest = Sha256::digest(&received);
        let digest = crate::digest::hex(digest.get(..6).unwrap_or_default());
        Ok(((), format!("{count} rows, unchanged (digest {digest})")))
    }

    async fn aggregate(&self, count: u64) -> Outcome<()> {
        let query =
            format!("SELECT count(), sum(amount), uniqExact(name) FROM {}.events", self.database);
        let found = self.ask(&query).await?;
        let sum: i64 = (0..count).map(amount).sum();
        let wanted = format!("{count}\t{sum}\t{count}");
        match found.trim_end() == wanted {
            true => Ok(((), format!("{count} rows with sum {sum}, all names different"))),
            false => Err(format!("{:?} instead of {wanted:?}", found.trim_end())),
        }
    }

    async fn merge(&self) -> Outcome<()> {
        self.ask(&format!("OPTIMIZE TABLE {}.events FINAL", self.database)).await?;
        self.read(ROWS).await
    }

    async fn bad_row(&self) -> Outcome<()> {
        let query = format!("INSERT INTO {}.events FORMAT TabSeparated", self.database);
        let rows = format!("{}not a number\tx\t1\t2026-01-01\n", self.rows(ROWS, ROWS + 1));
        let why = match self.server.send(&query, rows).await {
            Ok(_) => return Err("accepted".to_owned()),
            Err(Failure::Refused { code, .. }) => format!("code {code}"),
            Err(other) => return Err(other.to_string()),
        };
        let count = self.ask(&format!("SELECT count() FROM {}.events", self.database)).await?;
        match count.trim_end() == ROWS.to_string() {
            true => Ok(((), format!("{why}, and still {ROWS} rows"))),
            false => Err(format!("{why}, and {} rows instead of {ROWS}", count.trim_end())),
        }
    }

    /// A process that is older than the time since we first asked is the one of before.
    async fn restart(&self, surroundings: &Surroundings<'_>, before: &Identity) -> Outcome<()> {
        (surroundings.restart)().await.map_err(|error| error.to_string())?;
        let (now, saw) = self.identify().await?;
        let passed = now.asked.duration_since(before.asked).as_secs();
        // Both ages are in whole seconds, so one may be a second too high.
        if now.uptime + 1 >= before.uptime + passed {
            return Err(format!("{saw}: the same process as before; nothing restarted"));
        }
        Ok(((), saw))
    }

    async fn insert_more(&self) -> Outcome<()> {
        self.insert(ROWS, ROWS + MORE_ROWS).await?;
        self.read(ROWS + MORE_ROWS).await
    }

    async fn drop(&self) -> Outcome<()> {
        self.ask(&format!("DROP DATABASE IF EXISTS {}", self.database)).await?;
        let query =
            format!("SELECT count() FROM system.databases WHERE name = '{}'", self.database);
        match self.ask(&query).await?.trim_end() {
            "0" => Ok(((), "dropped and gone".to_owned())),
            _ => Err("dropped, and still there".to_owned()),
        }
    }

    async fn ask(&self, query: &str) -> std::result::Result<String, String> {
        self.server.query(query).await.map_err(|failure| failure.to_string())
    }

    /// Rows `from` to `to`, as ClickHouse writes them. Different for every run.
    fn rows(&self, from: u64, to: u64) -> String {
        let mut rows = String::new();
        for id in from..to {
            let name = Sha256::digest(format!("{} {id}", self.target.run_id));
            let name = crate::digest::hex(name.get(..12).unwrap_or_default());
            let (month, day) = (1 + id % 3, 1 + id % 28);
            // A tab and a quote within the text: what is not escaped properly shows.
            let _ = writeln!(rows, "{id}\t{name} ü\\t\"\t{}\t2026-{month:02}-{day:02}", amount(id));
        }
        rows
    }
}

/// Positive and negative, so that a sum over too few rows is off in any direction.
fn amount(id: u64) -> i64 {
    let id = i64::try_from(id).unwrap_or_default();
    if id % 2 == 0 { id * 7 } else { -id * 3 }
}

/// Passes only if the server says no to who asks; another failure proves nothing.
async fn refused(server: &Server) -> Outcome<()> {
    match server.query("SELECT 1").await {
        Ok(answer) => Err(format!("let in: it answered {:?}", excerpt(&answer))),
        Err(failure @ Failure::Refused { .. }) if failure.is_login() => {
            Ok(((), failure.to_string()))
        }
        Err(failure) => Err(failure.to_string()),
    }
}

/// The beginning of an answer that nobody expected.
fn excerpt(text: &str) -> String {
    text.trim_end().chars().take(80).collect()
}
