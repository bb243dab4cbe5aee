//! What an engine call can end in, by HTTP status.

use std::fmt;

use crate::{Error, Kind};

/// The code of an engine that does not answer.
pub const UNREACHABLE: &str = "engine-unreachable";

/// Longest message of an engine, in characters: what answers may be something else altogether.
const MESSAGE_MAX: usize = 2000;

/// The class of an engine failure. Callers match on this, never on a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 404: the object is not there.
    NotFound,
    /// 409, or Podman's own "already in use": the object is there already, or in use.
    Conflict,
    /// Any other status: the engine tried and could not, or refused.
    Status(u16),
    /// The engine reported a failure inside an answer that had begun well (pull, exec).
    Stream,
    /// Nothing answers on the socket, or the connection broke.
    Unreachable,
    /// The engine did not answer in time.
    TimedOut,
    /// The answer is not what the API promises.
    Malformed,
}

/// A failed engine call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action}: {message}")]
pub struct EngineError {
    /// What class of failure.
    pub fault: Fault,
    /// What was tried, with the object's name: `start container dev-worker`.
    pub action: String,
    /// What the engine said.
    pub message: String,
}

/// Shorthand for engine calls.
pub type EngineResult<T> = std::result::Result<T, EngineError>;

impl EngineError {
    /// A failure of `action`.
    pub fn new(fault: Fault, action: impl Into<String>, message: impl fmt::Display) -> EngineError {
        let mut message = message.to_string();
        if let Some((cut, _)) = message.char_indices().nth(MESSAGE_MAX) {
            message.truncate(cut);
            message.push('…');
        }
        EngineError { fault, action: action.into(), message }
    }

    /// Classifies a status and the engine's answer: `{"cause", "message", "response"}`.
    pub(crate) fn from_status(status: u16, action: &str, body: &[u8]) -> EngineError {
        #[derive(serde::Deserialize)]
        struct Answer {
            #[serde(default)]
            cause: String,
            message: String,
        }
        let (cause, message) = match serde_json::from_slice::<Answer>(body) {
            Ok(answer) => (answer.cause, answer.message),
            Err(_plain) => (String::new(), String::from_utf8_lossy(body).trim().to_owned()),
        };
        // `cause` is one of Podman's fixed error values; 4.3 sends these two with status 500.
        let fault = match (status, cause.as_str()) {
            (404, _) => Fault::NotFound,
            (409, _) | (_, "that name is already in use" | "network already exists") => {
                Fault::Conflict
            }
            _ => Fault::Status(status),
        };
        EngineError::new(fault, action, if message.is_empty() { cause } else { message })
    }

    pub(crate) fn from_http(action: &str, error: &reqwest::Error) -> EngineError {
        // A body that breaks off counts as a broken connection; JSON is parsed elsewhere.
        let fault = match error {
            error if error.is_timeout() => Fault::TimedOut,
            error if error.is_builder() => Fault::Malformed,
            _ => Fault::Unreachable,
        };
        EngineError::new(fault, action, innermost(error))
    }

    pub(crate) fn from_bollard(action: &str, error: bollard::errors::Error) -> EngineError {
        use bollard::errors::Error as E;
        match error {
            E::DockerResponseServerError { status_code, message } => {
                EngineError::from_status(status_code, action, message.as_bytes())
            }
            E::DockerStreamError { error } => EngineError::new(Fault::Stream, action, error),
            E::RequestTimeoutError => {
                EngineError::new(Fault::TimedOut, action, "the engine did not answer in time")
            }
            E::JsonDataError { .. } | E::JsonSerdeError { .. } | E::URLParseError { .. } => {
                EngineError::new(Fault::Malformed, action, error)
            }
            error => EngineError::new(Fault::Unreachable, action, innermost(&error)),
        }
    }

    /// Whether asking again may help: a broken connection (a socket-activated service that is
    /// restarting), an overloaded engine, or a 500 or an answer that ends early, which Podman also gives
    /// for races: while it starts the container, for one.
    pub(crate) fn is_transient(&self) -> bool {
        use Fault::{Status, Stream, TimedOut, Unreachable};
        matches!(self.fault, Unreachable | TimedOut | Stream | Status(500..))
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Error {
        let what = format!("cannot {}", error.action);
        let (kind, code) = match error.fault {
            Fault::NotFound => (Kind::Failed, "engine-not-found"),
            Fault::Conflict => (Kind::Failed, "engine-conflict"),
            Fault::Status(_) | Fault::Stream => (Kind::Failed, "engine-refused"),
            Fault::Unreachable => (Kind::Host, UNREACHABLE),
            Fault::TimedOut => (Kind::TimedOut, "engine-timeout"),
            Fault::Malformed => (Kind::Failed, "engine-answer"),
        };
        let converted = Error::new(kind, code, what).because(error.message);
        match error.fault {
            Fault::Unreachable => converted.hint("check that Podman is running: podman info"),
            Fault::TimedOut => converted.hint("the host may be overloaded; try again"),
            _ => converted,
        }
    }
}

/// `Ok(None)` for "not there".
pub(crate) fn optional<T>(result: EngineResult<T>) -> EngineResult<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.fault == Fault::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The message at the bottom of a chain of causes: the one that says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_cause_decide() {
        let fault =
            |status, body: &str| EngineError::from_status(status, "x", body.as_bytes()).fault;
        assert_eq!(fault(404, ""), Fault::NotFound);
        assert_eq!(fault(409, "{}"), Fault::Conflict);
        let in_use = r#"{"cause":"that name is already in use","message":"m","response":500}"#;
        assert_eq!(fault(500, in_use), Fault::Conflict);
        assert_eq!(fault(500, "plain text"), Fault::Status(500));
    }

    #[test]
    fn conversion_keeps_object_and_message() {
        let body = br#"{"cause":"c","message":"address already in use","response":500}"#;
        let error = EngineError::from_status(500, "start container dev-worker", body);
        let error = Error::from(error);
        assert_eq!(error.code, "engine-refused");
        assert_eq!(error.to_string(), "cannot start container dev-worker: address already in use");
    }
}
