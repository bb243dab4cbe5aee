//! Rows on their way back into a table that was just made.

use std::collections::BTreeMap;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use scylla::statement::prepared::PreparedStatement;

use super::row::{self, Bound, Cell, Row};
use super::server::Server;
use super::statement;
use super::{Column, Table};
use crate::backup::Progress;
use crate::backup::place::Content;
use crate::{Error, Result};

/// Rows that are written at the same time.
const AT_ONCE: usize = 64;

/// Longest row: the server takes no longer message.
const ROW_MAX: usize = 512 * 1024 * 1024;

/// How many rows came back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loaded {
    /// Of the file.
    pub(super) rows: u64,
    /// Those of them of which nothing expires.
    pub(super) lasting: u64,
}

/// What is written by one statement.
struct Part {
    columns: Columns,
    statement: PreparedStatement,
}

/// Columns that are written together, by where they stand: those of rows, or the static ones.
struct Columns {
    keys: Vec<usize>,
    values: Vec<usize>,
    counters: bool,
}

impl Part {
    /// `None` where the table has no such columns to write.
    async fn new(
        server: &Server,
        table: &Table,
        name: &str,
        statics: bool,
    ) -> Result<Option<Part>, String> {
        let columns = Columns::of(&table.columns, statics);
        let Columns { keys, values, counters } = &columns;
        if values.is_empty() && (statics || *counters) {
            return Ok(None);
        }
        let of = |part: &[usize]| -> Vec<&Column> {
            part.iter().filter_map(|at| table.columns.get(*at)).collect()
        };
        let text = match counters {
            true => statement::count_up(name, of(values), of(keys)),
            false => statement::insert(name, of(keys).into_iter().chain(of(values))),
        };
        let statement = server.prepare(&text).await?;
        Ok(Some(Part { columns, statement }))
    }
}

impl Columns {
    fn of(columns: &[Column], statics: bool) -> Columns {
        let all = || columns.iter().enumerate();
        let is_key = |column: &Column| match statics {
            true => column.is_partition(),
            false => column.is_key(),
        };
        let is_value = |column: &Column| !column.is_key() && column.is_static() == statics;
        Columns {
            keys: all().filter(|(_, column)| is_key(column)).map(|(at, _)| at).collect(),
            values: all().filter(|(_, column)| is_value(column)).map(|(at, _)| at).collect(),
            counters: columns.iter().any(|column| column.counter),
        }
    }

    /// What is to be bound, for each statement that the row takes; none if it has expired.
    fn bind(&self, row: &Row, now: i64) -> Vec<Bound> {
        let value = |at: &usize| row.get(*at).and_then(|cell| cell.value.clone());
        let keys = || self.keys.iter().map(value);
        if self.counters {
            return vec![Bound(self.values.iter().map(value).chain(keys()).collect())];
        }
        // Columns by when they were written and expire; without times those that have none.
        let mut groups: BTreeMap<Option<(i64, i64)>, Vec<usize>> = BTreeMap::new();
        let mut expired = false;
        for at in &self.values {
            let Some(Cell { value: Some(_), written, expires }) = row.get(*at) else { continue };
            let times = (*written, *expires);
            if *expires != 0 && *expires <= now {
                expired = true;
            } else {
                groups.entry((times != (0, 0)).then_some(times)).or_default().push(*at);
            }
        }
        if groups.is_empty() && !expired {
            // A row of a key alone.
            groups.insert(None, Vec::new());
        }
        let bound = groups.into_iter().map(|(times, columns)| {
            let values = self.values.iter().map(|at| match columns.contains(at) {
                true => value(at),
                false => None,
            });
            let number = |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes));
            let (written, lives) = match times {
                None => (None, None),
                Some((written, expires)) => {
                    // Of a value that does not expire: not even where the table has a default.
                    let lives = if expires == 0 { 0 } else { expires - now };
                    let lives = i32::try_from(lives).unwrap_or(i32::MAX);
                    (number(&written.to_be_bytes()), number(&lives.to_be_bytes()))
                }
            };
            Bound(keys().chain(values).chain([written, lives]).collect())
        });
        bound.collect()
    }

    fn has_values(&self, row: &Row) -> bool {
        self.values.iter().any(|at| row.get(*at).is_some_and(|cell| cell.value.is_some()))
    }

    fn has_keys(&self, row: &Row) -> bool {
        self.keys.iter().all(|at| row.get(*at).is_some_and(|cell| cell.value.is_some()))
    }
}

