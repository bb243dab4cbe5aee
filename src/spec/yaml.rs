//! YAML text to a tree that knows where each part stands in the file.
//!
//! Built from the parser's events rather than its ready-made tree, which stops at the first repeated
//! key and recurses as deep as the text is nested. Size, depth and the growth by aliases are bounded,
//! so any input ends, and ends quickly.

use std::collections::{BTreeMap, BTreeSet};

use saphyr::Scalar;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::problem::{Position, Problems};

mod bounds;

pub use bounds::check;
use bounds::{Bounds, DEPTH_MAX, Excess};

/// Largest file that is read, in bytes.
pub const SIZE_MAX: usize = 1024 * 1024;

/// A part of a document and its place.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its first character.
    pub at: Position,
    /// Written without quotes; some programs read `yes` or `off` as a boolean then.
    pub plain: bool,
    /// What it holds.
    pub data: Data,
}

/// The content of a [`Part`].
#[derive(Clone, Debug)]
pub enum Data {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Part>),
    /// A mapping in file order; no key twice.
    Map(Vec<(Key, Part)>),
}

impl Data {
    /// What it is, for people.
    pub fn noun(&self) -> &'static str {
        match self {
            Data::Null => "nothing",
            Data::Boolean(_) => "true or false",
            Data::Integer(_) => "a whole number",
            Data::Float(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }
}

/// A key of a mapping and its place.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its first character.
    pub at: Position,
    /// As written; `8080:` is the key `8080`.
    pub text: String,
}

/// Parses the one document of `bytes`. `None` if there is none that can be read at all; faults that
/// leave a readable tree (a repeated key) are noted and parsing goes on.
pub fn parse(file: &str, bytes: &[u8], problems: &Problems) -> Option<Part> {
    if bytes.len() > SIZE_MAX {
        problems.add(
            file,
            None,
            "is larger than 1 MiB",
            "split it, or check that it is the right file",
        );
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line =
                bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
            let at = Some(Position { line, column: 1 });
            problems.add(file, at, "is not UTF-8 text", "save it as UTF-8");
            return None;
        }
    };
    let mut builder = Builder::new(file, problems);
    let mut bounds = Bounds::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let step = match event {
            Ok((event, span)) => match bounds.take(&event) {
                Ok(()) => builder.take(event, span),
                Err(excess) => {
                    builder.excess(excess, place(span));
                    None
                }
            },
            Err(error) => {
                let at = Position {
                    line: error.marker().line().max(1),
                    column: error.marker().col() + 1,
                };
                let what = format!("is not valid YAML ({})", error.info());
                let remedy = "check the brackets, quotes and indentation up to here";
                problems.add(file, Some(at), what, remedy);
                return None;
            }
        };
        step?;
    }
    if builder.document.is_none() {
        problems.add(file, None, "is empty", "write apiVersion, kind and name first");
    }
    builder.document
}

/// Where an event begins.
fn place(span: Span) -> Position {
    Position { line: span.start.line().max(1), column: span.start.col() + 1 }
}

/// A list or mapping whose end has not been seen yet.
struct Open {
    at: Position,
    anchor: usize,
    data: OpenData,
}

enum OpenData {
    List(Vec<Part>),
    Map { entries: Vec<(Key, Part)>, seen: BTreeSet<String>, key: Option<MapKey> },
}

/// A key that waits for its value; without a text the entry is dropped (it was reported).
struct MapKey(Option<Key>);

/// Turns events into a tree without recursion.
struct Builder<'a> {
    file: &'a str,
    problems: &'a Problems,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Part>,
    document: Option<Part>,
}

