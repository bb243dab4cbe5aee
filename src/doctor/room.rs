//! Memory and disk.

use super::remedy::gigabytes;
use super::{Facts, Finding, codes, fit};
use crate::world::facts::Disk;

/// What the disk that images lie on is called among the facts.
pub(super) const IMAGES: &str = "images";

/// A disk with less is nearly full.
const NEARLY_FULL: u64 = 500_000_000;

/// Files that a new node makes, with its images unpacked.
const NODE_FILES: u64 = 30_000;

/// Files that stay free.
const SPARE_FILES: u64 = 10_000;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = memory(facts).into_iter().collect();
    let mut disks: Vec<Finding> = Vec::new();
    let mut seen: Vec<u64> = Vec::new();
    for disk in &facts.host.disks {
        let images = disk.purpose == IMAGES;
        disks.extend(images.then(|| space(facts, disk)).flatten());
        // The other folders matter only where they are not on a disk that was judged already.
        if !seen.contains(&disk.device) && disks.is_empty() && disk.free < NEARLY_FULL {
            let what = format!("the disk of {} is nearly full", disk.path.display());
            disks.push(
                Finding::new(codes::DISK_LOW, what)
                    .seen(format!("{} free", gigabytes(disk.free)))
                    .needed(gigabytes(NEARLY_FULL))
                    .remedy("remove what pipe can make again: pipe purge")
                    .remedy(format!(
                        "see what fills it: du -xh {} | sort -h | tail",
                        disk.path.display()
                    )),
            );
        }
        seen.push(disk.device);
    }
    if disks.is_empty() {
        let free = facts.host.disks.iter().find(|disk| disk.purpose == IMAGES);
        let finding = Finding::new(codes::DISK_READY, "there is disk for the nodes");
        disks.push(match free {
            Some(disk) => {
                finding.seen(format!("{} free in {}", gigabytes(disk.free), disk.path.display()))
            }
            None => finding,
        });
    }
    findings.extend(disks);
    findings
}

/// Whether memory alone will do; none where not even swap helps, which [`fit`] says.
fn memory(facts: &Facts) -> Option<Finding> {
    let ready = Finding::new(codes::MEMORY_READY, "there is memory for the nodes and components");
    let Some(free) = facts.host.host.memory_available else { return Some(ready) };
    let needed = fit::memory_asked(facts);
    let seen = format!("{} available", gigabytes(free));
    if free >= needed {
        return Some(ready.seen(seen));
    }
    let swap = facts.host.host.swap_free.unwrap_or(0);
    let low = || {
        let what = "less memory is free than the nodes and components take: some of it would be swapped out";
        Finding::new(codes::MEMORY_LOW, what)
            .seen(format!("{seen}, and {} of swap", gigabytes(swap)))
            .needed(format!(
                "{}, of which {} take {}",
                gigabytes(needed),
                facts.needs.nodes_in_words(),
                gigabytes(facts.needs.memory())
            ))
            .remedy("end programs, remove other clusters (`pipe list`), or take a cluster with fewer nodes: pipe up single")
    };
    (free + swap >= needed).then(low)
}

/// Whether the nodes fit where the engine keeps them.
fn space(facts: &Facts, disk: &Disk) -> Option<Finding> {
    let nodes = facts.needs.make;
    let needed = facts.needs.disk();
    if disk.free < needed {
        let noun = if nodes == 1 { "node" } else { "nodes" };
        let what = format!("there is not enough disk for {nodes} {noun}");
        return Some(
            Finding::new(codes::NO_DISK, what)
                .seen(format!("{} has {} free", disk.path.display(), gigabytes(disk.free)))
                .needed(gigabytes(needed))
                .remedy("remove images and volumes that nobody uses: podman system df, podman image prune")
                .remedy("or remove other clusters: pipe list, pipe teardown NAME"),
        );
    }
    let files = SPARE_FILES + NODE_FILES * nodes;
    let free = disk.free_files.filter(|free| *free < files)?;
    let what = format!("the file system of {} has few inodes left", disk.path.display());
    Some(
        Finding::new(codes::FILES_LOW, what)
            .seen(format!("{free} free"))
            .needed(files.to_string())
            .remedy(
                "remove images and volumes that nobody uses: podman system df, podman image prune",
            ),
    )
}
