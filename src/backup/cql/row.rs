//! A row, in the server's own serialised values: what it was is what it will be, whatever its types.
//!
//! ```text
//! file   row row row …
//! row    length (u32) │ a cell for each column, in the manifest's order
//! cell   length (i32, -1: no value) │ value │ of timed columns: written (i64, µs), expires (i64, s; 0: never)
//! ```
//!
//! All numbers are big-endian, as in the protocol. Times are since 1970; `expires` is when, not how long.

use bytes::{Buf as _, Bytes};
use scylla::deserialize::row::{ColumnIterator, DeserializeRow};
use scylla::deserialize::{DeserializationError, TypeCheckError};
use scylla::frame::response::result::ColumnSpec;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;

use super::Column;

/// A value, and where its column is timed, its times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) value: Option<Bytes>,
    /// When it was written, in microseconds.
    pub(super) written: i64,
    /// When it expires, in seconds; 0 is never.
    pub(super) expires: i64,
}

/// The cells of a row, in the order of the table's columns.
pub(super) type Row = Vec<Cell>;

/// The values of a result's row, not looked into.
pub(super) struct Raw(Vec<Option<Bytes>>);

impl<'frame, 'metadata> DeserializeRow<'frame, 'metadata> for Raw {
    fn type_check(_specs: &[ColumnSpec<'_>]) -> Result<(), TypeCheckError> {
        Ok(())
    }

    fn deserialize(row: ColumnIterator<'frame, 'metadata>) -> Result<Raw, DeserializationError> {
        let values = row.map(|column| {
            let slice = column?.slice;
            Ok(slice.map(|slice| Bytes::copy_from_slice(slice.as_slice())))
        });
        values.collect::<Result<Vec<_>, _>>().map(Raw)
    }
}

impl Raw {
    /// The row of an answer to [`super::statement::select`] that came at `now`; `None` if it is
    /// something else.
    pub(super) fn row(self, columns: &[Column], now: i64) -> Option<Row> {
        let mut values = self.0.into_iter();
        let cell = |value| Cell { value, ..Cell::default() };
        let mut row: Row = values.by_ref().take(columns.len()).map(cell).collect();
        for (cell, column) in row.iter_mut().zip(columns) {
            if !column.timed {
                continue;
            }
            let (written, lives) = (values.next()?, values.next()?);
            if cell.value.is_some() {
                cell.written = i64::from_be_bytes(written?.as_ref().try_into().ok()?);
                let lives = match lives {
                    None => None,
                    Some(lives) => Some(i32::from_be_bytes(lives.as_ref().try_into().ok()?)),
                };
                cell.expires = lives.map_or(0, |lives| now + i64::from(lives));
            }
        }
        (row.len() == columns.len() && values.next().is_none()).then_some(row)
    }
}

/// The row as it stands in a file; `None` if it is too long for one.
pub(super) fn encode(row: &Row, columns: &[Column]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4];
    for (cell, column) in row.iter().zip(columns) {
        let Some(value) = &cell.value else {
            bytes.extend((-1_i32).to_be_bytes());
            continue;
        };
        bytes.extend(i32::try_from(value.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(value);
        if column.timed {
            bytes.extend(cell.written.to_be_bytes());
            bytes.extend(cell.expires.to_be_bytes());
        }
    }
    let length = u32::try_from(bytes.len() - 4).ok()?;
    bytes.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    Some(bytes)
}

/// A row of a file, behind its length; `None` if it is none of such a table.
pub(super) fn decode(mut bytes: Bytes, columns: &[Column]) -> Option<Row> {
    let mut row = Row::new();
    for column in columns {
        let length = bytes.try_get_i32().ok()?;
        if length == -1 {
            row.push(Cell::default());
            continue;
        }
        let length = usize::try_from(length).ok()?;
        if bytes.len() < length {
            return None;
        }
        let mut cell = Cell { value: Some(bytes.split_to(length)), ..Cell::default() };
        if column.timed {
            cell.written = bytes.try_get_i64().ok()?;
            cell.expires = bytes.try_get_i64().ok()?;
        }
        row.push(cell);
    }
    bytes.is_empty().then_some(row)
}

/// Values for a statement, as they are; none leaves alone what is there.
pub(super) struct Bound(pub(super) Vec<Option<Bytes>>);

impl SerializeRow for Bound {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        if context.columns().len() != self.0.len() {
            let what = format!("{} values for {}", self.0.len(), context.columns().len());
            return Err(SerializationError::new(std::io::Error::other(what)));
        }
        for value in &self.0 {
            let cell = writer.make_cell_writer();
            match value {
                None => cell.set_unset(),
                Some(value) => cell.set_value(value).map_err(SerializationError::new)?,
            };
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::columns;
    use super::*;

    fn big(number: i64) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&number.to_be_bytes()))
    }

    #[test]
    fn a_result_is_read_with_its_times() {
        let columns = columns();
        let lives = Some(Bytes::copy_from_slice(&60_i32.to_be_bytes()));
        let raw = vec![big(1), big(2), None, big(4), big(9), big(77), lives];
        // Of the third column, which has no value, neither.
        let mut all = raw.clone();
        all.splice(5..5, [None, None]);
        let row = Raw(all.clone()).row(&columns, 1000).unwrap();
        assert_eq!(row[2], Cell::default());
        assert_eq!(row[3], Cell { value: big(4), written: 77, expires: 1060 });
        assert_eq!((row[4].written, row[4].expires), (0, 0));
        assert!(Raw(raw).row(&columns, 0).is_none(), "too few");
        all.push(None);
        assert!(Raw(all).row(&columns, 0).is_none(), "too many");
    }

    fn cell(timed: bool) -> impl Strategy<Value = Cell> {
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
        (value, any::<i64>(), any::<i64>()).prop_map(move |(value, written, expires)| match value {
            None => Cell::default(),
            Some(value) if timed => Cell { value: Some(value.into()), written, expires },
            Some(value) => Cell { value: Some(value.into()), ..Cell::default() },
        })
    }

    proptest! {
        /// What is written is read; cut off anywhere, it is no row.
        #[test]
        fn what_goes_in_comes_out(
            row in columns().iter().map(|column| cell(column.timed)).collect::<Vec<_>>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let columns = columns();
            let mut bytes = Bytes::from(encode(&row, &columns).unwrap());
            prop_assert_eq!(bytes.get_u32() as usize, bytes.len());
            prop_assert_eq!(decode(bytes.clone(), &columns), Some(row));
            let cut = cut.index(bytes.len());
            prop_assert_eq!(decode(bytes.slice(..cut), &columns), None);
        }
    }
}
