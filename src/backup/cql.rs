//! CQL, as ScyllaDB and Cassandra speak it: of every keyspace what the server itself describes, and of
//! every table its rows, in the server's own serialised values; see [`row`].
//!
//! A table cannot be renamed: the old one goes before the new one is filled. Types, which tables that
//! stay may use, are never replaced.

use serde::{Deserialize, Serialize};

use self::server::{Described, Server};
use self::statement::{Makes, quoted};
use super::{Contents as AnyContents, Draft, Progress, Saved, Shelf, Target};
use crate::Result;
use crate::report::format;

mod load;
mod row;
mod server;
mod statement;

/// What a backup of a server holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// By name.
    pub keyspaces: Vec<Keyspace>,
}

/// One keyspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyspace {
    /// Its name.
    pub name: String,
    /// The statement that makes it.
    pub definition: String,
    /// Its types, each behind those that it is made of.
    pub types: Vec<Element>,
    /// Its tables.
    pub tables: Vec<Table>,
    /// Indexes and views, which the server fills.
    pub derived: Vec<Element>,
}

/// Something that is made by a statement alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// What it is, in the server's words: `type`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// The statement that makes it.
    pub definition: String,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The statement that makes it.
    pub definition: String,
    /// Columns, in the order in which they stand in the file.
    pub columns: Vec<Column>,
    /// How many rows are in the file.
    pub rows: u64,
    /// Its rows.
    pub file: String,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its part in the table.
    pub kind: Kind,
    /// Whether the server tells when its values were written, and when they expire.
    pub timed: bool,
    /// Whether it only counts.
    pub counter: bool,
}

/// What a column is in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Of the key, by which rows are spread.
    Partition,
    /// Of the key, by which rows of a partition are sorted.
    Clustering,
    /// One value for all rows of a partition.
    Static,
    /// Any other.
    Regular,
}

impl Contents {
    pub(super) fn summary(&self) -> String {
        let tables = self.keyspaces.iter().flat_map(|keyspace| &keyspace.tables);
        let rows: u64 = tables.clone().map(|table| table.rows).sum();
        let rows = format::count(rows, "row");
        let keyspaces = format::count(self.keyspaces.len(), "keyspace");
        format!("{keyspaces}, {}, {rows}", format::count(tables.count(), "table"))
    }

    pub(super) fn files(&self) -> Vec<&str> {
        let tables = self.keyspaces.iter().flat_map(|keyspace| &keyspace.tables);
        tables.map(|table| table.file.as_str()).collect()
    }
}

impl Column {
    fn is_partition(&self) -> bool {
        self.kind == Kind::Partition
    }

    fn is_key(&self) -> bool {
        matches!(self.kind, Kind::Partition | Kind::Clustering)
    }

    fn is_static(&self) -> bool {
        self.kind == Kind::Static
    }
}

/// Whether a keyspace is the server's own.
fn is_system(keyspace: &str) -> bool {
    keyspace == "system" || keyspace.starts_with("system_") || keyspace == "audit"
}

fn full_name(keyspace: &str, name: &str) -> String {
    format!("{}.{}", quoted(keyspace), quoted(name))
}

pub(super) async fn save(
    target: &Target,
    draft: &mut Draft<'_>,
    progress: &Progress,
) -> Result<Saved> {
    let failed = |why: String| target.unread(why);
    let server = Server::connect(target).await.map_err(failed)?;
    let (mut keyspaces, mut left_out) = (Vec::new(), Vec::new());
    for name in server.keyspaces().await.map_err(failed)? {
        if is_system(&name) {
            continue;
        }
        let mut keyspace = Keyspace {
            name: name.clone(),
            definition: String::new(),
            types: Vec::new(),
            tables: Vec::new(),
            derived: Vec::new(),
        };
        for described in server.describe(&name).await.map_err(failed)? {
            let makes = Makes::of(&described.statement);
            let Described { what, name: element, statement: definition } = described;
            let shown = format!("{what} {name}.{element}");
            let element = Element { what, name: element, definition };
            match makes {
                Makes::Keyspace => keyspace.definition = element.definition,
                Makes::Type => keyspace.types.push(element),
                Makes::Derived => keyspace.derived.push(element),
                Makes::Table => {
                    let saved = table(target, &server, &name, element, draft, progress).await?;
                    let lost = untimed(&saved);
                    if !lost.is_empty() {
                        left_out.push(format!("{shown}: when elements of {lost} expire"));
                    }
                    keyspace.tables.push(saved);
                }
                Makes::Other => left_out.push(format!("{shown}: make it again")),
            }
        }
        if keyspace.definition.is_empty() {
            return Err(failed(format!("keyspace {name}: its description does not make it")));
        }
        keyspaces.push(keyspace);
    }
    let contents = AnyContents::Cql(Contents { keyspaces });
    Ok(Saved { product: server.product, contents, left_out })
}

