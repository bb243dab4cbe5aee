//! ClickHouse: of every table its definition and, in ClickHouse's own form (`Native`), its rows.
//!
//! A table comes back under another name and takes its own only when it is whole: materialised views that
//! read it see no rows a second time, and what was there before stays until then.

use std::fmt::Write as _;

use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::statement::{Definition, quoted, text};
use super::feed::feed;
use super::{Contents as AnyContents, Draft, Manifest, Progress, Saved, Shelf, Target};
use crate::Result;
use crate::report::format;
use crate::smoke::door::is_pod_of;
use crate::world::clickhouse::{Server, broken_off};

mod statement;

/// Databases that belong to the server.
const SYSTEM: [&str; 4] =
    ["system", "INFORMATION_SCHEMA", "information_schema", "_temporary_and_external_tables"];

/// Kinds of databases that are made anew as the server makes them by itself.
const DATABASES: [&str; 2] = ["Atomic", "Ordinary"];

/// Kinds of tables whose rows are all there is to them, and which keep each.
const PLAIN: [&str; 5] = ["MergeTree", "TinyLog", "StripeLog", "Log", "Memory"];

/// Kinds of tables whose rows the server may put together at any time: they cannot be counted.
const MERGING: [&str; 6] = [
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "GraphiteMergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "VersionedCollapsingMergeTree",
];

/// Kinds of tables without rows of their own.
const DEFINED: [&str; 2] = ["Null", "View"];

/// Begins the name of a table while it comes back; such a table is in no backup.
const COMING: &str = "pipe_restore_";

/// Begins the name of the table in which a materialised view keeps its rows.
const INNER: &str = ".inner";

/// What of the end of a result is looked at.
const TAIL: usize = 16 * 1024;

/// What a backup of a server holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Databases by name, those without tables too.
    pub databases: Vec<String>,
    /// Tables, then views.
    pub tables: Vec<Table>,
}

/// One table or view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// The kind of table.
    pub engine: String,
    /// `TABLE` or `VIEW`.
    pub what: String,
    /// Its definition, from behind its name on.
    pub definition: String,
    /// How many rows it had, where nobody wrote meanwhile and the server keeps each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Its rows; none of a view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Contents {
    pub(super) fn summary(&self) -> String {
        let databases = format::count(self.databases.len(), "database");
        format!("{databases}, {}", format::count(self.tables.len(), "table"))
    }

    pub(super) fn files(&self) -> Vec<&str> {
        self.tables.iter().filter_map(|table| table.file.as_deref()).collect()
    }
}

impl Table {
    /// `` `data`.`events` ``.
    fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.database), quoted(&self.name))
    }

    /// The same while it comes back.
    fn coming(&self) -> String {
        let digest = Sha256::digest(self.name.as_bytes());
        let digest = crate::digest::hex(digest.get(..8).unwrap_or_default());
        format!("{}.{}", quoted(&self.database), quoted(&format!("{COMING}{digest}")))
    }

    /// For people.
    fn shown(&self) -> String {
        format!("{} {}.{}", self.what.to_lowercase(), self.database, self.name)
    }

    fn is_view(&self) -> bool {
        self.what == "VIEW"
    }
}

async fn connect(target: &Target) -> Result<(Server, String), String> {
    let credential = |name| target.credential(name).map_err(|error| error.to_string());
    let (user, password) = (credential("username")?, credential("password")?);
    let server = Server::new(&target.address(), Some((user, password)));
    let server = server.and_then(|server| server.transferring()).map_err(|e| e.to_string())?;
    let rows = ask(&server, "SELECT hostName(), version()").await?;
    let found = rows.first().map(Vec::as_slice);
    let Some([host, version]) = found else { return Err("it does not say who it is".to_owned()) };
    match is_pod_of(&target.component, host) {
        true => Ok((server, format!("ClickHouse {version}"))),
        false => Err(format!(
            "server {host} is no pod of {}: another program holds the port",
            target.component
        )),
    }
}

/// The rows of a small result, each with its fields.
async fn ask(server: &Server, query: &str) -> Result<Vec<Vec<String>>, String> {
    let answer = server.query(query).await.map_err(|failure| failure.to_string())?;
    Ok(answer.lines().map(|line| line.split('\t').map(text).collect()).collect())
}

/// A statement without a result.
async fn obey(server: &Server, statement: &str) -> Result<(), String> {
    server.query(statement).await.map(|_| ()).map_err(|failure| failure.to_string())
}

async fn count(server: &Server, table: &str) -> Result<u64, String> {
    let rows = ask(server, &format!("SELECT count() FROM {table}")).await?;
    let field = rows.first().and_then(|row| row.first());
    field.and_then(|field| field.parse().ok()).ok_or_else(|| "no count of its rows".to_owned())
}

