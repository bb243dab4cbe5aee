//! FoundationDB by `fdbcli` in its own pod: the database says that it is whole, keys come back as
//! they were committed and at no earlier version, and what must be refused is refused.
//!
//! The client library is not linked: it is C, and would have to be on every host. `fdbcli` exits 0
//! whatever came of a command, so nothing is read from its exit code. A compare-and-set needs two
//! transactions that overlap, and `fdbcli` runs one command line to its end; in its place stand the
//! versions (nothing is read at a version before its commit) and a transaction that is rolled back.

use std::time::Duration;

use sha2::{Digest, Sha256};

pub(crate) use self::cli::Answer;
pub(crate) use self::status::Status;
use super::recorder::Outcome;
use super::{Options, Recorder, Surroundings, Target, door, version};
use crate::Result;

mod cli;
mod status;

/// Keys of the first transaction, and those set after the restart.
const KEYS: usize = 10;
const MORE_KEYS: usize = 5;

/// What `fdbcli` is given for one command line, in seconds, and what its program gets beyond.
const CLI_SECONDS: u64 = 20;
const CLI_DEADLINE: Duration = Duration::from_secs(CLI_SECONDS + 5);

/// The same for removing what was made, within the few seconds that the recorder gives.
const CLEAN_UP_SECONDS: u64 = 3;

/// The answer to a change without leave, and the code of a key that is not for users.
const NO_WRITE_MODE: &str = "writemode must be enabled";
const OUTSIDE_LEGAL_RANGE: u32 = 2004;

/// The checks that need keys.
struct Session<'a, 'b> {
    target: &'a Target,
    surroundings: &'a Surroundings<'b>,
    reach: Duration,
}

pub(super) async fn run(
    target: &Target,
    options: Options,
    surroundings: &Surroundings<'_>,
    recorder: &mut Recorder,
) -> Result<()> {
    let session = Session { target, surroundings, reach: options.reach };
    let tried = "ask fdbcli in the pod whether the database is available";
    if recorder.check("available", tried, session.available()).await.is_none() {
        return Ok(());
    }
    let tried = "find it recovered, whole, unlocked and of one process in status json";
    let Some(status) = recorder.check("healthy", tried, session.healthy(None)).await else {
        return Ok(());
    };
    if target.stand_in.is_none() && !target.floor.is_empty() {
        let tried =
            format!("find version {} or a newer one of its line", target.floor.join(" or "));
        recorder.check("version", tried, async { session.version(&status) }).await;
    }
    let tried = "set a key without writemode and be refused";
    recorder.check("read-only", tried, session.read_only()).await;
    let tried = "set a key of the system and be refused";
    recorder.check("system-key", tried, session.system_key()).await;

    session.with_keys(options.restart.then_some(&status), recorder).await;
    let tried = format!("clear the keys below {} and find none", session.prefix());
    recorder.clean_up("clean-up", tried, session.clear()).await;
    Ok(())
}

impl Session<'_, '_> {
    /// Stops at the first failure: the later checks count on the keys before.
    async fn with_keys(&self, before: Option<&Status>, recorder: &mut Recorder) -> Option<()> {
        let tried = format!("set {KEYS} keys in one transaction and see it committed");
        let first = recorder.check("write", tried, self.write(0..KEYS, 0)).await?;

        let tried = format!("read {KEYS} keys unchanged, at a version not before the commit");
        recorder.check("read-back", tried, self.read(KEYS, first)).await?;

        let tried = "set the same keys again: a later version, and as many keys";
        let again = recorder.check("write-again", tried, self.write_again(first)).await?;

        let tried = "change keys, roll the transaction back, and find them as they were";
        recorder.check("rollback", tried, self.rollback(again)).await?;

        let before = before?;
        let tried = "delete the pod and find a later generation of the same database";
        recorder.check("restart", tried, self.restart(before)).await?;

        let tried = format!("read the {KEYS} keys of before the restart");
        recorder.check("read-again", tried, self.read(KEYS, again)).await?;

        let tried = format!("set {MORE_KEYS} more keys and read all");
        recorder.check("write-more", tried, self.write_more(again)).await
    }

