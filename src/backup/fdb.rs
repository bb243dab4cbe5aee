//! FoundationDB: its own `fdbbackup` and `fdbrestore`, run in its pod, where they and their agent are; the
//! folder that they write and read travels as one archive through the API server.
//!
//! ```text
//! save.sh     agent + fdbbackup start -w ─▶ folder ─ describe ─▶ tar ─▶ 0001.tar ; agent and folder go
//! restore.sh  0001.tar ─▶ tar ─▶ folder ─ dry run ─ asked again ─▶ clearrange ─▶ agent + fdbrestore start -w ; both go
//! ```
//!
//! One connection holds all of it: where it breaks off, the script in the pod ends what it began.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use self::described::Described;
use self::pod::Pod;
use self::words::word;
use super::{Contents as AnyContents, Draft, Progress, Saved, Shelf, Target};
use crate::report::format;
use crate::smoke::fdb::{Answer, Status};
use crate::world::kube::{Heard, Telling};
use crate::{Error, Result};

mod described;
mod pod;
mod words;

const SAVE: &str = concat!(include_str!("fdb/common.sh"), include_str!("fdb/save.sh"));
const RESTORE: &str = concat!(include_str!("fdb/common.sh"), include_str!("fdb/restore.sh"));

/// What `fdbcli` is given for one command line, in seconds, and what its program gets beyond.
const CLI_SECONDS: u64 = 20;
const CLI_DEADLINE: Duration = Duration::from_secs(CLI_SECONDS + 5);

/// Why a database is locked that nobody locked by hand.
const LOCKED: &str = "a restore was cut off there, or somebody locked it";

/// What a backup of a database holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The database's own version of the moment that it is of.
    pub version: u64,
    /// Of keys and values, by its own count.
    pub bytes: u64,
    /// The folder that `fdbbackup` wrote, as a tar archive.
    pub file: String,
}

impl Contents {
    pub(super) fn summary(&self) -> String {
        format!("all keys at version {}", self.version)
    }

    pub(super) fn files(&self) -> Vec<&str> {
        vec![self.file.as_str()]
    }
}

/// What the database says of itself.
async fn status(pod: &Pod) -> Result<Status, String> {
    let status = Status::parse(cli(pod, "status json").await?.stdout())?;
    match status.is_available() {
        true => Ok(status),
        false => Err("the database is not available".to_owned()),
    }
}

/// One run of `fdbcli`, which finds its cluster by the container's `FDB_CLUSTER_FILE`.
async fn cli(pod: &Pod, commands: &str) -> Result<Answer, String> {
    let command = ["fdbcli", "--timeout", &CLI_SECONDS.to_string(), "--exec", commands];
    let said = pod.exec(&command.map(str::to_owned), CLI_DEADLINE).await;
    Answer::of(said.map_err(|error| error.to_string())?)
}

pub(super) async fn save(
    target: &Target,
    draft: &mut Draft<'_>,
    progress: &Progress,
) -> Result<Saved> {
    let unread = |why: String| target.unread(why);
    let pod = Pod::of(target).await?;
    let status = status(&pod).await.map_err(unread)?;
    if status.is_locked() {
        return Err(unread(format!("the database is locked: {LOCKED}")));
    }
    progress.item("all keys");
    let (_input, mut run) = pod.run(SAVE, &[(status.bytes() / 1024).to_string()]).await?;
    let mut file = draft.file("tar").await?;
    let mut described = None;
    loop {
        match run.next(false).await.map_err(unread)? {
            Heard::Output(bytes) => {
                file.write(&bytes).await?;
                progress.advance(bytes.len() as u64);
            }
            Heard::Line(line) => match word(&line) {
                Some(("at", written)) => {
                    progress.item(format!("all keys, {written} KiB in its pod"));
                }
                Some(("described", text)) => {
                    described = Some(Described::parse(text).map_err(unread)?);
                    progress.item("all keys");
                }
                _ => {}
            },
            Heard::Ended(0) => break,
            Heard::Ended(code) => return Err(run.failed(code).error(unread)),
        }
    }
    let Some(Described { version, bytes }) = described else {
        return Err(unread("it ended without a word of what it wrote".to_owned()));
    };
    let file = file.close().await?;
    let tenants = (status.tenants() > 0).then(|| {
        let tenants = format::count(status.tenants(), "tenant");
        format!("names of {tenants}: their keys come back, for a database that knows the same ones")
    });
    Ok(Saved {
        product: format!("FoundationDB {}", status.version().unwrap_or("of no version")),
        contents: AnyContents::Fdb(Contents { version, bytes, file }),
        left_out: tenants.into_iter().collect(),
    })
}