pub(super) async fn save(
    target: &Target,
    draft: &mut Draft<'_>,
    progress: &Progress,
) -> Result<Saved> {
    let failed = |why: String| target.unread(why);
    let (server, product) = connect(target).await.map_err(failed)?;
    let mut left_out = Vec::new();
    let mut databases = Vec::new();
    let found = ask(&server, "SELECT name, engine FROM system.databases ORDER BY name").await;
    for row in found.map_err(failed)? {
        let [name, engine] = row.as_slice() else { continue };
        if SYSTEM.contains(&name.as_str()) {
            continue;
        }
        if DATABASES.contains(&engine.as_str()) {
            databases.push(name.clone());
        } else {
            left_out.push(format!("database {name}: pipe cannot make one of kind {engine}"));
        }
    }
    let mut tables = Vec::new();
    let query = "SELECT database, name, engine FROM system.tables ORDER BY database, name";
    for row in ask(&server, query).await.map_err(failed)? {
        let [database, name, engine] = row.as_slice() else { continue };
        let ours = name.starts_with(COMING) || name.starts_with(INNER);
        if !databases.contains(database) || ours {
            continue;
        }
        match kind(engine) {
            Some(()) => {
                let saved = table(target, &server, (database, name, engine), draft, progress);
                tables.push(saved.await?);
            }
            None => left_out.push(format!("{database}.{name}: {}", why_not(engine))),
        }
    }
    tables.sort_by_key(Table::is_view);
    let contents = AnyContents::ClickHouse(Contents { databases, tables });
    Ok(Saved { product, contents, left_out })
}

/// Whether a kind of table can be backed up.
fn kind(engine: &str) -> Option<()> {
    let known = [PLAIN.as_slice(), MERGING.as_slice(), DEFINED.as_slice()];
    known.iter().any(|engines| engines.contains(&engine)).then_some(())
}

fn why_not(engine: &str) -> String {
    match engine {
        "MaterializedView" => "a materialised view and the rows it keeps; make it again".to_owned(),
        replicated if replicated.starts_with("Replicated") => {
            format!("{engine} belongs to several servers, which one alone cannot bring back")
        }
        _ => format!("its rows are not its own, or pipe does not know {engine}"),
    }
}

/// Writes a table's rows.
async fn table(
    target: &Target,
    server: &Server,
    (database, name, engine): (&str, &str, &str),
    draft: &mut Draft<'_>,
    progress: &Progress,
) -> Result<Table> {
    let failed = |why: String| target.unread(format!("table {database}.{name}: {why}"));
    progress.item(format!("table {database}.{name}"));
    let quoted = format!("{}.{}", quoted(database), quoted(name));
    let shown = server.query(&format!("SHOW CREATE TABLE {quoted} FORMAT TabSeparatedRaw")).await;
    let shown = shown.map_err(|failure| failed(failure.to_string()))?;
    let Definition { what, rest } = statement::parse(&shown).map_err(failed)?;
    let mut saved = Table {
        database: database.to_owned(),
        name: name.to_owned(),
        engine: engine.to_owned(),
        what,
        definition: rest,
        rows: None,
        file: None,
    };
    if DEFINED.contains(&engine) {
        return Ok(saved);
    }
    let before = count(server, &quoted).await.map_err(failed)?;
    let mut file = draft.file("native").await?;
    let rows = server.read(&format!("SELECT * FROM {quoted} FORMAT Native")).await;
    let mut rows = rows.map_err(|failure| failed(failure.to_string()))?;
    let mut tail: Vec<u8> = Vec::new();
    while let Some(chunk) = rows.next().await {
        let chunk = chunk.map_err(failed)?;
        file.write(&chunk).await?;
        progress.advance(chunk.len() as u64);
        tail.extend_from_slice(&chunk);
        let over = tail.len().saturating_sub(TAIL);
        tail.drain(..over);
    }
    if let Some(said) = broken_off(&tail) {
        return Err(failed(said));
    }
    saved.file = Some(file.close().await?);
    let after = count(server, &quoted).await.map_err(failed)?;
    saved.rows = (PLAIN.contains(&engine) && before == after).then_some(before);
    Ok(saved)
}