    async fn available(&self) -> Outcome<()> {
        let attempt = || async {
            let answer = self.cli("status minimal").await?;
            match answer.text().contains("The database is available") {
                true => Ok(answer.brief()),
                false => Err(answer.brief()),
            }
        };
        Ok(((), door::reach(self.reach, attempt).await?))
    }

    /// Recovered, and later than `before` was. Data counts as whole some moments after the database
    /// takes transactions.
    async fn healthy(&self, before: Option<&Status>) -> Outcome<Status> {
        let attempt = || async {
            let status = Status::parse(self.cli("status json").await?.stdout())?;
            let faults = status.faults(&self.target.component);
            match (faults.is_empty(), before) {
                (false, _) => Err(faults.join("; ")),
                (true, Some(before)) if status.generation() <= before.generation() => {
                    Err(format!("{}: nothing restarted", status.summary()))
                }
                (true, _) => Ok(status),
            }
        };
        let status = door::reach(self.reach, attempt).await?;
        let saw = status.summary();
        Ok((status, saw))
    }

    fn version(&self, status: &Status) -> Outcome<()> {
        let version = status.version().unwrap_or("no version");
        match version::at_least(version, &self.target.floor) {
            true => Ok(((), version.to_owned())),
            false => Err(format!("{version}, which has known faults: use a newer image")),
        }
    }

    async fn read_only(&self) -> Outcome<()> {
        let key = format!("{}read-only", self.prefix());
        let answer = self.cli(&format!("set {key} x")).await?;
        if let Some(version) = answer.committed() {
            return Err(format!("committed at version {version}"));
        }
        if !answer.text().contains(NO_WRITE_MODE) {
            return Err(format!("refused for another reason: {}", answer.brief()));
        }
        match self.cli(&format!("get {key}")).await? {
            there if there.is_not_found(&key) => Ok(((), answer.brief())),
            there => Err(format!("refused, and then {}", there.brief())),
        }
    }

    async fn system_key(&self) -> Outcome<()> {
        let key = format!(r"\xff/pipe-smoke/{}", self.target.run_id);
        let answer = self.cli(&format!("writemode on; set {key} x")).await?;
        match (answer.committed(), answer.error_code()) {
            (Some(version), _) => Err(format!("committed at version {version}")),
            (None, Some(OUTSIDE_LEGAL_RANGE)) => Ok(((), answer.brief())),
            (None, _) => Err(format!("refused for another reason: {}", answer.brief())),
        }
    }

    /// Sets keys in one transaction; the version at which it was committed, which must be later than
    /// `after`.
    async fn write(&self, keys: std::ops::Range<usize>, after: u64) -> Outcome<u64> {
        let count = keys.len();
        let sets: Vec<String> =
            keys.map(|index| format!("set {} {}", self.key(index), self.value(index))).collect();
        let line = format!("writemode on; begin; {}; commit", sets.join("; "));
        let answer = self.cli(&line).await?;
        match answer.committed() {
            Some(version) if version > after => {
                Ok((version, format!("{count} keys committed at version {version}")))
            }
            Some(version) => Err(format!("committed at version {version}, not after {after}")),
            None => Err(format!("no commit: {}", answer.brief())),
        }
    }

    /// All keys of this run, in one transaction whose version must not be before `not_before`.
    async fn read(&self, count: usize, not_before: u64) -> Outcome<()> {
        let (begin, end) = self.range();
        let answer = self.cli(&format!("begin; getversion; getrange {begin} {end} 1000")).await?;
        let version = answer.read_version();
        let version = version.ok_or_else(|| format!("no version: {}", answer.brief()))?;
        if version < not_before {
            return Err(format!("read at version {version}, before the commit at {not_before}"));
        }
        let pairs = answer.pairs();
        let mut digest = Sha256::new();
        for index in 0..count {
            let (key, value) = (self.key(index), self.value(index));
            match pairs.get(index) {
                Some((found, _)) if *found != key => {
                    return Err(format!("key {found} where {key} was due"));
                }
                Some((_, found)) if *found != value => {
                    return Err(format!("{key} is {found:?} instead of {value:?}"));
                }
                Some((key, value)) => digest.update(format!("{key} {value}\n")),
                None => return Err(format!("{} of {count} keys", pairs.len())),
            }
        }
        if pairs.len() > count {
            return Err(format!("{} keys more than were set", pairs.len() - count));
        }
        let digest = crate::digest::hex(digest.finalize().get(..6).unwrap_or_default());
        Ok(((), format!("{count} keys of digest {digest} as set, at version {version}")))
    }

