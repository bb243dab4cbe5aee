//! Programs that `pipe` runs: where they are, and which version.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::world::env::Env;
use crate::world::process::Program;
use crate::world::tool::{Tool, ToolOrigin};

/// A program that only prints its version and does not end by then is broken.
const ANSWER: Duration = Duration::from_secs(5);

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToolFact {
    /// Its name.
    pub name: String,
    /// The version that is fetched where there is none.
    pub pinned: String,
    /// Where it is.
    pub path: Option<PathBuf>,
    /// How it was found.
    pub origin: Option<ToolOrigin>,
    /// What it says its version is.
    pub version: Option<String>,
    /// One of that name on `PATH` that will not do.
    pub refused: Option<PathBuf>,
}

/// Every tool, asked at once.
pub(super) async fn find(env: &Env) -> Vec<ToolFact> {
    let (helm, kubectl) = tokio::join!(
        fact(Tool::helm(), &["version", "--template", "{{.Version}}"], env),
        fact(Tool::kubectl(), &["version", "--client", "--output=json"], env)
    );
    vec![helm, kubectl]
}

async fn fact(tool: Tool, arguments: &[&str], env: &Env) -> ToolFact {
    let found = tool.find(env).await.ok().flatten();
    let on_path = env.find_program(tool.name);
    let version = match &found {
        Some(found) => {
            let program = Program::new(&found.path, env).args(arguments).within(ANSWER);
            let output = program.run(&CancellationToken::new()).await.ok();
            output.and_then(|output| version(&output.text()))
        }
        None => None,
    };
    ToolFact {
        name: tool.name.to_owned(),
        pinned: tool.version.to_owned(),
        refused: on_path.filter(|path| found.as_ref().is_none_or(|found| found.path != *path)),
        origin: found.as_ref().map(|found| found.origin),
        path: found.map(|found| found.path),
        version,
    }
}

/// `v3.14.0`, or the `gitVersion` of kubectl's JSON.
fn version(text: &str) -> Option<String> {
    if text.starts_with('v') {
        return text.lines().next().map(str::to_owned);
    }
    let document: serde_json::Value = serde_json::from_str(text).ok()?;
    let version = document.pointer("/clientVersion/gitVersion")?;
    version.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_tools_print_them() {
        assert_eq!(version("v4.3.1").as_deref(), Some("v4.3.1"));
        let kubectl = r#"{"clientVersion": {"gitVersion": "v1.36.4"}}"#;
        assert_eq!(version(kubectl).as_deref(), Some("v1.36.4"));
        assert_eq!(version("nonsense"), None);
    }
}
