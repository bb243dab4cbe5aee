//! The image verifier, as files of a node.
//!
//! containerd runs *every* file of its folder, so nothing lies there but what is to be run. A live
//! node asks it at any moment: a new one is put beside the old and takes its place by a rename.

use sha2::{Digest as _, Sha256};

use crate::digest;
use crate::verifier::config::{self, Config};
use crate::world::engine::FileToPut;
use crate::world::executable::Executable;
use crate::{Error, Result};

/// The program's name in an installation of `pipe`.
pub const PROGRAM: &str = "pipe-verifier";

/// The folder whose files containerd runs, without any configuration.
pub const BIN: &str = "/opt/containerd/image-verifier/bin";

/// What the program needs beside itself, and where new files wait for their turn.
const OWN: &str = "/opt/pipe";

/// The verifier of a node.
#[derive(Clone)]
pub struct Delivery {
    /// Loader, libraries and program, where it is not static.
    support: Vec<FileToPut>,
    /// Their folder.
    folder: String,
    /// What containerd runs.
    entry: FileToPut,
    config: FileToPut,
}

impl Delivery {
    /// Of a program that [`Executable::beside`] found, told `config`.
    ///
    /// # Errors
    /// None for a configuration that could be made.
    pub fn new(executable: Executable, config: &Config) -> Result<Delivery> {
        let at = format!("{BIN}/{PROGRAM}");
        let folder = format!("{OWN}/verifier-{}", executable.fingerprint());
        let command = executable.command(&folder);
        let mut support = executable.files(&folder);
        let entry = match command.as_slice() {
            // One static program: it is the entry itself.
            [_program] => support.pop().map(|program| program.content),
            command => Some(script(command).into_bytes()),
        };
        let entry = entry.ok_or_else(|| Error::bug("the verifier has no program"))?;
        Ok(Delivery {
            support,
            folder,
            entry: FileToPut::new(at, 0o755, entry),
            config: FileToPut::new(config::FILE, 0o644, config.to_text()?),
        })
    }

    /// Names exactly this program and configuration, to tell whether a node has them.
    pub fn fingerprint(&self) -> String {
        let parts = [self.folder.as_bytes(), &self.entry.content, &self.config.content];
        let hashes = parts.map(Sha256::digest).concat();
        digest::hex(Sha256::digest(hashes).get(..6).unwrap_or_default())
    }

    /// The files, for a node that does not run yet. What containerd runs comes last.
    pub fn files(self) -> Vec<FileToPut> {
        let mut files = self.support;
        files.extend([self.config, self.entry]);
        files
    }

    /// The files for a node that runs, and then the commands in it that put them in force, in this
    /// order. containerd needs no restart for it.
    pub fn replacement(self) -> (Vec<FileToPut>, Vec<Vec<String>>) {
        let mut files = self.support;
        let mut commands = Vec::new();
        let folder =
            |path: &str| path.rsplit_once('/').map_or(path, |(folder, _)| folder).to_owned();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        commands.push(words(&[
            "mkdir",
            "-p",
            &folder(&self.entry.path),
            &folder(&self.config.path),
        ]));
        // The configuration first: a verifier without one refuses everything.
        for (name, file) in [("verifier.json", self.config), (PROGRAM, self.entry)] {
            let waiting = format!("{OWN}/{name}.new");
            commands.push(words(&["mv", "-f", &waiting, &file.path]));
            files.push(FileToPut { path: waiting, ..file });
        }
        // Programs of before, which nobody starts any more.
        let kept = self.folder.rsplit('/').next().unwrap_or_default();
        commands.push(words(&[
            "find",
            OWN,
            "-mindepth",
            "1",
            "-maxdepth",
            "1",
            "-name",
            "verifier-*",
            "!",
            "-name",
            kept,
            "-exec",
            "rm",
            "-rf",
            "{}",
            "+",
        ]));
        (files, commands)
    }
}

/// Starts a program with its own loader and libraries. If that fails, so does the script: refused.
fn script(command: &[String]) -> String {
    // Paths of ours: nothing in them means anything to a shell.
    format!("#!/bin/sh\nexec {} \"$@\"\n", command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::forbidden::Forbidden;
    use crate::verifier::config::{Mode, VERDICTS, VERSION};

    fn config(mode: Mode) -> Config {
        Config {
            version: VERSION,
            mode,
            cache: "http://10.89.0.2:5000".to_owned(),
            keys: vec!["-----BEGIN PUBLIC KEY-----".to_owned()],
            allowed: Vec::new(),
            forbidden: Forbidden::default(),
            verdicts: VERDICTS.into(),
        }
    }

    fn delivery(mode: Mode) -> Delivery {
        Delivery::new(Executable::example(PROGRAM, true), &config(mode)).unwrap()
    }

    fn paths(files: &[FileToPut]) -> Vec<String> {
        files.iter().map(|file| format!("{:o} {}", file.mode, file.path)).collect()
    }

    /// Nothing lies in containerd's folder but what is to be run.
    #[test]
    fn a_program_with_libraries_is_started_by_a_script() {
        let delivery = delivery(Mode::Enforce);
        let script = String::from_utf8(delivery.entry.content.clone()).unwrap();
        let text = [paths(&delivery.files()).join("\n"), script].join("\n\n");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_static_program_is_run_itself() {
        let executable = Executable::example(PROGRAM, false);
        let delivery = Delivery::new(executable, &config(Mode::Enforce)).unwrap();
        assert_eq!(delivery.entry.content, b"program");
        assert_eq!(
            paths(&delivery.files()),
            ["644 /etc/pipe/verifier.json", "755 /opt/containerd/image-verifier/bin/pipe-verifier"]
        );
    }

    #[test]
    fn a_live_node_sees_the_old_or_the_new_and_nothing_between() {
        let (files, commands) = delivery(Mode::Warn).replacement();
        assert!(files.iter().all(|file| file.path.starts_with("/opt/pipe/")));
        let commands: Vec<String> = commands.iter().map(|command| command.join(" ")).collect();
        insta::assert_snapshot!(format!("{}\n\n{}", paths(&files).join("\n"), commands.join("\n")));
    }

    #[test]
    fn a_fingerprint_tells_of_program_and_configuration() {
        let fingerprint = delivery(Mode::Warn).fingerprint();
        assert_eq!(fingerprint, delivery(Mode::Warn).fingerprint());
        assert_ne!(fingerprint, delivery(Mode::Enforce).fingerprint());
    }
}
