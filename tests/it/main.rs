//! Fast integration tests: the real binary, no engine, no network. `forgotten.rs` checks that every
//! file here is listed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, reports by printing and is nobody's library"
)]

mod backups;
mod cache_contents;
mod cli;
mod doctor;
mod engine_errors;
mod env;
mod fake_helm;
mod fit;
mod forgotten;
mod fuzz;
mod layers;
mod licences;
mod lock;
mod logs;
mod lying;
mod lying_clickhouse;
mod lying_cql;
mod lying_fdb;
mod lying_nats;
mod lying_registry;
mod lying_s3;
mod recorded;
mod scripted;
mod scripted_kube;
mod serving;
mod skip;
mod spec;
mod surroundings;
mod tool_download;
mod troubles;
mod verifier;
