//! Turns what `scripts/verify-host` collected into `report.json` and `report.md`; says nothing that
//! was not recorded, and names nobody.

#![allow(clippy::disallowed_methods, reason = "a program of its own, at the edge")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Lines of a log that a failed step shows.
const TAIL: usize = 15;

/// Characters of a failure's text.
const WHY: usize = 1500;

/// Letters and digits in a row that may be a generated password.
const SECRET: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: host_report FOLDER")?);
    let report = report(&folder, &Mask::read())?;
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    fs::write(folder.join("report.md"), markdown(&report))?;
    Ok(())
}

/// What must not be in a report, and what stands for it.
struct Mask(Vec<(String, &'static str)>);

impl Mask {
    /// This user's home, name and host.
    fn read() -> Mask {
        let known = |name: &str| std::env::var(name).ok();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let words = [
            (host.or_else(|| known("HOSTNAME")), "[host]"),
            (known("USER").or_else(|| known("LOGNAME")).filter(|name| name != "root"), "[user]"),
        ];
        let words = words.into_iter().filter_map(|(word, stand_in)| {
            let word = word?.trim().to_owned();
            // A short or common word would garble the report more than it hides.
            (word.len() > 2 && word != "localhost").then_some((word, stand_in))
        });
        Mask(home(known("HOME").as_deref()).chain(words).collect())
    }

    fn apply(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, (word, by)| text.replace(word, by));
        let mut clean = String::new();
        let mut run = String::new();
        for character in text.chars().chain(['\n']) {
            if character.is_ascii_alphanumeric() {
                run.push(character);
                continue;
            }
            clean += if is_secret(&run) { "[secret]" } else { &run };
            run.clear();
            clean.push(character);
        }
        clean.pop();
        clean
    }
}

/// A home as a folder and as a value, never as the beginning of a longer name: `/root` is that of
/// `/rootfs`.
fn home(home: Option<&str>) -> impl Iterator<Item = (String, &'static str)> {
    let home = home.map(|home| home.trim_end_matches('/')).filter(|home| !home.is_empty());
    home.into_iter().flat_map(|home| {
        [
            (format!("{home}/"), "[home]/"),
            (format!("{home}\""), "[home]\""),
            (format!("{home} "), "[home] "),
        ]
    })
}

/// Digests are lower-case, names have no digits among capitals: only keys and passwords mix all.
fn is_secret(run: &str) -> bool {
    let has = |of: fn(&char) -> bool| run.chars().any(|character| of(&character));
    run.len() >= SECRET
        && has(char::is_ascii_digit)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_uppercase)
}

fn report(folder: &Path, mask: &Mask) -> Result<Value, Box<dyn Error>> {
    let facts: Vec<Value> = fs::read_to_string(folder.join("facts"))?
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, value)| json!({ "name": name, "value": mask.apply(value) }))
        .collect();
    let results = results(folder, mask)?;
    let mut count: BTreeMap<&str, usize> =
        ["passed", "failed", "skipped", "unfinished", "not-run"].map(|of| (of, 0)).into();
    for outcome in results.iter().filter_map(|result| result["outcome"].as_str()) {
        *count.entry(outcome).or_default() += 1;
    }
    let doctor = fs::read_to_string(folder.join("doctor.json")).unwrap_or_default();
    let doctor: Value = serde_json::from_str(&mask.apply(&doctor)).unwrap_or_default();
    Ok(
        json!({ "schema": 1, "facts": facts, "summary": count, "results": results, "doctor": doctor }),
    )
}

/// One entry for each test and step, in the order they began; tests that never began come last.
fn results(folder: &Path, mask: &Mask) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut order: Vec<String> = Vec::new();
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    for line in fs::read_to_string(folder.join("results.jsonl"))?.lines() {
        let event: Value = serde_json::from_str(line)?;
        let test = event["test"].as_str().ok_or("a result without a name")?.to_owned();
        if last.insert(test.clone(), event).is_none() {
            order.push(test);
        }
    }
    let mut results = Vec::new();
    for test in &order {
        let event = &last[test];
        // Whatever began and said no more did not end.
        let outcome = match event["event"].as_str() {
            Some("started") => "unfinished",
            Some(outcome) => outcome,
            None => return Err(format!("{test} has no outcome").into()),
        };
        let mut why = event["why"].as_str().unwrap_or_default().to_owned();
        if outcome == "failed" {
            why += &tail(&folder.join(format!("{test}.log")));
        }
        let why: String = mask.apply(&why).chars().take(WHY).collect();
        let mut result = json!({ "test": test, "outcome": outcome, "seconds": event["seconds"] });
        if !why.is_empty() {
            result["why"] = why.into();
        }
        results.push(result);
    }
    let begun: BTreeSet<&String> = order.iter().collect();
    let all = fs::read_to_string(folder.join("tests")).unwrap_or_default();
    let never = all.lines().map(str::to_owned).filter(|test| !begun.contains(test));
    results
        .extend(never.map(|test| json!({ "test": test, "outcome": "not-run", "seconds": null })));
    Ok(results)
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| format!("\n{line}")).collect()
}

