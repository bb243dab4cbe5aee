//! Evidence: one archive of what engine, nodes, cluster and `pipe` itself know, secrets masked.
//!
//! Made by itself when a run fails, before anything is undone, and by `pipe logs`. What cannot be had
//! leaves its reason in the index, never an error. With a dead API server there is still what the
//! engine and the files of the nodes give.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::context::Context;
use crate::provider::kind::{ADMIN_CONF, CLUSTER_LABEL};
use crate::report::Mask;
use crate::report::scrub::scrub;
use crate::spec::ClusterName;
use crate::state::credentials::Credentials;
use crate::state::paths::Paths;
use crate::state::receipt::{Receipt, StepOutcome};
use crate::state::{evidence, file};
use crate::world::World;
use crate::{Error, Result};

mod archive;
mod ask;
mod questions;
mod sources;

use archive::{FailedStep, Head, Item};
use ask::{Answer, Answered, Limits, ask_all, longest, question};
use questions::{of_cluster, of_container, of_engine, of_pipe, short_log_path};
use std::path::PathBuf;

/// Who does not answer by then has nothing to say.
const ANSWER: Duration = Duration::from_secs(10);

/// How the questions are asked.
const LIMITS: Limits = Limits { each: ANSWER, in_all: Duration::from_secs(45), at_once: 8 };

/// How long the API server may take to say that it is there.
const ALIVE: Duration = Duration::from_secs(4);

/// Most bytes of everything together, before compression.
const IN_BYTES: usize = 64 << 20;

/// Most bytes of one item; its end is kept.
const ITEM: usize = 2 << 20;

/// Most bytes of a node's pod logs.
const POD_LOGS: usize = 16 << 20;

/// Longest line that is not cut.
const LINE: usize = 4096;

/// kubectl on a control plane.
const KUBECTL: [&str; 3] = ["kubectl", "--kubeconfig", ADMIN_CONF];

/// Lines of a container's console.
const CONSOLE_LINES: u32 = 1000;

/// What the evidence is of.
pub struct Scene<'a> {
    /// Engine and host.
    pub world: &'a World,
    /// State.
    pub paths: &'a Paths,
    /// The cluster.
    pub cluster: &'a ClusterName,
    /// Secrets that the command knows.
    pub mask: &'a Mask,
    /// The failure, if there is one.
    pub error: Option<&'a Error>,
}

/// Gathers and keeps the evidence of a failure.
///
/// # Errors
/// The archive cannot be written.
pub async fn collect(context: &Context, error: &Error) -> Result<PathBuf> {
    let at = Timestamp::now();
    let scene = Scene {
        world: &context.world,
        paths: &context.paths,
        cluster: &context.cluster,
        mask: &context.mask,
        error: Some(error),
    };
    let archive = gather(&scene, at).await?;
    evidence::keep(&context.paths, &context.cluster, at, &archive)
}

/// The archive's bytes.
///
/// # Errors
/// It cannot be packed.
pub async fn gather(scene: &Scene<'_>, at: Timestamp) -> Result<Vec<u8>> {
    let secrets = secrets(scene);
    let began = Instant::now();
    let filter = format!("{CLUSTER_LABEL}={}", scene.cluster);
    let containers = scene.world.engine.containers(&[&filter]).await;
    let mut questions = of_pipe(scene);
    questions.extend(of_engine(scene));
    match &containers {
        Ok(containers) => {
            for container in containers {
                questions.extend(of_container(scene, container));
            }
            questions.extend(of_cluster(scene, containers));
        }
        Err(error) => {
            let why = error.to_string();
            questions.push(question("nodes", "containers of the cluster", async { Err(why) }));
        }
    }
    let answers = ask_all(questions, began, LIMITS).await;
    let mut items = Vec::new();
    let mut times = Vec::new();
    for Answered { path, what, answer, took } in answers {
        items.extend(items_of(&path, &what, answer, &secrets));
        times.push((path, took));
    }
    let error = scene.error.map(|error| hidden_error(error, &secrets));
    let head = Head {
        stem: evidence::stem(scene.cluster, at),
        cluster: scene.cluster.to_string(),
        at,
        failed: failed_steps(scene, &secrets),
        error,
        took: began.elapsed(),
        longest: longest(times),
    };
    archive::pack(&head, items, IN_BYTES).map_err(|error| {
        Error::failed("archive-pack", "the evidence cannot be packed").because(error)
    })
}

