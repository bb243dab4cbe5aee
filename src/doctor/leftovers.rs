//! The state folder, and what earlier commands left.

use serde::Serialize;

use super::{Facts, Finding, codes, remedy};

/// What is there and belongs to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leftovers {
    /// Clusters with state here and no container.
    pub without_containers: Vec<String>,
    /// Clusters with containers and no state here.
    pub without_state: Vec<String>,
    /// Lock files that nobody holds.
    pub locks: Vec<String>,
    /// Where an engine service of ours that has ended left its record.
    pub service: Option<String>,
}

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let state = &host.state;
    let path = state.path.display();
    let mut findings = Vec::new();
    if !state.writable {
        findings.push(
            Finding::new(codes::STATE_UNWRITABLE, format!("{path} cannot be written to"))
                .remedy(remedy::as_root(host, &format!("chown -R {} {path}", host.uid)))
                .remedy("or set XDG_STATE_HOME to a folder of yours"),
        );
    }
    if let Some(owner) = state.owner.filter(|owner| *owner != host.uid) {
        findings.push(
            Finding::new(codes::STATE_FOREIGN, format!("{path} belongs to user {owner}"))
                .seen(format!("this is user {}", host.uid))
                .remedy("run pipe as one user only; with sudo, set HOME too: sudo -H pipe …"),
        );
    }
    if let Some(mode) = state.mode.filter(|mode| mode & 0o077 != 0) {
        findings.push(
            Finding::new(
                codes::STATE_OPEN,
                format!("others may look into {path}, which holds credentials"),
            )
            .seen(format!("mode {mode:04o}"))
            .needed("0700")
            .remedy(format!("chmod 700 {path}")),
        );
    }
    if findings.is_empty() {
        let what = if state.mode.is_some() { "is ours alone" } else { "can be made" };
        findings.push(Finding::new(codes::STATE_READY, format!("{path} {what}")));
    }
    let left = &facts.leftovers;
    for cluster in &left.without_containers {
        let what = format!("cluster {cluster} has state and reserved ports, and no container");
        let undo = format!("pipe teardown {cluster}");
        findings.push(Finding::new(codes::CLUSTER_LEFTOVERS, what).remedy(undo));
    }
    for cluster in &left.without_state {
        let what = format!(
            "cluster {cluster} runs on this engine, and its state is not here: another user or another XDG_STATE_HOME made it"
        );
        findings.push(
            Finding::new(codes::CLUSTER_STRANGER, what)
                .remedy(format!("use it as who made it, or remove it: pipe teardown {cluster}")),
        );
    }
    for lock in &left.locks {
        findings.push(Finding::new(codes::LOCK_LEFT, format!("{lock} is held by nobody")));
    }
    if let Some(record) = &left.service {
        let what = "an engine service that pipe started has ended by itself";
        findings.push(Finding::new(codes::SERVICE_LEFT, what).seen(record));
    }
    findings
}
