//! Archives of failures: the newest ten are kept, whatever clusters they are of.

use std::path::PathBuf;

use jiff::Timestamp;

use super::file;
use super::paths::Paths;
use crate::Result;
use crate::spec::ClusterName;

/// Archives to keep.
const KEEP: usize = 10;

/// Makes the folder for a new archive, `evidence/20261121T091203Z-dev`, and removes the oldest
/// ones beyond the last ten.
pub fn new_folder(paths: &Paths, cluster: &ClusterName, at: Timestamp) -> Result<PathBuf> {
    let root = paths.evidence();
    let stem = format!("{}-{cluster}", at.strftime("%Y%m%dT%H%M%SZ"));
    // Two failures within one second: the second gets a number.
    let folder = (1..)
        .map(|n| root.join(if n == 1 { stem.clone() } else { format!("{stem}.{n}") }))
        .find(|folder| !folder.exists())
        .unwrap_or_else(|| root.join(&stem));
    file::make_folder(&folder)?;
    // Names begin with the time, so that their order is the order of age.
    let names = file::names(&root)?;
    for name in names.iter().take(names.len().saturating_sub(KEEP)) {
        file::remove(&root.join(name))?;
    }
    Ok(folder)
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
            new_folder(&paths, &dev, start + jiff::SignedDuration::from_secs(seconds)).unwrap();
        }
        let names = file::names(&paths.evidence()).unwrap();
        assert_eq!(names.len(), 10);
        assert_eq!(names[0], "20261121T091202Z-dev");
        let twin = new_folder(&paths, &dev, start + jiff::SignedDuration::from_secs(11)).unwrap();
        assert!(twin.ends_with("20261121T091211Z-dev.2"));
    }
}
