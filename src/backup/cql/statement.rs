//! CQL as text: what is asked of tables, and what a server's descriptions are.

use super::Column;

/// An identifier as a statement needs it, whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An identifier as a description shows it: in quotes only where it must be.
pub(super) fn unquoted(shown: &str) -> String {
    let inner = shown.strip_prefix('"').and_then(|shown| shown.strip_suffix('"'));
    inner.map_or_else(|| shown.to_owned(), |inner| inner.replace("\"\"", "\""))
}

/// What a statement of a description makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Makes {
    Keyspace,
    Type,
    Table,
    /// An index or a view: the server fills it.
    Derived,
    /// Nothing that is put back: a function, or only a comment of the server.
    Other,
}

impl Makes {
    pub(super) fn of(statement: &str) -> Makes {
        let mut words = statement.split_whitespace().map(str::to_ascii_uppercase);
        if words.next().as_deref() != Some("CREATE") {
            return Makes::Other;
        }
        match words.next().as_deref() {
            Some("KEYSPACE") => Makes::Keyspace,
            Some("TYPE") => Makes::Type,
            Some("TABLE") => Makes::Table,
            Some("INDEX" | "CUSTOM" | "MATERIALIZED") => Makes::Derived,
            _ => Makes::Other,
        }
    }
}

/// Whether the server tells when a value of this type was written and when it expires: not of what
/// has a time for each of its elements.
pub(super) fn is_timed(kind: &str) -> bool {
    const SIMPLE: [&str; 20] = [
        "ascii",
        "bigint",
        "blob",
        "boolean",
        "date",
        "decimal",
        "double",
        "duration",
        "float",
        "inet",
        "int",
        "smallint",
        "text",
        "time",
        "timestamp",
        "timeuuid",
        "tinyint",
        "uuid",
        "varchar",
        "varint",
    ];
    let whole = ["frozen<", "tuple<", "vector<"];
    SIMPLE.contains(&kind) || whole.iter().any(|start| kind.starts_with(start))
}

/// Reads whole rows: every column, then of each timed one when it was written and how long it lives.
pub(super) fn select(table: &str, columns: &[Column]) -> String {
    let mut fields = names(columns);
    for column in columns.iter().filter(|column| column.timed) {
        let name = quoted(&column.name);
        fields.push(format!("WRITETIME({name})"));
        fields.push(format!("TTL({name})"));
    }
    format!("SELECT {} FROM {table}", fields.join(", "))
}

/// Reads what makes a row one. Static columns alone can do that for a partition.
pub(super) fn select_keys<'a>(
    table: &str,
    columns: impl IntoIterator<Item = &'a Column>,
) -> String {
    let columns = columns.into_iter().filter(|column| column.is_key() || column.is_static());
    format!("SELECT {} FROM {table}", names(columns).join(", "))
}

/// Writes values, those of the key first. Behind them come when they were written, and how long
/// they live.
pub(super) fn insert<'a>(table: &str, columns: impl IntoIterator<Item = &'a Column>) -> String {
    let names = names(columns);
    let values = vec!["?"; names.len()].join(", ");
    let names = names.join(", ");
    format!("INSERT INTO {table} ({names}) VALUES ({values}) USING TIMESTAMP ? AND TTL ?")
}

/// Adds to counters, behind which comes the key.
pub(super) fn count_up<'a>(
    table: &str,
    counters: impl IntoIterator<Item = &'a Column>,
    keys: impl IntoIterator<Item = &'a Column>,
) -> String {
    let sums = names(counters).into_iter().map(|name| format!("{name} = {name} + ?"));
    let sums = sums.collect::<Vec<_>>().join(", ");
    let keys = names(keys).into_iter().map(|name| format!("{name} = ?"));
    format!("UPDATE {table} SET {sums} WHERE {}", keys.collect::<Vec<_>>().join(" AND "))
}

fn names<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Vec<String> {
    columns.into_iter().map(|column| quoted(&column.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::columns;
    use super::*;

    #[test]
    fn names_come_back_as_they_are() {
        for (name, shown) in [("sales", "sales"), ("Odd \"one\"", "\"Odd \"\"one\"\"\"")] {
            assert_eq!(unquoted(shown), name);
            assert_eq!(unquoted(&quoted(name)), name);
        }
    }

    #[test]
    fn descriptions_are_told_apart() {
        for (statement, makes) in [
            ("CREATE KEYSPACE shop WITH replication = {}", Makes::Keyspace),
            ("CREATE TYPE shop.address (street text)", Makes::Type),
            ("\nCREATE TABLE shop.sales (id int PRIMARY KEY)", Makes::Table),
            ("CREATE CUSTOM INDEX x ON shop.sales (name) USING 'sai'", Makes::Derived),
            ("CREATE INDEX x ON shop.sales (name)", Makes::Derived),
            ("CREATE MATERIALIZED VIEW shop.v AS SELECT", Makes::Derived),
            ("CREATE FUNCTION shop.f ()", Makes::Other),
            ("/* Warning: Table shop.old omitted */", Makes::Other),
            ("", Makes::Other),
        ] {
            assert_eq!(Makes::of(statement), makes, "{statement}");
        }
    }

    #[test]
    fn what_has_elements_has_no_time_of_its_own() {
        for kind in ["int", "frozen<list<int>>", "tuple<int, text>", "vector<float, 3>"] {
            assert!(is_timed(kind), "{kind}");
        }
        for kind in ["list<int>", "map<text, int>", "set<uuid>", "address", "counter", "'a.B'"] {
            assert!(!is_timed(kind), "{kind}");
        }
    }

    #[test]
    fn statements_name_every_column() {
        let columns = columns();
        let (keys, rest) = columns.split_at(2);
        insta::assert_snapshot!(
            [
                select("t", &columns),
                select_keys("t", &columns),
                insert("t", &columns),
                count_up("t", rest, keys),
            ]
            .join("\n"),
            @r#"
        SELECT "id", "at", "Note", "name", "tags", WRITETIME("Note"), TTL("Note"), WRITETIME("name"), TTL("name") FROM t
        SELECT "id", "at", "Note" FROM t
        INSERT INTO t ("id", "at", "Note", "name", "tags") VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?
        UPDATE t SET "Note" = "Note" + ?, "name" = "name" + ?, "tags" = "tags" + ? WHERE "id" = ? AND "at" = ?
        "#
        );
    }
}
