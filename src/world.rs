//! Everything outside this process, as values that are handed in: environment, engine, host,
//! programs, tools. Nothing here decides; deciding is [`crate::plan`]'s.
//!
//! Read [`env`] first, then [`socket`] and [`service`] (which Podman), [`engine`] (what it can do).

pub mod built;
pub mod engine;
pub mod env;
pub mod host;
pub mod http;
pub mod network;
pub mod process;
pub mod service;
pub mod socket;
pub mod tool;
