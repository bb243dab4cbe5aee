//! What `pipe env` hands out: each component's own settings, from its file's templates.

use std::collections::BTreeMap;

use super::status::{no_cluster, spec_of};
use crate::Result;
use crate::plan::Reservation;
use crate::spec::source::Sources;
use crate::spec::template::{self, Piece};
use crate::spec::{ClusterName, Component};
use crate::state::credentials::{ComponentCredentials, Credentials};
use crate::state::paths::Paths;
use crate::state::receipt::Receipt;
use crate::state::reservation;

/// Settings by name, of every component of the profile the cluster was last brought up with.
///
/// # Errors
/// There is no such cluster, or its files cannot be read.
pub fn settings(
    paths: &Paths,
    sources: &Sources,
    cluster: &ClusterName,
) -> Result<BTreeMap<String, String>> {
    let state = paths.cluster(cluster);
    let reservation = reservation::load(paths, cluster)?.ok_or_else(|| no_cluster(cluster))?;
    let spec = spec_of(sources, cluster, &Receipt::load(&state)?, &reservation, &[])?;
    let store = Credentials::load(&state)?;
    let mut settings = BTreeMap::new();
    let kubeconfig = state.kubeconfig().display().to_string();
    settings.insert("KUBECONFIG".to_owned(), kubeconfig);
    for component in &spec.profile.components {
        let credentials = store.get(&component.name).cloned().unwrap_or_default();
        for (name, text) in &component.definition.env {
            let value = |piece: &Piece<'_>| value(piece, component, &reservation, &credentials);
            if let Some(rendered) = template::render(text, value) {
                settings.insert(name.clone(), rendered);
            }
        }
    }
    Ok(settings)
}

/// One template variable.
fn value(
    piece: &Piece<'_>,
    component: &Component,
    reservation: &Reservation,
    credentials: &ComponentCredentials,
) -> Option<String> {
    match piece {
        Piece::Literal(text) => Some((*text).to_owned()),
        Piece::Host => Some("127.0.0.1".to_owned()),
        Piece::Port(name) => {
            let port = component.definition.ports.iter().find(|port| port.name == *name)?;
            reservation.ports.get(&port.catalogue).map(u16::to_string)
        }
        Piece::Credential(key) => credentials.get(key).map(str::to_owned),
    }
}
