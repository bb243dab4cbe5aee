//! A file system of its own that can be filled, for an engine that keeps its images there.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::host;

/// An ext4 file system in a sparse file: what fills it costs nothing of the host's.
pub struct SmallDisk {
    at: PathBuf,
}

/// Why nothing can be mounted here.
pub fn no_mounts() -> Option<String> {
    let root = rustix::process::geteuid().is_root();
    (!root).then(|| "only root can mount a file system".to_owned())
}

/// Why there can be none here.
pub fn missing() -> Option<String> {
    if let Some(why) = no_mounts() {
        return Some(why);
    }
    let free = Command::new("losetup").arg("-f").output();
    let free = free.is_ok_and(|output| output.status.success());
    (!free).then(|| "there are no loop devices".to_owned())
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{program} {arguments:?}: {}", host::text(&output));
}

impl SmallDisk {
    pub fn mount(folder: &Path, size: u64) -> SmallDisk {
        let (image, at) = (folder.join("disk.img"), folder.join("disk"));
        std::fs::create_dir_all(&at).expect("a folder");
        std::fs::File::create(&image).and_then(|file| file.set_len(size)).expect("a sparse file");
        let (image, shown) = (image.to_string_lossy(), at.to_string_lossy());
        let options = ["-q", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"];
        run("mkfs.ext4", &[&options[..], &[&image]].concat());
        run("mount", &["-o", "loop", &image, &shown]);
        SmallDisk { at }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.at.join(below)
    }

    /// What another program does meanwhile: leaves `left` bytes. Blocks are reserved, none written.
    pub fn fill(ballast: &Path, left: u64) {
        let room = rustix::fs::statvfs(ballast.parent().expect("a folder")).expect("a disk");
        let file = std::fs::File::create(ballast).expect("a file");
        let size = (room.f_bavail * room.f_frsize).saturating_sub(left);
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).expect("room");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also what an engine mounted in it.
        let output = Command::new("umount").arg("-R").arg(&self.at).output();
        let output = output.expect("umount starts");
        if !output.status.success() && !std::thread::panicking() {
            panic!("umount: {}", host::text(&output));
        }
    }
}
