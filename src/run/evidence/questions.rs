//! What is asked: files of ours, the engine, each container, the cluster.

use std::path::PathBuf;

use futures::FutureExt as _;

use super::ask::{Answer, Question, question};
use super::{ALIVE, ANSWER, CONSOLE_LINES, ITEM, KUBECTL, POD_LOGS, Scene, sources};
use crate::provider::kind::{CLUSTER_LABEL, NETWORK, ROLE_LABEL};
use crate::run::doctor;
use crate::state::file;
use crate::state::receipt::Receipt;
use crate::world::engine::{ContainerLine, Exec, State};
use crate::world::process::last_lines;

/// Files of ours.
pub(super) fn of_pipe<'a>(scene: &'a Scene<'a>) -> Vec<Question<'a>> {
    let state = scene.paths.cluster(scene.cluster);
    let read = |path: PathBuf| async move {
        match file::read(&path) {
            Ok(Some(text)) => Ok(Answer::Text(text)),
            Ok(None) => Err("there is none".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    };
    let doctor = async {
        let report = doctor::of_running(scene.world, scene.paths, scene.cluster).await;
        let report = report.map_err(|error| error.to_string())?;
        json(&report)
    };
    let versions = async {
        let engine = scene.world.engine.info().await.map_err(|error| error.to_string())?;
        json(&serde_json::json!({
            "pipe": env!("CARGO_PKG_VERSION"), "engine": engine.version, "engineApi": engine.api,
        }))
    };
    let mut questions = vec![
        question("doctor.json", "facts of the host and what `pipe doctor` says of them", doctor),
        question("pipe/versions.json", "versions", versions),
        question("pipe/journal.jsonl", "what pipe did, step by step", read(state.journal())),
        question("pipe/reservation.json", "addresses and ports", read(state.reservation())),
    ];
    let receipt = async move { json(&Receipt::load(&state).map_err(|error| error.to_string())?) };
    questions.push(question("pipe/receipt.json", "the last run and each component", receipt));
    if let Some(error) = scene.error {
        let error = async move { json(error) };
        questions.insert(0, question("error.json", "the failure", error));
    }
    questions
}

/// What the engine says of itself, networks and volumes.
pub(super) fn of_engine<'a>(scene: &'a Scene<'a>) -> Vec<Question<'a>> {
    let engine = &scene.world.engine;
    let filter = format!("{CLUSTER_LABEL}={}", scene.cluster);
    let info = async { json(&engine.info_raw().await.map_err(|error| error.to_string())?) };
    let network =
        async { json(&engine.network_raw(NETWORK).await.map_err(|error| error.to_string())?) };
    let volumes = async {
        let label = format!("{}={}", crate::provider::labels::CLUSTER, scene.cluster);
        json(&engine.volumes(&[&label]).await.map_err(|error| error.to_string())?)
    };
    let containers = async move {
        json(&engine.containers(&[&filter]).await.map_err(|error| error.to_string())?)
    };
    vec![
        question("engine/info.json", "the engine, as it describes itself", info),
        question("engine/network.json", "the network of the nodes", network),
        question("engine/volumes.json", "volumes of the nodes", volumes),
        question("engine/containers.json", "containers of the nodes", containers),
    ]
}

/// What one node's container and, if it runs, its insides say.
pub(super) fn of_container<'a>(
    scene: &'a Scene<'a>,
    container: &ContainerLine,
) -> Vec<Question<'a>> {
    let engine = &scene.world.engine;
    let folder = format!("nodes/{}", container.name);
    let mut questions = Vec::new();
    let name = container.name.clone();
    let inspected =
        async move { json(&engine.inspect_raw(&name).await.map_err(|error| error.to_string())?) };
    let inspect = format!("{folder}/inspect.json");
    questions.push(question(inspect, "the container, as the engine describes it", inspected));
    let name = container.name.clone();
    let console = async move {
        let said = engine.console(&name, CONSOLE_LINES).await.map_err(|error| error.to_string())?;
        Ok(Answer::Text(said))
    };
    questions.push(question(format!("{folder}/console.txt"), "how the node booted", console));
    for &(path, what) in sources::FILES {
        let name = container.name.clone();
        let file = path.rsplit('/').next().unwrap_or(path);
        let read = async move {
            match engine.get_file(&name, path).await {
                Ok(Some(bytes)) => Ok(Answer::Text(String::from_utf8_lossy(&bytes).into_owned())),
                Ok(None) => Err(format!("there is no {path}")),
                Err(error) => Err(error.to_string()),
            }
        };
        questions.push(question(format!("{folder}/{file}"), what, read));
    }
    for &(path, what) in sources::FOLDERS {
        let file = path.trim_start_matches('/').replace('/', "-");
        let read = read_folder(scene, container.name.clone(), path, ITEM);
        questions.push(question(format!("{folder}/{file}"), what, read));
    }
    let logs = format!("{folder}/pods");
    let what = "what pods said, now and before their last restart";
    if container.state != State::Running {
        let read = read_folder(scene, container.name.clone(), sources::POD_LOGS, POD_LOGS);
        questions.push(question(logs, what, read));
        let why = format!("the container does not run ({:?})", container.state);
        let journal = format!("{folder}/journal.txt");
        questions.push(question(journal, "what its services said", async { Err(why) }));
        return questions;
    }
    for command in sources::OF_NODES {
        let path = format!("{folder}/{}", command.file);
        let run = run(scene, container.name.clone(), command.argv);
        questions.push(question(path, command.what, run));
    }
    questions.push(question(logs, what, pod_logs(scene, container.name.clone())));
    questions
}

