//! Programs inside a running container.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::{EngineError, EngineResult, Fault};
use super::{Engine, retry};
use crate::Error;
use crate::world::process::{last_lines, shell_quoted};

/// Pause between looks at an exec whose output has ended and whose exit code is not yet known.
const EXIT_POLL: Duration = Duration::from_millis(20);

/// Runs its arguments, then takes what is left of the input.
const DRAIN: [&str; 4] = ["sh", "-c", "\"$@\"; code=$?; cat >/dev/null; exit $code", "sh"];

/// A program to run in a container.
///
/// Arguments and variables are visible to whoever may use the engine: secrets go in by
/// [`Exec::stdin`].
#[must_use]
pub struct Exec {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    stdin: Stdin,
    drained: bool,
    deadline: Duration,
}

/// What a program in a container reads.
pub enum Stdin {
    /// Nothing; its input is closed.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// This stream, such as an image archive; its failure fails the exec.
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

/// Which stream output came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a program in a container ended. A code other than 0 is not an error of the call: see
/// [`ExecOutput::checked`].
#[derive(Clone, Debug)]
pub struct ExecOutput {
    /// Exit code.
    pub code: i64,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    command_line: String,
}

impl Exec {
    /// `argv` without input, for at most a minute.
    pub fn new(argv: impl IntoIterator<Item = impl Into<String>>) -> Exec {
        Exec {
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            stdin: Stdin::Empty,
            drained: false,
            deadline: Duration::from_secs(60),
        }
    }

    /// Sets a variable.
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> Exec {
        self.env.insert(name.into(), value.into());
        self
    }

    /// What the program reads. Podman may cut off the output of a program that ends without
    /// reading megabytes that are still to come; the exit code is right in any case. See
    /// [`Exec::drained`].
    pub fn stdin(mut self, stdin: Stdin) -> Exec {
        self.stdin = stdin;
        self
    }

    /// Takes all of the input, however soon the program ends: why it did is then heard for certain.
    /// The container needs `sh` and `cat`.
    pub fn drained(mut self) -> Exec {
        self.drained = true;
        self
    }

    /// Deadline of the whole exec. The API cannot kill an exec: past the deadline the program may
    /// go on inside the container, unseen.
    pub fn within(mut self, deadline: Duration) -> Exec {
        self.deadline = deadline;
        self
    }

    fn command_line(&self, container: &str) -> String {
        let words = self.argv.iter().map(|word| shell_quoted(word)).collect::<Vec<_>>();
        format!("podman exec {container} {}", words.join(" "))
    }
}

impl ExecOutput {
    /// Standard output as text, without white space at its ends.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// The output if the program ended with 0, else an error with the command line and the end of
    /// what it said.
    pub fn checked(self) -> crate::Result<ExecOutput> {
        if self.code == 0 {
            return Ok(self);
        }
        let said = if self.stderr.is_empty() { &self.stdout } else { &self.stderr };
        let what = format!("`{}` failed with exit code {}", self.command_line, self.code);
        Err(Error::failed("exec-failed", what).because(last_lines(&String::from_utf8_lossy(said))))
    }
}

impl Engine {
    /// Runs a program in the container `name` and captures its output.
    pub async fn exec(&self, name: &str, exec: Exec) -> EngineResult<ExecOutput> {
        let command_line = exec.command_line(name);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let collect = |stream, bytes: &[u8]| match stream {
            StdStream::Out => stdout.extend_from_slice(bytes),
            StdStream::Err => stderr.extend_from_slice(bytes),
        };
        let code = self.exec_chunks(name, exec, collect).await?;
        Ok(ExecOutput { code, stdout, stderr, command_line })
    }

