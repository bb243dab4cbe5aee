//! A fake FoundationDB: `fdbcli` in small over a table in memory, which can lie. It proves how we ask,
//! and nothing of FoundationDB. Without any crate, so that a test can make a program of it for a pod
//! (`foundationdb_program.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    None,
    /// The first answers say that there is no database yet.
    LateAtFirst,
    Unavailable,
    Recovering,
    DataMissing,
    OfAnotherPod,
    OldVersion,
    WritesWithoutLeave,
    RefusesForAnotherReason,
    AcceptsSystemKeys,
    /// Says committed, and is not.
    LosesAKey,
    Corrupts,
    ReadsOldVersions,
    VersionStandsStill,
    KeepsWhatIsRolledBack,
    DoesNotRestart,
    ForgetsOnRestart,
    KeepsKeys,
    /// `fdbcli` reaches nobody, and its own limit ends it, with exit code 0.
    TimesOut,
    /// The connection opens, and nothing is said.
    Silent,
    NoProgram,
    /// The connection breaks in the middle of an answer.
    BreaksOff,
}

/// Everything that there is.
pub struct Database {
    pub lie: Lie,
    /// Who answers: the pod that `status json` names, and its address.
    pub pod: String,
    pub address: String,
    pub configured: bool,
    pub pairs: BTreeMap<String, String>,
    pub version: u64,
    pub generation: u64,
    pub questions: u32,
    /// Backups and restores, which an agent works at; the last of each kind.
    pub work: BTreeMap<String, Work>,
}

/// A backup or a restore.
pub struct Work {
    pub folder: String,
    /// `running`, `completed` or `aborted`.
    pub state: &'static str,
}

impl Database {
    /// An empty one in its second generation.
    pub fn new(lie: Lie, pod: &str, address: &str) -> Database {
        Database {
            lie,
            pod: pod.to_owned(),
            address: address.to_owned(),
            configured: true,
            pairs: BTreeMap::new(),
            version: 1_000,
            generation: 2,
            questions: 0,
            work: BTreeMap::new(),
        }
    }

    /// Whether a restore keeps all others out.
    fn locked(&self) -> bool {
        self.work.get("restore").is_some_and(|work| work.state == "running")
    }

    /// Takes `work backup` or `work restore` for an agent, who asks for it and says what came of it: an
    /// answer and an error, of which one is empty.
    pub fn work(&mut self, command: &[&str]) -> (String, String) {
        let refused = |why: &str| (String::new(), why.to_owned());
        let running = |work: &&mut Work| work.state == "running";
        match command {
            ["submit", "backup", _] if self.is_running("backup") => {
                refused("ERROR: A backup is already running on tag `pipe'")
            }
            ["submit", "restore", _] if !self.pairs.is_empty() => {
                refused("ERROR: Attempted to restore into a non-empty destination database")
            }
            ["submit", kind, folder] => {
                let work = Work { folder: (*folder).to_owned(), state: "running" };
                self.work.insert((*kind).to_owned(), work);
                (String::new(), String::new())
            }
            ["abort", kind] => match self.work.get_mut(*kind).filter(running) {
                Some(work) => {
                    work.state = "aborted";
                    (String::new(), String::new())
                }
                None => refused("ERROR: A backup was not running on tag `pipe'"),
            },
            ["state", kind] => {
                let state = self.work.get(*kind).map_or("never ran", |work| work.state);
                (state.to_owned(), String::new())
            }
            ["next"] => {
                let next = self.work.iter().find(|(_, work)| work.state == "running");
                let next = next.map(|(kind, work)| format!("{kind} {}", work.folder));
                (next.unwrap_or_default(), String::new())
            }
            ["read"] => (self.table(), String::new()),
            ["fill", table] => {
                self.pairs = pairs(table.lines());
                (String::new(), String::new())
            }
            ["done", kind] => {
                if let Some(work) = self.work.get_mut(*kind).filter(running) {
                    work.state = "completed";
                }
                (String::new(), String::new())
            }
            other => panic!("no agent asks {other:?}"),
        }
    }

    fn is_running(&self, kind: &str) -> bool {
        self.work.get(kind).is_some_and(|work| work.state == "running")
    }

    /// The version, then a key and its value on each line.
    pub fn table(&self) -> String {
        let lines = self.pairs.iter().map(|(key, value)| format!("{key} {value}\n"));
        format!("{}\n{}", self.version, lines.collect::<String>())
    }

