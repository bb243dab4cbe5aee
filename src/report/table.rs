//! Small aligned tables for `list` and `status`.

use std::fmt;

/// Space between two columns.
const GAP: &str = "  ";

/// Rows under a heading; columns are as wide as their widest cell, the last one is not padded.
#[derive(Clone, Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// A table with only its heading.
    pub fn new<const N: usize>(heading: [&str; N]) -> Table {
        Table(vec![heading.map(str::to_owned).to_vec()])
    }

    /// Adds a row; empty cells are shown as `-`.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) -> &mut Table {
        let shown = |cell: T| match cell.into() {
            empty if empty.is_empty() => "-".to_owned(),
            cell => cell,
        };
        self.0.push(cells.into_iter().map(shown).collect());
        self
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 1
    }
}

impl fmt::Display for Table {
    /// Every line ends with a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            self.0.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max()
        };
        for row in &self.0 {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                line += &format!("{cell:width$}{GAP}", width = width(column).unwrap_or(0));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned() {
        let mut table = Table::new(["NAME", "STATUS", "NODES"]);
        assert!(table.is_empty());
        table.row(["dev", "running", "3"]).row(["a-long-name", "", "1"]);
        insta::assert_snapshot!(table, @"
        NAME         STATUS   NODES
        dev          running  3
        a-long-name  -        1
        ");
    }
}