/// An answer as items: secrets hidden, each no larger than its cap.
fn items_of(path: &str, what: &str, answer: Result<Answer, String>, secrets: &Mask) -> Vec<Item> {
    let item = |path: String, content: Result<Vec<u8>, String>, cut| Item {
        path,
        what: what.to_owned(),
        content,
        cut,
    };
    match answer {
        Err(why) => vec![item(path.to_owned(), Err(hidden(&why, secrets)), 0)],
        Ok(Answer::Text(text)) => {
            let (text, cut) = capped(hidden(&text, secrets));
            vec![item(path.to_owned(), Ok(text.into_bytes()), cut)]
        }
        Ok(Answer::Files(files)) => files
            .into_iter()
            .map(|(below, content)| {
                let text = hidden(&String::from_utf8_lossy(&content), secrets);
                let (text, cut) = capped(text);
                item(format!("{path}/{}", short_log_path(&below)), Ok(text.into_bytes()), cut)
            })
            .collect(),
    }
}

/// `text` without what is known to be secret, and without what looks like it.
fn hidden(text: &str, secrets: &Mask) -> String {
    scrub(&secrets.apply(text)).into_owned()
}

fn hidden_error(error: &Error, secrets: &Mask) -> Error {
    let hide = |text: &String| hidden(text, secrets);
    Error {
        kind: error.kind,
        code: error.code,
        what: hide(&error.what),
        causes: error.causes.iter().map(hide).collect(),
        hints: error.hints.iter().map(hide).collect(),
    }
}

/// The end of `text`, whole lines, and how many bytes went.
fn capped(text: String) -> (String, usize) {
    if text.len() <= ITEM {
        return (text, 0);
    }
    let start = text.ceil_char_boundary(text.len() - ITEM);
    let rest = text.get(start..).unwrap_or_default();
    // A line without end is cut in the middle.
    let line = rest.bytes().take(LINE).position(|byte| byte == b'\n').map_or(0, |line| line + 1);
    (rest.get(line..).unwrap_or_default().to_owned(), start + line)
}

/// Every secret that the state folder knows, beside those of the command.
fn secrets(scene: &Scene<'_>) -> Mask {
    let secrets = scene.mask.copy();
    let state = scene.paths.cluster(scene.cluster);
    if let Ok(credentials) = Credentials::load(&state) {
        credentials.hide_all(&secrets);
    }
    let kubeconfig = file::read(&state.kubeconfig()).ok().flatten().unwrap_or_default();
    for line in kubeconfig.lines() {
        if let Some(("client-key-data", key)) = line.trim().split_once(": ") {
            secrets.add(key.trim());
        }
    }
    secrets
}

/// What the last run failed at, by the journal.
fn failed_steps(scene: &Scene<'_>, secrets: &Mask) -> Vec<FailedStep> {
    let receipt = Receipt::load(&scene.paths.cluster(scene.cluster)).ok();
    let steps = receipt.and_then(|receipt| receipt.run).map(|run| run.steps).unwrap_or_default();
    let failed = steps.into_iter().filter(|step| step.outcome == StepOutcome::Failed);
    failed
        .map(|step| FailedStep {
            id: step.id,
            summary: step.summary,
            error: hidden(&step.error.unwrap_or_default(), secrets),
        })
        .collect()
}

#[cfg(test)]
mod tests;
