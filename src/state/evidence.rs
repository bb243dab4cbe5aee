//! Archives of failures: the newest ten are kept, whatever clusters they are of.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::file;
use super::paths::Paths;
use crate::Result;
use crate::spec::ClusterName;

/// Archives to keep.
const KEEP: usize = 10;

/// `pipe-dev-20261121T091203Z`: the folder in an archive, and what a file of its own is called.
pub fn stem(cluster: &ClusterName, at: Timestamp) -> String {
    format!("pipe-{cluster}-{}", at.strftime("%Y%m%dT%H%M%SZ"))
}

/// Keeps an archive as `evidence/20261121T091203Z-dev.tar.gz`, and removes the oldest ones beyond
/// the last ten.
pub fn keep(
    paths: &Paths,
    cluster: &ClusterName,
    at: Timestamp,
    archive: &[u8],
) -> Result<PathBuf> {
    let root = paths.evidence();
    let stem = format!("{}-{cluster}", at.strftime("%Y%m%dT%H%M%SZ"));
    // Two failures within one second: the second gets a number.
    let named = |n: u32| match n {
        1 => root.join(format!("{stem}.tar.gz")),
        n => root.join(format!("{stem}.{n}.tar.gz")),
    };
    let path = (1..100).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(1));
    file::write(&path, archive)?;
    // Names begin with the time, so that their order is the order of age.
    let names = file::names(&root)?;
    for name in names.iter().take(names.len().saturating_sub(KEEP)) {
        file::remove(&root.join(name))?;
    }
    Ok(path)
}

/// Writes an archive where the user wants it, for this user alone.
pub fn write_to(path: &Path, archive: &[u8]) -> Result<()> {
    file::replace(path, archive, file::PRIVATE).map_err(|error| {
        crate::Error::failed("archive-write", format!("cannot write {}", path.display()))
            .because(error)
            .hint("name another file: --output FILE")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::paths::tests::paths_in;

    #[test]
    fn the_last_ten_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let dev = ClusterName::parse("dev").unwrap();
        let start: Timestamp = "2026-11-21T09:12:00Z".parse().unwrap();
        for seconds in 0..12 {
            let at = start + jiff::SignedDuration::from_secs(seconds);
            keep(&paths, &dev, at, b"archive").unwrap();
        }
        let names = file::names(&paths.evidence()).unwrap();
        assert_eq!(names.len(), 10);
        assert_eq!(names[0], "20261121T091202Z-dev.tar.gz");
        let at = start + jiff::SignedDuration::from_secs(11);
        let twin = keep(&paths, &dev, at, b"another").unwrap();
        assert!(twin.ends_with("20261121T091211Z-dev.2.tar.gz"));
        assert_eq!(std::fs::read(twin).unwrap(), b"another");
        assert_eq!(stem(&dev, start), "pipe-dev-20261121T091200Z");
    }
}
