//! CQL, as ScyllaDB and Cassandra speak it: rows written by a quorum come back unchanged, what is
//! there already is not written again, and only the right password opens the door.

use scylla::errors::ExecutionError;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::CqlValue;
use sha2::{Digest, Sha256};

use self::door::Door;
use super::recorder::Outcome;
use super::{Options, Recorder, Surroundings, Target, version};
use crate::Result;
use crate::world::cql::{self, ANSWER, Session as Client, is_invalid};

mod door;

/// Rows of the first round.
const ROWS: i32 = 200;

/// Rows written after the restart.
const MORE_ROWS: i32 = 10;

/// A row: its number, a text, and a whole number.
type Row = (i32, String, i64);

/// The checks that need a keyspace.
struct Session<'a> {
    target: &'a Target,
    door: Door,
    login: (&'a str, &'a str),
    keyspace: String,
}

/// What the server says about itself.
struct Identity {
    /// Set anew, and higher, each time that the server starts.
    generation: i32,
    /// Made with the data, and kept with it.
    host: CqlValue,
    datacentre: String,
    version: String,
}

pub(super) async fn run(
    target: &Target,
    options: Options,
    surroundings: &Surroundings<'_>,
    recorder: &mut Recorder,
) -> Result<()> {
    let login = (target.credential("username")?, target.credential("password")?);
    let address = target.address();
    let tried = format!("connect to {address}, as the cluster {}", target.component);
    let session = Session {
        target,
        door: Door { address, reach: options.reach },
        login,
        keyspace: format!("pipe_smoke_{}", target.run_id),
    };

    let Some((client, before)) = recorder.check("connect", tried, session.identify()).await else {
        return Ok(());
    };
    if target.stand_in.is_none() && !target.floor.is_empty() {
        let tried = format!("find a version of at least {}", target.floor.join(", "));
        recorder.check("version", tried, session.version(&before)).await;
    }
    let wrong = format!("{}x", login.1);
    let tried = "connect with a wrong password and be refused";
    let refused = session.door.refused(Some((login.0, &wrong)));
    recorder.check("wrong-password", tried, refused).await;
    let tried = "connect without credentials and be refused";
    recorder.check("no-password", tried, session.door.refused(None)).await;
    let tried = "connect as the user that every new server has, and be refused";
    recorder.check("initial-user", tried, session.door.initial_user_refused()).await;

    let tried = format!("make keyspace {} with a table", session.keyspace);
    let made = session.create(&client, &before.datacentre);
    let mut last = None;
    if recorder.check("table", tried, made).await.is_some() {
        let restart = options.restart.then_some((surroundings, &before));
        last = session.with_table(&client, restart, recorder).await;
    }
    // What failed in the middle of being made is there too.
    let tried = format!("drop keyspace {}; a query of it then fails", session.keyspace);
    let dropped = session.drop(last.as_ref().unwrap_or(&client));
    recorder.clean_up("clean-up", tried, dropped).await;
    Ok(())
}

