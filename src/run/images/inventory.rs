//! `images list`: what the nodes of a cluster have, and where it is from.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use serde::Serialize;

use super::manage::nodes;
use super::{names, node_store};
use crate::Result;
use crate::plan::observed::{Kept, NodeImage};
use crate::provider::labels;
use crate::spec::ClusterName;
use crate::world::World;
use crate::world::engine::{ImageLine, State};

/// Names that only mark what stands in for another product ([`crate::spec::ImageName::stand_in_mark`]).
const MARKS: &str = "localhost/pipe/stand-in/";

/// Where an image in a node is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// `pipe images load`.
    Loaded,
    /// `pipe images add`.
    Added,
    /// A component's, built from source on this host.
    Built,
    /// A component's, from its registry.
    Pulled,
    /// It came with the node's image, or a kubelet pulled it.
    Node,
}

impl From {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            From::Loaded => "loaded",
            From::Added => "added",
            From::Built => "built from source",
            From::Pulled => "pulled",
            From::Node => "node",
        }
    }
}

/// What the engine has under that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InEngine {
    /// The same image.
    Same,
    /// Another one: it was built again since.
    Changed,
    /// Neither.
    Gone,
}

impl InEngine {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            InEngine::Same => "same",
            InEngine::Changed => "changed",
            InEngine::Gone => "gone",
        }
    }
}

/// One name of one image.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name in the nodes.
    pub name: String,
    /// Its id; absent where the node does not say.
    pub id: Option<String>,
    /// Bytes in the engine, unpacked; in the node where the engine has it no more.
    pub size: u64,
    /// `linux/amd64`.
    pub platform: String,
    /// Nodes that have it, by our names.
    pub nodes: Vec<String>,
    /// Running nodes that do not.
    pub missing: Vec<String>,
    /// Where it is from.
    pub from: From,
    /// Whether the engine still has it.
    pub engine: InEngine,
}

/// Images of the running nodes of a cluster, those of the user first.
///
/// # Errors
/// There is no such cluster, or a node's containerd does not answer.
pub async fn inventory(world: &World, cluster: &ClusterName) -> Result<Vec<Row>> {
    let mut running = nodes(world, cluster).await?;
    running.retain(|node| node.state == State::Running);
    let stores = running.iter().map(|node| node_store::images(&world.engine, &node.name));
    let stores = try_join_all(stores).await?;
    let names = running
        .iter()
        .map(|node| node.labels.get(labels::NODE).cloned().unwrap_or_else(|| node.name.clone()));
    let stores: Vec<(String, BTreeMap<String, NodeImage>)> = names.zip(stores).collect();
    let engine = world.engine.images().await?;
    let built = |name: &str| world.built.find(name).map(|built| built.local.clone());
    let mut rows = rows(&stores, &engine, built);
    for row in &mut rows {
        if let (Some(id), InEngine::Same) = (&row.id, row.engine)
            && let Some(found) = world.engine.image(id).await?
        {
            row.size = found.size;
        }
    }
    Ok(rows)
}

/// Pure: one row for each name and id.
fn rows(
    stores: &[(String, BTreeMap<String, NodeImage>)],
    engine: &[ImageLine],
    built: impl Fn(&str) -> Option<String>,
) -> Vec<Row> {
    let mut found: BTreeMap<(String, Option<String>), Row> = BTreeMap::new();
    for (node, store) in stores {
        for (name, image) in store.iter().filter(|(name, _)| !name.starts_with(MARKS)) {
            let key = (name.clone(), image.id.clone());
            let row = found.entry(key).or_insert_with(|| Row {
                name: name.clone(),
                id: image.id.clone(),
                size: image.size,
                platform: image.platform.clone(),
                nodes: Vec::new(),
                missing: Vec::new(),
                from: from(name, image, engine, built(name).is_some()),
                engine: in_engine(name, image, engine, built(name).as_ref()),
            });
            row.nodes.push(node.clone());
        }
    }
    let mut rows: Vec<Row> = found.into_values().collect();
    for row in &mut rows {
        let has = |node: &String| row.nodes.contains(node);
        row.missing = stores.iter().map(|(node, _)| node).filter(|n| !has(n)).cloned().collect();
    }
    rows.sort_by(|a, b| (a.from, &a.name).cmp(&(b.from, &b.name)));
    rows
}

fn from(name: &str, image: &NodeImage, engine: &[ImageLine], built: bool) -> From {
    match (image.kept, built) {
        (Some(Kept::Loaded), _) => From::Loaded,
        (Some(Kept::Added), _) => From::Added,
        (None, true) => From::Built,
        (None, false) if engine.iter().any(|line| line.names.iter().any(|n| n == name)) => {
            From::Pulled
        }
        (None, false) => From::Node,
    }
}

/// By id first: an image keeps it while another takes its name.
fn in_engine(
    name: &str,
    image: &NodeImage,
    engine: &[ImageLine],
    built: Option<&String>,
) -> InEngine {
    let known = |line: &&ImageLine| {
        line.names.iter().any(|known| Some(known) == built || names::means(known, name))
    };
    let named: Vec<&ImageLine> = engine.iter().filter(known).collect();
    let is_it = |line: &ImageLine| Some(&line.id) == image.id.as_ref();
    if named.iter().any(|line| is_it(line)) {
        InEngine::Same
    } else if !named.is_empty() {
        InEngine::Changed
    } else if engine.iter().any(is_it) {
        InEngine::Same
    } else {
        InEngine::Gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_for_each_content_of_a_name() {
        let image = |id: &str, kept| NodeImage {
            id: Some(id.to_owned()),
            size: 1,
            platform: "linux/amd64".to_owned(),
            kept,
        };
        let line = |id: &str, names: &[&str]| ImageLine {
            id: id.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let app = "docker.io/library/app:1";
        let core = BTreeMap::from([
            (app.to_owned(), image("new", Some(Kept::Loaded))),
            ("docker.io/library/nats:2".to_owned(), image("n", None)),
            ("registry.k8s.io/pause:3".to_owned(), image("p", None)),
            ("quay.io/x/y:1".to_owned(), image("y", Some(Kept::Added))),
            ("quay.io/x/z:1".to_owned(), image("z", None)),
        ]);
        let edge = BTreeMap::from([(app.to_owned(), image("old", Some(Kept::Loaded)))]);
        let engine = [
            line("new", &["localhost/app:1"]),
            line("n", &["localhost/pipe/nats:2-abc"]),
            line("z", &["quay.io/x/z:1"]),
        ];
        let built =
            |name: &str| name.contains("nats").then(|| "localhost/pipe/nats:2-abc".to_owned());
        let stores = [("core".to_owned(), core), ("edge".to_owned(), edge)];
        let lines: Vec<String> = rows(&stores, &engine, built)
            .iter()
            .map(|row| {
                let (id, nodes) = (row.id.clone().unwrap_or_default(), row.nodes.join(","));
                format!("{} {id} {nodes} {} {}", row.name, row.from.as_str(), row.engine.as_str())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        docker.io/library/app:1 new core loaded same
        docker.io/library/app:1 old edge loaded changed
        quay.io/x/y:1 y core added gone
        docker.io/library/nats:2 n core built from source same
        quay.io/x/z:1 z core pulled same
        registry.k8s.io/pause:3 p core node gone
        ");
    }
}
