//! Verdicts that were good, a file for each digest: its name is the digest's, its content names the
//! key. A verdict counts while its key is trusted, so nothing must be cleared when keys change.
//!
//! It only saves time. What cannot be read was never there, and what cannot be written is not.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::trust::{KeyId, PublicKey};

/// How many are kept; a node rarely sees a tenth of it. The oldest go first, a quarter at a time.
const COUNT_MAX: usize = 1024;

/// More than a verdict's file holds.
const SIZE_MAX: u64 = 1024;

/// A folder of verdicts.
pub(super) struct Verdicts<'a> {
    folder: &'a Path,
}

impl Verdicts<'_> {
    /// Those in `folder`, which need not be there.
    pub(super) fn new(folder: &Path) -> Verdicts<'_> {
        Verdicts { folder }
    }

    /// The key that was seen to have signed `digest`, if it is still trusted.
    pub(super) fn recall(&self, digest: &str, keys: &[PublicKey]) -> Option<KeyId> {
        let mut text = String::new();
        let file = fs::File::open(self.file(digest)?).ok()?;
        file.take(SIZE_MAX).read_to_string(&mut text).ok()?;
        keys.iter().map(PublicKey::id).find(|key| line(digest, *key) == text)
    }

    /// Notes that `key` signed `digest`.
    pub(super) fn remember(&self, digest: &str, key: KeyId) {
        // Harmless by design: without it the cache is asked again.
        let _not_remembered = self.write(digest, key);
    }

    fn write(&self, digest: &str, key: KeyId) -> Option<()> {
        let file = self.file(digest)?;
        fs::create_dir_all(self.folder).ok()?;
        self.make_room();
        let new = self.folder.join(format!("new-{}", std::process::id()));
        fs::write(&new, line(digest, key)).ok()?;
        fs::rename(&new, file).ok()
    }

    fn file(&self, digest: &str) -> Option<PathBuf> {
        Some(self.folder.join(digest.strip_prefix("sha256:")?))
    }

    fn make_room(&self) {
        let Ok(entries) = fs::read_dir(self.folder) else { return };
        let entries: Vec<fs::DirEntry> = entries.flatten().collect();
        if entries.len() < COUNT_MAX {
            return;
        }
        let written = |entry: &fs::DirEntry| entry.metadata().and_then(|it| it.modified()).ok();
        let mut by_age: Vec<(Option<SystemTime>, PathBuf)> =
            entries.iter().map(|entry| (written(entry), entry.path())).collect();
        by_age.sort();
        for (_, path) in by_age.into_iter().take(COUNT_MAX / 4) {
            // Another verifier may be at it, too.
            let _gone = fs::remove_file(path);
        }
    }
}

/// What a verdict's file holds. With the digest in it a file that was renamed says nothing.
fn line(digest: &str, key: KeyId) -> String {
    format!("{digest} {}\n", key.hint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SigningKey;

    fn digest(n: usize) -> String {
        format!("sha256:{n:064x}")
    }

    #[test]
    fn a_verdict_counts_while_its_key_does() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        let verdicts = Verdicts::new(&below);
        let keys: Vec<PublicKey> =
            (0..3).map(|_| SigningKey::generate().unwrap().public().clone()).collect();
        assert_eq!(verdicts.recall(&digest(1), &keys), None);
        verdicts.remember(&digest(1), keys[1].id());
        assert_eq!(verdicts.recall(&digest(1), &keys), Some(keys[1].id()));
        assert_eq!(verdicts.recall(&digest(1), &keys[1..]), Some(keys[1].id()));
        assert_eq!(verdicts.recall(&digest(1), &[keys[0].clone(), keys[2].clone()]), None);
        assert_eq!(verdicts.recall(&digest(2), &keys), None);
    }

    #[test]
    fn what_is_damaged_or_of_another_image_was_never_there() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::new(folder.path());
        let keys = [SigningKey::generate().unwrap().public().clone()];
        verdicts.remember(&digest(1), keys[0].id());
        let file = verdicts.file(&digest(1)).unwrap();
        fs::copy(&file, verdicts.file(&digest(2)).unwrap()).unwrap();
        assert_eq!(verdicts.recall(&digest(2), &keys), None);
        let text = fs::read(&file).unwrap();
        for damaged in [&b""[..], &text[..text.len() / 2], &b"\xff\xfe"[..]] {
            fs::write(&file, damaged).unwrap();
            assert_eq!(verdicts.recall(&digest(1), &keys), None, "{damaged:?}");
        }
    }

    #[test]
    fn there_is_an_end_to_them_and_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::new(folder.path());
        let keys = [SigningKey::generate().unwrap().public().clone()];
        let now = SystemTime::now();
        for n in 0..COUNT_MAX {
            verdicts.remember(&digest(n), keys[0].id());
            let file = fs::File::options().write(true).open(verdicts.file(&digest(n)).unwrap());
            let age = std::time::Duration::from_secs((COUNT_MAX - n) as u64);
            file.unwrap().set_modified(now - age).unwrap();
        }
        verdicts.remember(&digest(COUNT_MAX), keys[0].id());
        let count = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(count, COUNT_MAX - COUNT_MAX / 4 + 1);
        assert_eq!(verdicts.recall(&digest(0), &keys), None);
        assert_eq!(verdicts.recall(&digest(COUNT_MAX / 4), &keys), Some(keys[0].id()));
        assert_eq!(verdicts.recall(&digest(COUNT_MAX), &keys), Some(keys[0].id()));
    }

    /// A file in the folder's place: nobody may write there, root included.
    #[test]
    fn where_nothing_can_be_written_nothing_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let keys = [SigningKey::generate().unwrap().public().clone()];
        Verdicts::new(&file).remember(&digest(1), keys[0].id());
        assert_eq!(Verdicts::new(&file).recall(&digest(1), &keys), None);
    }
}
