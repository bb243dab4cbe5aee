//! A kubeconfig as YAML, edited without losing what we do not know: unknown fields, their order,
//! and how each scalar was quoted (an unquoted `0123` must not become `83`).

use std::borrow::Cow;

use saphyr::{Mapping, Scalar, ScalarStyle, Tag, Yaml, YamlEmitter, YamlLoader};
use saphyr_parser::Parser;

use crate::spec::yaml;

/// The named lists of a kubeconfig, with the key of an entry's content.
const LISTS: [(&str, &str); 3] =
    [("clusters", "cluster"), ("contexts", "context"), ("users", "user")];

/// Keys that may stand in a file without content.
const BARE_KEYS: [&str; 2] = ["apiVersion", "kind"];

const CURRENT: &str = "current-context";

/// What is wrong with a kubeconfig.
type Fault = String;

/// The top level of a kubeconfig.
#[derive(Clone, Debug)]
pub(super) struct Document<'a>(Mapping<'a>);

impl<'a> Document<'a> {
    /// Parses a file; an empty one is an empty kubeconfig.
    pub(super) fn parse(text: &'a str) -> Result<Document<'a>, Fault> {
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // The loader copies what aliases repeat, and everything behind it recurses.
        yaml::check(text)?;
        let mut loader = YamlLoader::<Yaml>::default();
        loader.early_parse(false);
        Parser::new_from_str(text).load(&mut loader, true).map_err(|e| e.to_string())?;
        if let Some(error) = loader.error() {
            return Err(error.to_string());
        }
        let mut documents = loader.into_documents().into_iter();
        let top = match documents.next().map(settled).transpose()? {
            None => Mapping::new(),
            Some(Yaml::Mapping(top)) => top,
            Some(empty) if !empty.is_sequence() && is_empty(&empty) => Mapping::new(),
            Some(_) => return Err("its top level is not a mapping".to_owned()),
        };
        if documents.next().is_some() {
            return Err("it holds more than one YAML document".to_owned());
        }
        for (list, _) in LISTS {
            match top.get(&key(list)) {
                None | Some(Yaml::Sequence(_)) => {}
                Some(other) if is_empty(other) => {}
                Some(_) => return Err(format!("{list} is not a list")),
            }
        }
        Ok(Document(top))
    }

    /// The document as text.
    pub(super) fn render(self) -> String {
        let mut text = String::new();
        let mut emitter = YamlEmitter::new(&mut text);
        // What came in plain goes out plain; every other string is quoted, which no reader can
        // take for a number or a truth value.
        emitter.quoted_value(true);
        // Writing into a String cannot fail.
        let _infallible = emitter.dump(&Yaml::Mapping(self.0));
        let body = text.strip_prefix("---\n").unwrap_or(&text);
        format!("{body}\n")
    }

    /// A document with only the current context (or the only one), everything called `name`, its
    /// cluster reached at `server`.
    pub(super) fn only_current(&self, name: &str, server: &str) -> Result<Document<'a>, Fault> {
        let contexts = self.list("contexts");
        let current = self.current().and_then(|current| find(contexts, current));
        let context = current
            .or(if let [only] = contexts { Some(only) } else { None })
            .and_then(|entry| get(entry, "context"))
            .ok_or("it has no current context")?;
        let part = |list: &str, part: &str| {
            let target =
                get(context, part).and_then(text).ok_or(format!("its context has no {part}"))?;
            let entry = find(self.list(list), target).and_then(|entry| get(entry, part));
            entry.cloned().ok_or(format!("it has no {part} {target}"))
        };
        let (mut cluster, user) = (part("clusters", "cluster")?, part("users", "user")?);
        if let Yaml::Mapping(cluster) = &mut cluster {
            cluster.insert(key("server"), plain(server));
        }
        let named = |key_of_content: &str, content: Yaml<'a>| {
            mapping([("name", plain(name)), (key_of_content, content)])
        };
        let context = mapping([("cluster", plain(name)), ("user", plain(name))]);
        let mut document = Document(Mapping::new()).with_header();
        document.0.insert(key("clusters"), Yaml::Sequence(vec![named("cluster", cluster)]));
        document.0.insert(key("contexts"), Yaml::Sequence(vec![named("context", context)]));
        document.0.insert(key(CURRENT), plain(name));
        document.0.insert(key("users"), Yaml::Sequence(vec![named("user", user)]));
        Ok(document)
    }

    /// Takes over every entry of `other`, in place of those of the same name, and its current
    /// context if `switch`.
    pub(super) fn adopt(&mut self, other: &Document<'a>, switch: bool) -> Result<(), Fault> {
        let header = std::mem::take(&mut self.0);
        self.0 = Document(header).with_header().0;
        for (list, _) in LISTS {
            for entry in other.list(list) {
                let name = get(entry, "name").and_then(text).ok_or("an entry has no name")?;
                self.put(list, name, entry.clone());
            }
        }
        if let Some(current) = other.current().filter(|_| switch) {
            self.0.insert_keeping_place(CURRENT, plain(current));
        }
        Ok(())
    }

    /// Removes the entries called `name`, and the current context if it was this one; says whether
    /// anything was there.
    pub(super) fn forget(&mut self, name: &str) -> bool {
        let mut found = false;
        for (list, _) in LISTS {
            let Some(Yaml::Sequence(entries)) = self.0.get_mut(&key(list)) else { continue };
            let before = entries.len();
            entries.retain(|entry| get(entry, "name").and_then(text) != Some(name));
            found |= entries.len() < before;
        }
        if self.current() == Some(name) {
            self.0.insert_keeping_place(CURRENT, Yaml::Value(Scalar::String("".into())));
            found = true;
        }
        found
    }

    /// Whether nothing is in it that anybody could miss.
    pub(super) fn is_bare(&self) -> bool {
        self.0.iter().all(|(key, value)| {
            text(key).is_some_and(|key| BARE_KEYS.contains(&key)) || is_empty(value)
        })
    }

    fn current(&self) -> Option<&str> {
        self.0.get(&key(CURRENT)).and_then(text).filter(|current| !current.is_empty())
    }

    fn list(&self, name: &str) -> &[Yaml<'a>] {
        match self.0.get(&key(name)) {
            Some(Yaml::Sequence(entries)) => entries,
            _ => &[],
        }
    }

    fn put(&mut self, list: &str, name: &str, entry: Yaml<'a>) {
        if self.list(list).is_empty() {
            self.0.insert_keeping_place(list, Yaml::Sequence(Vec::new()));
        }
        let Some(Yaml::Sequence(entries)) = self.0.get_mut(&key(list)) else { return };
        match entries.iter_mut().find(|known| get(known, "name").and_then(text) == Some(name)) {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
    }

    fn with_header(mut self) -> Document<'a> {
        for (name, value) in [("apiVersion", "v1"), ("kind", "Config")] {
            if !self.0.contains_key(&key(name)) {
                self.0.insert(key(name), plain(value));
            }
        }
        self
    }
}