/// Writes the rows of a file. The outer error is the file's, the inner one the server's.
pub(super) async fn load(
    server: &Server,
    table: &Table,
    name: &str,
    content: Content,
    progress: &Progress,
) -> Result<Result<Loaded, String>> {
    let parts = async {
        let rows = Part::new(server, table, name, false).await?;
        Ok((rows, Part::new(server, table, name, true).await?))
    };
    let (rows, statics) = match parts.await {
        Ok(parts) => parts,
        Err(why) => return Ok(Err(why)),
    };
    let mut frames = Frames { content, buffer: BytesMut::new() };
    let mut loaded = Loaded::default();
    let mut partition: Vec<Cell> = Vec::new();
    let mut pending = FuturesUnordered::new();
    while let Some(frame) = frames.next().await? {
        progress.advance(frame.len() as u64 + 4);
        let row = row::decode(frame, &table.columns).ok_or_else(|| damaged(table))?;
        let now = now();
        let key = table.columns.iter().zip(&row).filter(|(column, _)| column.is_partition());
        let key: Vec<Cell> = key.map(|(_, cell)| cell.clone()).collect();
        let mut bound = Vec::new();
        // Every row of a partition has its static values: once is enough, and of counters all there is.
        if key != partition {
            let part = statics.as_ref().filter(|part| part.columns.has_values(&row));
            bound.extend(part.map(|part| (part, part.columns.bind(&row, now))));
            partition = key;
        }
        // Without a clustering key it stands for a partition that has static values and no row.
        let part = rows.as_ref().filter(|part| part.columns.has_keys(&row));
        bound.extend(part.map(|part| (part, part.columns.bind(&row, now))));
        loaded.rows += 1;
        loaded.lasting += u64::from(row.iter().all(|cell| cell.expires == 0));
        pending.push(async move {
            for (part, bound) in bound {
                for values in bound {
                    server.write(&part.statement, values).await?;
                }
            }
            Ok::<(), String>(())
        });
        while pending.len() >= AT_ONCE {
            if let Some(Err(why)) = pending.next().await {
                return Ok(Err(why));
            }
        }
    }
    while let Some(done) = pending.next().await {
        if let Err(why) = done {
            return Ok(Err(why));
        }
    }
    Ok(Ok(loaded))
}

/// Rows of a file, each without its length.
struct Frames {
    content: Content,
    buffer: BytesMut,
}

impl Frames {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if !self.fill(4).await? {
            return match self.buffer.is_empty() {
                true => Ok(None),
                false => Err(cut_off()),
            };
        }
        let length = self.buffer.get_u32() as usize;
        if length > ROW_MAX || !self.fill(length).await? {
            return Err(cut_off());
        }
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// At least so many bytes in the buffer, or it is the end.
    async fn fill(&mut self, least: usize) -> Result<bool> {
        while self.buffer.len() < least {
            let Some(chunk) = self.content.next().await else { return Ok(false) };
            self.buffer.extend_from_slice(&chunk?);
        }
        Ok(true)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    Timestamp::now().as_second()
}

fn damaged(table: &Table) -> Error {
    let what = format!("the rows of {} in the backup are not of such a table", table.name);
    Error::failed("backup-damaged", what).hint("use another backup: pipe backup list")
}

fn cut_off() -> Error {
    Error::failed("backup-damaged", "a file of rows in the backup is cut off")
        .hint("use another backup: pipe backup list")
}

#[cfg(test)]
mod tests {
    use super::super::tests::columns;
    use super::*;

    fn cell(value: &'static str, written: i64, expires: i64) -> Cell {
        Cell { value: Some(value.into()), written, expires }
    }

    /// Values as text, and the times behind them as numbers.
    fn shown(bound: Vec<Bound>) -> Vec<String> {
        let number = |bytes: &Bytes| match bytes.len() {
            4 => i64::from(i32::from_be_bytes(bytes.as_ref().try_into().unwrap())),
            _ => i64::from_be_bytes(bytes.as_ref().try_into().unwrap()),
        };
        let one = |Bound(mut values): Bound| {
            let times = values.split_off(values.len() - 2);
            let values = values.iter().map(|value| match value {
                Some(value) => String::from_utf8(value.to_vec()).unwrap(),
                None => "-".to_owned(),
            });
            let times = times.iter().map(|time| match time {
                Some(time) => number(time).to_string(),
                None => "-".to_owned(),
            });
            values.chain(times).collect::<Vec<_>>().join(" ")
        };
        bound.into_iter().map(one).collect()
    }

    #[test]
    fn values_come_back_with_the_times_that_they_had() {
        let columns = columns();
        let (rows, statics) = (Columns::of(&columns, false), Columns::of(&columns, true));
        let (id, at) = (cell("id", 0, 0), cell("at", 0, 0));
        let row = |rest: [Cell; 3]| [vec![id.clone(), at.clone()], rest.to_vec()].concat();
        let none = Cell::default;

        let all = row([cell("note", 5, 0), cell("name", 6, 160), cell("tags", 0, 0)]);
        assert_eq!(shown(statics.bind(&all, 100)), ["id note 5 0"]);
        assert_eq!(shown(rows.bind(&all, 100)), ["id at - tags - -", "id at name - 6 60"]);
        // What has expired does not come back, and not as a row without it.
        assert_eq!(shown(rows.bind(&all, 160)), ["id at - tags - -"]);
        let gone = row([none(), cell("name", 6, 160), none()]);
        assert!(rows.bind(&gone, 161).is_empty());
        // A row of a key alone does.
        let key = row([none(), none(), none()]);
        assert_eq!(shown(rows.bind(&key, 100)), ["id at - - - -"]);
        assert!(!statics.has_values(&key) && rows.has_keys(&key));
        assert!(!rows.has_keys(&vec![id, none(), none(), none(), none()]));
    }
}
