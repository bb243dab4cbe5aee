//! What every command is given: environment, options, the way out, and the user's interruption.

use std::io::BufRead as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Cli, Global};
use crate::provider::kind;
use crate::report::{Events, Flags, Level, Mask, Mode, Report, Style};
use crate::run::context::KubeconfigChoice;
use crate::run::registry;
use crate::run::surroundings;
use crate::run::teardown::release_engine;
use crate::run::up::Environment;
use crate::spec::ClusterName;
use crate::spec::source::Sources;
use crate::state::lock::{ClusterLock, Waiting};
use crate::state::paths::Paths;
use crate::world::World;
use crate::world::env::Env;
use crate::{Error, Result};

/// How long another `pipe` on the same cluster is waited for.
const LOCK: Duration = Duration::from_secs(30 * 60);

/// What every command is given.
pub struct App {
    /// The environment as it was at the start.
    pub env: Env,
    /// Options of every command.
    pub global: Global,
    /// The way out.
    pub report: Report,
    /// Where state and cache are.
    pub paths: Paths,
    /// Cancelled by the first Ctrl-C.
    pub cancel: CancellationToken,
}

/// Runs a parsed command line to its exit code.
pub fn execute(env: Env, cli: Cli) -> ExitCode {
    let flags = Flags { json: cli.global.json, quiet: cli.global.quiet };
    let mode = Mode::choose(flags, env.terminal.stderr, |name| env.get(name).map(str::to_owned));
    let report = Report::stdio(mode, Mask::default());
    let code = match start(env, cli, &report) {
        Ok(code) => code,
        Err(error) => {
            let code = error.kind.exit_code();
            // A reader that went away is no failure, and there is no other way to say anything.
            let _unsaid = report.result("pipe", Err::<&(), _>(&error));
            code
        }
    };
    ExitCode::from(code)
}

fn start(mut env: Env, cli: Cli, report: &Report) -> Result<u8> {
    match surroundings::read(&env) {
        Ok(found) => {
            found.secrets().iter().for_each(|secret| report.mask().add(secret));
            found.hand_to(&mut env);
        }
        // What is only read or removed needs no registry.
        Err(error) if cli.goes_out() => return Err(error),
        Err(error) => {
            // `doctor` says it among its findings.
            if !cli.examines() {
                report.note(Level::Warning, &error.to_string())?;
            }
            env.surroundings.file = env.config_file()?;
            env.surroundings.fault = Some(error);
        }
    }
    let paths = Paths::from_env(|name| env.get(name).map(str::to_owned))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::host("no-runtime", "no threads can be started").because(error))?;
    let cancel = CancellationToken::new();
    let global = cli.global().clone();
    let app = App { env, global, report: report.clone(), paths, cancel: cancel.clone() };
    let result = runtime.block_on(async {
        let second = interrupts(cancel)?;
        tokio::select! {
            result = cli.run(&app) => result,
            // The user asked twice: leave now; what is left is found by the next run.
            _ = second => Err(Error::interrupted().hint("run the same command again, or `pipe teardown`, to finish")),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Cancels the token at the first signal and ends at the second. Signals are watched from here on,
/// so none is missed between.
fn interrupts(cancel: CancellationToken) -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let watch = |kind| {
        signal(kind)
            .map_err(|error| Error::host("no-signals", "signals cannot be watched").because(error))
    };
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut terminate = watch(SignalKind::terminate())?;
    let mut hangup = watch(SignalKind::hangup())?;
    Ok(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if first {
                cancel.cancel();
            }
        }
    })
}

/// The exit of a process whose environment cannot even be read.
pub fn hopeless(error: &Error) -> ExitCode {
    let report = Report::stdio(Mode::Quiet(Style::PLAIN), Mask::default());
    // There is no other way to say anything.
    let _unsaid = report.result("pipe", Err::<&(), _>(error));
    ExitCode::from(error.kind.exit_code())
}

