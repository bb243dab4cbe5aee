//! Kubeconfigs: the cluster's own in the state folder, and its entries in the user's file.
//!
//! ```text
//! admin.conf of the node ─ own() ─▶ state/…/kubeconfig ─ merge() ─▶ ~/.kube/config
//!                                   merged.json: where it went ─ unmerge() ─▶ entries out again
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file;
use super::lock::SharedLock;
use super::paths::{ClusterFolder, Paths};
use crate::spec::ClusterName;
use crate::{Error, Result};

mod document;
mod guard;
mod place;

use document::Document;
use guard::Guard;
use place::{make_folder, read, replace, require_regular};

/// Version of `merged.json`.
const SCHEMA: u32 = 1;

/// Into which files a cluster's entries were merged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Merged {
    schema: u32,
    files: Vec<MergedFile>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct MergedFile {
    path: PathBuf,
    created: Created,
}

/// What of a user's file we made ourselves, and may therefore remove when nothing else is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Created {
    #[default]
    Nothing,
    File,
    FolderAndFile,
}

/// The cluster's own kubeconfig, from one that kubeadm made: its current context only, with
/// context, cluster and user called `name` (`kind-dev`), reached at `server`.
pub fn own(raw: &str, name: &str, server: &str) -> Result<String> {
    let document = Document::parse(raw).and_then(|raw| raw.only_current(name, server));
    let document = document.map_err(|fault| {
        Error::failed("kubeconfig-invalid", format!("the kubeconfig of {name} is unusable"))
            .because(fault)
    })?;
    Ok(document.render())
}

/// Stores the cluster's own kubeconfig, 0600.
pub fn write_own(folder: &ClusterFolder, text: &str) -> Result<()> {
    file::write(&folder.kubeconfig(), text.as_bytes())
}

/// Removes it: the cluster is going, or was never made to the end.
pub fn remove_own(folder: &ClusterFolder) -> Result<()> {
    file::remove(&folder.kubeconfig())
}

/// The user's file: `explicit`, else the first entry of `KUBECONFIG`, else `~/.kube/config`.
pub fn user_file(explicit: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let from_env = || {
        let first = env("KUBECONFIG")?.split(':').find(|path| !path.is_empty())?.to_owned();
        Some(PathBuf::from(first))
    };
    let home = || env("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    let path = explicit.map(Path::to_owned).or_else(from_env).or_else(home).ok_or_else(|| {
        Error::host("no-home", "HOME is not set, so there is no place for a kubeconfig")
            .hint("set HOME, or pass --kubeconfig FILE")
    })?;
    std::path::absolute(&path).map_err(|e| unusable(&path).because(e))
}

/// Whether [`merge`] into `path` would succeed, asked before a cluster is made for it. Writes nothing.
///
/// # Errors
/// `kubeconfig-unwritable` or `kubeconfig-invalid`, as [`merge`] would say.
pub fn require_mergeable(path: &Path) -> Result<()> {
    place::require_replaceable(path)?;
    parse(path, &read(path)?).map(drop)
}

/// Puts the entries of the cluster's own kubeconfig into the user's `path`, replacing those of the
/// same name, and makes its context the current one if `switch`. Everything else in the file
/// stays, comments excepted (as with `kubectl config`). Where nothing changes, nothing is written.
pub async fn merge(
    paths: &Paths,
    cluster: &ClusterName,
    path: &Path,
    switch: bool,
    _lock: &SharedLock,
) -> Result<()> {
    let folder = paths.cluster(cluster);
    let own = file::read(&folder.kubeconfig())?.ok_or_else(|| {
        Error::bug(format!("the kubeconfig of {cluster} is merged before it is written"))
    })?;
    let own = parse(&folder.kubeconfig(), &own)?;
    require_regular(path)?;
    // Remembered before the user's file is touched, so that a killed process leaves a trace.
    remember(paths, cluster, path)?;
    make_folder(path)?;
    let _guard = Guard::acquire(path).await?;
    let old = read(path)?;
    let mut document = parse(path, &old)?;
    document.adopt(&own, switch).map_err(|fault| invalid(path).because(fault))?;
    let new = document.render();
    if new == old { Ok(()) } else { replace(path, &new) }
}

/// Refuses a record of a newer `pipe`; a damaged one does not matter yet.
pub fn check(folder: &ClusterFolder) -> Result<()> {
    match file::read_json::<Merged>(&folder.merged(), SCHEMA) {
        Err(error) if error.code != file::BROKEN => Err(error),
        _ => Ok(()),
    }
}

