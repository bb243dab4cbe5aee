//! Why nothing can be said for an image: the cause, and what to do about it. Its text is the reason
//! that people read in the pod's event.

use std::fmt;
use std::sync::mpsc::RecvTimeoutError;

use super::DEADLINE;
use crate::trust::Refusal;

/// One cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The configuration's file, or what of it, and what is wrong.
    Config(String, String),
    /// containerd asks something else than we understand.
    Arguments(String),
    /// The name that is no name.
    Name(String),
    /// The cache's address, and why no answer came.
    Unreachable(String, String),
    /// The cache's address: the time was over.
    TooLate(String),
    /// The cache's address, and what is wrong with its answer.
    Answer(String, String),
    /// The image's name: there is no signature.
    Unsigned(String),
    /// The image's name, and why none of its signatures counts.
    Refused(String, Vec<Refusal>),
    /// A panic, or no thread to be had.
    Defect,
    /// Not even the file system answered in time.
    Stuck,
}

impl Fault {
    /// What it means that no verdict came.
    pub(super) fn of(gone: RecvTimeoutError) -> Fault {
        match gone {
            RecvTimeoutError::Timeout => Fault::Stuck,
            RecvTimeoutError::Disconnected => Fault::Defect,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Config(what, why) => {
                write!(f, "{what} cannot be used ({why}); `pipe up` writes it anew")
            }
            Fault::Arguments(why) => write!(
                f,
                "containerd's question cannot be understood ({why}); use a node image that this \
                 pipe knows"
            ),
            Fault::Name(why) => write!(
                f,
                "{why}; write the whole name, with its registry: docker.io/library/NAME:TAG"
            ),
            Fault::Unreachable(address, why) => write!(
                f,
                "the image cache {address} cannot be reached ({why}), so nobody can say whether it \
                 is signed; `pipe up` starts the cache"
            ),
            Fault::TooLate(address) => write!(
                f,
                "the image cache {address} did not answer within {} s, so nobody can say whether it \
                 is signed; `pipe up` checks the cache",
                DEADLINE.as_secs()
            ),
            Fault::Answer(address, why) => write!(
                f,
                "the image cache {address} gives no signature ({why}); `pipe up` checks the cache"
            ),
            Fault::Unsigned(name) => write!(
                f,
                "it is not signed in the image cache; `pipe images add {name}` puts it there, signed"
            ),
            Fault::Refused(name, refusals) => {
                let mut reasons: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
                reasons.dedup();
                write!(
                    f,
                    "no signature of it counts: {}; `pipe images add {name}` signs it anew",
                    reasons.join(", ")
                )
            }
            Fault::Defect => f.write_str(
                "pipe-verifier failed by a defect of its own; the node's containerd log has more, \
                 please report it",
            ),
            Fault::Stuck => write!(
                f,
                "no verdict within {} s: something on this node hangs; `pipe doctor` looks for it",
                DEADLINE.as_secs()
            ),
        }
    }
}
