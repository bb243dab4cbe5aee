//! What is kept of a failure before anything is undone: one folder of plain files, secrets masked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::context::Context;
use crate::provider::kind::{ADMIN_CONF, CLUSTER_LABEL};
use crate::state::{evidence, file};
use crate::world::engine::{Exec, State};
use crate::{Error, Result};

/// A node that does not answer by then has nothing to say.
const ANSWER: Duration = Duration::from_secs(10);

/// What is asked of every node, by file name.
const OF_NODES: &[(&str, &[&str])] = &[
    ("journal.txt", &["journalctl", "--no-pager", "-n", "2000"]),
    ("images.txt", &["ctr", "--namespace=k8s.io", "images", "list"]),
    ("units.txt", &["systemctl", "--no-pager", "--failed"]),
];

/// What is asked of the API server, through a control plane.
const OF_CLUSTER: &[(&str, &[&str])] = &[
    ("pods.txt", &["get", "pods", "--all-namespaces", "-o", "wide"]),
    ("nodes.txt", &["describe", "nodes"]),
    ("events.txt", &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"]),
];

/// Collects what can be had; what cannot leaves a gap, not an error.
///
/// # Errors
/// The folder cannot be written.
pub async fn collect(context: &Context, error: &Error) -> Result<PathBuf> {
    let folder = evidence::new_folder(&context.paths, &context.cluster, Timestamp::now())?;
    let keep = |path: &Path, text: &str| file::write(path, context.mask.apply(text).as_bytes());
    let text = serde_json::to_string_pretty(error).unwrap_or_else(|_| error.to_string());
    keep(&folder.join("error.json"), &text)?;
    if let Ok(Some(journal)) = file::read(&context.state().journal()) {
        keep(&folder.join("journal.jsonl"), &journal)?;
    }
    let engine = &context.world.engine;
    let filter = format!("{CLUSTER_LABEL}={}", context.cluster);
    let mut asked_cluster = false;
    for container in engine.containers(&[&filter]).await.unwrap_or_default() {
        let of_node = folder.join(&container.name);
        file::make_folder(&of_node)?;
        if let Ok(inspected) = engine.inspect_raw(&container.name).await {
            keep(&of_node.join("inspect.json"), &format!("{inspected:#}"))?;
        }
        if container.state != State::Running {
            continue;
        }
        for (name, command) in OF_NODES {
            if let Some(said) = ask(context, &container.name, command).await {
                keep(&of_node.join(name), &said)?;
            }
        }
        let admin = engine.get_file(&container.name, ADMIN_CONF).await;
        if asked_cluster || !matches!(admin, Ok(Some(_))) {
            continue;
        }
        asked_cluster = true;
        for (name, command) in OF_CLUSTER {
            let kubectl = ["kubectl", "--kubeconfig", ADMIN_CONF, "--request-timeout=5s"];
            let command: Vec<&str> = kubectl.iter().chain(*command).copied().collect();
            if let Some(said) = ask(context, &container.name, &command).await {
                keep(&folder.join(name), &said)?;
            }
        }
    }
    Ok(folder)
}

async fn ask(context: &Context, host: &str, command: &[&str]) -> Option<String> {
    let exec = Exec::new(command.iter().copied()).within(ANSWER);
    let output = context.world.engine.exec(host, exec).await.ok()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(format!("{}{error}", output.text()))
}
