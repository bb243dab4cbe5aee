//! Evidence: one archive of what engine, nodes, cluster and `pipe` itself know, secrets masked.
//!
//! Made by itself when a run fails, before anything is undone, and by `pipe logs`. What cannot be had
//! leaves its reason in the index, never an error. With a dead API server there is still what the
//! engine and the files of the nodes give.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use tokio::time::Instant;

use super::context::Context;
use crate::provider::kind::{ADMIN_CONF, CLUSTER_LABEL, NETWORK, ROLE_LABEL};
use crate::report::Mask;
use crate::report::scrub::scrub;
use crate::spec::ClusterName;
use crate::state::credentials::Credentials;
use crate::state::paths::Paths;
use crate::state::receipt::{Receipt, StepOutcome};
use crate::state::{evidence, file};
use crate::world::World;
use crate::world::engine::{ContainerLine, Exec, State};
use crate::world::process::last_lines;
use crate::{Error, Result};

mod archive;
mod sources;

use archive::{FailedStep, Head, Item};
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

/// What came of a question.
struct Answered {
    path: String,
    what: String,
    answer: Result<Answer, String>,
    took: Duration,
}

/// How long, and how many at once.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// For one question.
    each: Duration,
    /// For all together.
    in_all: Duration,
    /// How many are open at once.
    at_once: usize,
}

/// Asks some at once. One that is not answered keeps none of the others waiting; answers are in the
/// order of their questions.
async fn ask_all(questions: Vec<Question<'_>>, began: Instant, limits: Limits) -> Vec<Answered> {
    let mut asked: Vec<BoxFuture<'_, (usize, Answered)>> = Vec::new();
    for (place, question) in questions.into_iter().enumerate() {
        let answered = ask(question, began + limits.in_all, limits);
        asked.push(answered.map(move |answered| (place, answered)).boxed());
    }
    let mut answers: Vec<(usize, Answered)> =
        futures::stream::iter(asked).buffer_unordered(limits.at_once).collect().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answered)| answered).collect()
}

/// Asks, for as long as it may take.
async fn ask(question: Question<'_>, deadline: Instant, limits: Limits) -> Answered {
    let Question { path, what, answer } = question;
    let began = Instant::now();
    if began >= deadline {
        let answer = Err(format!("not asked any more: {:?} were over", limits.in_all));
        return Answered { path, what, answer, took: Duration::ZERO };
    }
    let answer = tokio::time::timeout_at(deadline.min(began + limits.each), answer).await;
    let took = began.elapsed();
    let late = |_elapsed| Err(format!("no answer within {:.0} s", took.as_secs_f64()));
    Answered { path, what, answer: answer.unwrap_or_else(late), took }
}

/// The questions that took longest, so that a slow archive says why.
fn longest(mut times: Vec<(String, Duration)>) -> Vec<(String, Duration)> {
    times.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    times.truncate(3);
    times
}

/// What a question is answered with.
enum Answer {
    /// One file.
    Text(String),
    /// Several, with paths below the question's own.
    Files(Vec<(String, Vec<u8>)>),
}

/// Something that is asked.
struct Question<'a> {
    path: String,
    what: String,
    answer: BoxFuture<'a, Result<Answer, String>>,
}

fn question<'a>(
    path: impl Into<String>,
    what: impl Into<String>,
    answer: impl Future<Output = Result<Answer, String>> + Send + 'a,
) -> Question<'a> {
    Question { path: path.into(), what: what.into(), answer: answer.boxed() }
}

