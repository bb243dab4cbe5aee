//! Why a signature does not count.

use std::fmt;

/// One reason; its text ends up in events of pods and in errors, so it is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no signature of this form; what was found instead.
    Malformed(String),
    /// It is not about images.
    OtherPurpose(String),
    /// It is good, for another image: the digest that it names.
    OtherImage(String),
    /// The key that it names is none of those trusted.
    UnknownKey(String),
    /// No trusted key made it over these bytes.
    Forged,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed(why) => write!(f, "the signature cannot be read: {why}"),
            Refusal::OtherPurpose(kind) => write!(f, "it signs no image but a {kind}"),
            Refusal::OtherImage(digest) => write!(f, "the signature belongs to {digest}"),
            Refusal::UnknownKey(hint) => {
                write!(f, "it is signed with the key {hint}, which is not trusted here")
            }
            Refusal::Forged => f.write_str("no trusted key made the signature"),
        }
    }
}
