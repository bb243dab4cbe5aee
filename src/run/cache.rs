//! The cache of images: a registry of ours that nodes pull from, filled by digest and signed.

pub mod copy;
pub mod signatures;
