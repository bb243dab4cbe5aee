//! Decoding a parsed file: each reader takes a part, gives the value, or notes why it cannot.

use super::problem::{Position, Problems, suggestion};
use super::yaml::{Data, Part};

/// What stands in chart values for a text: nothing else, another value, or a fault with its remedy.
pub type Replace<'a> = &'a dyn Fn(&str) -> Option<Result<serde_json::Value, (String, String)>>;

/// Most entries of a list or mapping that we read ourselves; chart values may hold more.
const LENGTH_MAX: usize = 1000;

/// A part of a file, with the file's name and the place where problems go.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    file: &'a str,
    problems: &'a Problems,
    part: &'a Part,
}

/// The entries of a mapping with known keys.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    /// The mapping itself.
    pub whole: Cursor<'a>,
    entries: &'a [(super::yaml::Key, Part)],
}

impl<'a> Cursor<'a> {
    /// A cursor on the root of a file.
    pub fn new(file: &'a str, problems: &'a Problems, part: &'a Part) -> Cursor<'a> {
        Cursor { file, problems, part }
    }

    /// Where the part begins.
    pub fn at(&self) -> Position {
        self.part.at
    }

    /// Notes a problem with this part.
    pub fn problem(&self, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.add(self.file, Some(self.part.at), what, remedy);
    }

    /// Notes a problem at `offset` of this part's text, which may span lines.
    pub fn problem_in_text(
        &self,
        offset: usize,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let mut at = self.part.at;
        if let Data::Text(text) = &self.part.data
            && text.contains('\n')
        {
            // A block stands from its first line of text on.
            let before = text.get(..offset).unwrap_or_default();
            at = Position { line: at.line + before.matches('\n').count(), column: 1 };
        }
        self.problems.add(self.file, Some(at), what, remedy);
    }

    /// Whether it is a mapping.
    pub fn is_map(&self) -> bool {
        matches!(self.part.data, Data::Map(_))
    }

    /// Notes that the part is not `wanted`.
    fn wrong_type(&self, wanted: &str) {
        let found = match &self.part.data {
            Data::Boolean(value) => value.to_string(),
            Data::Integer(value) => value.to_string(),
            Data::Text(text) => format!("{text:?}"),
            other => other.noun().to_owned(),
        };
        self.problem(format!("{found} is not valid here"), wanted);
    }

    /// The text; numbers and booleans must be quoted.
    pub fn text(&self) -> Option<&'a str> {
        match &self.part.data {
            Data::Text(text) => return Some(text),
            Data::Boolean(_) | Data::Integer(_) | Data::Float(_) => {
                self.wrong_type("it must be text: put it in quotes");
            }
            _ => self.wrong_type("write text"),
        }
        None
    }

    /// Whether a text stands here.
    pub fn is_text(&self) -> bool {
        matches!(self.part.data, Data::Text(_))
    }

