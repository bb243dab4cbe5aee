//! The user's kubeconfig as a place on disk: whether it can be replaced, and replacing it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::unusable;
use crate::Result;
use crate::state::file::{self, PRIVATE};

pub(super) fn make_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    file::try_make_folder(folder).map_err(|e| unusable(path).because(e))
}

/// Refuses what is there and cannot be replaced: a folder, a pipe, `/dev/null`.
pub(super) fn require_regular(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            Err(unusable(path).because("it is not a regular file"))
        }
        _ => Ok(()),
    }
}

/// Refuses where [`replace`] and client-go's lock could not be written, as far as the kernel tells
/// without writing: a read-only mount, an immutable file, a folder of somebody else.
pub(super) fn require_replaceable(path: &Path) -> Result<()> {
    require_regular(path)?;
    let target = behind_link(path);
    if let Some(metadata) = metadata(path, &target)? {
        require_writable_mode(path, &metadata)?;
        may(path, &target, Access::WRITE_OK)?;
        if is_mount_point(&target) {
            // Devcontainers mount single files; a rename over one is EBUSY.
            return Err(unusable(path).because(format!(
                "{} is a mount of its own: it can be written, but not replaced",
                target.display()
            )));
        }
    }
    // The lock lies beside the path, whose folders are made; the new content beside what it stands for.
    let there = |folder: &&Path| folder.symlink_metadata().is_ok();
    let nearest = path.ancestors().skip(1).find(there);
    for folder in nearest.into_iter().chain(target.parent().filter(|_| path.is_symlink())) {
        if !folder.is_dir() {
            return Err(unusable(path).because(format!("{} is not a folder", folder.display())));
        }
        may(path, folder, Access::WRITE_OK | Access::EXEC_OK)?;
    }
    Ok(())
}

/// Asks the kernel with the rights that a write would have.
fn may(path: &Path, place: &Path, access: Access) -> Result<()> {
    accessat(CWD, place, access, AtFlags::EACCESS).map_err(|error| {
        unusable(path).because(format!("{}: {}", place.display(), io::Error::from(error)))
    })
}

#[cfg(target_os = "linux")]
fn is_mount_point(file: &Path) -> bool {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};
    let asked = statx(CWD, file, AtFlags::empty(), StatxFlags::empty());
    asked.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(not(target_os = "linux"))]
fn is_mount_point(_file: &Path) -> bool {
    false
}

pub(super) fn read(path: &Path) -> Result<String> {
    require_regular(path)?;
    match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(|e| unusable(path).because(e)),
    }
}

/// Replaces the file behind `path`, keeping a link, the mode and the owner as they are.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let failed = |e: io::Error| unusable(path).because(e);
    let target = behind_link(path);
    let old = metadata(path, &target)?;
    if let Some(old) = &old {
        require_writable_mode(path, old)?;
    }
    let mode = old.as_ref().map_or(PRIVATE, |old| old.permissions().mode() & 0o7777);
    file::replace(&target, text.as_bytes(), mode).map_err(failed)?;
    match old {
        // With sudo, the file would otherwise belong to root from now on.
        Some(old) if fs::metadata(&target).is_ok_and(|new| new.uid() != old.uid()) => {
            std::os::unix::fs::chown(&target, Some(old.uid()), Some(old.gid())).map_err(failed)
        }
        _ => Ok(()),
    }
}

fn metadata(path: &Path, target: &Path) -> Result<Option<fs::Metadata>> {
    match fs::metadata(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(|e| unusable(path).because(e)),
    }
}

/// Renaming over a read-only file would work, but somebody made it read-only on purpose.
fn require_writable_mode(path: &Path, there: &fs::Metadata) -> Result<()> {
    if !there.permissions().readonly() {
        return Ok(());
    }
    Err(unusable(path).because("the file is read-only").hint(format!(
        "run `chmod u+w {}`, or choose another file with --kubeconfig",
        path.display()
    )))
}

/// The file that `path` stands for, also where its link points to nothing yet.
fn behind_link(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| match fs::read_link(path) {
        Ok(target) => path.parent().unwrap_or(Path::new("/")).join(target),
        Err(_) => path.to_owned(),
    })
}
