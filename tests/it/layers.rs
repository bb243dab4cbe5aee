//! The rules that hold the parts apart, as tables (ARCHITECTURE.md says why).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules in reading order, and which other modules of ours each may use. `spec::name` stands for
/// the names alone.
const MAY_USE: &[(&str, &[&str])] = &[
    ("digest", &[]),
    ("trust", &["digest", "error"]),
    ("error", &[]),
    ("spec", &["digest", "error", "trust"]),
    ("plan", &["digest", "error", "spec", "report::event"]),
    ("report", &["error", "spec::name"]),
    ("verifier", &["digest", "error", "trust", "spec::name"]),
    ("world", &["digest", "error", "trust", "spec::name", "report::event"]),
    ("state", &["error", "spec", "plan", "report", "trust"]),
    ("provider", &["digest", "error", "spec", "plan", "world", "report", "state", "verifier"]),
    ("doctor", &["error", "world", "report"]),
    ("smoke", &["digest", "error", "spec", "world", "report", "state"]),
    ("backup", &["digest", "error", "spec", "world", "report", "state", "smoke"]),
    (
        "run",
        &[
            "digest", "error", "spec", "plan", "world", "report", "state", "provider", "doctor",
            "smoke", "backup", "trust", "verifier",
        ],
    ),
    (
        "cli",
        &[
            "error", "spec", "plan", "world", "report", "state", "provider", "doctor", "smoke",
            "backup", "run",
        ],
    ),
];

/// Foreign crates that enter in few places, and where: a file, or a folder with everything below.
const ENTERS_IN: &[(&str, &[&str])] = &[
    ("bollard", &["world/engine"]),
    ("kube", &["world/kube"]),
    ("k8s_openapi", &["world/kube"]),
    ("async_nats", &["backup/nats", "smoke/nats"]),
    ("scylla", &["world/cql", "smoke/cql", "backup/cql"]),
    ("sha_crypt", &["state/credentials"]),
    ("async_trait", &["world/cql"]),
    ("rusty_s3", &["world/s3"]),
    ("instant_xml", &["world/s3"]),
    ("http_auth", &["world/registry/auth"]),
    ("p256", &["trust/key"]),
    ("ureq", &["verifier/registry"]),
    ("indicatif", &["report/human"]),
    ("clap", &["cli", "main"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli/man"]),
    ("saphyr", &["spec", "state/kubeconfig", "world/kube/manifest"]),
    ("saphyr_parser", &["spec", "state/kubeconfig"]),
    ("toml", &["spec/patch_file", "provider/kind/containerd"]),
    ("which", &["world"]),
    ("sysinfo", &["world"]),
];

/// Foreign crates that a module must do without: it is arithmetic on values.
const DOES_WITHOUT: &[(&str, &[&str])] = &[
    ("spec", &["tokio", "tokio_util", "reqwest"]),
    ("plan", &["tokio", "tokio_util", "reqwest", "futures"]),
    ("doctor", &["tokio", "tokio_util", "reqwest", "futures"]),
    ("verifier", &["tokio", "tokio_util", "reqwest", "futures"]),
];

/// Only these may print.
const PRINTS: &[&str] = &["report", "main", "bin"];

/// What stands for [`MAY_USE`]'s `spec::name`, since `spec` re-exports the names.
const NAMES: &[&str] = &[
    "name",
    "Arch",
    "ClusterName",
    "ComponentName",
    "ImageName",
    "NodeName",
    "ProfileName",
    "Protocol",
];

/// What stands for `report::event`, which `report` re-exports.
const EVENTS: &[&str] = &["event", "Event", "Events", "Level", "Outcome", "StepLine"];

/// A source file without its tests and comments.
struct Source {
    /// Path below `src/` without suffix: `report/human`.
    path: String,
    code: String,
}

impl Source {
    /// The top-level module that the file belongs to.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.path == *place || self.path.starts_with(&format!("{place}/"))
                // `world/engine` stands for `world/engine_exec.rs` as well.
                || self.path.starts_with(&format!("{place}_"))
        })
    }

    /// Two segments behind every `crate::`: `spec::ClusterName`; braces are unfolded.
    fn uses(&self) -> BTreeSet<String> {
        let starts = self.code.match_indices("crate::").map(|(at, found)| at + found.len());
        let tails = starts.map(|at| &self.code[at..]);
        tails.flat_map(|tail| heads(tail).into_iter().flat_map(second)).collect()
    }

    fn mentions(&self, word: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(&format!("{word}::")).any(|(at, _)| {
            let before = &self.code[..at];
            // Behind another path it is a module: `crate::kube::`, `super::kube::`. A path that
            // starts at the root, as in `use ::kube::Client`, is the crate.
            let module = before.ends_with("::") && !before.ends_with(" ::");
            !before.ends_with(is_word) && !module
        })
    }
}

