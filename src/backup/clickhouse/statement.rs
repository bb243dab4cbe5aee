//! As much of ClickHouse's language as definitions and names need.

/// A definition as `SHOW CREATE` gives it, without the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// `TABLE` or `VIEW`.
    pub(super) what: String,
    /// From behind the name on.
    pub(super) rest: String,
}

/// A name as it stands in a statement, whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A field of a result in `TabSeparated`, with what was escaped as it was.
pub(super) fn text(field: &str) -> String {
    let (mut plain, mut escaped) = (String::with_capacity(field.len()), false);
    for c in field.chars() {
        match (escaped, c) {
            (false, '\\') => escaped = true,
            (false, c) => plain.push(c),
            (true, c) => {
                escaped = false;
                plain.push(match c {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    '0' => '\0',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    other => other,
                });
            }
        }
    }
    plain
}

/// Takes what it is and the name off a definition.
pub(super) fn parse(statement: &str) -> Result<Definition, String> {
    let fault = || format!("its definition is none that pipe can read: {}", excerpt(statement));
    let rest = statement.trim().strip_prefix("CREATE ").ok_or_else(fault)?;
    let (what, rest) = rest.split_once(' ').ok_or_else(fault)?;
    if !matches!(what, "TABLE" | "VIEW") {
        return Err(fault());
    }
    let rest = behind_name(rest.trim_start()).ok_or_else(fault)?;
    let rest = rest.strip_prefix('.').and_then(behind_name).ok_or_else(fault)?.trim();
    // The new one gets an identity of its own.
    let rest = match rest.strip_prefix("UUID '") {
        Some(rest) => rest.split_once('\'').ok_or_else(fault)?.1.trim_start(),
        None => rest,
    };
    Ok(Definition { what: what.to_owned(), rest: rest.to_owned() })
}

/// What follows a name, quoted or not.
fn behind_name(text: &str) -> Option<&str> {
    let quote = text.chars().next()?;
    if !matches!(quote, '`' | '"') {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        return (end > 0).then(|| text.get(end..)).flatten();
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match (escaped, c) {
            (true, _) => escaped = false,
            (false, '\\') => escaped = true,
            (false, c) if c == quote => return text.get(at + 1..),
            (false, _) => {}
        }
    }
    None
}

fn excerpt(text: &str) -> String {
    text.trim().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn definitions_of_old_and_new_servers() {
        let rest = |text: &str| parse(text).unwrap().rest;
        assert_eq!(
            rest("CREATE TABLE default.t ( id UInt64) ENGINE = MergeTree ORDER BY id\n"),
            "( id UInt64) ENGINE = MergeTree ORDER BY id"
        );
        assert_eq!(
            rest("CREATE TABLE data.events UUID '0b-1'\n(\n    `id` UInt64\n)\nENGINE = Log"),
            "(\n    `id` UInt64\n)\nENGINE = Log"
        );
        assert_eq!(
            rest(r"CREATE TABLE default.`we(i\`rd` ( d Date) ENGINE = Log"),
            "( d Date) ENGINE = Log"
        );
        let view = parse("CREATE VIEW `a.b`.v ( id UInt64) AS SELECT id FROM default.t ").unwrap();
        assert_eq!(
            (view.what.as_str(), view.rest.as_str()),
            ("VIEW", "( id UInt64) AS SELECT id FROM default.t")
        );
        for bad in [
            "",
            "CREATE",
            "DROP TABLE a.b",
            "CREATE TABLE t (",
            "CREATE TABLE a.`b",
            "CREATE DICTIONARY a.b (x)",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn escaped_fields() {
        assert_eq!(text(r"a\tb\\c\'d"), "a\tb\\c'd");
    }

    proptest! {
        /// A quoted name never ends before its end.
        #[test]
        fn names_of_anything_are_read_over(database in "\\PC{1,20}", name in "\\PC{1,20}") {
            let statement = format!("CREATE TABLE {}.{} (x UInt8) ENGINE = Log", quoted(&database), quoted(&name));
            prop_assert_eq!(parse(&statement).unwrap().rest, "(x UInt8) ENGINE = Log");
        }

        #[test]
        fn nothing_makes_it_fall(text in "\\PC*") {
            let _any = parse(&text);
        }
    }
}
