//! What `pipe doctor` prints.

use std::fmt::Write as _;

use serde::Serialize;

use super::{EngineFacts, Facts, Finding, Leftovers, Needs, Severity, examine};
use crate::Error;
use crate::report::format::count;
use crate::world::facts::HostFacts;

/// Version of the document; grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Facts and findings.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this form.
    pub schema: u32,
    /// No finding is an error.
    pub ok: bool,
    /// How many findings there are of each severity.
    pub summary: Summary,
    /// Every finding, by topic.
    pub findings: Vec<Finding>,
    /// What a cluster needs.
    pub needs: Needs,
    /// The engine, where one answers.
    pub engine: Option<EngineFacts>,
    /// Why none answers.
    pub engine_error: Option<Error>,
    /// The host.
    pub host: HostFacts,
    /// What earlier commands left.
    pub leftovers: Leftovers,
}

/// Findings by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Stand in the way.
    pub errors: usize,
    /// May get in the way.
    pub warnings: usize,
    /// Worth knowing.
    pub infos: usize,
    /// As they should be.
    pub ok: usize,
}

impl Report {
    /// Examines the facts.
    pub fn new(facts: Facts) -> Report {
        let findings = examine(&facts);
        let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let summary = Summary {
            errors: of(Severity::Error),
            warnings: of(Severity::Warning),
            infos: of(Severity::Info),
            ok: of(Severity::Ok),
        };
        let (engine, engine_error) = match facts.engine {
            Ok(engine) => (Some(engine), None),
            Err(error) => (None, Some(error)),
        };
        Report {
            schema: SCHEMA,
            ok: summary.errors == 0,
            summary,
            findings,
            needs: facts.needs,
            engine,
            engine_error,
            host: facts.host,
            leftovers: facts.leftovers,
        }
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let host = &self.host;
        let _ = writeln!(text, "{}, kernel {}", host.distribution.name, host.host.kernel);
        let what = match (&self.needs.cluster, self.needs.nodes()) {
            (None, _) => "no cluster in mind".to_owned(),
            (Some(cluster), 0) => format!("cluster {cluster}: nothing to make or start"),
            (Some(cluster), nodes) => {
                format!("cluster {cluster}: {} to make or start", count(nodes, "node"))
            }
        };
        let _ = writeln!(text, "{what}\n");
        let mut topic = "";
        for finding in &self.findings {
            let heading = if finding.topic == topic { "" } else { finding.topic };
            topic = finding.topic;
            let severity = finding.severity.as_str();
            let _ = writeln!(text, "{heading:<9} {severity:<8} {}", finding.line());
            if finding.severity == Severity::Ok {
                continue;
            }
            for line in finding.evidence().iter().flat_map(|evidence| evidence.lines()) {
                let _ = writeln!(text, "{:18} {line}", "");
            }
            for remedy in &finding.remedies {
                for (number, line) in remedy.lines().enumerate() {
                    let mark = if number == 0 { "->" } else { "  " };
                    let _ = writeln!(text, "{:18} {mark} {line}", "");
                }
            }
        }
        let summary = &self.summary;
        let verdict = match (summary.errors, summary.warnings) {
            (0, 0) => "nothing stands in the way".to_owned(),
            (0, warnings) => count(warnings, "warning"),
            (errors, 0) => count(errors, "error"),
            (errors, warnings) => {
                format!("{}, {}", count(errors, "error"), count(warnings, "warning"))
            }
        };
        let _ = writeln!(text, "\n{verdict}");
        text
    }
}