impl Session<'_> {
    /// Everything between making and dropping the keyspace; the newest connection, if it was
    /// renewed. Stops at the first failure: the later checks count on the rows before.
    async fn with_table(
        &self,
        client: &Client,
        restart: Option<(&Surroundings<'_>, &Identity)>,
        recorder: &mut Recorder,
    ) -> Option<Client> {
        let tried = format!("write {ROWS} rows, each acknowledged by a quorum");
        recorder.check("write", tried, self.write(client, 0, ROWS)).await?;
        let tried = format!("read the {ROWS} rows of a quorum and compare all");
        recorder.check("read-back", tried, self.read(client, ROWS)).await?;
        let tried = "insert a row if it is not there, twice: applied once, unchanged by the second";
        let once = recorder.check("once", tried, self.once(client)).await;

        let (Some(()), Some((surroundings, before))) = (once, restart) else { return None };
        let tried = "delete the pod and be answered by another process with the same data";
        let renewed = recorder.check("restart", tried, self.restart(surroundings, before)).await?;
        let tried = format!("read the {ROWS} rows of before the restart");
        if recorder.check("read-again", tried, self.read(&renewed, ROWS)).await.is_some() {
            let tried = format!("write {MORE_ROWS} more rows and read all");
            recorder.check("write-more", tried, self.write_more(&renewed)).await;
        }
        Some(renewed)
    }

    /// Waits for the port if need be, and makes sure it is the server we mean.
    async fn identify(&self) -> Outcome<(Client, Identity)> {
        let client = self.door.enter(Some(self.login)).await?;
        let statement = "SELECT cluster_name, release_version, data_center, host_id, \
                         gossip_generation FROM system.local WHERE key = 'local'";
        let answer = ask(&client, statement).await?.into_rows_result().map_err(text)?;
        let (cluster, release, datacentre, host, generation) =
            answer.single_row::<(String, String, String, CqlValue, i32)>().map_err(text)?;
        let version = cql::product(&client, &release).await?;
        let saw = format!("{version} of cluster {cluster}; it accepted the credentials");
        if cluster != self.target.component {
            let component = &self.target.component;
            return Err(format!("{saw}, which is not {component}: another program holds the port"));
        }
        Ok(((client, Identity { generation, host, datacentre, version }), saw))
    }

    async fn version(&self, identity: &Identity) -> Outcome<()> {
        let found = &identity.version;
        let number = found.split_once(' ').map_or(found.as_str(), |(_, number)| number);
        match version::at_least(number, &self.target.floor) {
            true => Ok(((), found.clone())),
            false => Err(format!("{found}, which is too old: use a newer image")),
        }
    }

    async fn create(&self, client: &Client, datacentre: &str) -> Outcome<()> {
        let keyspace = &self.keyspace;
        ask(
            client,
            &format!(
                "CREATE KEYSPACE {keyspace} WITH replication = \
                 {{'class': 'NetworkTopologyStrategy', '{datacentre}': 1}}"
            ),
        )
        .await?;
        let table = "(id int PRIMARY KEY, name text, amount bigint)";
        ask(client, &format!("CREATE TABLE {keyspace}.events {table}")).await?;
        let statement = format!(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'"
        );
        let answer = ask(client, &statement).await?.into_rows_result().map_err(text)?;
        let (table,) = answer.single_row::<(String,)>().map_err(text)?;
        match table.as_str() {
            "events" => Ok(((), format!("table {table} with one replica in {datacentre}"))),
            other => Err(format!("a table {other:?} instead of events")),
        }
    }

    async fn write(&self, client: &Client, from: i32, to: i32) -> Outcome<()> {
        let statement =
            format!("INSERT INTO {}.events (id, name, amount) VALUES (?, ?, ?)", self.keyspace);
        let mut prepared = client.prepare(bounded(&statement)).await.map_err(text)?;
        prepared.set_consistency(Consistency::Quorum);
        for row in self.rows(from, to) {
            let number = row.0;
            let written = client.execute_unpaged(&prepared, row).await;
            written.map_err(|error| format!("row {number}: {error}"))?;
        }
        Ok(((), format!("{} rows acknowledged", to - from)))
    }

    /// Reads the table: exactly `count` rows, unchanged.
    async fn read(&self, client: &Client, count: i32) -> Outcome<()> {
        let statement = format!("SELECT id, name, amount FROM {}.events", self.keyspace);
        let answer = ask(client, &statement).await?.into_rows_result().map_err(text)?;
        let rows = answer.rows::<Row>().map_err(text)?;
        // In the order of their tokens, which is nobody's order.
        let mut found = rows.collect::<std::result::Result<Vec<Row>, _>>().map_err(text)?;
        found.sort();
        let wanted = self.rows(0, count).collect::<Vec<Row>>();
        if found != wanted {
            let other = found.iter().zip(&wanted).find(|(one, other)| one != other);
            return Err(match other {
                Some((_, (number, _, _))) => {
                    format!("row {number} of {} with other content, or none", found.len())
                }
                None => format!("{} rows instead of {count}", found.len()),
            });
        }
        let mut digest = Sha256::new();
        for (id, name, amount) in &found {
            digest.update(format!("{id} {name} {amount}\n"));
        }
        let digest = crate::digest::hex(digest.finalize().get(..6).unwrap_or_default());
        Ok(((), format!("{count} rows, unchanged (digest {digest})")))
    }

    /// A light-weight transaction: who comes second learns what is there and changes nothing.
    async fn once(&self, client: &Client) -> Outcome<()> {
        let (id, name, amount) = (ROWS * 10, "first".to_owned(), 1_i64);
        let statement = |name: &str| {
            format!(
                "INSERT INTO {}.events (id, name, amount) VALUES ({id}, '{name}', {amount}) \
                 IF NOT EXISTS",
                self.keyspace
            )
        };
        if !self.applied(client, &statement(&name)).await? {
            return Err("the first was not applied, and nothing was there".to_owned());
        }
        if self.applied(client, &statement("second")).await? {
            return Err("the second was applied too".to_owned());
        }
        let mut query = Statement::new(format!(
            "SELECT id, name, amount FROM {}.events WHERE id = {id}",
            self.keyspace
        ));
        // Sees what a transaction of before may have left unfinished.
        query.set_consistency(Consistency::Serial);
        let answer = execute(client, query).await.map_err(text)?;
        let answer = answer.into_rows_result().map_err(text)?;
        let found = answer.single_row::<Row>().map_err(text)?;
        if found != (id, name, amount) {
            return Err(format!("the second was not applied, and the row is now {found:?}"));
        }
        // Or it would be one of those that are counted.
        ask(client, &format!("DELETE FROM {}.events WHERE id = {id} IF EXISTS", self.keyspace))
            .await?;
        Ok(((), "applied, then not applied; the row is the first's".to_owned()))
    }

    /// The column `[applied]`, the first of every answer to a conditional statement.
    async fn applied(&self, client: &Client, statement: &str) -> std::result::Result<bool, String> {
        let answer = ask(client, statement).await?.into_rows_result().map_err(text)?;
        let column = answer.column_specs().iter().next().map(|column| column.name().to_owned());
        if column.as_deref() != Some("[applied]") {
            return Err(format!("an answer that begins with {column:?} instead of [applied]"));
        }
        let row = answer.single_row::<scylla::value::Row>().map_err(text)?;
        let first = row.columns.into_iter().next().flatten();
        first.and_then(|value| value.as_boolean()).ok_or_else(|| "[applied] is empty".to_owned())
    }

    async fn restart(&self, surroundings: &Surroundings<'_>, before: &Identity) -> Outcome<Client> {
        (surroundings.restart)().await.map_err(|error| error.to_string())?;
        let ((client, now), saw) = self.identify().await?;
        if now.generation <= before.generation {
            return Err(format!("{saw}: the same process as before; nothing restarted"));
        }
        if now.host != before.host {
            return Err(format!("{saw}: it calls itself another host, with other data"));
        }
        Ok((client, saw))
    }

    async fn write_more(&self, client: &Client) -> Outcome<()> {
        self.write(client, ROWS, ROWS + MORE_ROWS).await?;
        self.read(client, ROWS + MORE_ROWS).await
    }

    async fn drop(&self, client: &Client) -> Outcome<()> {
        ask(client, &format!("DROP KEYSPACE IF EXISTS {}", self.keyspace)).await?;
        let query = Statement::new(format!("SELECT id FROM {}.events", self.keyspace));
        match execute(client, query).await {
            Ok(_) => Err("dropped, and still there".to_owned()),
            Err(error) if is_invalid(&error) => Ok(((), format!("dropped; then {error}"))),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Rows `from` to `to`. Different for every run.
    fn rows(&self, from: i32, to: i32) -> impl Iterator<Item = Row> + use<'_> {
        (from..to).map(|id| {
            let name = Sha256::digest(format!("{} {id}", self.target.run_id));
            let name = crate::digest::hex(name.get(..12).unwrap_or_default());
            // Beyond ASCII, and beyond 32 bits: what is cut or taken for something else shows.
            (id, format!("{name} ü'\""), i64::from(id) * -10_000_000_019)
        })
    }
}

/// A statement of a quorum that does not wait for ever.
fn bounded(statement: &str) -> Statement {
    let mut statement = Statement::new(statement);
    statement.set_consistency(Consistency::Quorum);
    statement.set_serial_consistency(Some(SerialConsistency::Serial));
    statement.set_request_timeout(Some(ANSWER));
    statement
}

async fn ask(
    client: &Client,
    statement: &str,
) -> std::result::Result<scylla::response::query_result::QueryResult, String> {
    execute(client, bounded(statement)).await.map_err(text)
}

async fn execute(
    client: &Client,
    mut statement: Statement,
) -> std::result::Result<scylla::response::query_result::QueryResult, ExecutionError> {
    statement.set_request_timeout(Some(ANSWER));
    client.query_unpaged(statement, ()).await
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
