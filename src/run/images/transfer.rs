//! Images from the engine's store into nodes: one export for all of them, and to each node only the
//! layers that it lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::{join_all, try_join_all};
use tokio::sync::mpsc::{self, Receiver};

use super::node_store::{self, ctr};
use crate::plan::observed::Kept;
use crate::provider::labels;
use crate::run::room;
use crate::world::archive::{self, Sink};
use crate::world::engine::{Engine, Stdin};
use crate::{Error, Result};

/// For one archive into the nodes.
const IMPORT: Duration = Duration::from_secs(1200);

/// Chunks that wait for a node; the engine is asked for no more until they are taken.
const WAITING: usize = 16;

/// An image and the nodes that shall have it.
#[derive(Clone, Debug)]
pub struct Cargo {
    /// Its id in the engine.
    pub id: String,
    /// Names in the nodes.
    pub names: Vec<String>,
    /// Containers that lack it.
    pub hosts: Vec<String>,
    /// Whether nodes made later shall have it too.
    pub kept: Option<Kept>,
}

/// Copies images into nodes, all nodes at once. Gives the bytes that were sent.
///
/// # Errors
/// The engine cannot export an image, or a node cannot take it.
pub async fn transfer(engine: &Engine, cargo: &[Cargo]) -> Result<u64> {
    let hosts: BTreeSet<&String> = cargo.iter().flat_map(|image| &image.hosts).collect();
    let has = try_join_all(hosts.iter().map(|host| node_store::content(engine, host)));
    let has: BTreeMap<String, BTreeSet<String>> =
        hosts.iter().map(|host| (*host).clone()).zip(has.await?).collect();
    let (mut sent, failed) = copy(engine, cargo, has).await?;
    if !failed.is_empty() {
        // A layer that a node had may have been collected as garbage meanwhile: now with all of them.
        let again = failed.keys().map(|host| (host.clone(), BTreeSet::new())).collect();
        let (more, failed) = copy(engine, cargo, again).await?;
        sent += more;
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error);
        }
    }
    try_join_all(hosts.iter().map(|host| mark(engine, cargo, host))).await?;
    Ok(sent)
}

/// One export into the nodes of `has`; gives the bytes sent, and the nodes that did not take it.
async fn copy(
    engine: &Engine,
    cargo: &[Cargo],
    has: BTreeMap<String, BTreeSet<String>>,
) -> Result<(u64, BTreeMap<String, Error>)> {
    let wanted = |host: &String| -> BTreeMap<String, Vec<String>> {
        let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for image in cargo.iter().filter(|image| image.hosts.contains(host)) {
            // One content may have been asked for under several names.
            images.entry(image.id.clone()).or_default().extend(image.names.clone());
        }
        images
    };
    let hosts: Vec<String> = has.keys().cloned().collect();
    let exported: BTreeSet<&str> = cargo
        .iter()
        .filter(|image| image.hosts.iter().any(|host| has.contains_key(host)))
        .map(|image| image.id.as_str())
        .collect();
    let exported: Vec<&str> = exported.into_iter().collect();
    let (mut sinks, mut readers) = (Vec::new(), Vec::new());
    for (host, has) in has.clone() {
        let (out, reader) = mpsc::channel(WAITING);
        sinks.push(Sink { images: wanted(&host), has, out });
        readers.push(reader);
    }
    let split = archive::export(engine, &exported, sinks, "an image");
    let imports = hosts.iter().zip(readers).map(|(host, reader)| import(engine, host, reader));
    let (split, imports) = tokio::join!(split, join_all(imports));
    let sent = split?;
    let failed =
        hosts.into_iter().zip(imports).filter_map(|(host, done)| Some((host, done.err()?)));
    Ok((sent, failed.collect()))
}

async fn import(engine: &Engine, host: &str, archive: Receiver<io::Result<Bytes>>) -> Result<()> {
    let import = ctr(["images", "import", "--snapshotter=overlayfs", "-"]);
    let archive = Stdin::Stream(archive::parts(archive).boxed());
    let import = import.within(IMPORT).stdin(archive).drained();
    let Err(error) = engine.exec(host, import).await?.checked() else { return Ok(()) };
    let what = format!("node {host} cannot take the image");
    if !room::is_full(&error) {
        return Err(Error::failed("image-import", what).because(error));
    }
    let full = Error::host("image-no-space", what)
        .because("a disk of the node is full")
        .because(error)
        .hint(crate::run::diagnosis::DISK);
    let disks = room::full_in(engine, host).await.into_iter().chain(room::full(engine).await);
    Err(disks.fold(full, Error::because))
}

/// Notes in a node's containerd that nodes made later shall have the image too.
pub(super) async fn mark(engine: &Engine, cargo: &[Cargo], host: &String) -> Result<()> {
    for image in cargo.iter().filter(|image| image.hosts.contains(host)) {
        let Some(kept) = image.kept else { continue };
        let label = format!("{}={}", labels::KEPT, kept.as_str());
        for name in &image.names {
            let label = ctr(["images", "label", name.as_str(), label.as_str()]);
            engine.exec(host, label).await?.checked()?;
        }
    }
    Ok(())
}
