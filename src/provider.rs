//! How a cluster of each provider is laid out on the engine: names, containers, files, documents.
//!
//! Pure: values in, values out. What is done with them is `run`'s business.

pub mod kind;
pub mod labels;
pub mod registry;
