//! How much is used of what the kernel limits: inotify, processes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// What is used, and limits that [`super::Host`] does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// inotify instances that this user's processes hold, as far as we may look.
    pub inotify_instances_used: Option<u64>,
    /// inotify watches that they hold; only if asked for.
    pub inotify_watches_used: Option<u64>,
    /// Threads on the host.
    pub threads_used: Option<u64>,
    /// `kernel.threads-max`.
    pub threads_max: Option<u64>,
    /// Limit of the control group that this process is in, if it has one.
    pub group_pids_max: Option<u64>,
}

/// Counts what `uid` uses; every container of a rootful engine counts for root.
pub(super) fn read(root: &Path, uid: u32, watches: bool) -> Limits {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let used = inotify(root, uid, watches);
    Limits {
        inotify_instances_used: used.map(|(instances, _)| instances),
        inotify_watches_used: used.and_then(|(_, watched)| watches.then_some(watched)),
        threads_used: text("proc/loadavg").split([' ', '/']).nth(4).and_then(|n| n.parse().ok()),
        threads_max: text("proc/sys/kernel/threads-max").trim().parse().ok(),
        group_pids_max: group_pids_max(root, &text("proc/self/cgroup")),
    }
}

/// Instances and watches. `None` where `/proc` cannot be listed.
fn inotify(root: &Path, uid: u32, watches: bool) -> Option<(u64, u64)> {
    let (mut instances, mut watched) = (0, 0);
    for process in fs::read_dir(root.join("proc")).ok()?.flatten() {
        let is_process = process.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit());
        if !is_process || process.metadata().map(|data| data.uid()).ok() != Some(uid) {
            continue;
        }
        let folder = process.path();
        for descriptor in fs::read_dir(folder.join("fd")).into_iter().flatten().flatten() {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            if !target.to_string_lossy().contains("inotify") {
                continue;
            }
            instances += 1;
            if watches {
                let info = folder.join("fdinfo").join(descriptor.file_name());
                let info = fs::read_to_string(info).unwrap_or_default();
                watched += info.lines().filter(|line| line.starts_with("inotify wd:")).count();
            }
        }
    }
    Some((instances, u64::try_from(watched).unwrap_or(u64::MAX)))
}

/// `pids.max` of the own control group, in either version; `max` is no limit.
fn group_pids_max(root: &Path, groups: &str) -> Option<u64> {
    let folder = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let mount = match controllers {
            "" => PathBuf::from("sys/fs/cgroup"),
            list if list.split(',').any(|name| name == "pids") => {
                PathBuf::from("sys/fs/cgroup/pids")
            }
            _ => return None,
        };
        let folder = root.join(mount).join(path);
        folder.join("pids.max").exists().then_some(folder)
    })?;
    fs::read_to_string(folder.join("pids.max")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    #[test]
    fn counts_instances_and_watches_of_one_user() {
        let root = tree(&[
            ("proc/12/fdinfo/3", "pos: 0\ninotify wd:1 ino:1\ninotify wd:2 ino:2\n"),
            ("proc/12/fd/0", ""),
            ("proc/self/x", ""),
            ("proc/loadavg", "0.1 0.2 0.3 4/321 999\n"),
            ("proc/self/cgroup", "9:pids:/box\n0::/\n"),
            ("sys/fs/cgroup/pids/box/pids.max", "4096\n"),
        ]);
        let descriptor = root.path().join("proc/12/fd/3");
        std::os::unix::fs::symlink("anon_inode:inotify", descriptor).unwrap();
        let uid = std::fs::metadata(root.path()).unwrap().uid();
        let limits = read(root.path(), uid, true);
        assert_eq!(limits.inotify_instances_used, Some(1));
        assert_eq!(limits.inotify_watches_used, Some(2));
        assert_eq!((limits.threads_used, limits.group_pids_max), (Some(321), Some(4096)));
        let other = read(root.path(), uid + 1, false);
        assert_eq!((other.inotify_instances_used, other.inotify_watches_used), (Some(0), None));
    }

    #[test]
    fn version_two_and_no_limit() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/user.slice\n"),
            ("sys/fs/cgroup/user.slice/pids.max", "max\n"),
        ]);
        assert_eq!(read(root.path(), 0, false).group_pids_max, None);
        std::fs::write(root.path().join("sys/fs/cgroup/user.slice/pids.max"), "100\n").unwrap();
        assert_eq!(read(root.path(), 0, false).group_pids_max, Some(100));
    }
}
