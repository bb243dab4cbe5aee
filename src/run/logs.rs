//! `pipe logs NAME`: what a node's services or a component's pods say, once or as it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::components::selector;
use super::list::clusters;
use super::status::{no_cluster, spec_of};
use crate::provider::kind::CLUSTER_LABEL;
use crate::provider::labels;
use crate::spec::ClusterName;
use crate::spec::problem::suggestion;
use crate::spec::source::Sources;
use crate::state::paths::Paths;
use crate::state::reservation;
use crate::world::World;
use crate::world::engine::{Exec, Stdin};
use crate::world::kube::Kube;
use crate::world::kube::log::{LogRange, LogSource, is_gone};
use crate::{Error, Result};

/// How often pods are looked for, and a container that ended is asked again.
const LOOK: Duration = Duration::from_secs(1);

/// How long a program in a node may take to end when it is told to.
const ENDING: Duration = Duration::from_secs(3);

/// How long one may follow.
const FOLLOWING: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How long a node may take to say what it said.
const READING: Duration = Duration::from_secs(60);

/// Follows the journal until its input ends: an exec cannot be killed from outside, so it watches.
const FOLLOW_SCRIPT: &str =
    "journalctl \"$@\" & child=$!; cat >/dev/null; kill $child; wait $child 2>/dev/null; exit 0";

/// Lines of a console that stand in for the journal of a node that does not run.
const CONSOLE_LINES: u32 = 1000;

/// Whose words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// A node, by its container.
    Node(String),
    /// A component's release in its namespace.
    Component {
        /// The release.
        release: String,
        /// Its namespace.
        namespace: String,
    },
}

/// Which part, and whether to go on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// Only the last lines of each.
    pub tail: Option<u32>,
    /// Only what was said in this time.
    pub since: Option<Duration>,
    /// Go on with what is said from now on.
    pub follow: bool,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Said {
    /// Node, pod, or pod and container.
    pub source: String,
    /// There are several sources, so that a reader must be told which.
    #[serde(skip)]
    pub ambiguous: bool,
    /// The text.
    pub line: String,
}

/// Who is meant by `name`: a node by either of its names, or a component.
///
/// # Errors
/// There is no such cluster, or nobody of that name in it; near ones are named.
pub async fn find(
    world: &World,
    paths: &Paths,
    sources: &Sources,
    cluster: &ClusterName,
    name: &str,
) -> Result<Speaker> {
    let filter = format!("{CLUSTER_LABEL}={cluster}");
    let containers = world.engine.containers(&[&filter]).await?;
    if containers.is_empty() {
        return Err(no_cluster(cluster));
    }
    let mut speakers: BTreeMap<String, Speaker> = BTreeMap::new();
    if let Some(reserved) = reservation::load(paths, cluster)? {
        // Files that are broken by now hide the components, not the nodes.
        if let Ok(spec) = spec_of(sources, paths, cluster, &reserved, &[]) {
            for component in spec.profile.components {
                let release = component.name.to_string();
                let namespace = component.namespace;
                speakers.insert(release.clone(), Speaker::Component { release, namespace });
            }
        }
    }
    for container in containers {
        if let Some(own) = container.labels.get(labels::NODE) {
            speakers.insert(own.clone(), Speaker::Node(container.name.clone()));
        }
        speakers.insert(container.name.clone(), Speaker::Node(container.name));
    }
    if let Some(speaker) = speakers.get(name) {
        return Ok(speaker.clone());
    }
    let known: Vec<&str> = speakers.keys().map(String::as_str).collect();
    let what = format!("cluster {cluster} has no node or component {name:?}");
    let error = Error::usage("no-speaker", what).hint(suggestion(name, &known));
    let is_cluster = clusters(world, paths).await?.iter().any(|other| other.as_str() == name);
    Err(match is_cluster {
        true => error
            .hint(format!("an archive of everything of that cluster: pipe logs --cluster {name}")),
        false => error,
    })
}

