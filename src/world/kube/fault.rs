//! What an API server's refusal means to the user: one stable code for each class.
//!
//! | code | when |
//! | --- | --- |
//! | `kube-unreachable` | no connection, or it broke |
//! | `kube-timeout` | no answer within the deadline |
//! | `kube-unauthorized` | 401 |
//! | `kube-forbidden` | 403 |
//! | `kube-not-found` | 404 |
//! | `kube-conflict` | 409 |
//! | `kube-invalid` | 400, 422 |
//! | `kube-refused` | any other 4xx |
//! | `kube-server-error` | 5xx |
//! | `kube-exec` | a program could not be run in a pod |
//! | `kube-answer` | an answer that is not Kubernetes |

use std::error::Error as _;
use std::time::Duration;

use kube::client::UpgradeConnectionError;

use crate::Error;

/// Our error for kube's; `what` completes "cannot …".
pub(super) fn explain(what: &str, error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => refused(what, status.code, &status.message),
        // The server's words are lost where a connection was to be turned over to a program.
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
            refused(what, status.as_u16(), "")
        }
        error => transport(what, error),
    }
}

fn refused(what: &str, status: u16, message: &str) -> Error {
    let (code, hint) = match status {
        400 | 422 => ("kube-invalid", None),
        401 => ("kube-unauthorized", Some("the kubeconfig's credentials are not of this cluster")),
        403 => ("kube-forbidden", None),
        404 => ("kube-not-found", None),
        409 => ("kube-conflict", Some("another program changed the object meanwhile; run again")),
        500.. => ("kube-server-error", None),
        _ => ("kube-refused", None),
    };
    let message = if message.trim().is_empty() { "no message" } else { message.trim() };
    let failure = Error::failed(code, format!("cannot {what}"))
        .because(format!("the API server answered {status}: {message}"));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The deadline of one request passed.
pub(super) fn no_answer(what: &str, deadline: Duration) -> Error {
    Error::timed_out("kube-timeout", format!("cannot {what}"))
        .because(format!("the API server did not answer within {} s", deadline.as_secs()))
}

/// An answer that began and did not end.
pub(super) fn broken_off(what: &str, why: &str) -> Error {
    Error::failed("kube-unreachable", format!("cannot {what}")).because(why)
}

/// Whether the failure is a 409.
pub(super) fn is_conflict(error: &Error) -> bool {
    error.code == "kube-conflict"
}

/// Whether the request itself was refused: 400, 403 or 422.
pub(super) fn is_refused(error: &Error) -> bool {
    matches!(error.code, "kube-invalid" | "kube-forbidden")
}

/// Whether the failure is a 404.
pub(super) fn is_not_found(error: &Error) -> bool {
    error.code == "kube-not-found"
}

fn transport(what: &str, error: &kube::Error) -> Error {
    let code = match error {
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "kube-answer",
        kube::Error::Discovery(_) => "kube-kind-unknown",
        _ => "kube-unreachable",
    };
    Error::failed(code, format!("cannot {what}")).because(innermost(error))
}

/// The last of the chain: the layers above it only say that a layer failed.
fn innermost(error: &kube::Error) -> String {
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        last = source.to_string();
        next = source.source();
    }
    last
}