/// What the API server says, asked on a control plane that runs: no client on the host is needed.
pub(super) fn of_cluster<'a>(
    scene: &'a Scene<'a>,
    containers: &[ContainerLine],
) -> Vec<Question<'a>> {
    let control = containers.iter().find(|container| {
        container.state == State::Running
            && container.labels.get(ROLE_LABEL).is_some_and(|role| role == "control-plane")
    });
    let Some(control) = control else {
        let why = "no control plane runs".to_owned();
        return vec![question("cluster", "what the API server says", async { Err(why) })];
    };
    let name = control.name.clone();
    // Asked once for all: where nothing serves, each kubectl would try for many seconds.
    let alive = async move {
        let argv = [&KUBECTL[..], &["--request-timeout=3s", "get", "--raw", "/version"]].concat();
        let asked = tokio::time::timeout(ALIVE, said(scene, &name, &argv)).await;
        match asked {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(format!("the API server does not answer: {why}")),
            Err(_elapsed) => {
                Err(format!("the API server does not answer within {} s", ALIVE.as_secs()))
            }
        }
    };
    let alive = alive.boxed().shared();
    let ask = |command: &'static sources::Command| {
        let (name, alive) = (control.name.clone(), alive.clone());
        let answer = async move {
            alive.await?;
            let argv = [&KUBECTL[..], &["--request-timeout=5s"], command.argv].concat();
            said(scene, &name, &argv).await
        };
        question(format!("cluster/{}", command.file), command.what, answer)
    };
    sources::OF_CLUSTER.iter().map(ask).collect()
}

async fn run(
    scene: &Scene<'_>,
    name: String,
    argv: &'static [&'static str],
) -> Result<Answer, String> {
    said(scene, &name, argv).await
}

async fn said(scene: &Scene<'_>, name: &str, argv: &[&str]) -> Result<Answer, String> {
    let exec = Exec::new(argv.iter().copied()).within(ANSWER);
    let output = scene.world.engine.exec(name, exec).await.map_err(|error| error.to_string())?;
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.code != 0 && out.trim().is_empty() {
        let end = last_lines(&error);
        return Err(format!("exit code {}: {}", output.code, end));
    }
    Ok(Answer::Text(format!("{out}{error}")))
}

async fn read_folder(
    scene: &Scene<'_>,
    name: String,
    path: &'static str,
    at_most: usize,
) -> Result<Answer, String> {
    match scene.world.engine.folder(&name, path, at_most).await {
        Ok(files) if files.is_empty() => Err(format!("{path} is empty")),
        Ok(files) => Ok(Answer::Files(files)),
        Err(error) => Err(error.to_string()),
    }
}

/// The end of every log file of every pod, in one go.
async fn pod_logs(scene: &Scene<'_>, name: String) -> Result<Answer, String> {
    // Nothing that a pod says can look like the mark of this one question.
    let mark = format!("pipe-{:032x}", rand::random::<u128>());
    let argv = ["sh", "-c", sources::POD_LOGS_SCRIPT, "sh", &mark];
    let exec = Exec::new(argv).within(ANSWER);
    let output = scene.world.engine.exec(&name, exec).await.map_err(|error| error.to_string())?;
    let files = split_logs(&String::from_utf8_lossy(&output.stdout), &mark);
    if files.is_empty() {
        Err("no pod has said anything".to_owned())
    } else {
        Ok(Answer::Files(files))
    }
}

/// `MARK ./NAMESPACE_POD_UID/CONTAINER/1.log` and what follows, as files
/// `NAMESPACE_POD/CONTAINER.1.log`.
pub(super) fn split_logs(text: &str, mark: &str) -> Vec<(String, Vec<u8>)> {
    let begin = format!("\n{mark} ");
    let parts = text.split(begin.as_str()).skip(1);
    let file = |part: &str| {
        let (path, content) = part.split_once('\n')?;
        Some((short_log_path(path.trim_start_matches("./")), content.as_bytes().to_vec()))
    };
    parts.filter_map(file).collect()
}

/// `NAMESPACE_POD_UID/CONTAINER/1.log` without the id that nobody reads.
pub(super) fn short_log_path(path: &str) -> String {
    let mut parts = path.split('/');
    let (pod, container, file) = (parts.next(), parts.next(), parts.next());
    match (pod.and_then(|pod| pod.rsplit_once('_')), container, file) {
        (Some((pod, _uid)), Some(container), Some(file)) => format!("{pod}/{container}.{file}"),
        _ => path.to_owned(),
    }
}

fn json(value: &impl serde::Serialize) -> Result<Answer, String> {
    serde_json::to_string_pretty(value).map(Answer::Text).map_err(|error| error.to_string())
}