/// `a::b` gives itself, `{a::b, c}` each of its parts; stops where the path ends.
fn heads(tail: &str) -> Vec<&str> {
    let Some(inside) = tail.strip_prefix('{') else { return vec![tail] };
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(inside[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(inside[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

/// The first two segments of a path: `spec::name`, or `spec` where there is one only.
fn second(head: &str) -> Vec<String> {
    let end =
        |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let first = &head[..end(head)];
    let Some(rest) = head[first.len()..].strip_prefix("::") else { return vec![first.to_owned()] };
    heads(rest).iter().map(|next| format!("{first}::{}", &next[..end(next)])).collect()
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let source = |file: PathBuf| {
        let path = file.strip_prefix(&root).expect("below src").with_extension("");
        let text = fs::read_to_string(&file).expect("a source file");
        Source { path: path.to_string_lossy().into_owned(), code: without_tests(&text) }
    };
    let all = files.into_iter().map(source);
    all.filter(|source| !source.path.ends_with("/tests")).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.extend(path.extension().is_some_and(|e| e == "rs").then_some(path)),
        }
    }
}

/// Drops comments, and everything from the test module on: by our style it stands last.
fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let tests_follow = lines.peek().is_some_and(|next| next.contains("mod tests"));
        if line.trim() == "#[cfg(test)]" && tests_follow {
            break;
        }
        if !line.trim_start().starts_with("//") {
            code += line;
            code.push('\n');
        }
    }
    code
}

fn check(faults: Vec<String>) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn modules_use_only_what_stands_below_them() {
    let modules: BTreeSet<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    let mut faults = Vec::new();
    for source in sources() {
        let Some((module, allowed)) = MAY_USE.iter().find(|(name, _)| *name == source.module())
        else {
            if !matches!(source.path.as_str(), "lib" | "main" | "bin/pipe-verifier") {
                faults.push(format!("src/{}.rs: its module is not in MAY_USE", source.path));
            }
            continue;
        };
        for used in source.uses() {
            let (target, item) = used.split_once("::").unwrap_or((&used, ""));
            let whole = !modules.contains(target) || target == *module || allowed.contains(&target);
            let part = match target {
                "spec" => allowed.contains(&"spec::name") && NAMES.contains(&item),
                "report" => allowed.contains(&"report::event") && EVENTS.contains(&item),
                _ => false,
            };
            if !whole && !part {
                faults.push(format!("src/{}.rs uses {used}, which {module} may not", source.path));
            }
        }
    }
    check(faults);
}

#[test]
fn foreign_crates_enter_where_the_table_says() {
    let mut faults = Vec::new();
    for source in sources() {
        for (name, places) in ENTERS_IN {
            if source.mentions(name) && !source.is_in(places) {
                faults.push(format!("src/{}.rs uses {name}; allowed in {places:?}", source.path));
            }
        }
        for (module, names) in DOES_WITHOUT.iter().filter(|(module, _)| *module == source.module())
        {
            for name in names.iter().filter(|name| source.mentions(name)) {
                faults.push(format!("src/{}.rs uses {name}; {module} does without", source.path));
            }
        }
    }
    check(faults);
}

#[test]
fn only_report_and_main_print() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_in(PRINTS)) {
        for print in ["println!", "print!", "dbg!", "stdout().write", "stdout().lock"] {
            if source.code.contains(print) {
                faults.push(format!("src/{}.rs prints with {print}", source.path));
            }
        }
    }
    check(faults);
}

#[test]
fn the_scanner_sees_what_it_should() {
    let source = |code: &str| Source { path: "plan/build".into(), code: without_tests(code) };
    let uses = |code: &str| source(code).uses().into_iter().collect::<Vec<_>>();
    assert_eq!(
        uses("use crate::spec::{ClusterName, name::{Arch}};"),
        ["spec::ClusterName", "spec::name"]
    );
    assert_eq!(
        uses("use crate::{Error, report::{Event, mask::Mask}, world};"),
        ["Error", "report::Event", "report::mask", "world"]
    );
    assert_eq!(uses("fn f() { crate::world::kube::go() }"), ["world::kube"]);
    assert!(uses("// crate::world::x\n/// [`crate::world`]").is_empty());
    assert!(uses("fn f() {}\n#[cfg(test)]\nmod tests {\nuse crate::world::x;\n}").is_empty());
    assert!(source("use kube::Client;").mentions("kube"));
    assert!(source("let x = kube::Client::new();").mentions("kube"));
    assert!(!source("use crate::world::kube::Kube;").mentions("kube"));
    assert!(!source("use super::kube::Kube; mykube::x();").mentions("kube"));
}
