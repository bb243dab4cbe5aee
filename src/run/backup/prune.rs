//! What retention lets go: complete backups only, of each component by its own numbers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Result;
use crate::backup::retention::{Dated, superfluous};
use crate::backup::shelf::{self, Entry, State};
use crate::backup::{BackupId, Place};
use crate::spec::{ClusterName, ComponentName, Keep};

/// A backup that goes, or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Going {
    /// Whose.
    pub cluster: ClusterName,
    /// Of which component.
    pub component: ComponentName,
    /// Its name.
    pub id: BackupId,
    /// `superfluous`, or `incomplete`.
    pub why: &'static str,
    /// Bytes in it, where it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What goes by `keep`; components that it does not name keep what is usual. With `incomplete`, also what
/// has no manifest. What is damaged or a newer `pipe`'s stays: somebody must look at it.
pub fn going(
    entries: &[Entry],
    keep: &BTreeMap<ComponentName, Keep>,
    incomplete: bool,
) -> Vec<Going> {
    let mut complete: BTreeMap<(&ClusterName, &ComponentName), Vec<Dated>> = BTreeMap::new();
    for entry in entries {
        if let Some(started) = entry.started() {
            let dated = Dated { id: entry.id.clone(), started };
            complete.entry((&entry.cluster, &entry.component)).or_default().push(dated);
        }
    }
    let superfluous: Vec<BackupId> = complete
        .iter()
        .flat_map(|((_, component), all)| {
            superfluous(all, keep.get(component).copied().unwrap_or_default())
        })
        .collect();
    let why = |entry: &Entry| match &entry.state {
        State::Complete(_) if superfluous.contains(&entry.id) => Some("superfluous"),
        State::Incomplete if incomplete => Some("incomplete"),
        _ => None,
    };
    let going = |entry: &Entry| {
        Some(Going {
            cluster: entry.cluster.clone(),
            component: entry.component.clone(),
            id: entry.id.clone(),
            why: why(entry)?,
            bytes: entry.manifest().map(crate::backup::Manifest::bytes),
        })
    };
    entries.iter().filter_map(going).collect()
}

/// Removes them; what of them is a backup no more is not one any more, whatever fails.
///
/// # Errors
/// Something stays.
pub async fn remove(place: &Place, entries: &[Entry], going: &[Going]) -> Result<()> {
    for gone in going {
        let same = |entry: &&Entry| {
            (&entry.cluster, &entry.component, &entry.id)
                == (&gone.cluster, &gone.component, &gone.id)
        };
        if let Some(entry) = entries.iter().find(same) {
            shelf::remove(place, entry).await?;
        }
    }
    Ok(())
}