fn markdown(report: &Value) -> String {
    let mut text = String::from(
        "# A host, verified by `scripts/verify-host`\n\n| what | found |\n| --- | --- |\n",
    );
    let cell = |value: &Value| value.as_str().unwrap_or_default().replace('|', "\\|");
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    for fact in list("facts") {
        let _ = writeln!(text, "| {} | {} |", cell(&fact["name"]), cell(&fact["value"]));
    }
    let _ = writeln!(text, "\n## Results\n");
    let count = |of: &str| report["summary"][of].as_u64().unwrap_or_default();
    let counts = ["passed", "failed", "skipped", "unfinished", "not-run"];
    let counts: Vec<String> = counts.iter().map(|of| format!("{} {of}", count(of))).collect();
    let _ = writeln!(
        text,
        "{}\n\n| test | outcome | seconds | why |\n| --- | --- | --- | --- |",
        counts.join(", ")
    );
    let mut details = String::new();
    for result in list("results") {
        let seconds = result["seconds"].as_f64().filter(|seconds| *seconds > 0.0);
        let seconds = seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
        let (test, outcome, why) =
            (cell(&result["test"]), cell(&result["outcome"]), cell(&result["why"]));
        let first = why.lines().next().unwrap_or_default();
        let _ = writeln!(text, "| {test} | {outcome} | {seconds} | {first} |");
        if why.lines().nth(1).is_some() {
            let indented: String = why.lines().map(|line| format!("    {line}\n")).collect();
            let _ = writeln!(details, "\n### {test}\n\n{indented}");
        }
    }
    text += &details;
    if !report["doctor"].is_null() {
        let doctor = serde_json::to_string_pretty(&report["doctor"]).unwrap_or_default();
        let _ = writeln!(text, "\n## `pipe doctor --json`\n\n```json\n{doctor}\n```");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_those_that_were_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("facts", "system\tDebian of ada\nkernel\tLinux 6\n");
        write(
            "results.jsonl",
            "{\"test\":\"build\",\"event\":\"passed\",\"seconds\":3,\"why\":\"\"}\n\
             {\"test\":\"a\",\"event\":\"started\"}\n{\"test\":\"a\",\"event\":\"passed\",\"seconds\":2.5}\n\
             {\"test\":\"b\",\"event\":\"started\"}\n\
             {\"test\":\"c\",\"event\":\"skipped\",\"why\":\"no root\"}\n\
             {\"test\":\"end-to-end\",\"event\":\"failed\",\"seconds\":9,\"why\":\"see below\"}\n",
        );
        write("end-to-end.log", "first\nNATS_PASSWORD=jOoXTZhcjQ0b9pNFUKKxoYQzzq8WlCZS of ada\n");
        write("tests", "a\nb\nc\nd\n");
        let mask = Mask(vec![("ada".to_owned(), "[user]")]);
        let report = report(folder.path(), &mask).unwrap();
        assert_eq!(
            report["summary"],
            json!({"passed": 2, "failed": 1, "skipped": 1, "unfinished": 1, "not-run": 1})
        );
        let text = markdown(&report);
        assert!(text.contains("| system | Debian of [user] |"), "{text}");
        assert!(
            text.contains("| b | unfinished |  |  |") && text.contains("| d | not-run |"),
            "{text}"
        );
        assert!(
            text.contains("| c | skipped |  | no root |") && text.contains("| a | passed | 2.5 |")
        );
        assert!(text.contains("NATS_PASSWORD=[secret] of [user]"), "{text}");
    }

    #[test]
    fn a_home_is_hidden_and_what_only_begins_like_it_is_not() {
        let mask = Mask(home(Some("/root")).collect());
        let text = r#"{"a": "/root", "b": "/root/.cache", "c": "/rootfs"} in /root now"#;
        let wanted = r#"{"a": "[home]", "b": "[home]/.cache", "c": "/rootfs"} in [home] now"#;
        assert_eq!(mask.apply(text), wanted);
        assert_eq!(home(Some("/")).count() + home(None).count(), 0);
    }

    #[test]
    fn digests_and_names_are_no_secrets() {
        let mask = Mask(Vec::new());
        for text in [
            "sha256:1aa3a3b2f9a9b2ee15e5fbf045ba37b2be3db2ffd09e4321c732638451eca5c3",
            "single_from_nothing_to_proven_and_back",
        ] {
            assert_eq!(mask.apply(text), text);
        }
    }
}
