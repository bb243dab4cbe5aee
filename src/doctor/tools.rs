//! Programs that `pipe` runs.

use super::{Facts, Finding, codes};
use crate::world::facts::ToolFact;
use crate::world::tool::ToolOrigin;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    facts.host.tools.iter().flat_map(tool).collect()
}

fn tool(tool: &ToolFact) -> Vec<Finding> {
    let name = &tool.name;
    let mut findings = Vec::new();
    if let Some(path) = &tool.refused {
        let what = format!("{} is too old or does not run; another {name} is used", path.display());
        findings.push(Finding::new(codes::TOOL_REFUSED, what));
    }
    findings.push(match &tool.path {
        Some(path) => {
            let place = match tool.origin {
                Some(ToolOrigin::Path) | None => "on PATH",
                Some(ToolOrigin::Cache | ToolOrigin::Download) => "in the cache",
            };
            let version = tool.version.as_deref().unwrap_or("of unknown version");
            Finding::new(codes::TOOL_FOUND, format!("{name} {version} is {place}"))
                .seen(path.display().to_string())
        }
        None => {
            let what =
                format!("{name} is not here; {} is downloaded when it is needed", tool.pinned);
            Finding::new(codes::TOOL_FETCHED, what).remedy(format!(
                "where nothing can be downloaded, in a clone of pipe: scripts/images/factory tools {name}"
            ))
        }
    });
    findings
}
