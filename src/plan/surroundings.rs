//! What nodes were told of the network around them, and what they are to be told anew.
//!
//! It changes in place: no node is replaced for a proxy.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::input::Input;
use super::observed::NodeStage;
use super::{Action, Phase, Plan};

/// What a node was told, as digests: a file in the node, so it goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Of the proxies; empty for none.
    pub proxy: String,
    /// The proxies, without logins.
    pub proxy_shown: String,
    /// Of the certificates.
    pub authorities: String,
    /// Of the mirrors.
    pub mirrors: String,
    /// Registries that have mirrors.
    pub registries: Vec<String>,
    /// Names the verifier and its configuration; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub verifier: String,
    /// The verifier that was seen to refuse here what is not signed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proven: String,
    /// The local cache, where the node pulls from it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Ipv4Addr>,
}

/// A part of it that can change alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Proxies.
    Proxy,
    /// Certificates of authorities.
    Authorities,
    /// Mirrors of registries.
    Mirrors,
    /// The image verifier.
    Verifier,
}

impl Aspect {
    /// All of them.
    pub const ALL: [Aspect; 4] =
        [Aspect::Proxy, Aspect::Authorities, Aspect::Mirrors, Aspect::Verifier];

    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Aspect::Proxy => "proxy",
            Aspect::Authorities => "authorities",
            Aspect::Mirrors => "mirrors",
            Aspect::Verifier => "image verifier",
        }
    }
}

/// What nodes are to be told.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of a node that knows it all.
    pub told: Told,
    /// Whether anybody said anything of proxies: silence takes none away.
    pub proxy_said: bool,
    /// The user's file, for hints.
    pub file: String,
}

/// Steps that tell running nodes what they have not been told.
pub fn add(input: &Input<'_>, fresh: &BTreeSet<String>, plan: &mut Plan) {
    let wanted = input.surroundings;
    let mut silent = None;
    for node in input.spec.cluster.nodes.iter().filter(|node| !fresh.contains(&node.host)) {
        let Some(facts) = input.observed.nodes.get(&node.host) else { continue };
        if facts.stage != NodeStage::Running {
            continue;
        }
        if !wanted.proxy_said && !facts.told.proxy.is_empty() {
            silent = Some(&facts.told.proxy_shown);
        }
        let differs = |aspect: &Aspect| match aspect {
            Aspect::Proxy => wanted.proxy_said && wanted.told.proxy != facts.told.proxy,
            Aspect::Authorities => wanted.told.authorities != facts.told.authorities,
            Aspect::Mirrors => wanted.told.mirrors != facts.told.mirrors,
            Aspect::Verifier => wanted.told.verifier != facts.told.verifier,
        };
        let aspects: Vec<Aspect> = Aspect::ALL.into_iter().filter(differs).collect();
        if !aspects.is_empty() {
            let action = Action::TellNode { host: node.host.clone(), aspects };
            plan.add(format!("surroundings/{}", node.name), Phase::Component, [], action);
        }
    }
    if let Some(shown) = silent {
        plan.notes.push(format!(
            "nodes use the proxy {shown}, and here nobody says one; to take it out, write `proxy: none` in {}",
            wanted.file
        ));
    }
}
