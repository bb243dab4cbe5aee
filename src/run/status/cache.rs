//! The local image cache, as one cluster sees it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::plan::Observed;
use crate::provider::registry::Software;
use crate::spec::{ImageName, ImagePolicy, Node, Spec};

/// The local cache as this cluster sees it.
#[derive(Debug, Serialize)]
pub struct CacheLine {
    /// `zot` or `distribution`.
    pub software: String,
    /// `running`, `stopped` or `missing`.
    pub state: &'static str,
    /// On this host.
    pub address: String,
    /// What it does not protect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unprotected: Option<&'static str>,
    /// What becomes of images that nobody signed: `reported`, `refused`; `not refused` where a node
    /// was not seen to refuse one.
    pub unsigned: &'static str,
    /// Nodes that were seen to refuse what is not signed.
    pub proven: usize,
    /// Whether the API server refuses pods by the names of their images, or warns of them.
    pub names: bool,
    /// Images of the profile that it has, with a signature that counts.
    pub signed: usize,
    /// Images of the profile.
    pub images: usize,
}

impl CacheLine {
    /// What is there of it; `None` for a profile without.
    pub(super) fn of(observed: &Observed, spec: &Spec) -> Option<CacheLine> {
        if !spec.profile.policy.is_cached() {
            return None;
        }
        let registry = observed.registry.as_ref();
        let images: BTreeSet<&ImageName> =
            spec.profile.components.iter().flat_map(|it| &it.definition.images).collect();
        let held = registry.iter().flat_map(|registry| registry.images.values());
        let signed = held.filter(|image| image.signed_by.is_some()).count();
        let software = registry.map_or("none", |registry| registry.software.as_str());
        let told = |node: &Node| observed.nodes.get(&node.host).map(|facts| &facts.told);
        let is_proven = |node: &&Node| {
            told(node).is_some_and(|told| !told.proven.is_empty() && told.proven == told.verifier)
        };
        let proven = spec.cluster.nodes.iter().filter(is_proven).count();
        let unsigned = match spec.profile.policy {
            ImagePolicy::Enforce if proven == spec.cluster.nodes.len() => "refused",
            ImagePolicy::Enforce => "not refused",
            ImagePolicy::Warn | ImagePolicy::Off => "reported",
        };
        Some(CacheLine {
            unsigned,
            proven,
            names: observed.live.as_ref().is_some_and(|live| live.admission.is_some()),
            state: match registry {
                None => "missing",
                Some(registry) if registry.running => "running",
                Some(_) => "stopped",
            },
            address: registry.map(|it| format!("127.0.0.1:{}", it.port)).unwrap_or_default(),
            unprotected: Software::parse(software).and_then(Software::unprotected),
            software: software.to_owned(),
            signed,
            images: images.len(),
        })
    }
}

impl std::fmt::Display for CacheLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CacheLine { software, state, address, signed, images, proven, .. } = self;
        write!(f, "{signed} of {images} signed in the cache ({software} on {address}, {state}); ")?;
        match self.unsigned {
            "refused" => write!(f, "enforced: {proven} nodes were seen to refuse unsigned ones"),
            "not refused" => write!(f, "NOT enforced: only {proven} nodes were seen to refuse"),
            _ => f.write_str("unsigned ones run, containerd's log names them"),
        }?;
        if !self.names {
            f.write_str("; the API server does not look at names")?;
        }
        // Of what the node starts with nothing is pulled, so nothing is asked.
        f.write_str("; outside of it: the node image and what it brings, the cache's own image")?;
        self.unprotected.map_or(Ok(()), |what| write!(f, "; {what}"))
    }
}
