//! File systems that fill up, and the folder that must be ours.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use serde::Serialize;

/// Room where something is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// What is stored there: `images`, `cache`, `state`.
    pub purpose: String,
    /// The folder, whether it exists already or not.
    pub path: PathBuf,
    /// Which file system, so that two folders on one are counted once.
    pub device: u64,
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Files that may still be made; `None` where the file system has no such limit.
    pub free_files: Option<u64>,
}

/// A folder of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
    /// Permission bits; `None` while it does not exist.
    pub mode: Option<u32>,
    /// Whose it is; `None` while it does not exist.
    pub owner: Option<u32>,
    /// It, or the folder in which it would be made, can be written to.
    pub writable: bool,
}

/// The folder or its nearest parent that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"))
}

/// Room at each place; places that are not on this machine are left out.
pub fn disks(places: &[(String, PathBuf)]) -> Vec<Disk> {
    let disk = |(purpose, path): &(String, PathBuf)| {
        let folder = existing(path);
        let room = statvfs(folder).ok()?;
        Some(Disk {
            purpose: purpose.clone(),
            path: path.clone(),
            device: fs::metadata(folder).ok()?.dev(),
            free: room.f_bavail.saturating_mul(room.f_frsize),
            total: room.f_blocks.saturating_mul(room.f_frsize),
            free_files: (room.f_files > 0).then_some(room.f_favail),
        })
    };
    places.iter().filter_map(disk).collect()
}

/// What is to be known of a folder.
pub(super) fn folder(path: &Path) -> Folder {
    let data = fs::metadata(path).ok();
    Folder {
        path: path.to_owned(),
        mode: data.as_ref().map(|data| data.mode() & 0o777),
        owner: data.as_ref().map(fs::Metadata::uid),
        writable: access(existing(path), Access::WRITE_OK | Access::EXEC_OK).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_still_to_be_made_is_judged_by_its_parent() {
        let home = tempfile::tempdir().unwrap();
        let below = home.path().join("a/b");
        let seen = folder(&below);
        assert_eq!((seen.mode, seen.owner, seen.writable), (None, None, true));
        std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o750))
            .unwrap();
        let seen = folder(home.path());
        assert_eq!((seen.mode, seen.writable), (Some(0o750), true));
        let disks = disks(&[("state".to_owned(), below)]);
        assert!(disks[0].free > 0 && disks[0].total >= disks[0].free);
    }
}
