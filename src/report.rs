//! The only place that prints: events in, lines on a stream out.

pub mod event;

pub use event::{Event, Events, Level, Outcome, StepLine};