/// Files of ours.
fn of_pipe<'a>(scene: &'a Scene<'a>) -> Vec<Question<'a>> {
    let state = scene.paths.cluster(scene.cluster);
    let read = |path: PathBuf| async move {
        match file::read(&path) {
            Ok(Some(text)) => Ok(Answer::Text(text)),
            Ok(None) => Err("there is none".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    };
    let doctor = async {
        let report = super::doctor::of_running(scene.world, scene.paths, scene.cluster).await;
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
fn of_engine<'a>(scene: &'a Scene<'a>) -> Vec<Question<'a>> {
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
fn of_container<'a>(scene: &'a Scene<'a>, container: &ContainerLine) -> Vec<Question<'a>> {
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
fn of_cluster<'a>(scene: &'a Scene<'a>, containers: &[ContainerLine]) -> Vec<Question<'a>> {
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
fn split_logs(text: &str, mark: &str) -> Vec<(String, Vec<u8>)> {
    let begin = format!("\n{mark} ");
    let parts = text.split(begin.as_str()).skip(1);
    let file = |part: &str| {
        let (path, content) = part.split_once('\n')?;
        Some((short_log_path(path.trim_start_matches("./")), content.as_bytes().to_vec()))
    };
    parts.filter_map(file).collect()
}

/// `NAMESPACE_POD_UID/CONTAINER/1.log` without the id that nobody reads.
fn short_log_path(path: &str) -> String {
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
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn logs_of_pods_are_told_apart_by_their_mark() {
        let text = "\nM1 ./kube-system_dns-1_0000-11/coredns/0.log\nline one\nthe M1 is no mark\n\
                    \nM1 ./kube-system_dns-1_0000-11/coredns/1.log\nline two\n";
        let files = split_logs(text, "M1");
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["kube-system_dns-1/coredns.0.log", "kube-system_dns-1/coredns.1.log"]);
        assert_eq!(files[0].1, b"line one\nthe M1 is no mark\n");
        assert!(split_logs("", "M1").is_empty());
    }

    /// The first says nothing until its deadline: by then all others have answered.
    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_waiting() {
        struct Dropped<'a>(&'a AtomicUsize, &'a AtomicUsize);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                self.1.store(self.0.load(Ordering::SeqCst), Ordering::SeqCst);
            }
        }
        let (done, done_at_deadline) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut questions = vec![question("0", "a", async {
            let _guard = Dropped(&done, &done_at_deadline);
            std::future::pending().await
        })];
        for number in 1..20 {
            questions.push(question(format!("{number}"), "a", async {
                done.fetch_add(1, Ordering::SeqCst);
                Ok(Answer::Text("yes".to_owned()))
            }));
        }
        let each = Duration::from_millis(500);
        let limits = Limits { each, in_all: Duration::from_secs(60), at_once: 2 };
        let answers = ask_all(questions, Instant::now(), limits).await;
        assert_eq!(done_at_deadline.load(Ordering::SeqCst), 19);
        let order: Vec<&str> = answers.iter().map(|answered| answered.path.as_str()).collect();
        assert_eq!(order, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
        let silent: Vec<&Answered> = answers.iter().filter(|a| a.answer.is_err()).collect();
        assert!(silent.len() == 1 && silent[0].path == "0");
        assert!(silent[0].answer.as_ref().err().unwrap().starts_with("no answer within"));
        let times = answers.into_iter().map(|answered| (answered.path, answered.took)).collect();
        let longest = longest(times);
        assert!(longest.len() == 3 && longest[0].0 == "0" && longest[0].1 >= each);
    }

    #[tokio::test]
    async fn all_questions_together_have_a_deadline() {
        let silent = (0..4000).map(|number| {
            question(format!("{number}"), "a", std::future::pending::<Result<Answer, String>>())
        });
        let (each, in_all) = (Duration::from_millis(100), Duration::from_millis(300));
        let began = Instant::now();
        let limits = Limits { each, in_all, at_once: 8 };
        let answers = ask_all(silent.collect(), began, limits).await;
        // One after another they would take 50 s.
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
        let why = answers[3999].answer.as_ref().err().unwrap();
        assert_eq!(why, "not asked any more: 300ms were over");
    }

    #[test]
    fn items_hide_secrets_and_keep_their_end() {
        let secrets = Mask::default();
        secrets.add("hunter22");
        let long = format!("{}hunter22 abcdef.0123456789abcdef\n", "x".repeat(99).repeat(30_000));
        let lines = format!("first\n{long}");
        let items = items_of("a.txt", "a", Ok(Answer::Text(lines)), &secrets);
        let text = String::from_utf8(items[0].content.clone().unwrap()).unwrap();
        assert!(text.len() <= ITEM && items[0].cut > 0);
        assert!(text.ends_with("••• abcdef.•••\n"), "{}", text.len());
        let files = vec![("ns_pod_uid/c/0.log".to_owned(), b"hunter22".to_vec())];
        let items = items_of("pods", "logs", Ok(Answer::Files(files)), &secrets);
        assert_eq!(items[0].path, "pods/ns_pod/c.0.log");
        assert_eq!(items[0].content.as_deref(), Ok("•••".as_bytes()));
        let items = items_of("b", "b", Err("the password is hunter22".to_owned()), &secrets);
        assert_eq!(items[0].content.as_ref().unwrap_err(), "the password is •••");
    }
}
