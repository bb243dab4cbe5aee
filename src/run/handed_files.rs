//! Files that `pipe env` hands out: how a client on this host reaches a component that names its
//! node's own address.
//!
//! ```text
//!  the pod's node is known ── its address answers from here ──▶ written, handed out
//!            │            └── it does not ──▶ removed, and said: for pods only
//!            └ the cluster cannot be asked ──▶ handed out as it was last written
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::components::selector;
use crate::spec::Component;
use crate::spec::template::{self, Piece};
use crate::state::file;
use crate::state::paths::ClusterFolder;
use crate::world::dial::dial;
use crate::world::kube::Kube;
use crate::{Error, Result};

/// For the API server to say where the pod is.
const ASK: Duration = Duration::from_secs(5);

/// For an address to answer: it is on this very machine, or not to be reached.
const DIAL: Duration = Duration::from_secs(2);

/// The files of one component.
#[derive(Debug, Default)]
pub(super) struct Handed {
    /// By the component file's name for each.
    pub(super) paths: BTreeMap<String, PathBuf>,
    /// Why one is missing, or may be old.
    pub(super) notes: Vec<String>,
}

/// Asks the cluster of `state` where the component is, and writes its files.
///
/// # Errors
/// A file cannot be written. A cluster that does not answer is a note.
pub(super) async fn refresh(state: &ClusterFolder, component: &Component) -> Result<Handed> {
    if component.definition.files.is_empty() {
        return Ok(Handed::default());
    }
    let address = match Kube::from_kubeconfig(&state.kubeconfig()).await {
        Ok(kube) => ask(&kube, component).await,
        Err(error) => Err(error),
    };
    hand_out(state, component, address).await
}

/// The same, where the cluster is at hand.
///
/// # Errors
/// A file cannot be written.
pub(super) async fn write(
    state: &ClusterFolder,
    kube: &Kube,
    component: &Component,
) -> Result<Handed> {
    if component.definition.files.is_empty() {
        return Ok(Handed::default());
    }
    hand_out(state, component, ask(kube, component).await).await
}

/// The address of the node that the component's pod runs on.
async fn ask(kube: &Kube, component: &Component) -> Result<IpAddr> {
    let selector = selector(component.name.as_str());
    let pods = tokio::time::timeout(ASK, kube.pods(&component.namespace, &selector)).await;
    let pods = pods
        .map_err(|_elapsed| Error::timed_out("kube-timeout", "the API server does not answer"))??;
    let mut addresses = pods.iter().filter_map(|pod| pod.node_address.as_ref()?.parse().ok());
    addresses.next().ok_or_else(|| Error::failed("no-pod", "no pod of it runs on a node"))
}

async fn hand_out(
    state: &ClusterFolder,
    component: &Component,
    address: Result<IpAddr>,
) -> Result<Handed> {
    let mut handed = Handed::default();
    for (name, text) in &component.definition.files {
        let path = state.handed_file(component.name.as_str(), name);
        let there = file::read(&path)?;
        let node = match &address {
            Ok(node) => *node,
            Err(error) => {
                let what = match there {
                    Some(_) => "is as it was written last",
                    None => "is not there yet",
                };
                handed.notes.push(format!("{name} of {} {what}: {error}", component.name));
                if there.is_some() {
                    handed.paths.insert(name.clone(), path);
                }
                continue;
            }
        };
        let wanted = rendered(text, node)
            .ok_or_else(|| Error::bug(format!("the template of {name} cannot be filled in")))?;
        // What was reached once is this host's to reach, even while the service is away.
        if there.as_ref() != Some(&wanted) {
            if let Err(why) = reach(&wanted, node).await {
                file::remove(&path)?;
                handed.notes.push(format!(
                    "{} can be used in the cluster only, and {name} is left out: {why}. Where the \
                     engine keeps its nodes' network to itself (rootless, or in a virtual machine) \
                     this host does not reach it",
                    component.name
                ));
                continue;
            }
            file::write(&path, wanted.as_bytes())?;
        }
        handed.paths.insert(name.clone(), path);
    }
    Ok(handed)
}

fn rendered(text: &str, node: IpAddr) -> Option<String> {
    let node = match node {
        IpAddr::V4(node) => node.to_string(),
        IpAddr::V6(node) => format!("[{node}]"),
    };
    template::render(text, |piece| match piece {
        Piece::Node => Some(node.clone()),
        _ => None,
    })
}

/// Dials every port of the node that the text names.
async fn reach(text: &str, node: IpAddr) -> Result<(), String> {
    for address in addresses(text, node) {
        dial(address, DIAL)
            .await
            .map_err(|error| format!("{address} does not answer ({error})"))?;
    }
    Ok(())
}

/// The node's address with each port that follows it in the text.
fn addresses(text: &str, node: IpAddr) -> Vec<SocketAddr> {
    let start = match node {
        IpAddr::V4(node) => format!("{node}:"),
        IpAddr::V6(node) => format!("[{node}]:"),
    };
    let ports = text.match_indices(&start).filter_map(|(at, _)| {
        let rest = text.get(at + start.len()..)?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    });
    ports.map(|port| SocketAddr::new(node, port)).collect()
}

#[cfg(test)]
mod tests;
