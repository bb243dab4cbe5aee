//! Programs in a container of a pod that are told and heard while they run, without any limit to what
//! they read and write. Their input stays open until the [`Hearing`] is dropped: with it the connection
//! goes, and a program that waits for the end of its input knows that nobody listens any more.

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Kube, exec, fault};
use crate::Result;

/// What may lie unread between us and the connection, in each direction.
const BUFFER: usize = 256 * 1024;

/// Longest line of standard error; a longer one is heard in pieces.
const LINE: usize = 64 * 1024;

type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// The way to a program's standard input.
pub struct Telling {
    what: String,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
}

/// What a program says, and the connection to it.
pub struct Hearing {
    what: String,
    /// Dropped, it ends the connection.
    _process: AttachedProcess,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    /// Of standard error, what is not a line yet.
    line: BytesMut,
    status: Option<BoxFuture<'static, Option<Status>>>,
    ended: Option<Status>,
}

/// One thing that a program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Of its standard output, as it came.
    Output(Bytes),
    /// A line of its standard error.
    Line(String),
    /// Its exit code, behind all that it said.
    Ended(i32),
}

impl Kube {
    /// Runs a program in a container (the pod's first without a name).
    ///
    /// # Errors
    /// Those of every request.
    pub async fn talk(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        command: &[String],
    ) -> Result<(Telling, Hearing)> {
        let program = command.first().map(String::as_str).unwrap_or_default();
        let what = format!("run {program} in pod {namespace}/{pod}");
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let mut parameters = AttachParams::default()
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(BUFFER);
        parameters.container = container.map(str::to_owned);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let mut process = self.call(&what, api.exec(pod, command, &parameters)).await?;
        let stdout = process.stdout().map(|stream| Box::new(stream) as Reader);
        let stderr = process.stderr().map(|stream| Box::new(stream) as Reader);
        let status = process.take_status().map(|status| status.boxed());
        let Some(stdin) = process.stdin() else {
            return Err(fault::broken_off(&what, "there is no way to its input"));
        };
        let telling = Telling { what: what.clone(), stdin: Box::new(stdin) };
        let (line, ended) = (BytesMut::new(), None);
        Ok((telling, Hearing { what, _process: process, stdout, stderr, line, status, ended }))
    }
}

impl Telling {
    /// Writes to the program's standard input; waits while it does not read.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn tell(&mut self, bytes: &[u8]) -> Result<()> {
        let told = self.stdin.write_all(bytes).await;
        told.map_err(|error| fault::broken_off(&self.what, &error.to_string()))
    }
}

impl Hearing {
    /// The next thing that the program says; [`Heard::Ended`] is the last.
    ///
    /// # Errors
    /// `kube-unreachable` where the connection ended before the program did; `kube-exec` where it could
    /// not be run at all.
    pub async fn next(&mut self) -> Result<Heard> {
        loop {
            if let Some(line) = self.whole_line() {
                return Ok(Heard::Line(line));
            }
            let (mut output, mut errors) = (BytesMut::with_capacity(LINE), BytesMut::new());
            tokio::select! {
                read = read(&mut self.stdout, &mut output), if self.stdout.is_some() => match read {
                    0 => self.stdout = None,
                    _ => return Ok(Heard::Output(output.freeze())),
                },
                read = read(&mut self.stderr, &mut errors), if self.stderr.is_some() => match read {
                    0 => self.stderr = None,
                    _ => self.line.extend_from_slice(&errors),
                },
                status = ended(&mut self.status), if self.status.is_some() => {
                    self.status = None;
                    if status.is_none() {
                        return exec::code(&self.what, None).map(Heard::Ended);
                    }
                    self.ended = status;
                }
                else => return exec::code(&self.what, self.ended.as_ref()).map(Heard::Ended),
            }
        }
    }

    /// The next line that is whole, or as long as one may be, or the last one.
    fn whole_line(&mut self) -> Option<String> {
        let end = self.line.iter().position(|byte| *byte == b'\n');
        let length = match end {
            Some(end) => end + 1,
            None if self.line.len() >= LINE || self.stderr.is_none() => self.line.len(),
            None => 0,
        };
        let line = (length > 0).then(|| self.line.split_to(length))?;
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

/// Reads what is there; nothing at the end, and where the connection broke off, which the status says.
async fn read(stream: &mut Option<Reader>, buffer: &mut BytesMut) -> usize {
    match stream {
        Some(stream) => stream.read_buf(buffer).await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

async fn ended(status: &mut Option<BoxFuture<'static, Option<Status>>>) -> Option<Status> {
    match status {
        Some(status) => status.await,
        None => std::future::pending().await,
    }
}
