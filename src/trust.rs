//! Signatures of images, as cosign writes and reads them, with keys of our own: no service, no log,
//! no network. Arithmetic on bytes; where keys and signatures lie is others' business.
//!
//! A signature says that whoever holds a key meant exactly these bytes: the digest of an image's
//! manifest or index. Two forms, because readers differ (`docs/decisions/080`):
//!
//! - [`simple`]: the form of cosign 1 and 2, beside the image under the tag `sha256-<hex>.sig`;
//!   Podman's and skopeo's policies read this one only;
//! - [`bundle`]: the form of cosign 3, a document that refers to the image.
//!
//! [`forbidden`] is about what must not run although it may be signed, [`admission`] says it to API servers.
//!
//! [`key`] first, then the two forms, then [`attached`]: the manifests that carry them.

pub mod admission;
pub mod attached;
pub mod bundle;
pub mod forbidden;
pub mod key;
pub mod policy;
pub mod refusal;
pub mod simple;

pub use key::{KeyId, PublicKey, SigningKey};
pub use refusal::Refusal;

#[cfg(test)]
mod tests;