/// Hands over every line until there is no more, or until `cancel`.
///
/// # Errors
/// Engine or API server do not answer, or `on_line` fails.
pub async fn listen(
    world: &World,
    paths: &Paths,
    cluster: &ClusterName,
    speaker: &Speaker,
    choice: Choice,
    cancel: &CancellationToken,
    mut on_line: impl FnMut(Said) -> Result<()>,
) -> Result<()> {
    let (sender, mut lines) = mpsc::unbounded_channel();
    let speak = async {
        match speaker {
            Speaker::Node(host) => node(world, host, choice, cancel, sender).await,
            Speaker::Component { release, namespace } => {
                let kube = Kube::from_kubeconfig(&paths.cluster(cluster).kubeconfig()).await?;
                let selector = selector(release);
                let heard = component(&kube, namespace, &selector, choice, cancel, sender).await;
                heard.map_err(|error| match error.code.strip_prefix("kube-") {
                    Some("unreachable" | "timeout" | "server-error") => error.hint(format!(
                        "without the API server, pods' logs are in the archive: pipe logs -c {cluster}"
                    )),
                    _ => error,
                })
            }
        }
    };
    let print = async {
        while let Some(line) = lines.recv().await {
            on_line(line)?;
        }
        Ok::<(), Error>(())
    };
    // Printing ends when the last sender is gone; a failure to print ends speaking.
    tokio::try_join!(speak, print).map(|((), ())| ())
}

/// The journal of a node; its console, if it does not run.
async fn node(
    world: &World,
    host: &str,
    choice: Choice,
    cancel: &CancellationToken,
    sender: UnboundedSender<Said>,
) -> Result<()> {
    let engine = &world.engine;
    let mut arguments = vec!["--no-pager".to_owned(), "--output=short-iso".to_owned()];
    if let Some(tail) = choice.tail {
        arguments.push(format!("--lines={tail}"));
    } else if choice.follow && choice.since.is_none() {
        arguments.push("--lines=20".to_owned());
    }
    if let Some(since) = choice.since {
        arguments.push(format!("--since=-{}s", since.as_secs()));
    }
    let source = host.to_owned();
    let say = |line: &str| {
        let said = Said { source: source.clone(), ambiguous: false, line: line.to_owned() };
        // Nobody reads any more: the listener has ended.
        let _gone = sender.send(said);
    };
    if !choice.follow {
        let argv = std::iter::once("journalctl".to_owned()).chain(arguments);
        let exec = Exec::new(argv).within(READING);
        let read = engine.exec_lines(host, exec, |_stream, line| say(line));
        let failed = tokio::select! {
            read = read => read.err(),
            () = cancel.cancelled() => return Err(Error::interrupted()),
        };
        let Some(error) = failed else { return Ok(()) };
        let console = engine.console(host, choice.tail.unwrap_or(CONSOLE_LINES)).await;
        let console = console.map_err(|_unreadable| Error::from(error))?;
        console.lines().for_each(say);
        return Ok(());
    }
    arguments.push("--follow".to_owned());
    let argv = ["sh", "-c", FOLLOW_SCRIPT, "sh"].map(str::to_owned).into_iter().chain(arguments);
    let ended = cancel.clone();
    let input = futures::stream::once(async move {
        ended.cancelled().await;
        Ok(Bytes::new())
    });
    let exec = Exec::new(argv).within(FOLLOWING).stdin(Stdin::Stream(input.boxed()));
    let follow = engine.exec_lines(host, exec, |_stream, line| say(line));
    let told_to_end = async {
        cancel.cancelled().await;
        tokio::time::sleep(ENDING).await;
    };
    tokio::select! {
        followed = follow => match followed {
            Ok(_code) => Ok(()),
            Err(_closed) if cancel.is_cancelled() => Ok(()),
            Err(error) => Err(error.into()),
        },
        () = told_to_end => Ok(()),
    }
}

