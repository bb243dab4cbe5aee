//! The server, as a backup asks it: its schema by its own account, tables page by page.

use std::time::Duration;

use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::unprepared::Statement;

use super::row::{Bound, Raw};
use super::statement::{self, quoted, unquoted};
use super::{Column, Kind};
use crate::backup::Target;
use crate::world::cql::{self, Session};

/// For a page of rows, and for a change of the schema, before which the server may flush to disk.
const ANSWER: Duration = Duration::from_secs(60);

/// Rows asked for at once; they are held in memory.
const PAGE: i32 = 500;

/// A session with the component's own server.
pub(super) struct Server {
    session: Session,
    /// By its own account.
    pub(super) product: String,
}

/// Something in a keyspace, and the statement that makes it.
pub(super) struct Described {
    /// `table`, in the server's words.
    pub(super) what: String,
    pub(super) name: String,
    pub(super) statement: String,
}

/// The rows of a table, page by page.
pub(super) struct Scan<'a> {
    session: &'a Session,
    statement: PreparedStatement,
    /// Where the next page begins; none behind the last.
    next: Option<PagingState>,
}

impl Server {
    pub(super) async fn connect(target: &Target) -> Result<Server, String> {
        let credential = |name| target.credential(name).map_err(|error| error.to_string());
        let login = Some((credential("username")?, credential("password")?));
        let session = cql::connect(&target.address(), login).await.map_err(text)?;
        let mut server = Server { session, product: String::new() };
        let query = "SELECT cluster_name, release_version FROM system.local WHERE key = 'local'";
        let answer = server.ask(query).await?;
        let (cluster, release) = answer.single_row::<(String, String)>().map_err(text)?;
        if cluster != target.component {
            let component = &target.component;
            return Err(format!(
                "a server of cluster {cluster}, not of {component}: another program holds the port"
            ));
        }
        server.product = cql::product(&server.session, &release).await?;
        Ok(server)
    }

    /// A statement without a result.
    pub(super) async fn obey(&self, statement: &str) -> Result<(), String> {
        self.execute(statement).await.map(|_| ())
    }

    /// The rows of a small result.
    async fn ask(&self, statement: &str) -> Result<QueryRowsResult, String> {
        self.execute(statement).await?.into_rows_result().map_err(text)
    }

    async fn execute(&self, statement: &str) -> Result<QueryResult, String> {
        self.session.query_unpaged(bounded(statement), ()).await.map_err(text)
    }

    /// Names of all keyspaces, sorted.
    pub(super) async fn keyspaces(&self) -> Result<Vec<String>, String> {
        let answer = self.ask("SELECT keyspace_name FROM system_schema.keyspaces").await?;
        let names = answer.rows::<(String,)>().map_err(text)?;
        let mut names =
            names.map(|row| row.map(|row| row.0)).collect::<Result<Vec<_>, _>>().map_err(text)?;
        names.sort();
        Ok(names)
    }

    /// Everything in a keyspace, itself first, each behind what it needs.
    pub(super) async fn describe(&self, keyspace: &str) -> Result<Vec<Described>, String> {
        let answer = self.ask(&format!("DESCRIBE KEYSPACE {}", quoted(keyspace))).await;
        let answer = answer.map_err(|why| {
            format!("keyspace {keyspace}: it cannot be described, as newer servers do: {why}")
        })?;
        let mut found = Vec::new();
        for row in answer.rows::<(String, String, String, String)>().map_err(text)? {
            let (_keyspace, what, name, statement) = row.map_err(text)?;
            let what = what.replace('_', " ");
            found.push(Described { what, name: unquoted(&name), statement });
        }
        Ok(found)
    }

