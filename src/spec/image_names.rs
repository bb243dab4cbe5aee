//! Names of images in what charts are made from: values, and templates that are not YAML yet. A name
//! is known by its key, or by its look where it has a registry and a tag.

use std::collections::BTreeSet;

use serde_json::Value;

use super::problem::Position;

/// A name in a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Where it begins.
    pub at: Position,
    /// As written; what a template computes is left out of it.
    pub image: String,
}

/// Most names of one line that get a column of their own: each costs the length of the line.
const PLACED_MAX: usize = 100;

/// What stands for what a template computes.
const COMPUTED: &str = "x";

/// Names in a YAML file, or a template of one. Comments are passed over.
pub fn in_text(text: &str) -> Vec<Found> {
    let mut found = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        let (flat, literals) = without_expressions(line);
        let mut names: BTreeSet<String> =
            words(&flat).filter(|word| looks_whole(word)).map(own).collect();
        names.extend(pairs(&flat).filter_map(|(key, value)| under(key, value)));
        if pairs(&flat).any(|(key, _)| is_image_key(key)) {
            names.extend(literals.into_iter().filter(|it| !it.starts_with(['.', '/'])));
        }
        let placed = names.len() <= PLACED_MAX;
        for image in names {
            let text = image.trim_end_matches(REGISTRY_ONLY);
            // Behind its key, or where the line begins if a template computes it.
            let begins = line.len() - line.trim_start().len();
            let at = line.rfind(text).filter(|_| placed).unwrap_or(begins);
            let column = line.get(..at).map_or(0, |before| before.chars().count()) + 1;
            found.insert(Found { at: Position { line: number + 1, column }, image });
        }
    }
    found.into_iter().collect()
}

/// Names in chart values, with the key under which each stands: `injector.image.repository`.
pub fn in_values(values: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk("", "", values, &mut found);
    found
}

fn walk(path: &str, key: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                // `image: {name: …}`
                let key = if name == "name" && is_image_key(key) { key } else { name };
                walk(&below, key, value, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{path}[{index}]"), key, item, found);
            }
        }
        Value::String(text) => {
            let whole = words(text).filter(|word| looks_whole(word)).map(own);
            found.extend(under(key, text).into_iter().chain(whole).map(|it| (path.to_owned(), it)));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What is put behind a registry, so that it is the name of something in it.
const REGISTRY_ONLY: &str = "/…";

/// The image that `value` names under `key`.
fn under(key: &str, value: &str) -> Option<String> {
    if value.is_empty() || value.starts_with(['{', '[', '|', '>', '&', '*']) || is_address(value) {
        return None;
    }
    match plain(key).as_str() {
        "registry" => Some(format!("{value}{REGISTRY_ONLY}")),
        "repository" => Some(value.to_owned()),
        _ => is_image_key(key).then(|| value.to_owned()),
    }
}

/// Whether what stands under `key` is an image: `image`, `agentImage`, `RELATED_IMAGE_X`, and not
/// `imagePullSecrets`.
fn is_image_key(key: &str) -> bool {
    let key = plain(key);
    let others = ["pull", "secret", "policy", "tag", "digest", "version"];
    key.contains("image") && !others.iter().any(|other| key.contains(other))
}

fn plain(key: &str) -> String {
    key.to_ascii_lowercase().replace(['-', '_'], "")
}

/// Whether it leads to a site: a repository of sources or charts.
fn is_address(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| scheme != "docker" && scheme != "oci")
}

/// Whether a word is the name of an image wherever it stands: with registry, path and tag or digest.
fn looks_whole(word: &str) -> bool {
    let registry = word.split_once('/').map_or("", |(registry, _)| registry);
    let last = word.rsplit('/').next().unwrap_or_default();
    registry.contains('.')
        && !registry.starts_with('.')
        && last.contains([':', '@'])
        && !is_address(word)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let between = |c: char| {
        c.is_whitespace()
            || matches!(c, '"' | '\'' | '`' | '=' | ',' | ';' | '(' | ')' | '[' | ']' | '{' | '}')
    };
    text.split(between).filter(|word| !word.is_empty())
}

