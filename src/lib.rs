//! `pipe`: a real multi-node Kubernetes on Podman with its data services installed, proven and
//! reachable.
//!
//! ```text
//! files ─ parse ─ validate ─▶ Spec ─┐
//!                                   ├─ plan::build (pure) ─▶ Plan ─▶ run ─▶ Event ─▶ report
//! World ─ observe ─▶ Observed ──────┘                                 └──▶ journal ─▶ Receipt
//! ```
//!
//! Read in this order: [`spec`], [`plan`], [`run`], [`world`], [`provider`], [`doctor`], [`smoke`],
//! [`backup`],
//! [`state`], [`report`], [`cli`]. `ARCHITECTURE.md` has the rules that hold the parts apart.

#![forbid(unsafe_code)]

pub mod backup;
pub mod cli;
pub mod digest;
pub mod doctor;
pub mod error;
pub mod plan;
pub mod provider;
pub mod report;
pub mod run;
pub mod smoke;
pub mod spec;
pub mod state;
pub mod trust;
pub mod verifier;
pub mod world;

pub use error::{Error, Kind, Result};