    /// Text that `parse` accepts; its error says what is wrong and is followed by `remedy`.
    pub fn parsed<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, String>,
        remedy: &str,
    ) -> Option<T> {
        parse(self.text()?).map_err(|fault| self.problem(fault, remedy)).ok()
    }

    /// One of the words in `choices`; those in `later` are known but not supported yet.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)], later: &[&str]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        if later.contains(&text) {
            let remedy = format!("use {} for now", words.join(" or "));
            self.problem(format!("{text:?} is not supported yet"), remedy);
        } else {
            self.problem(format!("{text:?} is none of the choices"), suggestion(text, &words));
        }
        None
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        match self.part.data {
            Data::Boolean(value) => Some(value),
            _ => {
                self.wrong_type("write true or false");
                None
            }
        }
    }

    /// A whole number from `least` to `most`.
    pub fn whole(&self, least: u64, most: u64) -> Option<u64> {
        match self.part.data {
            Data::Integer(value) => {
                u64::try_from(value).ok().filter(|value| (least..=most).contains(value))
            }
            _ => None,
        }
        .or_else(|| {
            self.wrong_type(&format!("write a whole number from {least} to {most}"));
            None
        })
    }

    /// Refuses more than [`LENGTH_MAX`] entries: readers compare each with all others.
    fn bounded(&self, length: usize) -> Option<()> {
        if length <= LENGTH_MAX {
            return Some(());
        }
        let what = format!("{length} entries are too many");
        self.problem(what, format!("have at most {LENGTH_MAX}"));
        None
    }

    /// The items of a list.
    pub fn items(&self) -> Option<impl Iterator<Item = Cursor<'a>> + use<'a>> {
        let Data::List(items) = &self.part.data else {
            self.wrong_type("write a list");
            return None;
        };
        self.bounded(items.len())?;
        let Cursor { file, problems, .. } = *self;
        Some(items.iter().map(move |part| Cursor { file, problems, part }))
    }

    /// The entries of a mapping with free keys: key, a cursor on the key to note problems at, and a
    /// cursor on the value.
    pub fn entries(
        &self,
    ) -> Option<impl Iterator<Item = (&'a str, Mark<'a>, Cursor<'a>)> + use<'a>> {
        let Data::Map(entries) = &self.part.data else {
            self.wrong_type("write a mapping");
            return None;
        };
        self.bounded(entries.len())?;
        let Cursor { file, problems, .. } = *self;
        Some(entries.iter().map(move |(key, part)| {
            let mark = Mark { file, problems, at: key.at };
            (key.text.as_str(), mark, Cursor { file, problems, part })
        }))
    }

    /// A mapping whose keys are all in `known`; keys in `later` are named as not supported yet.
    pub fn fields(&self, known: &[&str], later: &[&str]) -> Option<Fields<'a>> {
        self.fields_of(known, later, &[])
    }

    /// The same; for keys in `elsewhere` it is said where they belong.
    pub fn fields_of(
        &self,
        known: &[&str],
        later: &[&str],
        elsewhere: &[(&str, &str)],
    ) -> Option<Fields<'a>> {
        let Data::Map(entries) = &self.part.data else {
            self.wrong_type(&format!("write a mapping with the keys {}", known.join(", ")));
            return None;
        };
        for (key, mark, _) in self.entries()? {
            if later.contains(&key) {
                mark.problem(format!("{key:?} is not supported yet"), "leave it out");
            } else if let Some((_, where_to)) = elsewhere.iter().find(|(other, _)| *other == key) {
                mark.problem(format!("{key:?} does not stand here"), *where_to);
            } else if !known.contains(&key) {
                mark.problem(format!("unknown key {key:?}"), suggestion(key, known));
            }
        }
        Some(Fields { whole: *self, entries })
    }

    /// Chart values and patches: any mapping, as JSON. `replace` may give another value for a text, or say why
    /// the text cannot stand.
    pub fn values(&self, replace: Replace<'_>) -> Option<serde_json::Value> {
        match self.part.data {
            Data::Map(_) => Some(self.json(replace)),
            _ => {
                self.wrong_type("write a mapping");
                None
            }
        }
    }

    /// Any part as JSON. Helm and kubeadm read YAML 1.1, so words that mean two things are refused.
    fn json(&self, replace: Replace<'_>) -> serde_json::Value {
        use serde_json::Value;
        let below = |part| Cursor { part, ..*self }.json(replace);
        match &self.part.data {
            Data::Null => Value::Null,
            Data::Boolean(value) => Value::Bool(*value),
            Data::Integer(value) => Value::from(*value),
            Data::Float(value) => serde_json::Number::from_f64(*value).map_or_else(
                || {
                    self.problem("not a number that JSON can hold", "put it in quotes");
                    Value::Null
                },
                Value::Number,
            ),
            Data::Text(text) => {
                let word = text.to_ascii_lowercase();
                if self.part.plain && matches!(word.as_str(), "yes" | "no" | "on" | "off") {
                    let what =
                        format!("{text} means true or false to some programs and text to others");
                    self.problem(what, "write true or false, or put it in quotes");
                }
                match replace(text) {
                    Some(Ok(value)) => return value,
                    Some(Err((what, remedy))) => self.problem(what, remedy),
                    None => {}
                }
                Value::String(text.clone())
            }
            Data::List(items) => items.iter().map(below).collect(),
            Data::Map(entries) => Value::Object(
                entries.iter().map(|(key, part)| (key.text.clone(), below(part))).collect(),
            ),
        }
    }
}

/// The place of a key, to note problems at.
#[derive(Clone, Copy)]
pub struct Mark<'a> {
    file: &'a str,
    problems: &'a Problems,
    at: Position,
}

impl Mark<'_> {
    /// Notes a problem with the key.
    pub fn problem(&self, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.add(self.file, Some(self.at), what, remedy);
    }
}

impl<'a> Fields<'a> {
    /// The value of `key`; an empty one counts as not written.
    pub fn optional(&self, key: &str) -> Option<Cursor<'a>> {
        let (_, part) = self.entries.iter().find(|(found, _)| found.text == key)?;
        let cursor = Cursor { part, ..self.whole };
        (!matches!(part.data, Data::Null)).then_some(cursor)
    }

    /// The value of `key`, which must be there; `example` shows what to write.
    pub fn required(&self, key: &str, example: &str) -> Option<Cursor<'a>> {
        let found = self.optional(key);
        if found.is_none() {
            self.whole.problem(format!("{key:?} is missing"), format!("add {key}: {example}"));
        }
        found
    }
}