    async fn write_again(&self, first: u64) -> Outcome<u64> {
        let (version, saw) = self.write(0..KEYS, first).await?;
        self.read(KEYS, version).await?;
        Ok((version, saw))
    }

    async fn rollback(&self, last: u64) -> Outcome<()> {
        let (old, new) = (self.key(0), self.key(KEYS));
        let line = format!("writemode on; begin; set {old} undone; set {new} undone; rollback");
        let answer = self.cli(&line).await?;
        if let Some(version) = answer.committed() {
            return Err(format!("committed at version {version}"));
        }
        if !answer.text().contains("Transaction rolled back") {
            return Err(answer.brief());
        }
        let ((), saw) = self.read(KEYS, last).await?;
        Ok(((), format!("rolled back; {saw}")))
    }

    async fn restart(&self, before: &Status) -> Outcome<()> {
        (self.surroundings.restart)().await.map_err(|error| error.to_string())?;
        let (_, saw) = self.healthy(Some(before)).await?;
        Ok(((), saw))
    }

    async fn write_more(&self, last: u64) -> Outcome<()> {
        let (version, _) = self.write(KEYS..KEYS + MORE_KEYS, last).await?;
        self.read(KEYS + MORE_KEYS, version).await
    }

    async fn clear(&self) -> Outcome<()> {
        let ((begin, end), key) = (self.range(), self.key(0));
        let seconds = CLEAN_UP_SECONDS;
        let line = format!("writemode on; clearrange {begin} {end}");
        let cleared = self.cli_within(seconds, &line).await?;
        if cleared.committed().is_none() {
            return Err(format!("no commit: {}", cleared.brief()));
        }
        let left = self.cli_within(seconds, &format!("getrange {begin} {end} 1000")).await?;
        if !left.pairs().is_empty() {
            return Err(format!("cleared, and {} keys are still there", left.pairs().len()));
        }
        match self.cli_within(seconds, &format!("get {key}")).await? {
            gone if gone.is_not_found(&key) => Ok(((), "cleared and gone".to_owned())),
            there => Err(format!("cleared; then {}", there.brief())),
        }
    }

    async fn cli(&self, commands: &str) -> Result<Answer, String> {
        self.cli_within(CLI_SECONDS, commands).await
    }

    /// One run of `fdbcli`, which finds its cluster by the container's `FDB_CLUSTER_FILE`.
    async fn cli_within(&self, seconds: u64, commands: &str) -> Result<Answer, String> {
        let exec = self.surroundings.exec.as_ref().ok_or("no way to run a program in its pod")?;
        let command = ["fdbcli", "--timeout", &seconds.to_string(), "--exec", commands];
        let said = exec(command.map(str::to_owned).to_vec(), CLI_DEADLINE).await;
        Answer::of(said.map_err(|error| error.to_string())?)
    }

    /// Below it stand the keys of this run.
    fn prefix(&self) -> String {
        format!("pipe/smoke/{}/", self.target.run_id)
    }

    /// From the first key of this run to behind the last.
    fn range(&self) -> (String, String) {
        // '0' follows '/'.
        (self.prefix(), format!("pipe/smoke/{}0", self.target.run_id))
    }

    fn key(&self, index: usize) -> String {
        format!("{}{index:03}", self.prefix())
    }

    /// Different for every run and key, so that nothing old or repeated passes for it.
    fn value(&self, index: usize) -> String {
        let seed = format!("{}-{index}", self.target.run_id);
        format!("{seed}-{}", crate::digest::hex(Sha256::digest(&seed).as_slice()))
    }
}