/// The pods of a component, those that come later too.
async fn component(
    kube: &Kube,
    namespace: &str,
    selector: &str,
    choice: Choice,
    cancel: &CancellationToken,
    sender: UnboundedSender<Said>,
) -> Result<()> {
    let since = choice.since.and_then(|since| SignedDuration::try_from(since).ok());
    let since = since.map(|since| Timestamp::now() - since);
    let range = LogRange { tail: choice.tail, since, follow: choice.follow };
    let first = kube.log_sources(namespace, selector).await?;
    if first.is_empty() {
        let why = kube.explain(namespace, selector).await;
        if !choice.follow {
            return Err(Error::failed("nothing-said", "no pod has started yet").because(why));
        }
    }
    if !choice.follow {
        for source in &first {
            let name = name_of(source, &first);
            let lines = kube.log(namespace, source, range).await?;
            let say = |line: crate::world::kube::log::LogLine| {
                let ambiguous = first.len() > 1;
                let said = Said { source: name.clone(), ambiguous, line: line.text };
                let _gone = sender.send(said);
                futures::future::ready(Ok(()))
            };
            tokio::select! {
                read = lines.try_for_each(say) => read?,
                () = cancel.cancelled() => return Err(Error::interrupted()),
            }
        }
        return Ok(());
    }
    let mut known: BTreeSet<LogSource> = BTreeSet::new();
    let mut tasks = JoinSet::new();
    let mut looks = tokio::time::interval(LOOK);
    let mut newest = first;
    let mut range = range;
    loop {
        let ambiguous = newest.len() > 1;
        for source in newest.iter().filter(|source| !known.contains(*source)) {
            let one = Follower {
                kube: kube.clone(),
                namespace: namespace.to_owned(),
                name: name_of(source, &newest),
                source: source.clone(),
                ambiguous: ambiguous || !known.is_empty(),
                sender: sender.clone(),
            };
            tasks.spawn(one.run(range));
        }
        known.extend(newest);
        // What starts from now on is heard from its beginning.
        range = LogRange { follow: true, ..LogRange::default() };
        tokio::select! {
            _ = looks.tick() => {}
            () = cancel.cancelled() => return Ok(()),
        }
        // An API server that restarts is asked again.
        newest = kube.log_sources(namespace, selector).await.unwrap_or_default();
    }
}

/// `nats-0`, with the container where pods have several.
fn name_of(source: &LogSource, all: &[LogSource]) -> String {
    let containers = all.iter().filter(|other| other.pod == source.pod).count();
    match containers {
        0 | 1 => source.pod.clone(),
        _ => format!("{}/{}", source.pod, source.container),
    }
}

/// Hears one container through all of its restarts.
struct Follower {
    kube: Kube,
    namespace: String,
    name: String,
    source: LogSource,
    ambiguous: bool,
    sender: UnboundedSender<Said>,
}

impl Follower {
    /// Ends when the pod is gone.
    async fn run(self, mut range: LogRange) {
        let mut last: Option<Timestamp> = None;
        let mut tries = tokio::time::interval(LOOK);
        loop {
            tries.tick().await;
            let mut lines = match self.kube.log(&self.namespace, &self.source, range).await {
                Ok(lines) => Box::pin(lines),
                Err(error) if is_gone(&error) => return,
                Err(_between_two_runs) => continue,
            };
            while let Some(Ok(line)) = lines.next().await {
                // Asked again, the server repeats what was said within the same second.
                if line.at.is_some() && line.at <= last {
                    continue;
                }
                last = line.at.or(last);
                let (source, ambiguous) = (self.name.clone(), self.ambiguous);
                if self.sender.send(Said { source, ambiguous, line: line.text }).is_err() {
                    return;
                }
            }
            range = LogRange { tail: None, since: last.or(range.since), follow: true };
        }
    }
}
