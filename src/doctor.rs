//! What stands between this host and a cluster: facts go in, findings come out.
//!
//! Pure. [`crate::world::facts`] reads the host, `run` says what a cluster needs, and each topic
//! below looks at both. A finding says what, on which evidence, and what to do; its code is stable.
//! `docs/doctor.md` lists every code.

use serde::Serialize;

use crate::world::engine::EngineInfo;
use crate::world::facts::HostFacts;
use crate::{Error, Kind};

mod cgroups;
pub mod codes;
mod config;
mod engine;
pub mod finding;
pub mod fit;
mod guards;
mod kernel;
mod leftovers;
mod licences;
mod limits;
mod mounts;
pub mod needs;
pub mod network;
mod remedy;
pub mod report;
mod room;
mod rootless;
#[cfg(test)]
mod tests;
mod tools;

pub use codes::Code;
pub use finding::{Finding, Severity};
pub use leftovers::Leftovers;
pub use needs::{
    ForeignImage, ImageSource, LicenceToAccept, MissingMount, NeededComponent, NeededPort, Needs,
    PortHolder, PublishedPort,
};
pub use report::Report;

/// Everything that findings are made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The host.
    pub host: HostFacts,
    /// The engine, or why there is none.
    pub engine: Result<EngineFacts, Error>,
    /// What clusters of before left.
    pub leftovers: Leftovers,
    /// What a cluster needs.
    pub needs: Needs,
}

/// The engine that answers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EngineFacts {
    /// What it says about itself.
    #[serde(flatten)]
    pub info: EngineInfo,
    /// Its socket.
    pub socket: String,
}

impl Facts {
    /// The engine's word about itself, where one answers.
    fn info(&self) -> Option<&EngineInfo> {
        self.engine.as_ref().ok().map(|engine| &engine.info)
    }

    /// Whether containers run as an ordinary user: the engine's, or ours where none answers.
    fn rootless(&self) -> bool {
        self.info().map_or(self.host.uid != 0, |info| info.rootless)
    }
}

/// What the disk that images lie on must be called among the facts.
pub fn room_of_images() -> String {
    room::IMAGES.to_owned()
}

/// Every finding, topic by topic.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let topics: [fn(&Facts) -> Vec<Finding>; 14] = [
        engine::examine,
        cgroups::examine,
        rootless::examine,
        kernel::examine,
        limits::examine,
        room::examine,
        mounts::examine,
        fit::examine,
        licences::examine,
        network::examine,
        config::examine,
        guards::examine,
        tools::examine,
        leftovers::examine,
    ];
    topics.iter().flat_map(|topic| topic(facts)).collect()
}

/// The one error of all findings that stop a command, or nothing. A single finding keeps its code.
pub fn refusal(findings: &[Finding]) -> Option<Error> {
    let errors: Vec<&Finding> = findings.iter().filter(|f| f.severity == Severity::Error).collect();
    match errors.as_slice() {
        [] => None,
        [only] => Some(only.to_error()),
        several => {
            let what = format!("this host cannot do it: {} things stand in the way", several.len());
            let error = Error::new(Kind::Host, "host-unable", what);
            Some(several.iter().fold(error, |error, finding| finding.add_to(error)))
        }
    }
}

/// Those of `findings` that are about the cluster's components, whatever is to be made.
pub fn of_components(findings: Vec<Finding>) -> Vec<Finding> {
    let codes = [
        codes::LICENCE_NOT_ACCEPTED,
        codes::CPU_FEATURE,
        codes::IMAGE_ARCHITECTURE,
        codes::COMPONENT_SKIPPED,
        codes::MEMORY_SHORT,
        codes::AIO_FULL,
    ];
    let of_components = |finding: &Finding| codes.iter().any(|code| code.name == finding.code);
    findings.into_iter().filter(of_components).collect()
}

/// One line for the warnings among the findings, or nothing.
pub fn brief(findings: &[Finding]) -> Option<String> {
    let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning);
    let said: Vec<String> = warnings.map(Finding::line).collect();
    match said.as_slice() {
        [] => None,
        said => Some(format!("{}; `pipe doctor` says more", said.join("; "))),
    }
}
