//! Processes of a running container, seen from outside it.

use serde::Deserialize;

use super::Engine;
use super::error::EngineResult;

#[derive(Deserialize)]
struct Top {
    #[serde(rename = "Processes")]
    processes: Option<Vec<Vec<String>>>,
}

impl Engine {
    /// The processes of a running container, one line each. Nothing is executed inside it.
    pub async fn top(&self, name: &str) -> EngineResult<Vec<String>> {
        let action = format!("list processes of container {name}");
        let top: Top = self.libpod.get(&action, &format!("containers/{name}/top"), &[]).await?;
        let rows = top.processes.unwrap_or_default();
        Ok(rows.into_iter().map(|columns| columns.join(" ")).collect())
    }
}