impl<'a> Builder<'a> {
    fn new(file: &'a str, problems: &'a Problems) -> Builder<'a> {
        let (open, anchors) = (Vec::new(), BTreeMap::new());
        Builder { file, problems, open, anchors, document: None }
    }

    fn problem(&self, at: Position, what: impl Into<String>, remedy: &str) {
        self.problems.add(self.file, Some(at), what, remedy);
    }

    /// Takes one event; `None` means that reading on makes no sense.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let at = place(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Some(()),
            Event::DocumentStart(_) if self.document.is_some() => {
                self.problem(at, "a second document begins here", "write it to a file of its own");
                None
            }
            Event::DocumentStart(_) => Some(()),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let data = self.scalar(at, &text, style, tag.as_deref());
                let part = Part { at, plain, data };
                self.place(part, anchor, Some(text.into_owned()));
                Some(())
            }
            Event::Alias(anchor) => {
                let Some(part) = self.anchors.get(&anchor).cloned() else {
                    self.problem(at, "an alias stands inside its own anchor", "write it out");
                    return None;
                };
                let key_text = match &part.data {
                    Data::Text(text) => Some(text.clone()),
                    _ => None,
                };
                self.place(Part { at, ..part }, 0, key_text);
                Some(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(at, anchor, tag.as_deref(), OpenData::List(Vec::new()));
                Some(())
            }
            Event::MappingStart(anchor, tag) => {
                let map = OpenData::Map { entries: Vec::new(), seen: BTreeSet::new(), key: None };
                self.open(at, anchor, tag.as_deref(), map);
                Some(())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { at, anchor, data } = self.open.pop()?;
                let data = match data {
                    OpenData::List(items) => Data::List(items),
                    OpenData::Map { entries, .. } => Data::Map(entries),
                };
                self.place(Part { at, plain: false, data }, anchor, None);
                Some(())
            }
        }
    }

    fn open(&mut self, at: Position, anchor: usize, tag: Option<&Tag>, data: OpenData) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.problem(at, format!("the tag {tag} has no meaning here"), "leave it out");
        }
        self.open.push(Open { at, anchor, data });
    }

    /// Notes that the document is too much for us.
    fn excess(&self, excess: Excess, at: Position) {
        match excess {
            Excess::Depth => {
                let what = format!("is nested more than {DEPTH_MAX} levels deep");
                self.problem(at, what, "check the brackets and the indentation");
            }
            Excess::Parts => {
                let remedy = "check the aliases (*name): each repeats its whole anchor";
                self.problem(at, "holds too many values", remedy);
            }
        }
    }

    /// Puts a finished part where it belongs; `key_text` is what it is as a key.
    fn place(&mut self, part: Part, anchor: usize, key_text: Option<String>) {
        if anchor != 0 {
            self.anchors.insert(anchor, part.clone());
        }
        let (file, problems) = (self.file, self.problems);
        let Some(open) = self.open.last_mut() else {
            self.document = Some(part);
            return;
        };
        match &mut open.data {
            OpenData::List(items) => items.push(part),
            OpenData::Map { entries, key: waiting @ Some(_), .. } => {
                if let Some(MapKey(Some(key))) = waiting.take() {
                    entries.push((key, part));
                }
            }
            OpenData::Map { seen, key, .. } => {
                let at = part.at;
                let fault = match &key_text {
                    None => Some(("a key is not a plain word".to_owned(), "write a plain word")),
                    Some(text) if text == "<<" => {
                        Some(("merge keys (<<) are not supported".to_owned(), "write them out"))
                    }
                    Some(text) if !seen.insert(text.clone()) => {
                        Some((format!("the key {text:?} stands here twice"), "keep one of them"))
                    }
                    Some(_) => None,
                };
                *key = Some(MapKey(match (fault, key_text) {
                    (None, Some(text)) => Some(Key { at, text }),
                    (None, None) => None,
                    (Some((what, remedy)), _) => {
                        problems.add(file, Some(at), what, remedy);
                        None
                    }
                }));
            }
        }
    }

    /// What a scalar means in YAML 1.2.
    fn scalar(&self, at: Position, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Data {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.problem(at, format!("the tag {tag} has no meaning here"), "leave it out");
        }
        let tag = tag.map(std::borrow::Cow::Borrowed);
        match Scalar::parse_from_cow_and_metadata(text.into(), style, tag.as_ref()) {
            Some(Scalar::Null) => Data::Null,
            Some(Scalar::Boolean(value)) => Data::Boolean(value),
            Some(Scalar::Integer(value)) => Data::Integer(value),
            Some(Scalar::FloatingPoint(value)) => {
                if text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-')) {
                    self.problem(at, "is too large a number to keep exactly", "put it in quotes");
                }
                Data::Float(value.into_inner())
            }
            Some(Scalar::String(value)) => Data::Text(value.into_owned()),
            None => {
                self.problem(at, format!("{text:?} is not what its tag says"), "leave the tag out");
                Data::Null
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` is refused for.
    fn faults(text: impl AsRef<[u8]>) -> String {
        let problems = Problems::default();
        let _tree = parse("f", text.as_ref(), &problems);
        problems.into_result().err().map(|error| error.causes.join("\n")).unwrap_or_default()
    }

    #[test]
    fn keeps_places_and_order() {
        let problems = Problems::default();
        let tree = parse("f", b"b: 1\na:\n- x\n- {c: 'yes'}\n", &problems).unwrap();
        let Data::Map(entries) = tree.data else { panic!("{tree:?}") };
        let keys: Vec<_> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
        assert_eq!(keys, ["b", "a"]);
        let Data::List(items) = &entries[1].1.data else { panic!() };
        assert_eq!(items[1].at, Position { line: 4, column: 3 });
        let Data::Map(inner) = &items[1].data else { panic!() };
        assert_eq!(inner[0].1.at, Position { line: 4, column: 7 });
        assert!(!inner[0].1.plain);
    }

    #[test]
    fn refuses_what_it_cannot_keep() {
        insta::assert_snapshot!(faults("a: 1\na: 2\nb: {c: 1, c: 2}"), @r#"
        f:2:1: the key "a" stands here twice: keep one of them
        f:3:11: the key "c" stands here twice: keep one of them
        "#);
        insta::assert_snapshot!(faults("a: 1\n---\nb: 1\n"), @"f:2:1: a second document begins here: write it to a file of its own");
        insta::assert_snapshot!(faults("a: [1,\nb: 2"), @"f:2:1: is not valid YAML (invalid indentation in flow construct): check the brackets, quotes and indentation up to here");
        insta::assert_snapshot!(faults(""), @"f: is empty: write apiVersion, kind and name first");
        insta::assert_snapshot!(faults("# nothing but this"), @"f: is empty: write apiVersion, kind and name first");
        insta::assert_snapshot!(faults(b"a: \xff"), @"f:1:1: is not UTF-8 text: save it as UTF-8");
        insta::assert_snapshot!(faults("a: !wrong 1\nb: !!int x\n? [1]\n: 2\n<<: {}"), @r#"
        f:1:4: the tag !wrong has no meaning here: leave it out
        f:2:4: "x" is not what its tag says: leave the tag out
        f:3:3: a key is not a plain word: write a plain word
        f:5:1: merge keys (<<) are not supported: write them out
        "#);
        insta::assert_snapshot!(faults("a: 99999999999999999999"), @"f:1:4: is too large a number to keep exactly: put it in quotes");
        insta::assert_snapshot!(faults("a: &x [*x]"), @"f:1:8: an alias stands inside its own anchor: write it out");
        insta::assert_snapshot!(faults("a: *nobody"), @"f:1:4: is not valid YAML (while parsing node, found unknown anchor): check the brackets, quotes and indentation up to here");
        insta::assert_snapshot!(faults("x".repeat(SIZE_MAX + 1)), @"f: is larger than 1 MiB: split it, or check that it is the right file");
    }

    #[test]
    fn aliases_repeat_their_anchor_within_bounds() {
        let problems = Problems::default();
        let tree = parse("f", b"a: &x {k: 1}\nb: *x\nc: *x", &problems).unwrap();
        assert!(problems.into_result().is_ok());
        let Data::Map(entries) = tree.data else { panic!() };
        assert!(matches!(&entries[2].1.data, Data::Map(inner) if inner.len() == 1));

        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            laughs += &format!("a{level}: &a{level} [{below}]\n");
        }
        insta::assert_snapshot!(faults(laughs), @"f:5:40: holds too many values: check the aliases (*name): each repeats its whole anchor");

        let mut chain = "a0: &a0 [x]\n".to_owned();
        for level in 1..100 {
            chain += &format!("a{level}: &a{level} [[[*a{}]]]\n", level - 1);
        }
        insta::assert_snapshot!(faults(chain), @"f:22:14: is nested more than 64 levels deep: check the brackets and the indentation");
    }

    #[test]
    fn hostile_text_of_full_size_ends_quickly() {
        let started = std::time::Instant::now();
        for piece in [
            "[", "{", "- ", "? ", "a: ", "&a ", "*a ", "!!a ", "'", "\"\\x", "|\n ", "{a: ", ",",
            "%", "a:\n ",
        ] {
            let _faults = faults(piece.repeat(SIZE_MAX / piece.len()));
        }
        let mut deep = String::new();
        while deep.len() < SIZE_MAX - 2000 {
            deep += &" ".repeat(deep.lines().count().min(1000));
            deep += "a:\n";
        }
        let _faults = faults(deep);
        // Few parts, each of them half the file: text counts as well.
        let copies = format!("a: &a '{}'\nb: [{}]", "x".repeat(500_000), "*a,".repeat(170_000));
        assert!(faults(copies).contains("holds too many values"));
        let _faults = faults(format!("[{}]", "&a [".repeat(60) + &"x,".repeat(400_000)));
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    }
}
