//! This very program, with what it needs to start in a container that may have other libraries, or
//! none: the loader and the shared libraries that it runs with now.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::world::engine::FileToPut;
use crate::{Error, Result};

/// The program of this process.
pub struct Executable {
    program: Vec<u8>,
    /// Name and content of the loader; none for a static program.
    loader: Option<(String, Vec<u8>)>,
    /// Shared libraries by the names they are looked up by.
    libraries: BTreeMap<String, Vec<u8>>,
}

impl Executable {
    /// Reads what this process runs from.
    ///
    /// # Errors
    /// [`crate::Kind::Host`]: not Linux, or a file is gone.
    pub fn running() -> Result<Executable> {
        let unreadable = |path: &Path, error: &std::io::Error| {
            Error::host("own-program", "pipe cannot read its own program")
                .because(format!("{}: {error}", path.display()))
                .hint("several control planes need pipe to run on Linux, on the engine's machine")
        };
        let read = |path: &Path| fs::read(path).map_err(|error| unreadable(path, &error));
        // Readable even where the file was replaced since the start.
        let program = read(Path::new("/proc/self/exe"))?;
        let maps = read(Path::new("/proc/self/maps"))?;
        let mut executable = Executable { program, loader: None, libraries: BTreeMap::new() };
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
            executable.libraries.clear();
        }
        Ok(executable)
    }

    /// Its files below `folder` of a container.
    pub fn files(self, folder: &str) -> Vec<FileToPut> {
        let program = FileToPut::new(format!("{folder}/pipe"), 0o755, self.program);
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
        let program = format!("{folder}/pipe");
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
