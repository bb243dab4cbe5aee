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
        }
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
            let words: Vec<&str> = command.split(' ').collect();
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
                ["set", key, _]
                    if key.starts_with(r"\xff") && self.lie != Lie::AcceptsSystemKeys =>
                {
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
    "data": {{"state": {{"healthy": {whole}, "name": "{data}"}}}},
    "database_lock_state": {{"locked": false}},
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
