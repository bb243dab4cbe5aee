//! A program of ours, with what it needs to start in a container that may have other libraries, or
//! none: the loader and the shared libraries that this process runs with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::digest;
use crate::world::engine::FileToPut;
use crate::{Error, Result};

mod elf;

/// What this process runs from, even where the file was replaced since.
const RUNNING: &str = "/proc/self/exe";

/// A program with all that it needs.
pub struct Executable {
    name: String,
    program: Vec<u8>,
    /// Name and content of the loader; none for a static program.
    loader: Option<(String, Vec<u8>)>,
    /// Shared libraries by the names they are looked up by.
    libraries: BTreeMap<String, Vec<u8>>,
}

impl Executable {
    /// The program of this process.
    ///
    /// # Errors
    /// [`crate::Kind::Host`]: not Linux, or a file is gone.
    pub fn running() -> Result<Executable> {
        let program = read(Path::new(RUNNING))?;
        Executable::new("pipe", program)
    }

    /// The program called `name` that was installed with this one, into the same folder.
    ///
    /// # Errors
    /// [`crate::Kind::Host`]: it is not there, or it was built in another way.
    pub fn beside(name: &str) -> Result<Executable> {
        let own = fs::read_link(RUNNING).map_err(|error| unreadable(Path::new(RUNNING), &error))?;
        Executable::installed(&own.with_file_name(name))
    }

    /// The program at `path`, which was built together with this one.
    ///
    /// # Errors
    /// [`crate::Kind::Host`]: it is not there, or it was built in another way.
    pub fn installed(path: &Path) -> Result<Executable> {
        let name = file_name(path);
        let missing = |error: std::io::Error| {
            let why = match error.kind() {
                ErrorKind::NotFound => format!("{} is not there", path.display()),
                _ => format!("{}: {error}", path.display()),
            };
            incomplete(&name).because(why)
        };
        Executable::new(&name, fs::read(path).map_err(missing)?)
    }

    fn new(name: &str, program: Vec<u8>) -> Result<Executable> {
        let mut executable =
            Executable { name: name.to_owned(), program, loader: None, libraries: BTreeMap::new() };
        match elf::asks_for_loader(&executable.program) {
            Some(true) => {}
            Some(false) => return Ok(executable),
            None => return Err(incomplete(name).because("it is no 64-bit ELF program")),
        }
        let maps = read(Path::new("/proc/self/maps"))?;
        for path in mapped_objects(&String::from_utf8_lossy(&maps)) {
            let content = read(&path)?;
            let name = file_name(&path);
            if is_loader(&name) {
                // musl's loader is its library as well.
                executable.libraries.insert(name.clone(), content.clone());
                executable.loader = Some((name, content));
                continue;
            }
            for alias in aliases(&path) {
                executable.libraries.insert(alias, content.clone());
            }
            executable.libraries.insert(name, content);
        }
        if executable.loader.is_none() {
            return Err(incomplete(name)
                .because("it needs shared libraries, and pipe itself was built without"));
        }
        Ok(executable)
    }

    /// One for tests of those who deliver it.
    #[cfg(test)]
    pub(crate) fn example(name: &str, with_loader: bool) -> Executable {
        let content = |text: &str| (text.to_owned(), text.as_bytes().to_vec());
        Executable {
            name: name.to_owned(),
            program: b"program".to_vec(),
            loader: with_loader.then(|| content("ld.so.2")),
            libraries: with_loader.then(|| content("libc.so.6")).into_iter().collect(),
        }
    }