    /// `fdbcli --timeout SECONDS --exec COMMANDS`: what it prints on both streams.
    pub fn fdbcli(&mut self, command: &[String]) -> (String, String) {
        let ["fdbcli", "--timeout", seconds, "--exec", commands] =
            command.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            panic!("{command:?}");
        };
        assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "always a limit");
        if self.lie == Lie::TimesOut {
            return (String::new(), "Specified timeout reached -- exiting...\n".to_owned());
        }
        self.questions += 1;
        let (mut out, mut errors) = (String::new(), String::new());
        let mut write_mode = self.lie == Lie::WritesWithoutLeave;
        // Changes of an open transaction.
        let mut open: Option<BTreeMap<String, String>> = None;
        let commands: Vec<&str> = commands.split(';').map(str::trim).collect();
        for command in &commands {
            if commands.len() > 1 {
                writeln!(out, ">>> {command}").unwrap();
            }
            let words: Vec<&str> = command.split(' ').map(written).collect();
            if self.locked() && words[0] != "status" {
                errors += "ERROR: Database is locked (1038)\n";
                break;
            }
            match words[..] {
                ["status", "minimal"] => out += self.minimal(),
                ["status", "json"] => out += &self.status(),
                ["configure", "new", "single", "ssd"] if self.configured => {
                    errors += "ERROR: Database already exists! To change configuration, don't say `new'\n";
                    break;
                }
                ["configure", "new", "single", "ssd"] => {
                    self.configured = true;
                    out += "Database created\n";
                }
                ["writemode", "on"] => write_mode = true,
                ["begin"] => {
                    open = Some(BTreeMap::new());
                    out += "Transaction started\n";
                }
                ["getversion"] => {
                    let old = if self.lie == Lie::ReadsOldVersions { 900 } else { 0 };
                    writeln!(out, "{}", self.version - old).unwrap();
                }
                ["set", key, _] if key.starts_with(END) && self.lie != Lie::AcceptsSystemKeys => {
                    errors += "ERROR: Key outside legal range (2004)\n";
                    break;
                }
                ["set", ..] if !write_mode => {
                    errors += match self.lie {
                        Lie::RefusesForAnotherReason => "ERROR: Transaction timed out (1031)\n",
                        _ => {
                            "ERROR: writemode must be enabled to set or clear keys in the database.\n"
                        }
                    };
                    break;
                }
                ["set", key, value] => match &mut open {
                    Some(open) => drop(open.insert(key.to_owned(), value.to_owned())),
                    None => {
                        let one = BTreeMap::from([(key.to_owned(), value.to_owned())]);
                        self.commit(one, &mut out);
                    }
                },
                ["clear", key] => {
                    self.pairs.remove(key);
                }
                ["commit"] => self.commit(open.take().unwrap(), &mut out),
                ["rollback"] => {
                    let undone = open.take().unwrap();
                    if self.lie == Lie::KeepsWhatIsRolledBack {
                        self.pairs.extend(undone);
                    }
                    out += "Transaction rolled back\n";
                }
                ["clearrange", begin, end] => {
                    if self.lie != Lie::KeepsKeys {
                        self.pairs.retain(|key, _| !(begin..end).contains(&key.as_str()));
                    }
                    self.commit(BTreeMap::new(), &mut out);
                }
                ["get", key] => match self.pairs.get(key) {
                    Some(value) => writeln!(out, "`{key}' is `{value}'").unwrap(),
                    None => writeln!(out, "`{key}': not found").unwrap(),
                },
                ["getrangekeys", begin, end, limit] => {
                    write!(out, "\nRange limited to {limit} keys\n").unwrap();
                    let keys = self.pairs.range(begin.to_owned()..end.to_owned());
                    for (key, _) in keys.take(limit.parse().unwrap()) {
                        writeln!(out, "`{key}'").unwrap();
                    }
                    out += "\n";
                }
                ["getrange", begin, end, limit] => {
                    write!(out, "\nRange limited to {limit} keys\n").unwrap();
                    for (key, value) in self.pairs.range(begin.to_owned()..end.to_owned()) {
                        writeln!(out, "`{key}' is `{value}'").unwrap();
                    }
                    out += "\n";
                }
                _ => panic!("fdbcli does not know {command:?}"),
            }
        }
        (out, errors)
    }

    fn commit(&mut self, changes: BTreeMap<String, String>, out: &mut String) {
        if self.lie != Lie::VersionStandsStill {
            self.version += 100;
        }
        let many = changes.len() > 1;
        self.pairs.extend(changes);
        match self.lie {
            Lie::LosesAKey if many => drop(self.pairs.pop_last()),
            Lie::Corrupts if many => {
                let mut values = self.pairs.values_mut();
                values.next().unwrap().push('x');
            }
            _ => {}
        }
        writeln!(out, "Committed ({})", self.version).unwrap();
    }

    fn minimal(&self) -> &'static str {
        let late = self.lie == Lie::LateAtFirst && self.questions < 3;
        match late || !self.configured || self.lie == Lie::Unavailable {
            true => "The database is unavailable; type `status' for more information.\n",
            false => "The database is available.\n",
        }
    }

    fn status(&self) -> String {
        let lie = self.lie;
        let recovery = if lie == Lie::Recovering { "accepting_commits" } else { "fully_recovered" };
        let data = if lie == Lie::DataMissing { "missing_data" } else { "healthy" };
        let pod = if lie == Lie::OfAnotherPod { "other-0" } else { &self.pod };
        let version = if lie == Lie::OldVersion { "7.3.67" } else { "7.3.78" };
        let (address, generation) = (&self.address, self.generation);
        let whole = data == "healthy";
        let locked = self.locked();
        let bytes: usize = self.pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        format!(
            r#"
{{
  "client": {{
    "coordinators": {{
      "coordinators": [{{"address": "{address}", "reachable": true}}],
      "quorum_reachable": true
    }},
    "database_status": {{"available": true, "healthy": {whole}}},
    "messages": []
  }},
  "cluster": {{
    "configuration": {{"redundancy_mode": "single", "storage_engine": "ssd-2"}},
    "data": {{"state": {{"healthy": {whole}, "name": "{data}"}}, "total_kv_size_bytes": {bytes}}},
    "database_lock_state": {{"locked": {locked}}},
    "generation": {generation},
    "messages": [],
    "processes": {{"a1": {{
      "address": "{address}", "excluded": false, "version": "{version}",
      "locality": {{"instance_id": "{pod}", "zoneid": "dev-control-plane"}}
    }}}},
    "recovery_state": {{"name": "{recovery}", "description": "Described."}}
  }}
}}
"#
        )
    }
}

/// Behind every key of users: `\xff` in words of `fdbcli`.
const END: &str = "\u{10ffff}";

/// A word as `fdbcli` reads it.
fn written(word: &str) -> &str {
    match word {
        "\"\"" => "",
        r"\xff" => END,
        word if word.starts_with(r"\xff/") => END,
        word => word,
    }
}

/// A key and its value on each line.
pub fn pairs<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let pairs = lines.filter_map(|line| line.split_once(' '));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
