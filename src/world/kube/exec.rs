//! Programs run in a container of a pod, through the API server.

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use super::{Kube, fault};
use crate::{Error, Result};

/// Most that is read of each stream: what a program says beyond is nobody's answer.
const MOST: u64 = 8 << 20;

/// What a program in a pod said, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its standard output; bytes that are no text are replaced.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit code.
    pub code: i32,
}

impl Kube {
    /// Runs a program in a container (the pod's first without a name) and waits for its end.
    ///
    /// # Errors
    /// Those of every request; `kube-exec` where the program could not be run at all, and
    /// `kube-timeout` where it did not end in time. How it ended is in [`Said`].
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        command: &[String],
        within: Duration,
    ) -> Result<Said> {
        let program = command.first().map(String::as_str).unwrap_or_default();
        let what = format!("run {program} in pod {namespace}/{pod}");
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let mut parameters = AttachParams::default().stdin(false).stdout(true).stderr(true);
        parameters.container = container.map(str::to_owned);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let process = self.call(&what, api.exec(pod, command, &parameters)).await?;
        match timeout(within, ended(process)).await {
            Ok((stdout, stderr, status)) => said(&what, stdout, stderr, status.as_ref()),
            Err(_elapsed) => Err(Error::timed_out("kube-timeout", format!("cannot {what}"))
                .because(format!("it did not end within {} s", within.as_secs()))),
        }
    }
}

/// Reads both streams to their end, side by side: a full one would hold the other up. They have no end
/// where the connection breaks off; that there is no status then says so.
async fn ended(mut process: AttachedProcess) -> (String, String, Option<Status>) {
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let mut streams = pin!(async { tokio::join!(text(stdout), text(stderr)) });
    let Some(status) = process.take_status() else { return Default::default() };
    let mut status = pin!(status);
    tokio::select! {
        (stdout, stderr) = &mut streams => (stdout, stderr, status.await),
        status = &mut status => match status {
            None => Default::default(),
            status => {
                let (stdout, stderr) = streams.await;
                (stdout, stderr, status)
            }
        },
    }
}

/// Everything up to [`MOST`]; what breaks off is given back as far as it came, since the status says
/// that there was more to come.
async fn text(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _as_far_as_it_came = (&mut stream).take(MOST).read_to_end(&mut bytes).await;
        // The rest is taken, too, so that the program is not held up and ends.
        let _rest = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The streams with the exit code that the API server's last word holds.
fn said(what: &str, stdout: String, stderr: String, status: Option<&Status>) -> Result<Said> {
    code(what, status).map(|code| Said { stdout, stderr, code })
}

/// The exit code that the API server's last word holds; without one the connection ended before the
/// program did.
pub(super) fn code(what: &str, status: Option<&Status>) -> Result<i32> {
    let Some(status) = status else {
        return Err(fault::broken_off(what, "the connection ended before the program did"));
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let code = causes
        .into_iter()
        .flatten()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .and_then(|cause| cause.message.as_deref()?.parse().ok());
    code.ok_or_else(|| {
        let message = status.message.as_deref().map(str::trim).unwrap_or("no message");
        Error::failed("kube-exec", format!("cannot {what}")).because(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> Option<Status> {
        Some(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_program_that_failed_has_said_something_all_the_same() {
        let ended = status(
            r#"{"status": "Failure", "reason": "NonZeroExitCode",
                "message": "command terminated with non-zero exit code",
                "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}"#,
        );
        let said = said("run x", "out".into(), "err".into(), ended.as_ref()).unwrap();
        assert_eq!(said, Said { stdout: "out".into(), stderr: "err".into(), code: 3 });
    }

    #[test]
    fn a_program_that_is_not_there_and_a_broken_connection_are_errors() {
        let ended = status(
            r#"{"status": "Failure", "reason": "InternalError",
                "message": "exec failed: \"fdbcli\": executable file not found in $PATH"}"#,
        );
        let error = said("run fdbcli in pod a/b", String::new(), String::new(), ended.as_ref())
            .unwrap_err();
        assert_eq!(error.code, "kube-exec");
        assert!(error.to_string().contains("executable file not found"), "{error}");
        let error = said("run x", "half".into(), String::new(), None).unwrap_err();
        assert_eq!(error.code, "kube-unreachable", "half an answer is none: {error}");
    }
}