pub(super) async fn survey(target: &Target, contents: &Contents) -> Result<Vec<String>> {
    let failed = |why: String| target.unwritten(why);
    let (server, _) = connect(target).await.map_err(failed)?;
    let there = ask(&server, "SELECT database, name, engine FROM system.tables").await;
    let there = there.map_err(failed)?;
    let mut lost = Vec::new();
    for table in &contents.tables {
        let same = |row: &&Vec<String>| match row.as_slice() {
            [database, name, _] => *database == table.database && *name == table.name,
            _ => false,
        };
        let Some(engine) = there.iter().find(same).and_then(|row| row.get(2)) else { continue };
        let rows = match DEFINED.contains(&engine.as_str()) {
            true => String::new(),
            false => {
                let rows = count(&server, &table.quoted()).await.map_err(failed)?;
                format!(" ({})", format::count(rows, "row"))
            }
        };
        lost.push(format!("{}{rows}", table.shown()));
    }
    Ok(lost)
}

pub(super) async fn restore(
    target: &Target,
    contents: &Contents,
    manifest: &Manifest,
    shelf: &Shelf<'_>,
    progress: &Progress,
) -> Result<()> {
    let (server, _) = connect(target).await.map_err(|why| target.unwritten(why))?;
    for database in &contents.databases {
        let statement = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(database));
        let made = obey(&server, &statement).await;
        made.map_err(|why| target.unwritten(format!("database {database}: {why}")))?;
    }
    let (views, tables): (Vec<&Table>, Vec<&Table>) =
        contents.tables.iter().partition(|table| table.is_view());
    for table in tables {
        progress.item(table.shown());
        one(target, &server, table, manifest, shelf, progress).await?;
    }
    define(&server, views).await.map_err(|why| target.unwritten(why))
}

/// Brings one table back.
async fn one(
    target: &Target,
    server: &Server,
    table: &Table,
    manifest: &Manifest,
    shelf: &Shelf<'_>,
    progress: &Progress,
) -> Result<()> {
    let failed = |why: String| target.unwritten(format!("{}: {why}", table.shown()));
    let (name, coming) = (table.quoted(), table.coming());
    // Of a restore that was cut off.
    obey(server, &format!("DROP TABLE IF EXISTS {coming}")).await.map_err(failed)?;
    let definition = format!("CREATE TABLE {coming} {}", table.definition);
    obey(server, &definition).await.map_err(failed)?;
    let file = table.file.as_deref().and_then(|file| manifest.file(file));
    if let Some(file) = file.filter(|file| file.bytes > 0) {
        let insert = format!("INSERT INTO {coming} FORMAT Native");
        let content = shelf.open(&file.name).await?;
        let loaded =
            feed(content, progress, |rows| server.write(&insert, file.bytes, rows)).await?;
        loaded.map_err(|failure| failed(failure.to_string()))?;
    }
    if let Some(wanted) = table.rows {
        let found = count(server, &coming).await.map_err(failed)?;
        if found != wanted {
            return Err(failed(format!("{found} rows came back instead of {wanted}")));
        }
    }
    obey(server, &format!("DROP TABLE IF EXISTS {name}")).await.map_err(failed)?;
    obey(server, &format!("RENAME TABLE {coming} TO {name}")).await.map_err(failed)
}

/// Makes views; those that read others come after them, in an order that only the server knows.
async fn define(server: &Server, mut views: Vec<&Table>) -> Result<(), String> {
    while !views.is_empty() {
        let (mut later, mut why) = (Vec::new(), String::new());
        for view in &views {
            let name = view.quoted();
            obey(server, &format!("DROP TABLE IF EXISTS {name}")).await?;
            let made = obey(server, &format!("CREATE VIEW {name} {}", view.definition)).await;
            if let Err(fault) = made {
                let _infallible = write!(why, "{}{}: {fault}", sep(&why), view.shown());
                later.push(*view);
            }
        }
        if later.len() == views.len() {
            return Err(why);
        }
        views = later;
    }
    Ok(())
}

fn sep(text: &str) -> &'static str {
    if text.is_empty() { "" } else { "; " }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_backed_up_is_named_with_its_reason() {
        for engine in ["MergeTree", "ReplacingMergeTree", "Log", "View"] {
            assert!(kind(engine).is_some(), "{engine}");
        }
        let engines = ["MaterializedView", "ReplicatedMergeTree", "Kafka"];
        assert!(engines.iter().all(|engine| kind(engine).is_none()));
        insta::assert_snapshot!(engines.map(why_not).join("\n"));
    }

    #[test]
    fn a_table_comes_back_under_a_name_of_ours() {
        let table = Table {
            database: "data".into(),
            name: "we`ird".into(),
            engine: "Log".into(),
            what: "TABLE".into(),
            definition: "(id UInt8) ENGINE = Log".into(),
            rows: Some(1),
            file: Some("0001.native".into()),
        };
        assert_eq!(table.quoted(), "`data`.`we\\`ird`");
        assert!(table.coming().starts_with("`data`.`pipe_restore_"), "{}", table.coming());
        assert_eq!(table.shown(), "table data.we`ird");
    }
}
