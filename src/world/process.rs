//! The only place that starts programs.
//!
//! A program gets its arguments as a list, exactly the environment it is given, its own process
//! group and a deadline; its status is always checked, and a failure shows a command line that can
//! be pasted and the end of what the program printed. **Secrets never go into arguments**: they
//! are readable by every user of the host. Use [`Program::stdin`] or a file.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
#[expect(clippy::disallowed_types, reason = "this is the one place that starts programs")]
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::world::env::Env;
use crate::{Error, Result};

/// How long a program may go on after it was asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How long output may keep coming from children that outlive the program itself.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);

/// Lines of output that an error shows.
const TAIL_LINES: usize = 20;

/// A program to run: built, then started by one of the three verbs at the end.
#[derive(Clone, Debug)]
#[must_use]
pub struct Program {
    program: PathBuf,
    args: Vec<OsString>,
    vars: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
    stdin: Vec<u8>,
    deadline: Duration,
    stop_grace: Duration,
}

/// What a program that ended well printed.
#[derive(Clone, Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, without white space at its ends.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

impl Program {
    /// `program` (a path, or a name on `env`'s `PATH`) with `env`'s variables and working
    /// directory; it may run for a minute unless [`Program::within`] says otherwise.
    pub fn new(program: impl AsRef<Path>, env: &Env) -> Program {
        let name = program.as_ref();
        let found = name.to_str().and_then(|name| env.find_program(name));
        Program {
            program: found.unwrap_or_else(|| name.to_owned()),
            args: Vec::new(),
            vars: env.vars.clone(),
            cwd: env.cwd.clone(),
            stdin: Vec::new(),
            deadline: Duration::from_secs(60),
            stop_grace: STOP_GRACE,
        }
    }

    /// Adds one argument. Never a secret.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Program {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments. Never a secret.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Program {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets one variable; it is not shown in errors.
    pub fn var(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Program {
        self.vars.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// What the program reads; without it, nothing.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Program {
        self.stdin = bytes.into();
        self
    }

    /// Deadline for the whole run.
    pub fn within(mut self, deadline: Duration) -> Program {
        self.deadline = deadline;
        self
    }

    /// Time between SIGTERM and SIGKILL.
    pub fn stop_grace(mut self, grace: Duration) -> Program {
        self.stop_grace = grace;
        self
    }

    /// The command line as it can be pasted into a shell.
    pub fn command_line(&self) -> String {
        std::iter::once(self.program.as_os_str())
            .chain(self.args.iter().map(OsString::as_os_str))
            .map(|word| shell_quoted(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs to the end and captures what is printed; an exit code other than 0 is an error. When
    /// `cancel` fires or the deadline passes, the group gets SIGTERM, then SIGKILL.
    pub async fn run(&self, cancel: &CancellationToken) -> Result<Output> {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().map_err(|e| self.unstartable(e))?;
        let mut group = Group::of(&child);
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut output = Output { stdout: Vec::new(), stderr: Vec::new() };

        let ended = {
            let feed = async {
                if let Some(mut pipe) = stdin {
                    // A program may end without reading all of it; its exit code tells.
                    let _closed = pipe.write_all(&self.stdin).await;
                }
            };
            let read_out = drain(stdout, &mut output.stdout);
            let read_err = drain(stderr, &mut output.stderr);
            let talk = async { tokio::join!(feed, read_out, read_err) };
            tokio::pin!(talk);
            let leader = async {
                let mut talked = false;
                let status = loop {
                    tokio::select! {
                        status = child.wait() => break status,
                        _ = &mut talk, if !talked => talked = true,
                    }
                };
                if !talked {
                    let _cut_off = tokio::time::timeout(OUTPUT_GRACE, &mut talk).await;
                }
                status
            };
            tokio::select! {
                status = leader => Ended::Itself(status),
                () = cancel.cancelled() => Ended::Cancelled,
                () = tokio::time::sleep(self.deadline) => Ended::TooLate,
            }
        };
        if !matches!(ended, Ended::Itself(_)) {
            group.stop(&mut child, self.stop_grace).await;
        }
        group.0 = None;

        match ended {
            Ended::Itself(Ok(status)) if status.success() => Ok(output),
            Ended::Itself(Ok(status)) => Err(self.failed(&describe(status), &output)),
            Ended::Itself(Err(error)) => Err(self.failed(&error.to_string(), &output)),
            Ended::Cancelled => Err(Error::interrupted()),
            Ended::TooLate => {
                let what = format!("`{}` did not end in {:?}", self.command_line(), self.deadline);
                Err(Error::timed_out("program-timeout", what).because(tail(&output)))
            }
        }
    }

    /// Runs with our own standard streams, as if the user had typed it, and returns the exit code
    /// (128 + signal where a signal ended it). It shares our process group, or it could not read
    /// the terminal; Ctrl-C therefore reaches it directly, and we wait for what it makes of it.
    pub async fn pass_through(&self) -> Result<u8> {
        let mut child = self.command().spawn().map_err(|e| self.unstartable(e))?;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        match status {
            Ok(status) => Ok(exit_code(status)),
            Err(error) => Err(Error::failed("program-failed", self.command_line()).because(error)),
        }
    }

    /// Starts a program that outlives us: own process group (a Ctrl-C or a closing terminal does
    /// not reach it), no input, all output to `log`.
    pub fn detach(&self, log: File) -> Result<Child> {
        let stderr = log.try_clone().map_err(|error| self.unstartable(error))?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(log).stderr(stderr).kill_on_drop(false);
        command.process_group(0).spawn().map_err(|error| self.unstartable(error))
    }

    #[expect(clippy::disallowed_types, reason = "this is the one place that starts programs")]
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.vars).current_dir(&self.cwd);
        command
    }

    fn unstartable(&self, error: std::io::Error) -> Error {
        let what = format!("{} cannot be started", self.program.display());
        Error::host("program-unstartable", what).because(error)
    }

    fn failed(&self, how: &str, output: &Output) -> Error {
        Error::failed("program-failed", format!("`{}` {how}", self.command_line()))
            .because(tail(output))
    }
}

enum Ended {
    Itself(std::io::Result<ExitStatus>),
    Cancelled,
    TooLate,
}

/// The process group of a running child; killed when dropped early, so that a dropped future
/// leaves nothing behind.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    async fn stop(&mut self, child: &mut Child, grace: Duration) {
        // The child is not reaped before `wait` returns, so its id still names its group.
        self.signal(Signal::TERM);
        if tokio::time::timeout(grace, child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _reaped = child.wait().await;
        }
        // What the leader left behind in its group.
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _gone = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

async fn drain(pipe: Option<impl tokio::io::AsyncRead + Unpin>, into: &mut Vec<u8>) {
    if let Some(mut pipe) = pipe {
        let _broken = pipe.read_to_end(into).await;
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("failed with exit code {code}"),
        None => format!("was ended by a signal ({status})"),
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// The last lines of standard error, or of standard output where that is empty.
fn tail(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    last_lines(if stderr.trim().is_empty() { &stdout } else { &stderr })
}

/// The last lines of `text`, as errors show them.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// `word` quoted for a POSIX shell, only if it must be.
pub fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
