//! Helm releases, written by the real `helm` so that `helm list`, `get values` and `rollback` keep
//! working. What is installed is read by [`super::kube::Kube::releases`], which needs no process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::env::Env;
use super::process::Program;
use crate::{Error, Result};

/// Deadline of one run of helm; it applies objects and runs hooks, and waits for no pod.
const HELM_DEADLINE: Duration = Duration::from_secs(180);

/// Revisions kept of each release, for `helm rollback`.
const HISTORY_MAX: &str = "5";

/// The helm program for one cluster. Version 3.13 or newer.
#[derive(Clone, Debug)]
pub struct Helm {
    binary: PathBuf,
    env: Env,
}

/// What to install.
#[derive(Clone, Debug)]
pub struct Install<'a> {
    /// Name of the release.
    pub release: &'a str,
    /// Namespace of the release; made beforehand.
    pub namespace: &'a str,
    /// Folder or archive of the chart.
    pub chart: PathBuf,
    /// All values; given to helm on its standard input.
    pub values: &'a Value,
    /// Labels of the release itself, as `helm list --selector` knows them: what was installed.
    pub labels: &'a BTreeMap<String, String>,
}

/// A release as `helm list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Name of the release.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `deployed`, `failed`, `pending-install`, `pending-upgrade`, `pending-rollback`,
    /// `uninstalling`.
    pub status: String,
    /// Chart and its version: `nats-0.1.0`.
    pub chart: String,
    /// Counts from 1; helm writes it as text.
    pub revision: String,
}

/// What an interrupted helm left behind, and so what must happen before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    Nothing,
    Uninstall,
    Rollback,
}

impl Remedy {
    fn of(status: &str) -> Remedy {
        match status {
            "pending-install" | "uninstalling" => Remedy::Uninstall,
            "pending-upgrade" | "pending-rollback" => Remedy::Rollback,
            _ => Remedy::Nothing,
        }
    }
}

#[derive(Deserialize)]
struct HistoryEntry {
    revision: u64,
    status: String,
}

impl Helm {
    /// `binary` for the cluster that is the current context of `kubeconfig`. Helm's own files go
    /// below `home`, so that the user's repositories and plugins are neither used nor touched.
    pub fn new(binary: PathBuf, kubeconfig: &Path, home: &Path, env: &Env) -> Helm {
        let mut env = env.clone();
        // The user's may lead to another cluster or another storage.
        env.vars.retain(|name, _| !name.to_string_lossy().starts_with("HELM_"));
        let mut set = |name: &str, path: PathBuf| env.vars.insert(name.into(), path.into());
        set("KUBECONFIG", kubeconfig.to_owned());
        set("HELM_CACHE_HOME", home.join("cache"));
        set("HELM_CONFIG_HOME", home.join("config"));
        set("HELM_DATA_HOME", home.join("data"));
        Helm { binary, env }
    }

    /// Installs or upgrades a release and returns when the API server has its objects; readiness
    /// is the caller's. A release that a killed helm left pending is healed first.
    ///
    /// # Errors
    /// Those of [`Program::run`], with helm's own message.
    pub async fn upgrade_install(
        &self,
        install: &Install<'_>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        self.heal(install.release, install.namespace, cancel).await?;
        let labels: Vec<String> =
            install.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let program = self
            .helm(["upgrade", install.release])
            .arg(&install.chart)
            .args(["--install", "--namespace", install.namespace])
            // Without it, empty values would mean "those of the last revision".
            .args(["--reset-values", "--values", "-"])
            .args(["--history-max", HISTORY_MAX])
            .args(if labels.is_empty() {
                vec![]
            } else {
                vec!["--labels".into(), labels.join(",")]
            })
            .stdin(install.values.to_string());
        let installed = program.run(cancel).await;
        installed.map_err(|error| about(error, "install", install.release)).map(drop)
    }

    /// Every release of the cluster in whatever state, by namespace and name.
    ///
    /// # Errors
    /// Those of [`Program::run`]; `helm-output` if the answer is not what `helm list` prints.
    pub async fn list(&self, cancel: &CancellationToken) -> Result<Vec<Release>> {
        self.list_with(&["--all-namespaces"], cancel).await
    }

