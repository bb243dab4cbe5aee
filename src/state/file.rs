//! Private files and folders: 0600 and 0700, replaced in one step or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::version;
use crate::{Error, Result};

/// Code of a file that is not what we write: torn, or edited.
pub const BROKEN: &str = "state-broken";

/// Mode of every file that `pipe` writes into its own folders.
pub const PRIVATE: u32 = 0o600;

/// Makes `folder` and its missing parents, each 0700; existing folders keep their mode.
pub fn make_folder(folder: &Path) -> Result<()> {
    try_make_folder(folder).map_err(|e| unwritable(folder, &e))
}

pub(super) fn try_make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Replaces `path` by `bytes` with mode 0600; its folder is made if missing. After a crash either
/// the old content or the new one is there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    replace(path, bytes, PRIVATE).map_err(|e| unwritable(path, &e))
}

/// Replaces `path` by `bytes` with the given mode. The folder must exist.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (temporary, mut file) = create_beside(path)?;
    let result = (|| {
        // Set here, not at creation, where the umask would narrow it.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    })();
    if result.is_err() {
        // Best effort: the first error is the one to tell.
        let _left_behind = fs::remove_file(&temporary);
    }
    result
}

/// A new private file in the same folder, hence on the same file system.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unique = rand::random::<u64>();
    let temporary = path.with_file_name(format!(".{name}.{unique:016x}"));
    let file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&temporary)?;
    Ok((temporary, file))
}

/// The content of `path`, or `None` if it does not exist.
pub fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(path).because(e)),
    }
}

/// The bytes of `path`, or `None` if it does not exist.
pub fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(path).because(e)),
    }
}

/// The value that `path` holds as JSON, in a form of ours up to version `known`, or `None` if the
/// file does not exist. A broken file is [`BROKEN`]; what helps then, its reader knows.
pub fn read_json<T: DeserializeOwned>(path: &Path, known: u32) -> Result<Option<T>> {
    let Some(text) = read(path)? else { return Ok(None) };
    version::check(path, &text, known)?;
    parse(path, &text).map(Some)
}

/// As [`read_json`], but takes what is understood of newer forms too: for looking at what another
/// cluster holds, never for writing it back.
pub fn glance_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    read(path)?.map(|text| parse(path, &text)).transpose()
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    let broken = |e| Error::host(BROKEN, format!("{} is damaged", path.display())).because(e);
    serde_json::from_str(text).map_err(broken)
}

/// Replaces `path` by `value` as JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| {
        Error::bug(format!("{} cannot be written as JSON", path.display())).because(e)
    })?;
    text.push(b'\n');
    write(path, &text)
}

/// Removes a file or a whole folder; one that is gone already is success.
pub fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match result {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unwritable(path, &e)),
        _ => Ok(()),
    }
}

/// Renames a damaged file to `NAME.broken`, so that another can be written without losing it.
pub fn set_aside(path: &Path) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".broken");
    fs::rename(path, path.with_file_name(name)).map_err(|e| unwritable(path, &e))
}

/// Removes `folder` if it is empty; anything else is left alone.
pub fn remove_if_empty(folder: &Path) {
    // Every failure means that the folder is gone, in use, or not ours to remove.
    let _kept = fs::remove_dir(folder);
}

/// Bytes in all files below `path`; links are not followed, and what vanishes meanwhile is zero.
pub fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}

/// Names in `folder`, sorted; none if it does not exist.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| unreadable(folder).because(e))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| unreadable(folder).because(e))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn unreadable(path: &Path) -> Error {
    Error::host("state-unreadable", format!("cannot read {}", path.display()))
}

pub(super) fn unwritable(path: &Path, cause: &io::Error) -> Error {
    let error = Error::host("state-unwritable", format!("cannot write {}", path.display()));
    let hint = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some disk space",
        _ => "make the folder writable for you, or point XDG_STATE_HOME elsewhere",
    };
    error.because(cause).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_private_and_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/c.json");
        assert_eq!(glance_json::<u32>(&path).unwrap(), None);
        write_json(&path, &1).unwrap();
        write_json(&path, &2).unwrap();
        assert_eq!(glance_json::<u32>(&path).unwrap(), Some(2));
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&home.path().join("a")), 0o700);
        assert_eq!(names(&home.path().join("a/b")).unwrap(), ["c.json"]);
        assert_eq!(size(home.path()), 2);
        remove(&home.path().join("a")).unwrap();
        remove(&home.path().join("a")).unwrap();
        assert_eq!(names(home.path()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_failed_replacement_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("folder");
        fs::create_dir_all(path.join("inside")).unwrap();
        assert_eq!(write(&path, b"x").unwrap_err().code, "state-unwritable");
        assert_eq!(names(home.path()).unwrap(), ["folder"]);
    }

    #[test]
    fn broken_json_names_the_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("c.json");
        write(&path, b"{").unwrap();
        let error = read_json::<u32>(&path, 1).unwrap_err();
        assert_eq!(error.code, BROKEN);
        assert!(error.what.contains("c.json"));
        assert_eq!(fs::read(&path).unwrap(), b"{", "it is left as it was");
    }
}
