//! smoke.