/// What came of [`unmerge`].
#[derive(Debug, Default)]
pub struct Unmerged {
    /// Files that changed.
    pub changed: Vec<PathBuf>,
    /// The record of where the entries went was damaged: entries may be left in other files.
    pub damaged: bool,
}

/// Takes the entries called `name` (`kind-dev`) out of every file that they were merged into; where
/// the record of that is damaged, out of `usual`. A file that we made and
/// that holds nothing else now is removed. Every file is tried; the first failure is returned, and
/// a second call tries again.
pub async fn unmerge(
    paths: &Paths,
    cluster: &ClusterName,
    name: &str,
    usual: Option<&Path>,
    _lock: &SharedLock,
) -> Result<Unmerged> {
    let record = paths.cluster(cluster).merged();
    let (mut merged, damaged) = match file::read_json::<Merged>(&record, SCHEMA) {
        Err(error) if error.code == file::BROKEN => (Merged::default(), true),
        read => (read?.unwrap_or_default(), false),
    };
    if let Some(path) = usual.filter(|_| damaged) {
        merged.files.push(MergedFile { path: path.to_owned(), created: Created::Nothing });
    }
    let (mut changed, mut failed) = (Vec::new(), None);
    for merged in &merged.files {
        match unmerge_file(merged, name).await {
            Ok(true) => changed.push(merged.path.clone()),
            Ok(false) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    file::remove(&record)?;
    Ok(Unmerged { changed, damaged })
}

async fn unmerge_file(MergedFile { path, created }: &MergedFile, name: &str) -> Result<bool> {
    // Nothing of ours: also the case where the merge was refused because the file is broken.
    if !path.is_file() || *created == Created::Nothing && !read(path)?.contains(name) {
        return Ok(false);
    }
    let guard = Guard::acquire(path).await?;
    let old = read(path)?;
    let mut document = parse(path, &old)?;
    let found = document.forget(name);
    if *created == Created::Nothing || !document.is_bare() {
        return if found { replace(path, &document.render()).map(|()| true) } else { Ok(false) };
    }
    file::remove(path)?;
    drop(guard);
    if *created == Created::FolderAndFile {
        path.parent().into_iter().for_each(file::remove_if_empty);
    }
    Ok(true)
}

/// Notes that `path` gets entries of `cluster`. What another cluster of ours made counts as made
/// by us, or the last one to leave would not remove it.
fn remember(paths: &Paths, cluster: &ClusterName, path: &Path) -> Result<()> {
    // A link that points to nothing yet is the user's, too.
    let there = path.exists() || path.is_symlink();
    let mut created = match (there, path.parent().is_some_and(Path::exists)) {
        (true, _) => Created::Nothing,
        (false, true) => Created::File,
        (false, false) => Created::FolderAndFile,
    };
    let mut own = Merged { schema: SCHEMA, files: Vec::new() };
    for other in paths.clusters()? {
        let record = paths.cluster(&other).merged();
        let merged = if other == *cluster {
            match file::read_json::<Merged>(&record, SCHEMA) {
                Err(error) if error.code == file::BROKEN => file::set_aside(&record).map(|()| None),
                read => read,
            }?
        } else {
            // Only whether we made the file is asked; what cannot be read says no.
            file::glance_json(&record).unwrap_or_default()
        };
        let Some(merged) = merged else { continue };
        for known in merged.files.iter().filter(|known| known.path == path) {
            created = created.max(known.created);
        }
        if other == *cluster {
            own = merged;
        }
    }
    own.files.retain(|known| known.path != path);
    own.files.push(MergedFile { path: path.to_owned(), created });
    file::write_json(&paths.cluster(cluster).merged(), &own)
}

fn parse<'a>(path: &Path, text: &'a str) -> Result<Document<'a>> {
    Document::parse(text).map_err(|fault| invalid(path).because(fault))
}

fn unusable(path: &Path) -> Error {
    let hint = "make it a file that you can write, or choose another one with --kubeconfig";
    Error::host("kubeconfig-unwritable", format!("cannot update the kubeconfig {}", path.display()))
        .hint(hint)
}

fn invalid(path: &Path) -> Error {
    Error::host("kubeconfig-invalid", format!("{} is not a kubeconfig", path.display()))
        .hint("repair it, move it away, or choose another file with --kubeconfig")
}

#[cfg(test)]
mod tests;