/// Columns whose values have elements with times of their own.
fn untimed(table: &Table) -> String {
    let columns = table.columns.iter();
    let columns = columns.filter(|column| !(column.is_key() || column.timed || column.counter));
    columns.map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Writes a table's rows.
async fn table(
    target: &Target,
    server: &Server,
    keyspace: &str,
    Element { name, definition, .. }: Element,
    draft: &mut Draft<'_>,
    progress: &Progress,
) -> Result<Table> {
    let shown = format!("table {keyspace}.{name}");
    let failed = |why: String| target.unread(format!("{shown}: {why}"));
    progress.item(&shown);
    let quoted = full_name(keyspace, &name);
    let columns = server.columns(keyspace, &name).await.map_err(failed)?;
    let before = server.count(&quoted, &columns).await.map_err(failed)?;
    let mut file = draft.file("rows").await?;
    let mut scan = server.scan(&statement::select(&quoted, &columns)).await.map_err(failed)?;
    let mut rows = 0;
    while let Some(page) = scan.page().await.map_err(failed)? {
        let now = load::now();
        for raw in page {
            let row = raw.row(&columns, now);
            let bytes = row.and_then(|row| row::encode(&row, &columns));
            let bytes = bytes.ok_or_else(|| failed("a row of another form".to_owned()))?;
            file.write(&bytes).await?;
            progress.advance(bytes.len() as u64);
            rows += 1;
        }
    }
    let after = server.count(&quoted, &columns).await.map_err(failed)?;
    if before == after && rows != after {
        return Err(failed(format!("{rows} rows were read, and it has {after}")));
    }
    if server.columns(keyspace, &name).await.map_err(failed)? != columns {
        return Err(failed("its columns were changed meanwhile".to_owned()));
    }
    let file = file.close().await?;
    Ok(Table { name, definition, columns, rows, file })
}

pub(super) async fn survey(target: &Target, contents: &Contents) -> Result<Vec<String>> {
    let failed = |why: String| target.unwritten(why);
    let server = Server::connect(target).await.map_err(failed)?;
    let there = server.keyspaces().await.map_err(failed)?;
    let mut lost = Vec::new();
    for keyspace in contents.keyspaces.iter().filter(|keyspace| there.contains(&keyspace.name)) {
        let name = &keyspace.name;
        let described = server.describe(name).await.map_err(failed)?;
        let other = keyspace.types.iter().find(|wanted| {
            let same = described.iter().filter(|d| Makes::of(&d.statement) == Makes::Type);
            let mut same = same.filter(|found| found.name == wanted.name);
            same.any(|found| found.statement != wanted.definition)
        });
        if let Some(Element { name: other, .. }) = other {
            return Err(failed(format!(
                "type {name}.{other} is there, and another one than in the backup; nothing was \
                 touched: drop it, with what uses it, and run the command again"
            )));
        }
        for table in &keyspace.tables {
            let columns = server.columns(name, &table.name).await.map_err(failed)?;
            if columns.is_empty() {
                continue;
            }
            let quoted = full_name(name, &table.name);
            let rows = server.count(&quoted, &columns).await.map_err(failed)?;
            lost.push(format!("table {name}.{} ({})", table.name, format::count(rows, "row")));
            for view in server.views(name, &table.name).await.map_err(failed)? {
                if !keyspace.derived.iter().any(|derived| derived.name == view) {
                    lost.push(format!("view {name}.{view}, of that table, which is in no backup"));
                }
            }
        }
    }
    Ok(lost)
}

pub(super) async fn restore(
    target: &Target,
    contents: &Contents,
    shelf: &Shelf<'_>,
    progress: &Progress,
) -> Result<()> {
    let failed = |why: String| target.unwritten(why);
    let server = Server::connect(target).await.map_err(failed)?;
    let there = server.keyspaces().await.map_err(failed)?;
    // Before any table goes: a keyspace names datacentres, which another cluster may not have.
    for keyspace in &contents.keyspaces {
        let Keyspace { name, definition, types, .. } = keyspace;
        if !there.contains(name) {
            let made = server.obey(definition).await;
            made.map_err(|why| failed(format!("keyspace {name}: {why}")))?;
        }
        let there = server.describe(name).await.map_err(failed)?;
        let is_type = |found: &&Described| Makes::of(&found.statement) == Makes::Type;
        let there: Vec<&str> = there.iter().filter(is_type).map(|t| t.name.as_str()).collect();
        for Element { name: missing, definition, .. } in types {
            if !there.contains(&missing.as_str()) {
                let made = server.obey(definition).await;
                made.map_err(|why| failed(format!("type {name}.{missing}: {why}")))?;
            }
        }
    }
    for keyspace in &contents.keyspaces {
        for table in &keyspace.tables {
            one(target, &server, &keyspace.name, table, shelf, progress).await?;
        }
        for Element { what, name, definition } in &keyspace.derived {
            progress.item(format!("{what} {}.{name}", keyspace.name));
            let made = server.obey(definition).await;
            made.map_err(|why| failed(format!("{what} {}.{name}: {why}", keyspace.name)))?;
        }
    }
    Ok(())
}

/// Brings one table back.
async fn one(
    target: &Target,
    server: &Server,
    keyspace: &str,
    table: &Table,
    shelf: &Shelf<'_>,
    progress: &Progress,
) -> Result<()> {
    let shown = format!("table {keyspace}.{}", table.name);
    let failed = |why: String| target.unwritten(format!("{shown}: {why}"));
    progress.item(&shown);
    let quoted = full_name(keyspace, &table.name);
    // No table goes that a view reads.
    for view in server.views(keyspace, &table.name).await.map_err(failed)? {
        let view = full_name(keyspace, &view);
        let dropped = server.obey(&format!("DROP MATERIALIZED VIEW IF EXISTS {view}")).await;
        dropped.map_err(failed)?;
    }
    server.obey(&format!("DROP TABLE IF EXISTS {quoted}")).await.map_err(failed)?;
    server.obey(&table.definition).await.map_err(failed)?;
    let content = shelf.open(&table.file).await?;
    let loaded = load::load(server, table, &quoted, content, progress).await?.map_err(failed)?;
    if loaded.rows != table.rows {
        let rows = format!("{} rows in the backup instead of {}", loaded.rows, table.rows);
        return Err(failed(rows));
    }
    let found = server.count(&quoted, &table.columns).await.map_err(failed)?;
    if !(loaded.lasting..=loaded.rows).contains(&found) {
        return Err(failed(format!("{found} rows came back instead of {}", loaded.rows)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind.
    pub(super) fn columns() -> Vec<Column> {
        let column = |name: &str, kind, timed, counter| Column {
            name: name.to_owned(),
            kind,
            timed,
            counter,
        };
        vec![
            column("id", Kind::Partition, false, false),
            column("at", Kind::Clustering, false, false),
            column("Note", Kind::Static, true, false),
            column("name", Kind::Regular, true, false),
            column("tags", Kind::Regular, false, false),
        ]
    }

    #[test]
    fn the_servers_own_keyspaces_are_left_alone() {
        for own in ["system", "system_auth", "system_distributed_everywhere", "audit"] {
            assert!(is_system(own), "{own}");
        }
        assert!(!is_system("systematic") && !is_system("shop"));
    }

    #[test]
    fn what_is_in_it_is_said() {
        let table = Table {
            name: "sales".into(),
            definition: String::new(),
            columns: columns(),
            rows: 3,
            file: "0001.rows".into(),
        };
        assert_eq!(untimed(&table), "tags");
        let keyspace = Keyspace {
            name: "shop".into(),
            definition: String::new(),
            types: vec![],
            tables: vec![table],
            derived: vec![],
        };
        let contents = Contents { keyspaces: vec![keyspace] };
        assert_eq!(contents.summary(), "1 keyspace, 1 table, 3 rows");
        assert_eq!(contents.files(), ["0001.rows"]);
    }
}