    /// Removes a release; its volumes stay. One that is not there is no error.
    ///
    /// # Errors
    /// Those of [`Program::run`], with helm's own message.
    pub async fn uninstall(
        &self,
        release: &str,
        namespace: &str,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let program = self.helm(["uninstall", release]).args([
            "--namespace",
            namespace,
            "--ignore-not-found",
        ]);
        let removed = program.run(cancel).await;
        removed.map_err(|error| about(error, "uninstall", release)).map(drop)
    }

    /// Ends what a killed helm began: helm itself refuses to touch a pending release.
    ///
    /// # Errors
    /// Those of [`Program::run`].
    pub async fn heal(
        &self,
        release: &str,
        namespace: &str,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let filter = format!("^{release}$");
        let scope = ["--namespace", namespace, "--filter", &filter];
        let found = self.list_with(&scope, cancel).await?;
        let Some(found) = found.first() else { return Ok(()) };
        match Remedy::of(&found.status) {
            Remedy::Nothing => Ok(()),
            Remedy::Uninstall => self.uninstall(release, namespace, cancel).await,
            Remedy::Rollback => self.roll_back(release, namespace, cancel).await,
        }
    }

    /// Back to the newest revision that was ever deployed; without one, nothing is worth keeping.
    async fn roll_back(
        &self,
        release: &str,
        namespace: &str,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let program =
            self.helm(["history", release]).args(["--namespace", namespace, "--output", "json"]);
        let output = program
            .run(cancel)
            .await
            .map_err(|error| about(error, "read the history of", release))?;
        let history: Vec<HistoryEntry> = parse("history", &output.text())?;
        let Some(revision) = last_deployed(&history) else {
            return self.uninstall(release, namespace, cancel).await;
        };
        let program = self.helm(["rollback", release, &revision.to_string()]).args([
            "--namespace",
            namespace,
            "--history-max",
            HISTORY_MAX,
        ]);
        let back = program.run(cancel).await;
        back.map_err(|error| about(error, "roll back", release)).map(drop)
    }

    async fn list_with(&self, scope: &[&str], cancel: &CancellationToken) -> Result<Vec<Release>> {
        // Helm 3 shows only deployed and failed releases unless told otherwise.
        let states = ["--deployed", "--failed", "--pending", "--uninstalling"];
        let program = self.helm(["list", "--output", "json"]).args(states).args(scope);
        parse("list", &program.run(cancel).await?.text())
    }

    fn helm<const N: usize>(&self, args: [&str; N]) -> Program {
        Program::new(&self.binary, &self.env).args(args).within(HELM_DEADLINE)
    }
}

fn last_deployed(history: &[HistoryEntry]) -> Option<u64> {
    // Superseded: it was deployed until the next one was.
    let deployed = |entry: &&HistoryEntry| matches!(&*entry.status, "deployed" | "superseded");
    history.iter().filter(deployed).map(|entry| entry.revision).max()
}

fn parse<T: serde::de::DeserializeOwned>(command: &str, stdout: &str) -> Result<T> {
    serde_json::from_str(stdout).map_err(|error| {
        Error::failed("helm-output", format!("helm {command} printed something unexpected"))
            .because(error)
            .because(stdout)
    })
}

fn about(error: Error, verb: &str, release: &str) -> Error {
    let cause = error.what.clone();
    let mut error = Error { what: format!("cannot {verb} helm release {release}"), ..error };
    error.causes.insert(0, cause);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_good_revision_is_the_one_to_return_to() {
        let entry = |revision, status: &str| HistoryEntry { revision, status: status.to_owned() };
        let history = [
            entry(1, "superseded"),
            entry(2, "deployed"),
            entry(3, "failed"),
            entry(4, "pending-upgrade"),
        ];
        assert_eq!(last_deployed(&history), Some(2));
        assert_eq!(last_deployed(&history[2..]), None);
    }

    #[test]
    fn only_interrupted_releases_are_healed() {
        assert_eq!(Remedy::of("deployed"), Remedy::Nothing);
        assert_eq!(Remedy::of("failed"), Remedy::Nothing);
        assert_eq!(Remedy::of("pending-install"), Remedy::Uninstall);
        assert_eq!(Remedy::of("pending-upgrade"), Remedy::Rollback);
    }
}
