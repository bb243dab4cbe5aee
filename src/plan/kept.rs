//! Images that the user gave the cluster: nodes that lack one get it, with the content that the
//! other nodes have.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Input;
use super::observed::{KeptFacts, Live};
use super::{Action, Phase, Plan};

/// Whether a node lacks an image: it has none of that name, or another one than `id`.
pub fn lacks(live: &Live, host: &str, name: &str, id: Option<&str>) -> bool {
    let found = live.node_images.get(host).and_then(|images| images.get(name));
    found.is_none_or(|found| match (found.id.as_deref(), id) {
        (Some(found), Some(wanted)) => found != wanted,
        // Who cannot say is believed, or it would be loaded at every run.
        _ => false,
    })
}

/// Steps that give the user's images to nodes without them, and notes on those that cannot be given.
pub fn add(input: &Input<'_>, fresh: &BTreeSet<String>, live: &Live, plan: &mut Plan) {
    let nodes = &input.spec.cluster.nodes;
    // One image may have several names; it is sent once.
    let mut images: BTreeMap<&str, (Vec<&String>, &KeptFacts, Vec<String>)> = BTreeMap::new();
    for (name, facts) in &input.observed.kept {
        let without = nodes.iter().filter(|node| {
            fresh.contains(&node.host) || lacks(live, &node.host, name, Some(&facts.id))
        });
        let hosts: Vec<String> = without.map(|node| node.host.clone()).collect();
        if hosts.is_empty() {
            continue;
        }
        let entry = images.entry(&facts.id).or_insert_with(|| (Vec::new(), facts, Vec::new()));
        entry.0.push(name);
        entry.2.extend(hosts);
    }
    for (id, (names, facts, mut hosts)) in images {
        hosts.sort();
        hosts.dedup();
        // What users call it: the engine's name where it was built there.
        let name = names.iter().max_by_key(|name| name.starts_with("localhost/"));
        let Some(name) = name else { continue };
        if !facts.in_engine {
            plan.notes.push(format!(
                "{} without image {name}, which the engine has no more; give it anew: pipe images {}",
                hosts.join(", "),
                facts.kept.verb()
            ));
            continue;
        }
        let boots: Vec<String> = nodes.iter().map(|node| format!("boot/{}", node.name)).collect();
        let joins = nodes
            .iter()
            .flat_map(|node| ["join", "surroundings"].map(|step| format!("{step}/{}", node.name)));
        let needs: Vec<String> =
            boots.into_iter().chain(joins).chain(["init".to_owned()]).collect();
        let last = name.rsplit('/').next().unwrap_or(name).replace([':', '@'], "-");
        let mut names: Vec<String> = names.iter().map(|name| (*name).clone()).collect();
        names.sort_by_key(|name| !name.starts_with("localhost/"));
        let action = Action::KeepImage { id: id.to_owned(), names, kept: facts.kept, hosts };
        let step = match plan.step(&format!("keep/{last}")) {
            None => format!("keep/{last}"),
            Some(_) => format!("keep/{last}-{}", id.get(..12).unwrap_or(id)),
        };
        plan.add(step, Phase::Component, needs.iter().map(String::as_str), action);
    }
}
