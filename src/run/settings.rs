//! What `pipe env` hands out: each component's own settings, from its file's templates.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::handed_files;

use super::status::known;
use crate::Result;
use crate::plan::Reservation;
use crate::spec::source::Sources;
use crate::spec::template::{self, Piece};
use crate::spec::{ClusterName, Component, Skipped};
use crate::state::credentials::{ComponentCredentials, Credentials};
use crate::state::paths::Paths;

/// Settings by name, of every component of the profile the cluster was last brought up with, and
/// what is to be said of those that are left out.
///
/// # Errors
/// There is no such cluster, or its files cannot be read.
pub async fn settings(
    paths: &Paths,
    sources: &Sources,
    cluster: &ClusterName,
) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let state = paths.cluster(cluster);
    let (reservation, spec) = known(sources, paths, cluster)?;
    let store = Credentials::load(&state)?;
    let mut settings = BTreeMap::new();
    let mut notes = Vec::new();
    let kubeconfig = state.kubeconfig().display().to_string();
    settings.insert("KUBECONFIG".to_owned(), kubeconfig);
    for component in &spec.profile.components {
        let credentials = store.get(&component.name).cloned().unwrap_or_default();
        let handed = handed_files::refresh(&state, component).await?;
        notes.extend(handed.notes);
        for (name, text) in &component.definition.env {
            let value = |piece: &Piece<'_>| {
                value(piece, component, &reservation, &credentials, &handed.paths)
            };
            if let Some(rendered) = template::render(text, value) {
                settings.insert(name.clone(), rendered);
            }
        }
    }
    for Skipped { component, why } in &spec.profile.skipped {
        notes.push(format!("{} has no settings, it was skipped: {why}", component.name));
    }
    Ok((settings, notes))
}

/// One template variable.
fn value(
    piece: &Piece<'_>,
    component: &Component,
    reservation: &Reservation,
    credentials: &ComponentCredentials,
    files: &BTreeMap<String, PathBuf>,
) -> Option<String> {
    match piece {
        Piece::Literal(text) => Some((*text).to_owned()),
        Piece::Host => Some("127.0.0.1".to_owned()),
        // A checked file names no node in a setting.
        Piece::Node => None,
        Piece::File(name) => files.get(*name).map(|path| path.display().to_string()),
        Piece::Port(name) => {
            let port = component.definition.ports.iter().find(|port| port.name == *name)?;
            reservation.ports.get(&port.catalogue).map(u16::to_string)
        }
        Piece::Credential(key) => credentials.get(key).map(str::to_owned),
    }
}
