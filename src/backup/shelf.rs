//! Backups at a place: which there are, and their files.

use jiff::Timestamp;

use super::manifest::{self, Manifest};
use super::place::Content;
use super::{BackupId, Place};
use crate::spec::{ClusterName, ComponentName};
use crate::{Error, Result};

/// One backup, to be read.
#[derive(Debug)]
pub struct Shelf<'a> {
    place: &'a Place,
    folder: String,
}

/// What stands in a place where a backup may be.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose.
    pub cluster: ClusterName,
    /// Of which component.
    pub component: ComponentName,
    /// Its name.
    pub id: BackupId,
    /// What it is.
    pub state: State,
}

/// Whether a backup is one.
#[derive(Clone, Debug)]
pub enum State {
    /// With a manifest that is as it was written, and every file that it names.
    Complete(Box<Manifest>),
    /// Without a manifest: being made now, or broken off.
    Incomplete,
    /// Changed, or with a file missing, or made by a newer `pipe`; and what says so.
    Unusable(String),
}

impl State {
    /// In one word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            State::Complete(_) => "complete",
            State::Incomplete => "incomplete",
            State::Unusable(_) => "unusable",
        }
    }
}

impl Entry {
    /// The manifest of a complete one.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.state {
            State::Complete(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// When it was begun, where it is complete.
    pub fn started(&self) -> Option<Timestamp> {
        self.manifest().map(|manifest| manifest.started)
    }

    fn folder(&self) -> String {
        format!("{}/{}/{}", self.cluster, self.component, self.id)
    }
}

impl<'a> Shelf<'a> {
    /// The files of `entry`.
    pub fn of(place: &'a Place, entry: &Entry) -> Shelf<'a> {
        Shelf { place, folder: entry.folder() }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// It cannot be read, or is not there.
    pub(super) async fn open(&self, name: &str) -> Result<Content> {
        let path = format!("{}/{name}", self.folder);
        let content = self.place.read(&path).await?;
        content.ok_or_else(|| {
            Error::failed("backup-damaged", format!("{path} is missing in {}", self.place))
                .hint("use another backup: pipe backup list")
        })
    }
}

/// Everything at a place that is named as our backups are; in the order of cluster, component and time.
///
/// # Errors
/// The place cannot be read.
pub async fn entries(place: &Place) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (folder, files) in place.folders().await? {
        let parts: Vec<&str> = folder.split('/').collect();
        let &[cluster, component, id] = parts.as_slice() else { continue };
        let (Ok(cluster), Ok(component), Ok(id)) =
            (ClusterName::parse(cluster), ComponentName::parse(component), BackupId::parse(id))
        else {
            continue;
        };
        let state = state(place, &folder, &files, (&cluster, &component, &id)).await?;
        entries.push(Entry { cluster, component, id, state });
    }
    Ok(entries)
}

async fn state(
    place: &Place,
    folder: &str,
    files: &[String],
    named: (&ClusterName, &ComponentName, &BackupId),
) -> Result<State> {
    if !files.iter().any(|file| file == manifest::NAME) {
        return Ok(State::Incomplete);
    }
    let path = format!("{folder}/{}", manifest::NAME);
    // Removed between the two looks.
    let Some(text) = place.text(&path).await? else { return Ok(State::Incomplete) };
    let manifest = match Manifest::parse(&text, &path) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(State::Unusable(error.to_string())),
    };
    if (&manifest.cluster, &manifest.component, &manifest.id) != named {
        let Manifest { cluster, component, id, .. } = &manifest;
        let what = format!("{path} is of {cluster}/{component}/{id}");
        return Ok(State::Unusable(what));
    }
    let missing = manifest.files.iter().find(|file| !files.contains(&file.name));
    Ok(match missing {
        Some(file) => State::Unusable(format!("{folder} lacks {}", file.name)),
        None => State::Complete(Box::new(manifest)),
    })
}

/// Removes a backup, or what is left of one.
///
/// # Errors
/// Something of it stays; it is no backup any more then.
pub async fn remove(place: &Place, entry: &Entry) -> Result<()> {
    place.remove(&entry.folder()).await
}