/// `insert` moves a key to the end; this leaves it where it was.
trait InsertKeepingPlace<'a> {
    fn insert_keeping_place(&mut self, name: &str, value: Yaml<'a>);
}

impl<'a> InsertKeepingPlace<'a> for Mapping<'a> {
    fn insert_keeping_place(&mut self, name: &str, value: Yaml<'a>) {
        match self.get_mut(&key(name)) {
            Some(known) => *known = value,
            None => drop(self.insert(key(name), value)),
        }
    }
}

fn key<'a>(name: &str) -> Yaml<'a> {
    Yaml::Value(Scalar::String(name.to_owned().into()))
}

/// A scalar that needs no quotes: our names and addresses.
fn plain<'a>(value: &str) -> Yaml<'a> {
    Yaml::Representation(Cow::Owned(value.to_owned()), ScalarStyle::Plain, None)
}

fn mapping<'a, const N: usize>(fields: [(&str, Yaml<'a>); N]) -> Yaml<'a> {
    Yaml::Mapping(fields.into_iter().map(|(name, value)| (key(name), value)).collect())
}

fn get<'b, 'a>(node: &'b Yaml<'a>, name: &str) -> Option<&'b Yaml<'a>> {
    match node {
        Yaml::Mapping(fields) => fields.get(&key(name)),
        _ => None,
    }
}