/// clap's own exit: help and version on stdout succeed, the rest is usage on stderr.
pub fn clap_exit(error: &clap::Error) -> ExitCode {
    // Nothing else can be said when even this cannot be printed.
    let _unsaid = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

impl App {
    /// Opens the event stream; await the handle before printing anything else.
    fn events(&self) -> (Events, JoinHandle<Result<()>>) {
        let (events, receiver) = Events::channel();
        (events, self.report.spawn(receiver))
    }

    /// Runs `work` with its events shown, and comes back when the last of them is printed: anything
    /// printed earlier could land inside the live view.
    pub async fn narrated<T>(&self, work: impl AsyncFnOnce(&Events) -> Result<T>) -> Result<T> {
        let (events, printed) = self.events();
        let result = work(&events).await;
        drop(events);
        let printed = printed.await;
        let value = result?;
        if let Ok(printed) = printed {
            printed?;
        }
        Ok(value)
    }

    /// The user's files over the built-in ones.
    pub fn sources(&self) -> Result<Sources> {
        Sources::find(self.global.dir.as_deref(), &self.env.cwd)
    }

    /// The engine and the host; starts the engine's service where none answers.
    pub async fn world(&self) -> Result<World> {
        World::connect(&self.env, self.global.engine.as_deref()).await
    }

    /// The cluster's lock, waited for with a message.
    pub async fn lock(
        &self,
        cluster: &ClusterName,
        operation: &str,
        events: &Events,
    ) -> Result<ClusterLock> {
        let operation = &format!("pipe {operation}");
        let waiting = Waiting { operation, at_most: LOCK, cancel: &self.cancel, events };
        ClusterLock::acquire(&self.paths, cluster, &waiting).await
    }

    /// Looks at the engine with `look`, and stops its service again if we started it only for that.
    pub async fn looking<T>(&self, look: impl AsyncFnOnce(&World) -> Result<T>) -> Result<T> {
        let world = self.world().await?;
        let result = look(&world).await;
        release_engine(&world).await?;
        result
    }

    /// What the image cache's registry is looked after with.
    pub fn registry<'a>(&'a self, world: &'a World, events: &'a Events) -> registry::With<'a> {
        registry::With {
            world,
            paths: &self.paths,
            events,
            mask: self.report.mask(),
            stop: &self.cancel,
            network: kind::NETWORK,
        }
    }

    /// What `run` is handed; for a command that only looks, as it is.
    pub fn environment<'a>(&'a self, sources: &'a Sources, events: &Events) -> Environment<'a> {
        Environment {
            env: &self.env,
            engine: self.global.engine.as_deref(),
            paths: &self.paths,
            sources,
            events: events.clone(),
            mask: self.report.mask().clone(),
            cancel: self.cancel.clone(),
            keep: false,
            kubeconfig: KubeconfigChoice::default(),
        }
    }

    /// Prints text that was asked for.
    pub fn print(&self, text: &str) -> Result<()> {
        self.report.data(text)
    }

    /// Prints a document as JSON, or its text for people.
    pub fn show(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.global.json { self.report.document(document) } else { self.report.data(&text()) }
    }

    /// Asks on the terminal whether all that was shown shall be removed.
    ///
    /// # Errors
    /// There is no terminal.
    pub fn confirmed(&self, command: &str) -> Result<bool> {
        if !self.env.terminal.stdin {
            let what = format!("{command} asks first, and there is no terminal");
            return Err(Error::usage("not-confirmed", what).hint("add --yes"));
        }
        self.answers_yes("remove all of this? [y/N]")
    }

    /// Asks whoever sits at the terminal.
    pub fn answers_yes(&self, question: &str) -> Result<bool> {
        self.say(question)?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// A line for people on stderr.
    pub fn say(&self, message: &str) -> Result<()> {
        if self.global.json { Ok(()) } else { self.report.note(Level::Info, message) }
    }
}
