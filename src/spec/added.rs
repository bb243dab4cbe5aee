//! Nodes that no file names: `pipe node add` made them. Each keeps its entry, written as in a cluster
//! file, on its own container; from there it joins the nodes of the file.

use serde_json::Value;

use super::cluster_file::expand;
use super::node_file::{self, NODES_MAX};
use super::problem::Problems;
use super::read::Cursor;
use super::{Arch, Cluster, Node, NodeName, yaml};
use crate::{Error, Kind, Result};

/// How problems call an entry that was typed.
const COMMAND_LINE: &str = "command line";

/// Puts the nodes of `entries` behind those of the file. A node that the file names by now is the
/// file's.
///
/// # Errors
/// [`Kind::Failed`]: an entry was written by a `pipe` that knew more.
pub fn merge(cluster: &mut Cluster, entries: &[String], host_arch: Arch) -> Result<()> {
    for text in entries {
        let nodes = read(text, cluster, host_arch).map_err(|problems| {
            let what = "a node that `pipe node add` made cannot be read";
            let error = Error::failed("added-node", what).because(text);
            problems.into_iter().fold(error, Error::because)
        })?;
        for node in nodes {
            if !cluster.nodes.iter().any(|known| known.name == node.name) {
                push(cluster, Node { added: Some(text.clone()), ..node });
            }
        }
    }
    Ok(())
}

/// Puts the nodes of a typed entry behind all others, and gives the names of those that were not
/// there: an equal node is not added twice.
///
/// # Errors
/// [`Kind::Usage`] with every problem, as a file would have it; [`Kind::Failed`] if another node has
/// the name.
pub fn add(cluster: &mut Cluster, entry: &Value, host_arch: Arch) -> Result<Vec<NodeName>> {
    let nodes = read(&entry.to_string(), cluster, host_arch).map_err(|problems| {
        let error = Error::new(Kind::Usage, "node-invalid", "the node cannot be added");
        problems.into_iter().fold(error, Error::because)
    })?;
    let mut added = Vec::new();
    for node in nodes {
        let name = node.name.clone();
        match cluster.nodes.iter().find(|known| known.name == name) {
            Some(known) if known.is_like(&node) => continue,
            Some(_) => return Err(taken(cluster, &name)),
            None => {}
        }
        let mut own = entry.clone();
        own["name"] = Value::from(name.as_str());
        if let Some(fields) = own.as_object_mut() {
            fields.remove("count");
        }
        push(cluster, Node { added: Some(own.to_string()), ..node });
        added.push(name);
    }
    if cluster.nodes.len() as u64 > NODES_MAX {
        let what = format!("{} nodes are too many", cluster.nodes.len());
        return Err(Error::usage("node-invalid", what).because(format!(
            "a cluster has at most {NODES_MAX}, each a kubelet on this machine"
        )));
    }
    Ok(added)
}

fn taken(cluster: &Cluster, name: &NodeName) -> Error {
    let cluster = &cluster.name;
    Error::failed("node-exists", format!("cluster {cluster} has another node called {name}"))
        .because("its role, zone, labels, taints or resources differ")
        .hint(format!("choose another name, or remove it first: pipe node remove {name}"))
}

/// Adds a node as the next worker; what a reservation says of its container comes later.
fn push(cluster: &mut Cluster, mut node: Node) {
    let workers = cluster.nodes.iter().filter(|node| !node.control_plane).count();
    node.host = match workers {
        0 => format!("{}-worker", cluster.name),
        number => format!("{}-worker{}", cluster.name, number + 1),
    };
    cluster.nodes.push(node);
}

/// The nodes of one entry, or what is wrong with it.
fn read(text: &str, cluster: &Cluster, host_arch: Arch) -> Result<Vec<Node>, Vec<String>> {
    let problems = Problems::default();
    let mut nodes = Vec::new();
    if let Some(part) = yaml::parse(COMMAND_LINE, text.as_bytes(), &problems) {
        let entry = node_file::read(Cursor::new(COMMAND_LINE, &problems, &part), host_arch);
        nodes = expand(entry.as_slice(), cluster.name.as_str());
    }
    let found = problems.into_inner();
    if found.is_empty() && nodes.iter().all(|node| !node.control_plane) {
        return Ok(nodes);
    }
    let texts = found.into_iter().map(|problem| format!("{}: {}", problem.what, problem.remedy));
    let mut texts: Vec<String> = texts.collect();
    if texts.is_empty() {
        texts.push("a control plane cannot join a cluster later: name it in the file".to_owned());
    }
    Err(texts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::source::Sources;

    fn dev() -> Cluster {
        crate::spec::load(&Sources::built_in(), "dev", None, Arch::Amd64).unwrap().cluster
    }

    #[test]
    fn an_added_node_is_what_a_file_would_have_made() {
        let mut cluster = dev();
        let entry = json!({"name": "more", "zone": "d", "labels": {"team": "blue"}, "count": 2});
        let added = add(&mut cluster, &entry, Arch::Amd64).unwrap();
        assert_eq!(added.iter().map(NodeName::as_str).collect::<Vec<_>>(), ["more", "more-2"]);
        let node = &cluster.nodes[4];
        assert_eq!((node.name.as_str(), node.host.as_str()), ("more-2", "dev-worker4"));
        assert_eq!(node.labels["topology.kubernetes.io/zone"], "d");
        assert_eq!(node.labels["pipe.dev/node"], "more-2");
        insta::assert_snapshot!(node.added.as_ref().unwrap(), @r#"{"labels":{"team":"blue"},"name":"more-2","zone":"d"}"#);

        // What stands on the containers gives the same nodes back.
        let entries: Vec<String> = cluster.nodes.iter().filter_map(|n| n.added.clone()).collect();
        let mut again = dev();
        merge(&mut again, &entries, Arch::Amd64).unwrap();
        assert_eq!(format!("{again:?}"), format!("{cluster:?}"));
        // Twice is once, and a file's node is the file's.
        assert_eq!(add(&mut again, &entry, Arch::Amd64).unwrap(), []);
        merge(&mut again, &[r#"{"name":"edge","zone":"z"}"#.to_owned()], Arch::Amd64).unwrap();
        assert_eq!(again.nodes.len(), 5);
    }

    #[test]
    fn what_a_file_would_refuse_is_refused() {
        let refused = |entry: &Value| add(&mut dev(), entry, Arch::Amd64).unwrap_err();
        let error = refused(&json!({"name": "X", "arch": "arm64", "taints": ["a"], "zone": "!"}));
        assert_eq!((error.kind, error.causes.len()), (Kind::Usage, 4), "{error:?}");
        let error = refused(&json!({"name": "edge", "zone": "z"}));
        assert_eq!(error.code, "node-exists");
        let error = refused(&json!({"name": "cp", "controlPlane": true}));
        assert!(error.causes[0].contains("control plane"), "{error:?}");
        assert_eq!(refused(&json!({"name": "n", "count": 99})).code, "node-invalid");
    }
}
