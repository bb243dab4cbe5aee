//! Fast integration tests: the real binary, no engine, no network. `forgotten.rs` checks that every
//! file here is listed.

mod env;
mod forgotten;
mod layers;
mod lying_nats;
