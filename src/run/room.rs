//! Which disk is full, once something said that one is.

use std::time::Duration;

use crate::Error;
use crate::world::engine::{Engine, Exec};
use crate::world::facts::{self, Disk};

/// A file system with less is called full: what did not fit is gone again when it is measured.
const FULL: u64 = 200_000_000;

/// Time for a node to measure its own.
const ANSWER: Duration = Duration::from_secs(10);

/// Where containerd receives and keeps images, and where kubelet and pods write.
const OF_A_NODE: [&str; 4] = [
    "/var/lib/containerd/io.containerd.content.v1.content/ingest",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/",
];

/// Whether an error says that a disk is full.
pub(super) fn is_full(error: &Error) -> bool {
    let said = error.to_string().to_lowercase();
    ["no space left on device", "disk quota exceeded"].iter().any(|words| said.contains(words))
}

/// The engine's file systems that are full, in words. None where the engine is on another machine.
pub(super) async fn full(engine: &Engine) -> Vec<String> {
    let Ok(info) = engine.info().await else { return Vec::new() };
    let places = [("images", info.graph_root), ("layers on their way", info.copy_tmp)];
    let there = places.into_iter().filter(|(_, path)| path.is_dir());
    let places: Vec<_> = there.map(|(purpose, path)| (purpose.to_owned(), path)).collect();
    facts::disks(&places).iter().filter(|disk| disk.free < FULL).map(said).collect()
}

fn said(disk: &Disk) -> String {
    let (free, total) = (megabytes(disk.free), megabytes(disk.total));
    format!("{} ({}) has {free} of {total} MB left", disk.path.display(), disk.purpose)
}

fn megabytes(bytes: u64) -> u64 {
    bytes / 1_000_000
}

/// The file systems of a node that are full, as the node sees them.
pub(super) async fn full_in(engine: &Engine, host: &str) -> Vec<String> {
    let command = ["df", "--block-size=1", "--output=avail,size,target"];
    let measure = Exec::new(command.into_iter().chain(OF_A_NODE)).within(ANSWER);
    let output = engine.exec(host, measure).await.map(|output| output.text()).unwrap_or_default();
    of_df(host, &output)
}

/// Pure: from the answer of df.
fn of_df(host: &str, output: &str) -> Vec<String> {
    let full = |line: &str| {
        let mut words = line.split_whitespace();
        let free: u64 = words.next()?.parse().ok()?;
        let total: u64 = words.next()?.parse().ok()?;
        let path = words.next()?;
        let (free_mb, total) = (megabytes(free), megabytes(total));
        (free < FULL).then(|| format!("{path} in {host} has {free_mb} of {total} MB left"))
    };
    let mut lines: Vec<String> = output.lines().filter_map(full).collect();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_file_systems_are_named() {
        let df = "     Avail        1B-blocks Mounted on\n   12582912 1073741824 /var/lib/containerd\n\
                  52072857600 270000000000 /var\n52072857600 270000000000 /\n";
        assert_eq!(of_df("one", df), ["/var/lib/containerd in one has 12 of 1073 MB left"]);
    }

    #[test]
    fn words_of_a_full_disk() {
        let error = |said: &str| Error::failed("x", "cannot").because(said);
        assert!(is_full(&error("write /x: No space left on device")));
        assert!(!is_full(&error("permission denied")));
    }
}
