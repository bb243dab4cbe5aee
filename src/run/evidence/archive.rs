//! The archive itself: items in, a compressed tar out, with an index that says what is where.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use crate::Error;

/// One thing that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Where it goes in the archive: `nodes/dev-worker/kubelet.txt`.
    pub(super) path: String,
    /// What it is.
    pub(super) what: String,
    /// Its text without secrets, or why it could not be had.
    pub(super) content: Result<Vec<u8>, String>,
    /// Bytes that were left out at its beginning.
    pub(super) cut: usize,
}

/// A step that failed.
#[derive(Clone, Debug)]
pub(super) struct FailedStep {
    /// Its id.
    pub(super) id: String,
    /// What it does.
    pub(super) summary: String,
    /// What failed.
    pub(super) error: String,
}

/// What the index says first.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// The folder in the archive.
    pub(super) stem: String,
    /// The cluster.
    pub(super) cluster: String,
    /// When it was gathered.
    pub(super) at: Timestamp,
    /// Steps that failed in the last run, the first of them first.
    pub(super) failed: Vec<FailedStep>,
    /// The failure that this is the evidence of; none if a user asked for it.
    pub(super) error: Option<Error>,
    /// How long gathering took.
    pub(super) took: Duration,
    /// What took longest.
    pub(super) longest: Vec<(String, Duration)>,
}

/// Packs the items behind their index; what is beyond `at_most` bytes is left out, and said.
pub(super) fn pack(head: &Head, mut items: Vec<Item>, at_most: usize) -> io::Result<Vec<u8>> {
    let mut room = at_most;
    for item in &mut items {
        let size = item.content.as_ref().map_or(0, Vec::len);
        if size > room {
            item.content = Err(format!("left out: the archive may have {at_most} bytes"));
            continue;
        }
        room -= size;
    }
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    append(&mut builder, head, "index.md", index(head, &items).as_bytes())?;
    for item in &items {
        if let Ok(content) = &item.content {
            append(&mut builder, head, &item.path, content)?;
        }
    }
    builder.into_inner()?.finish()
}

fn append<W: io::Write>(
    builder: &mut tar::Builder<W>,
    head: &Head,
    path: &str,
    content: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(content.len() as u64);
    header.set_mtime(u64::try_from(head.at.as_second()).unwrap_or(0));
    builder.append_data(&mut header, format!("{}/{path}", head.stem), content)
}

/// What is where, the failing step first.
pub(super) fn index(head: &Head, items: &[Item]) -> String {
    let mut text = String::new();
    let at = head.at.strftime("%Y-%m-%d %H:%M:%S UTC");
    let _ = writeln!(text, "# Evidence of cluster {}, {at}\n", head.cluster);
    failure(&mut text, head);
    let _ = writeln!(text, "Secrets are masked: `•••` stands for one.\n");
    let _ = writeln!(text, "## What is where\n\n| file | what | bytes |\n| --- | --- | --- |");
    for item in items {
        if let Ok(content) = &item.content {
            let cut = if item.cut > 0 {
                format!(" (its first {} bytes are left out)", item.cut)
            } else {
                String::new()
            };
            let _ = writeln!(text, "| {} | {}{cut} | {} |", item.path, item.what, content.len());
        }
    }
    let missing: Vec<&Item> = items.iter().filter(|item| item.content.is_err()).collect();
    if !missing.is_empty() {
        let _ = writeln!(
            text,
            "\n## What could not be had\n\n| file | what | why |\n| --- | --- | --- |"
        );
        for item in missing {
            let why = item.content.as_ref().err().map_or("", String::as_str);
            let why = why.trim().replace('\n', "<br>").replace('|', "\\|");
            let _ = writeln!(text, "| {} | {} | {why} |", item.path, item.what);
        }
    }
    let seconds = |took: &Duration| format!("{:.1} s", took.as_secs_f64());
    let longest = head.longest.iter().map(|(path, took)| format!("{path} {}", seconds(took)));
    let longest: Vec<String> = longest.collect();
    let _ =
        writeln!(text, "\nGathered in {}; longest: {}", seconds(&head.took), longest.join(", "));
    text
}

fn failure(text: &mut String, head: &Head) {
    if head.failed.is_empty() && head.error.is_none() {
        let _ = writeln!(text, "The last run did not fail; these were asked for.\n");
        return;
    }
    let _ = writeln!(text, "## What failed\n");
    for step in &head.failed {
        let _ = writeln!(text, "- step `{}` ({}): {}", step.id, step.summary, step.error);
    }
    if let Some(error) = &head.error {
        let shown = crate::report::error::text(error, crate::report::Style::PLAIN);
        let _ = writeln!(text, "\n```text\n{}\n```", shown.trim_end());
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn head() -> Head {
        Head {
            stem: "pipe-dev-20261121T091200Z".to_owned(),
            cluster: "dev".to_owned(),
            at: "2026-11-21T09:12:00Z".parse().unwrap(),
            failed: vec![FailedStep {
                id: "serve/nats".to_owned(),
                summary: "wait for nats".to_owned(),
                error: "nats did not become ready within 15 s".to_owned(),
            }],
            error: Some(
                Error::timed_out("component-not-ready", "nats did not become ready within 15 s")
                    .because("pod nats-0 is Pending")
                    .hint("look at it"),
            ),
            took: Duration::from_millis(2_340),
            longest: vec![("cluster/pods.txt".to_owned(), Duration::from_millis(2_100))],
        }
    }

    fn item(path: &str, content: Result<&[u8], &str>) -> Item {
        Item {
            path: path.to_owned(),
            what: "something".to_owned(),
            content: content.map(<[u8]>::to_vec).map_err(str::to_owned),
            cut: 0,
        }
    }

    #[test]
    fn the_index_says_what_failed_what_is_where_and_what_is_not() {
        let mut items = vec![
            item("doctor.json", Ok(b"{}")),
            item("cluster/pods.txt", Err("exit code 1\nconnection refused | gone")),
        ];
        items[0].cut = 12;
        insta::assert_snapshot!(index(&head(), &items));
        let asked = Head { failed: Vec::new(), error: None, ..head() };
        assert!(index(&asked, &[]).contains("did not fail"));
    }

    #[test]
    fn the_index_comes_first_and_what_is_too_much_is_left_out() {
        let much = vec![b'x'; 99];
        let items =
            vec![item("a.txt", Ok(b"one")), item("b.txt", Ok(&much)), item("c.txt", Ok(b"two"))];
        let packed = pack(&head(), items, 100).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            seen.push((path, text));
        }
        let paths: Vec<&str> = seen.iter().map(|(path, _)| path.as_str()).collect();
        let folder = "pipe-dev-20261121T091200Z";
        assert_eq!(paths, ["index.md", "a.txt", "c.txt"].map(|name| format!("{folder}/{name}")));
        assert!(
            seen[0].1.contains("| b.txt | something | left out: the archive may have 100 bytes |")
        );
    }
}
