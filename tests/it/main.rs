//! Fast integration tests: the real binary, no engine, no network. `forgotten.rs` checks that every
//! file here is listed.

mod engine_errors;
mod env;
mod fake_helm;
mod forgotten;
mod layers;
mod lying_nats;
mod scripted;
mod scripted_kube;
mod spec;
mod tool_download;