fn own(text: &str) -> String {
    text.to_owned()
}

/// `key: value` wherever it stands in a line, also in `{…}`.
fn pairs(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices(':').filter_map(move |(at, _)| {
        let (before, after) = (line.get(..at)?, line.get(at + 1..)?);
        if !after.is_empty() && !after.starts_with([' ', '\t']) {
            return None;
        }
        let key = before.trim_end_matches(['"', '\'']);
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let key = key.get(key.rfind(|c| !is_key(c)).map_or(0, |at| at + 1)..)?;
        let value = after.trim_start().trim_start_matches(['"', '\'']);
        let end =
            value.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | '#'));
        Some((key, value.get(..end.unwrap_or(value.len()))?))
    })
}

/// The line with [`COMPUTED`] for each `{{…}}`, and the texts in quotes inside of those.
fn without_expressions(line: &str) -> (String, Vec<String>) {
    let (mut flat, mut literals, mut rest) = (String::new(), Vec::new(), line);
    while let Some((before, after)) = rest.split_once("{{") {
        flat += before;
        let (expression, further) = after.split_once("}}").unwrap_or((after, ""));
        literals.extend(expression.split(['"', '`']).skip(1).step_by(2).map(own));
        flat += COMPUTED;
        rest = further;
    }
    (flat + rest, literals)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> String {
        let line = |it: &Found| format!("{}:{} {}", it.at.line, it.at.column, it.image);
        in_text(text).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn names_in_templates_and_values() {
        let text = r#"
# image: a/comment:1
initContainers:
- name: wait
  image: "hashicorp/vault:{{ .Values.tag }}" # old
- image: {{ .Values.image.registry }}/a/b:{{ .Values.tag }}
- image: {{ .Values.image | default "a/c:1" | quote }}
- image: {{ include "x.image" . }}
image: {registry: docker.elastic.co, repository: 'a/d', tag: "1"}
agentImage: e
imagePullSecrets: vault
imagePullPolicy: IfNotPresent
repository: https://github.com/x/vault
repository: oci://r.io/x/charts
args: ["--image=r.io/a/f:1", --url=http://r.io/a/g:1, /var/lib:/x]
value: r.io/a/h@sha256:00
"#;
        insta::assert_snapshot!(names(text), @r"
        5:3 hashicorp/vault:x
        6:1 x/a/b:x
        7:1 x
        7:38 a/c:1
        8:22 x
        8:22 x.image
        9:19 docker.elastic.co/…
        9:51 a/d
        10:13 e
        14:13 oci://r.io/x/charts
        15:17 r.io/a/f:1
        16:8 r.io/a/h@sha256:00
        ");
    }

    #[test]
    fn names_in_values_have_their_path() {
        let values = serde_json::json!({
            "image": {"name": "a/b", "tag": "1", "pullSecrets": [{"name": "vault"}]},
            "x": {"y": [{"image": "c:1"}]},
            "images": ["d:1", "e:1"],
            "registry": "r.io",
            "env": [{"name": "vault", "value": "uses r.io/f:1"}],
        });
        insta::assert_debug_snapshot!(in_values(&values), @r#"
        [
            (
                "env[0].value",
                "r.io/f:1",
            ),
            (
                "image.name",
                "a/b",
            ),
            (
                "images[0]",
                "d:1",
            ),
            (
                "images[1]",
                "e:1",
            ),
            (
                "registry",
                "r.io/…",
            ),
            (
                "x.y[0].image",
                "c:1",
            ),
        ]
        "#);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,300}") {
            let _found = in_text(&text);
        }

        #[test]
        fn a_name_is_found_however_it_is_written(
            indent in " {0,8}", quote in "[\"']?", item in any::<bool>(), tail in "( # x|,)?",
        ) {
            let dash = if item { "- " } else { "" };
            let found = in_text(&format!("{indent}{dash}image: {quote}a/b:1{quote}{tail}"));
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].image, "a/b:1");
        }
    }
}