    /// A name for exactly these bytes.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let loader = self.loader.iter().map(|(name, content)| (name, content));
        for (name, content) in [(&self.name, &self.program)].into_iter().chain(loader) {
            hash.update(Sha256::digest(name));
            hash.update(Sha256::digest(content));
        }
        for (name, content) in &self.libraries {
            hash.update(Sha256::digest(name));
            hash.update(Sha256::digest(content));
        }
        digest::hex(hash.finalize().get(..6).unwrap_or_default())
    }

    /// Its files below `folder` of a container.
    pub fn files(self, folder: &str) -> Vec<FileToPut> {
        let program = FileToPut::new(format!("{folder}/{}", self.name), 0o755, self.program);
        let loader = self
            .loader
            .map(|(name, content)| FileToPut::new(format!("{folder}/{name}"), 0o755, content));
        let libraries = self
            .libraries
            .into_iter()
            .map(|(name, content)| FileToPut::new(format!("{folder}/lib/{name}"), 0o644, content));
        [program].into_iter().chain(loader).chain(libraries).collect()
    }

    /// What starts it from `folder`, before its arguments.
    pub fn command(&self, folder: &str) -> Vec<String> {
        let program = format!("{folder}/{}", self.name);
        match &self.loader {
            None => vec![program],
            Some((name, _)) => vec![
                format!("{folder}/{name}"),
                "--library-path".to_owned(),
                format!("{folder}/lib"),
                program,
            ],
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::host("own-program", "pipe cannot read its own program")
        .because(format!("{}: {error}", path.display()))
        .hint("run pipe on Linux, on the engine's machine: it is copied into containers")
}

fn incomplete(name: &str) -> Error {
    Error::host("installation-incomplete", format!("the program {name} is missing beside pipe"))
        .hint(
            "install pipe whole: `cargo install --locked --path .` in a clone of pipe, or both \
             programs of a release's bin/ into one folder",
        )
}

/// Files of `/proc/self/maps` that are shared objects.
fn mapped_objects(maps: &str) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let path = Path::new(line.get(line.find('/')?..)?).to_owned();
        let name = file_name(&path);
        (is_loader(&name) || name.ends_with(".so") || name.contains(".so.")).then_some(path)
    };
    maps.lines().filter_map(path).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `ld-linux-x86-64.so.2`, `ld-musl-aarch64.so.1`, `ld-2.31.so`.
fn is_loader(name: &str) -> bool {
    name.starts_with("ld-") || name.starts_with("ld.so") || name.starts_with("ld64.so")
}

/// Links beside a library that lead to it: programs ask for `libc.so.6`, and the file may be called
/// `libc-2.31.so`.
fn aliases(path: &Path) -> Vec<String> {
    let Some(entries) = path.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return Vec::new();
    };
    let leads_here = |entry: &fs::DirEntry| {
        entry.file_type().is_ok_and(|kind| kind.is_symlink())
            && entry.path().canonicalize().is_ok_and(|target| target == path)
    };
    let found = entries.flatten().filter(leads_here);
    found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_among_mappings() {
        let maps = "\
55d0a0000000-55d0a0100000 r--p 00000000 08:01 1 /usr/bin/pipe
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
7f0000002000-7f0000003000 r--p 00000000 08:01 2 /usr/lib/x86_64-linux-gnu/libc.so.6
7f0000003000-7f0000004000 r-xp 00001000 08:01 2 /usr/lib/x86_64-linux-gnu/libc.so.6
7f0000005000-7f0000006000 r-xp 00001000 08:01 3 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
7f0000007000-7f0000008000 rw-p 00000000 00:00 0 [stack]
";
        let found: Vec<_> = mapped_objects(maps).iter().map(|path| file_name(path)).collect();
        assert_eq!(found, ["ld-linux-x86-64.so.2", "libc.so.6"]);
    }

    #[test]
    fn what_was_not_installed_is_named_with_its_remedy() {
        let error = Executable::beside("pipe-nothing").err().unwrap();
        assert_eq!((error.code, error.kind.exit_code()), ("installation-incomplete", 4));
        assert!(error.to_string().contains("deps/pipe-nothing is not there"), "{error}");
        assert!(error.hints[0].contains("cargo install"), "{error:?}");
        let error = Executable::new("pipe-script", b"#!/bin/sh\n".to_vec()).err().unwrap();
        assert!(error.to_string().contains("no 64-bit ELF program"), "{error}");
    }

    #[test]
    fn a_fingerprint_is_of_every_byte() {
        let one = || Executable::example("pipe", true);
        let first = one().fingerprint();
        assert_eq!((one().fingerprint(), first.len()), (first.clone(), 12));
        let others = [
            Executable { name: "other".to_owned(), ..one() },
            Executable { program: b"changed".to_vec(), ..one() },
            Executable { loader: None, ..one() },
            Executable { libraries: BTreeMap::new(), ..one() },
        ];
        assert!(others.iter().all(|other| other.fingerprint() != first));
    }

    /// The copy starts by itself alone: with its own loader and libraries, from another folder.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_runs_here_runs_elsewhere() {
        use std::os::unix::fs::PermissionsExt as _;

        use crate::world::env::Env;
        use tokio_util::sync::CancellationToken;

        use crate::world::process::Program;

        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        let executable = Executable::running().unwrap();
        let command = executable.command(at);
        for file in executable.files(at) {
            let path = Path::new(&file.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &file.content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(file.mode)).unwrap();
        }
        let (program, arguments) = command.split_first().unwrap();
        let program = Program::new(program, &Env::from([])).args(arguments).arg("--list");
        let output = program.run(&CancellationToken::new()).await.unwrap();
        assert!(output.text().contains("what_runs_here_runs_elsewhere"));
    }
}