pub(super) async fn survey(target: &Target) -> Result<Vec<String>> {
    let failed = |why: String| target.unwritten(why);
    let pod = Pod::of(target).await?;
    let status = status(&pod).await.map_err(failed)?;
    if status.is_locked() {
        return Ok(vec![format!("whatever its database holds, which is locked: {LOCKED}")]);
    }
    let first = cli(&pod, r#"getrangekeys "" \xff 1"#).await.map_err(failed)?;
    match (first.error(), first.keys().is_empty()) {
        (Some(error), _) => Err(failed(error.to_owned())),
        (None, true) => Ok(Vec::new()),
        (None, false) => {
            let size = format::bytes(status.bytes());
            Ok(vec![format!("every key of its database (about {size} with their values)")])
        }
    }
}

pub(super) async fn restore(
    target: &Target,
    contents: &Contents,
    bytes: u64,
    shelf: &Shelf<'_>,
    progress: &Progress,
) -> Result<()> {
    let pod = Pod::of(target).await?;
    let content = shelf.open(&contents.file).await?;
    progress.item("sending the backup to its pod");
    let arguments = [bytes.to_string(), contents.version.to_string()];
    let (mut input, mut run) = pod.run(RESTORE, &arguments).await?;
    let mut feed = pin!(async {
        let mut content = content;
        while let Some(chunk) = content.next().await {
            let chunk = chunk?;
            input.tell(&chunk).await?;
            progress.advance(chunk.len() as u64);
        }
        Ok::<Telling, Error>(input)
    });
    let (mut feeding, mut ready, mut touched) = (false, false, false);
    let (mut input, mut restored) = (None::<Telling>, None);
    loop {
        let failed = |why: String| match touched {
            true => target.unwritten(why),
            false => target.untouched(why),
        };
        if let (Some(input), true, false) = (&mut input, ready, touched) {
            progress.item("all keys");
            input.tell(b"go on\n").await.map_err(|error| failed(error.to_string()))?;
            touched = true;
            continue;
        }
        let heard = tokio::select! {
            fed = &mut feed, if feeding => {
                input = Some(fed.map_err(|error| failed(error.to_string()))?);
                feeding = false;
                continue;
            }
            heard = run.next(feeding) => heard,
        };
        match heard.map_err(failed)? {
            Heard::Line(line) => match word(&line) {
                Some(("send", _)) => feeding = true,
                Some(("ready", _)) => ready = true,
                Some(_) => {}
                None => restored = version_of(&line).or(restored),
            },
            Heard::Output(_) => {}
            Heard::Ended(0) => break,
            Heard::Ended(code) => return Err(run.failed(code).error(failed)),
        }
    }
    let version = contents.version;
    if restored != Some(version) {
        let restored = restored.map_or_else(|| "none".to_owned(), |version| version.to_string());
        return Err(target.unwritten(format!("version {restored} came back instead of {version}")));
    }
    let unwritten = |why: String| target.unwritten(why);
    match status(&pod).await.map_err(unwritten)?.is_locked() {
        true => Err(target.unwritten("the database stayed locked")),
        false => Ok(()),
    }
}

/// `Restored to version 123`: the version.
fn version_of(line: &str) -> Option<u64> {
    line.strip_prefix("Restored to version ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it_is_said() {
        let contents = Contents { version: 12, bytes: 2048, file: "0001.tar".into() };
        assert_eq!(contents.summary(), "all keys at version 12");
        assert_eq!(contents.files(), ["0001.tar"]);
    }

    #[test]
    fn only_the_last_word_of_fdbrestore_is_a_version() {
        assert_eq!(version_of("Restored to version 123"), Some(123));
        assert_eq!(version_of("Restoring backup to version: 123"), None);
    }
}