fn find<'b, 'a>(entries: &'b [Yaml<'a>], name: &str) -> Option<&'b Yaml<'a>> {
    entries.iter().find(|entry| get(entry, "name").and_then(text) == Some(name))
}

fn text<'b>(node: &'b Yaml<'_>) -> Option<&'b str> {
    match node {
        Yaml::Representation(text, ..) | Yaml::Value(Scalar::String(text)) => Some(text),
        _ => None,
    }
}

/// Null, an empty string, an empty list or an empty mapping.
fn is_empty(node: &Yaml<'_>) -> bool {
    match node {
        Yaml::Representation(text, ..) => matches!(text.as_ref(), "" | "null" | "~"),
        Yaml::Value(Scalar::String(text)) => text.is_empty(),
        Yaml::Sequence(entries) => entries.is_empty(),
        Yaml::Mapping(fields) => fields.is_empty(),
        Yaml::Value(Scalar::Null) | Yaml::BadValue => true,
        _ => false,
    }
}

/// Whether a plain scalar reads back as what it was. The parser takes more than the emitter's reader
/// does, and whatever begins otherwise than a number, a truth value or a null is a string anyhow.
fn may_stay_plain(text: &str) -> bool {
    let begins_well =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '/' | '~' | '+' | '-');
    text.starts_with(begins_well) && !text.contains('\n')
}

/// Makes a parsed tree fit for the emitter: plain scalars stay as they were written, every other
/// one becomes a string, and keys become strings so that they can be looked up. Aliases were
/// already replaced by what they stand for. Tags of other schemas cannot be written back.
fn settled(node: Yaml<'_>) -> Result<Yaml<'_>, Fault> {
    Ok(match node {
        Yaml::Representation(text, style, Some(tag)) if tag.is_yaml_core_schema() => {
            let stays_plain = style == ScalarStyle::Plain && may_stay_plain(&text);
            match tag.suffix.as_str() {
                "str" => Yaml::Value(Scalar::String(text)),
                "null" if text.is_empty() => plain("null"),
                // Without its tag it reads as the same.
                "null" | "bool" | "int" | "float" if stays_plain => {
                    Yaml::Representation(text, style, None)
                }
                _ => return Err(lost(&tag)),
            }
        }
        Yaml::Representation(_, _, Some(tag)) | Yaml::Tagged(tag, _) => return Err(lost(&tag)),
        Yaml::Representation(text, ScalarStyle::Plain, None) if text.is_empty() => plain("null"),
        Yaml::Representation(text, ScalarStyle::Plain, None) if may_stay_plain(&text) => {
            Yaml::Representation(text, ScalarStyle::Plain, None)
        }
        Yaml::Representation(text, _, None) => Yaml::Value(Scalar::String(text)),
        Yaml::Sequence(entries) => {
            Yaml::Sequence(entries.into_iter().map(settled).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(fields) => {
            let mut pairs = Mapping::new();
            for (key, value) in fields {
                let key = match key {
                    Yaml::Representation(text, _, None) => Yaml::Value(Scalar::String(text)),
                    key => match settled(key)? {
                        Yaml::Representation(text, ..) => Yaml::Value(Scalar::String(text)),
                        key => key,
                    },
                };
                // With and without a tag it is the same key.
                if pairs.contains_key(&key) {
                    let name = text(&key).unwrap_or("of a mapping");
                    return Err(format!("the key {name} stands twice"));
                }
                pairs.insert(key, settled(value)?);
            }
            Yaml::Mapping(pairs)
        }
        other => other,
    })
}

fn lost(tag: &Tag) -> Fault {
    let shown = match tag.is_yaml_core_schema() {
        true => format!("!!{}", tag.suffix),
        false => tag.to_string(),
    };
    format!("it uses the YAML tag {shown}, which would be lost")
}