/// Checks `apiVersion` and `kind`.
pub fn kind(fields: &Fields<'_>, kind: &str) {
    if let Some(version) = fields.required("apiVersion", super::API_VERSION) {
        version.choice(&[(super::API_VERSION, ())], &[]);
    }
    if let Some(found) = fields.required("kind", kind) {
        found.choice(&[(kind, ())], &[]);
    }
}

/// Checks `apiVersion`, `kind` and `name`; gives the name where it is usable. `stem` is the file's
/// name without its ending, which must be the same.
pub fn header<'a>(fields: &Fields<'a>, kind: &str, stem: &str) -> Option<Cursor<'a>> {
    self::kind(fields, kind);
    let name = fields.required("name", stem)?;
    if name.text()? != stem {
        let what = format!("the name is {:?} but the file is {stem}.yaml", name.text()?);
        name.problem(what, format!("write name: {stem}, or rename the file"));
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::yaml;

    /// Runs `read` on `text`; gives what it returned and what was noted.
    fn run<T>(text: &str, read: impl FnOnce(Cursor<'_>) -> T) -> (T, String) {
        let problems = Problems::default();
        let part = yaml::parse("f", text.as_bytes(), &problems).unwrap();
        let value = read(Cursor::new("f", &problems, &part));
        let faults = problems.into_result().err();
        (value, faults.map(|error| error.causes.join("\n")).unwrap_or_default())
    }

    #[test]
    fn notes_types_and_keys() {
        let (_, faults) = run(
            "nmae: x\nlater: 1\ncount: -1\ntext: 12\nflag: yes\nlist: {}\nmap: []\n",
            |cursor| {
                let known = ["name", "count", "text", "flag", "list", "map", "empty"];
                let fields = cursor.fields(&known, &["later"]).unwrap();
                let _missing = fields.required("name", "dev");
                let _count = fields.optional("count").unwrap().whole(1, 9);
                let _text = fields.optional("text").unwrap().text();
                let _flag = fields.optional("flag").unwrap().boolean();
                let _list = fields.optional("list").unwrap().items().map(Iterator::count);
                let _map = fields.optional("map").unwrap().entries().map(Iterator::count);
                assert!(fields.optional("empty").is_none());
            },
        );
        insta::assert_snapshot!(faults, @r#"
        f:1:1: unknown key "nmae": did you mean "name"?
        f:1:1: "name" is missing: add name: dev
        f:2:1: "later" is not supported yet: leave it out
        f:3:8: -1 is not valid here: write a whole number from 1 to 9
        f:4:7: 12 is not valid here: it must be text: put it in quotes
        f:5:7: "yes" is not valid here: write true or false
        f:6:7: a mapping is not valid here: write a list
        f:7:6: a list is not valid here: write a mapping
        "#);
    }

    #[test]
    fn values_become_json() {
        let (value, faults) =
            run("a: {b: [1, 1.5, true, null, x], 8080: 'off'}", |c| c.values(&|_| None));
        assert_eq!(faults, "");
        let expected = serde_json::json!({"a": {"b": [1, 1.5, true, null, "x"], "8080": "off"}});
        assert_eq!(value, Some(expected));
        let (_, faults) = run("a: off\nb: .nan\nc: Yes", |cursor| cursor.values(&|_| None));
        insta::assert_snapshot!(faults, @r#"
        f:1:4: off means true or false to some programs and text to others: write true or false, or put it in quotes
        f:2:4: not a number that JSON can hold: put it in quotes
        f:3:4: Yes means true or false to some programs and text to others: write true or false, or put it in quotes
        "#);
    }

    #[test]
    fn a_choice_names_the_choices() {
        let (_, faults) = run("[fast, slow, fasst, never, 3]", |cursor| {
            for item in cursor.items().unwrap() {
                let _choice = item.choice(&[("fast", 1), ("good", 2)], &["slow"]);
            }
        });
        insta::assert_snapshot!(faults, @r#"
        f:1:8: "slow" is not supported yet: use fast or good for now
        f:1:14: "fasst" is none of the choices: did you mean "fast"?
        f:1:21: "never" is none of the choices: use one of fast, good
        f:1:28: 3 is not valid here: it must be text: put it in quotes
        "#);
    }
}
