//! A failure as a file: how it is produced, and what `pipe` says to it. The tests that produce it
//! hold `pipe` to the file; `docs/troubleshooting.md` is made from all of them.
//!
//! `INSTA_UPDATE=always cargo test` writes what is said anew, into the files and the document.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What follows was written by a test.
const MARK: &str = "# What pipe says. INSTA_UPDATE=always writes it anew.\n";

/// One file of `tests/troubles/`.
pub struct Case {
    /// Its name without the ending: `port-taken`.
    pub name: String,
    path: PathBuf,
    /// The part that people write.
    head: String,
    fields: Value,
}

impl Case {
    fn read(path: PathBuf) -> Case {
        let text = fs::read_to_string(&path).unwrap();
        let problems = pipe::spec::problem::Problems::default();
        let shown = path.display().to_string();
        let part = pipe::spec::yaml::parse(&shown, text.as_bytes(), &problems);
        let fields = part.as_ref().and_then(|part| {
            pipe::spec::read::Cursor::new(&shown, &problems, part).values(&|_| None)
        });
        if let Err(error) = problems.into_result() {
            panic!("{error}");
        }
        let head = text.split(MARK).next().unwrap_or_default().to_owned();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let name = stem.split_once('-').unwrap_or_else(|| panic!("{stem} has no number")).1;
        Case { name: name.to_owned(), path, head, fields: fields.unwrap() }
    }

    /// A text of the file; empty where it has none.
    pub fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_default()
    }

    /// Whether a test produces it.
    pub fn is_produced(&self) -> bool {
        self.text("produced") != "not here"
    }

    /// Whether the next `up` mends it without a word of the user's.
    pub fn is_healed(&self) -> bool {
        !self.text("healed").is_empty()
    }

    fn list(&self, field: &str) -> Vec<&str> {
        let items = self.fields[field].as_array();
        items.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// Every case, in the order of the files.
pub fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/troubles");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files.into_iter().map(Case::read).collect()
}

/// Holds a failed command to the case `name`. `result` is the last line of `--json`, `normal` what
/// differs from run to run and what stands for it.
pub fn hold(name: &str, result: &Value, normal: &[(&str, &str)]) {
    let case = all().into_iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("tests/troubles/ has no {name}"));
    let text = |value: &Value| {
        let text = value.as_str().unwrap_or_default().to_owned();
        normal.iter().fold(text, |text, (from, to)| text.replace(from, to))
    };
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(text).collect()
    };
    let error = &result["error"];
    // Where evidence was kept is said at the end of every failure, with the time of day in it.
    let remedies: Vec<String> = list(&error["hints"])
        .into_iter()
        .filter(|hint| !hint.starts_with("the evidence is in "))
        .collect();
    let said = json!({
        "exit": result["exit_code"],
        "code": error["code"],
        "error": text(&error["what"]),
        "cause": list(&error["causes"]),
        "remedy": remedies,
    });
    let keys = ["exit", "code", "error", "cause", "remedy"];
    if keys.iter().all(|key| case.fields[*key] == said[*key]) {
        return;
    }
    assert!(
        updating(),
        "{}\nthe file: {:#}\npipe says: {said:#}",
        case.path.display(),
        case.fields
    );
    let mut written = format!("{}{MARK}", case.head);
    for key in keys {
        match &said[key] {
            Value::Array(items) if items.is_empty() => writeln!(written, "{key}: []").unwrap(),
            Value::Array(items) => {
                writeln!(written, "{key}:").unwrap();
                items.iter().for_each(|item| writeln!(written, "- {item}").unwrap());
            }
            value => writeln!(written, "{key}: {value}").unwrap(),
        }
    }
    // Other tests read the folder meanwhile.
    let beside = case.path.with_extension("new");
    fs::write(&beside, written).unwrap();
    fs::rename(beside, &case.path).unwrap();
}

/// As [`hold`], but of the causes only the first: the words below are those of another engine.
pub fn hold_gist(name: &str, result: &Value) {
    let case = all().into_iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("tests/troubles/ has no {name}"));
    let error = &result["error"];
    assert_eq!(case.fields["exit"], result["exit_code"], "{result:#}");
    assert_eq!(case.fields["code"], error["code"], "{result:#}");
    assert_eq!(case.fields["cause"][0], error["causes"][0], "{result:#}");
    assert_eq!(case.fields["remedy"][0], error["hints"][0], "{result:#}");
}

/// Says that the caller produces the failure and that `up` then mends it by itself.
pub fn healed(name: &str) {
    let case = all().into_iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("tests/troubles/ has no {name}"));
    assert!(!case.text("healed").is_empty(), "{name} does not say how it is healed");
}

/// Whether files are to be written anew.
pub fn updating() -> bool {
    std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always")
}

/// The whole of `docs/troubleshooting.md`.
pub fn document() -> String {
    let cases = all();
    let mut text = String::from(
        "<!-- Made by tests/it/troubles.rs from tests/troubles/*.yaml: INSTA_UPDATE=always cargo test --test it troubles -->\n\
         # Troubleshooting\n\n\
         What users of local clusters report most, and what `pipe` says to it. Each message here is what a test got from the real binary:\n\
         **real** means with the failure itself, **scripted** that an engine on a real socket gave the words that Podman gives,\n\
         **not here** that the machine of the tests cannot have it. Exit codes and codes in brackets are stable; (0) is healed without a word of yours.\n\n\
         | | failure | cause | evidence | remedy | code (exit) | produced |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    for (index, case) in cases.iter().enumerate() {
        let number = index + 1;
        let cause = case.list("cause").first().copied().unwrap_or_default();
        let cause = if cause.is_empty() { case.text("error") } else { cause };
        let healed = format!("`pipe up`: {}", case.text("healed"));
        let remedy = match case.list("remedy").first() {
            Some(remedy) => remedy,
            None if case.is_healed() => healed.as_str(),
            None => "",
        };
        let code = match (case.text("code"), &case.fields["exit"]) {
            _ if case.is_healed() => "(0)".to_owned(),
            ("", _) => String::new(),
            (code, Value::Number(exit)) => format!("`{code}` ({exit})"),
            (code, _) => format!("`{code}`"),
        };
        let line = [
            format!("[{number}](#{number}-{})", case.name),
            cell(case.text("failure")),
            cell(cause),
            cell(case.text("evidence")),
            cell(remedy),
            code,
            case.text("produced").to_owned(),
        ];
        writeln!(text, "| {} |", line.join(" | ")).unwrap();
    }
    for (index, case) in cases.iter().enumerate() {
        let number = index + 1;
        write!(text, "\n## {number} {}\n\n{}.\n\n", case.name, case.text("failure")).unwrap();
        if !case.text("reported").is_empty() {
            writeln!(text, "- Elsewhere: {}", case.text("reported")).unwrap();
        }
        writeln!(text, "- Produced: {}: {}", case.text("produced"), case.text("how")).unwrap();
        writeln!(text, "- Evidence: {}", case.text("evidence")).unwrap();
        if case.is_healed() {
            writeln!(text, "- Healed by `pipe up`, exit code 0: {}", case.text("healed")).unwrap();
        }
        if case.text("error").is_empty() {
            continue;
        }
        writeln!(text, "\n```text\nerror: {} [{}]", case.text("error"), case.text("code")).unwrap();
        for (label, field) in [("cause", "cause"), ("hint", "remedy")] {
            for item in case.list(field) {
                let further = format!("\n{}", " ".repeat(label.len() + 4));
                writeln!(text, "  {label}: {}", item.replace('\n', &further)).unwrap();
            }
        }
        text += "```\n";
    }
    text
}
