//! What a node's containerd has, as `ctr` prints it: it knows no machine-readable form.
//!
//! CRI keeps one more record of each image, named after its id, with the same manifest. The two
//! together say which id a name has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::plan::observed::{Kept, NodeImage};
use crate::provider::kind::surroundings::HOSTS;
use crate::provider::labels;
use crate::world::engine::{Engine, Exec};
use crate::{Error, Result};

/// For one image over the network of this host.
const PULL: Duration = Duration::from_secs(1200);

/// `ctr` in the namespace of Kubernetes.
pub(in crate::run) fn ctr<const N: usize>(arguments: [&str; N]) -> Exec {
    Exec::new(["ctr", "--namespace=k8s.io"].into_iter().chain(arguments))
        .var("CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS", "1")
}

/// The images of a node by name, without records that only repeat a digest.
pub async fn images(engine: &Engine, host: &str) -> Result<BTreeMap<String, NodeImage>> {
    let listed = engine.exec(host, ctr(["images", "list"])).await?.checked();
    Ok(read(&listed.map_err(|error| unanswered(host, &error))?.text()))
}

/// Digests of everything in a node's content store.
pub(super) async fn content(engine: &Engine, host: &str) -> Result<BTreeSet<String>> {
    let listed = engine.exec(host, ctr(["content", "list", "-q"])).await?.checked();
    let listed = listed.map_err(|error| unanswered(host, &error))?.text();
    Ok(listed.lines().map(|line| line.trim().to_owned()).collect())
}

/// Lets a node's containerd pull an image by its own settings: from the cache where it is told so, and
/// past its verifier.
pub(super) async fn pull(engine: &Engine, host: &str, name: &str) -> Result<()> {
    let pull = ctr(["images", "pull", "--hosts-dir", HOSTS, name]).within(PULL);
    let pulled = engine.exec(host, pull).await?.checked();
    pulled.map(drop).map_err(|error| {
        Error::failed("image-pull", format!("node {host} cannot pull {name}")).because(error)
    })
}

/// Takes images of a repository from a node, under all their names.
pub(in crate::run) async fn remove(engine: &Engine, host: &str, repository: &str) -> Result<()> {
    let listed = engine.exec(host, ctr(["images", "list", "-q"])).await?.checked()?.text();
    let is_of = |name: &&str| {
        name.strip_prefix(repository).is_some_and(|rest| rest.starts_with([':', '@']))
    };
    for name in listed.lines().map(str::trim).filter(is_of) {
        engine.exec(host, ctr(["images", "remove", name])).await?.checked()?;
    }
    Ok(())
}

fn unanswered(host: &str, error: &Error) -> Error {
    Error::failed("node-containerd", format!("containerd of node {host} does not answer"))
        .because(error)
        .hint(format!("`podman exec {host} journalctl -u containerd -n 50` shows why"))
}

/// `REF TYPE DIGEST SIZE PLATFORMS LABELS`; the size is a number and a unit, the rest has no blanks.
fn read(table: &str) -> BTreeMap<String, NodeImage> {
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.get(2).is_some_and(|digest| digest.starts_with("sha256:")))
        .collect();
    let field =
        |row: &Vec<&str>, index: usize| row.get(index).copied().unwrap_or_default().to_owned();
    let is_id = |name: &str| name.starts_with("sha256:");
    let ids: BTreeMap<String, String> = rows
        .iter()
        .filter_map(|row| {
            let id = row.first()?.strip_prefix("sha256:")?;
            Some((field(row, 2), id.to_owned()))
        })
        .collect();
    let named = rows
        .iter()
        .filter(|row| row.first().is_some_and(|name| !is_id(name) && !name.contains('@')));
    named
        .map(|row| {
            let image = NodeImage {
                id: ids.get(&field(row, 2)).cloned(),
                size: size(&field(row, 3), &field(row, 4)),
                platform: field(row, 5),
                kept: kept(&field(row, 6)),
            };
            (field(row, 0), image)
        })
        .collect()
}

/// `17.1 MiB` in bytes, as near as that says it.
fn size(number: &str, unit: &str) -> u64 {
    let factor: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => 1,
    };
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let tenths = tenths.get(..1).and_then(|digit| digit.parse::<u64>().ok()).unwrap_or_default();
    whole.parse::<u64>().unwrap_or_default() * factor + tenths * factor / 10
}

/// Our label among `key=value,key=value`.
fn kept(all: &str) -> Option<Kept> {
    let value =
        all.split(',').find_map(|label| label.strip_prefix(labels::KEPT)?.strip_prefix('='));
    value.and_then(Kept::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_the_id_that_shares_their_manifest() {
        let table = format!(
            "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
             docker.io/library/app:1 application/x sha256:{m} 17.1 MiB linux/amd64 io.cri-containerd.image=managed,pipe.dev/kept=loaded\n\
             localhost/old:1   application/x sha256:{n} 900.0 B  linux/amd64 -\n\
             localhost/old@sha256:{n} application/x sha256:{n} 900.0 B linux/amd64 -\n\
             sha256:{i} application/x sha256:{m} 17.1 MiB linux/amd64 io.cri-containerd.image=managed\n\
             \n",
            m = "a".repeat(64),
            n = "b".repeat(64),
            i = "c".repeat(64)
        );
        let images = read(&table);
        assert_eq!(images.len(), 2);
        let app = images.get("docker.io/library/app:1").unwrap();
        assert_eq!(app.id, Some("c".repeat(64)));
        assert_eq!((app.size, app.platform.as_str()), (17_930_649, "linux/amd64"));
        assert_eq!(app.kept, Some(Kept::Loaded));
        let old = images.get("localhost/old:1").unwrap();
        assert_eq!((&old.id, old.size, old.kept), (&None, 900, None));
    }
}