    /// Runs a program in the container `name`, hands over each line as it comes (without its end)
    /// and returns the exit code.
    pub async fn exec_lines(
        &self,
        name: &str,
        exec: Exec,
        mut on_line: impl FnMut(StdStream, &str) + Send,
    ) -> EngineResult<i64> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let split = |stream, bytes: &[u8]| {
            let pending = if stream == StdStream::Out { &mut out } else { &mut err };
            pending.extend_from_slice(bytes);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                on_line(stream, String::from_utf8_lossy(&line).trim_end());
            }
        };
        let code = self.exec_chunks(name, exec, split).await?;
        for (stream, rest) in [(StdStream::Out, out), (StdStream::Err, err)] {
            if !rest.is_empty() {
                on_line(stream, String::from_utf8_lossy(&rest).trim_end());
            }
        }
        Ok(code)
    }

    async fn exec_chunks(
        &self,
        name: &str,
        exec: Exec,
        on_chunk: impl FnMut(StdStream, &[u8]) + Send,
    ) -> EngineResult<i64> {
        let program = exec.argv.first().map_or("nothing", String::as_str);
        let action = format!("run {program} in container {name}");
        let deadline = exec.deadline;
        let whole = self.exec_unbounded(name, &action, exec, on_chunk);
        let late =
            |_| EngineError::new(Fault::TimedOut, &action, format!("not done in {deadline:?}"));
        tokio::time::timeout(deadline, whole).await.map_err(late)?
    }

    async fn exec_unbounded(
        &self,
        name: &str,
        action: &str,
        exec: Exec,
        mut on_chunk: impl FnMut(StdStream, &[u8]) + Send,
    ) -> EngineResult<i64> {
        let failed = |error| EngineError::from_bollard(action, error);
        let has_stdin = !matches!(exec.stdin, Stdin::Empty);
        let config = ExecConfig {
            attach_stdin: Some(has_stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(match exec.drained {
                true => DRAIN.map(str::to_owned).into_iter().chain(exec.argv).collect(),
                false => exec.argv,
            }),
            env: Some(
                exec.env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
            ),
            ..ExecConfig::default()
        };
        let id = self.docker.create_exec(name, config).await.map_err(failed)?.id;
        let attached =
            self.docker.start_exec(&id, None::<StartExecOptions>).await.map_err(failed)?;
        let StartExecResults::Attached { mut output, input } = attached else {
            return Err(EngineError::new(Fault::Malformed, action, "exec is not attached"));
        };

        let read = async {
            while let Some(chunk) = output.next().await {
                match chunk {
                    Ok(LogOutput::StdErr { message }) => on_chunk(StdStream::Err, &message),
                    Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                        on_chunk(StdStream::Out, &message);
                    }
                    Ok(LogOutput::StdIn { .. }) => {}
                    // A program ended without reading all of its input, and the kernel says so
                    // for the bytes that the engine threw away. Its exit code tells the rest.
                    Err(error) if has_stdin && is_reset(&error) => break,
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(())
        };
        tokio::select! {
            done = read => done?,
            error = feed(exec.stdin, input) => {
                return Err(EngineError::new(Fault::Stream, action, error));
            }
        }
        self.exit_code(&id, action).await
    }

    /// The exit code of an exec whose output has ended: known a moment later.
    async fn exit_code(&self, id: &str, action: &str) -> EngineResult<i64> {
        loop {
            let seen = retry(|| async {
                let inspected = self.docker.inspect_exec(id).await;
                inspected.map_err(|error| EngineError::from_bollard(action, error))
            })
            .await?;
            match (seen.running, seen.exit_code) {
                (Some(false), Some(code)) => return Ok(code),
                _ => tokio::time::sleep(EXIT_POLL).await,
            }
        }
    }
}

fn is_reset(error: &bollard::errors::Error) -> bool {
    use bollard::errors::Error as E;
    matches!(error, E::IOError { err } if err.kind() == io::ErrorKind::ConnectionReset)
}

/// Writes all of `stdin` and closes it; returns only if `stdin` itself fails. A program that ends
/// without reading everything is none of our business: its exit code tells.
async fn feed(stdin: Stdin, mut input: std::pin::Pin<Box<dyn AsyncWrite + Send>>) -> io::Error {
    let mut chunks = match stdin {
        Stdin::Empty => futures::stream::empty().boxed(),
        Stdin::Bytes(bytes) => futures::stream::once(async { Ok(bytes) }).boxed(),
        Stdin::Stream(stream) => stream,
    };
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Err(error) => return error,
            Ok(bytes) if input.write_all(&bytes).await.is_err() => break,
            Ok(_) => {}
        }
    }
    let _closed_already = input.shutdown().await;
    // The connection carries the output too: keep our half until that has ended.
    std::future::pending().await
}