    /// A table's columns: of the key in its order, static ones, then the others; none if there is no
    /// such table.
    pub(super) async fn columns(&self, keyspace: &str, table: &str) -> Result<Vec<Column>, String> {
        let query = format!(
            "SELECT column_name, kind, position, type FROM system_schema.columns \
             WHERE keyspace_name = {} AND table_name = {}",
            literal(keyspace),
            literal(table)
        );
        let answer = self.ask(&query).await?;
        let mut found = Vec::new();
        for row in answer.rows::<(String, String, i32, String)>().map_err(text)? {
            let (name, kind, position, of) = row.map_err(text)?;
            let kind = match kind.as_str() {
                "partition_key" => Kind::Partition,
                "clustering" => Kind::Clustering,
                "static" => Kind::Static,
                "regular" => Kind::Regular,
                other => return Err(format!("column {name} is of a kind {other:?}")),
            };
            let key = matches!(kind, Kind::Partition | Kind::Clustering);
            let (timed, counter) = (!key && statement::is_timed(&of), of == "counter");
            found.push((position, Column { name, kind, timed, counter }));
        }
        found.sort_by(|(one, a), (other, b)| (a.kind, one, &a.name).cmp(&(b.kind, other, &b.name)));
        Ok(found.into_iter().map(|(_, column)| column).collect())
    }

    /// Views of a table that users made; those in which ScyllaDB keeps its indexes are not.
    pub(super) async fn views(&self, keyspace: &str, table: &str) -> Result<Vec<String>, String> {
        let of = format!("WHERE keyspace_name = {}", literal(keyspace));
        let query = format!("SELECT view_name, base_table_name FROM system_schema.views {of}");
        let answer = self.ask(&query).await?;
        let mut views = Vec::new();
        for row in answer.rows::<(String, String)>().map_err(text)? {
            let (view, base) = row.map_err(text)?;
            if base == table {
                views.push(view);
            }
        }
        let query = format!(
            "SELECT index_name FROM system_schema.indexes {of} AND table_name = {}",
            literal(table)
        );
        let answer = self.ask(&query).await?;
        for row in answer.rows::<(String,)>().map_err(text)? {
            let index = format!("{}_index", row.map_err(text)?.0);
            views.retain(|view| *view != index);
        }
        Ok(views)
    }

    pub(super) async fn prepare(&self, statement: &str) -> Result<PreparedStatement, String> {
        self.session.prepare(bounded(statement)).await.map_err(text)
    }

    pub(super) async fn write(
        &self,
        statement: &PreparedStatement,
        values: Bound,
    ) -> Result<(), String> {
        self.session.execute_unpaged(statement, values).await.map(|_| ()).map_err(text)
    }

    pub(super) async fn scan(&self, query: &str) -> Result<Scan<'_>, String> {
        let mut statement = self.prepare(query).await?;
        statement.set_page_size(PAGE);
        Ok(Scan { session: &self.session, statement, next: Some(PagingState::start()) })
    }

    /// How many rows a table with these columns has.
    pub(super) async fn count(&self, table: &str, columns: &[Column]) -> Result<u64, String> {
        let mut scan = self.scan(&statement::select_keys(table, columns)).await?;
        let mut count = 0;
        while let Some(rows) = scan.page().await? {
            count += rows.len() as u64;
        }
        Ok(count)
    }
}

impl Scan<'_> {
    /// The next rows; `None` behind the last. A page may be empty and not the last.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Raw>>, String> {
        let Some(state) = self.next.take() else { return Ok(None) };
        let page = self.session.execute_single_page(&self.statement, (), state).await;
        let (page, next) = page.map_err(text)?;
        if let PagingStateResponse::HasMorePages { state } = next {
            self.next = Some(state);
        }
        let page = page.into_rows_result().map_err(text)?;
        let rows = page.rows::<Raw>().map_err(text)?;
        rows.collect::<Result<Vec<Raw>, _>>().map(Some).map_err(text)
    }
}

/// A statement of a quorum that does not wait for ever.
fn bounded(statement: &str) -> Statement {
    let mut statement = Statement::new(statement);
    statement.set_consistency(Consistency::Quorum);
    statement.set_request_timeout(Some(ANSWER));
    statement
}

/// A text as a statement needs it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
