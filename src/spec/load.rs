//! From names on the command line to a [`Spec`], or to every problem in every file it takes.

use super::forbidden_images::Search;
use super::problem::{Problems, suggestion};
use super::source::{Folder, SourceFile, Sources};
use super::{Arch, Profile, Spec, cluster_file, forbidden_file, name, profile_file};
use crate::Result;

/// Reads the cluster file `cluster`, the profile `profile` (else the one that the cluster file
/// names) and its components.
///
/// # Errors
/// [`crate::Kind::Files`], with a cause for each problem in any of the files.
pub fn load(
    sources: &Sources,
    cluster: &str,
    profile: Option<&str>,
    host_arch: Arch,
) -> Result<Spec> {
    let problems = Problems::default();
    let forbidden = forbidden_file::read(sources, &problems);
    let search = Search { forbidden: &forbidden, problems: &problems };
    let file = open_known(sources, Folder::Clusters, cluster, &problems);
    let found = file.map(|file| cluster_file::read(&file, host_arch, &problems));
    let (cluster_made, named) = found.map_or((None, None), |file| (file.cluster, file.profile));
    let profile = profile.or(named.as_ref().map(|name| name.as_str()));
    if profile.is_none() && cluster_made.is_some() {
        let known = names(sources, Folder::Profiles).join(", ");
        let remedy = format!("add profile: NAME, or pass --profile NAME; there are {known}");
        problems.add(
            &sources.shown(Folder::Clusters, cluster),
            None,
            "no profile is chosen",
            remedy,
        );
    }
    let profile = profile
        .and_then(|name| open_known(sources, Folder::Profiles, name, &problems))
        .and_then(|file| profile_file::read(&file, sources, search));
    problems.into_result()?;
    match (cluster_made, profile) {
        (Some(cluster), Some(profile)) => Ok(Spec { cluster, profile }),
        _ => Err(crate::Error::bug(format!("{cluster} was neither read nor refused"))),
    }
}

/// Reads the profile `name` and its components, without a cluster.
///
/// # Errors
/// [`crate::Kind::Files`], with a cause for each problem in any of the files.
pub fn load_profile(sources: &Sources, name: &str) -> Result<Profile> {
    let problems = Problems::default();
    let forbidden = forbidden_file::read(sources, &problems);
    let search = Search { forbidden: &forbidden, problems: &problems };
    let profile = open_known(sources, Folder::Profiles, name, &problems)
        .and_then(|file| profile_file::read(&file, sources, search));
    problems.into_result()?;
    profile.ok_or_else(|| crate::Error::bug(format!("{name} was neither read nor refused")))
}

/// Opens a file; `Ok(None)` if there is none, `Err` if it cannot be read, which is noted.
pub(super) fn open(
    sources: &Sources,
    folder: Folder,
    name: &str,
    problems: &Problems,
) -> Result<Option<SourceFile>, ()> {
    sources.read(folder, name).map_err(|error| {
        let what = format!("cannot be read ({})", error.causes.join(": "));
        problems.add(&sources.shown(folder, name), None, what, error.hints.join(", "));
    })
}

/// Every name in `folder`; none where it cannot be listed.
pub(super) fn names(sources: &Sources, folder: Folder) -> Vec<String> {
    sources.names(folder).map(|names| names.into_keys().collect()).unwrap_or_default()
}

/// Opens a file that the user named; that there is none is a problem.
fn open_known(
    sources: &Sources,
    folder: Folder,
    name: &str,
    problems: &Problems,
) -> Option<SourceFile> {
    let file = open(sources, folder, name, problems).ok()?;
    if file.is_none() {
        let known = names(sources, folder);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let what = match name::dns_label_fault(name, 63) {
            Some(fault) => format!("{name:?} cannot be a name: it {fault}"),
            None => "there is no such file".to_owned(),
        };
        let mut remedy = suggestion(name, &known);
        if !remedy.ends_with('?') {
            remedy += ", or write a starter set with `pipe init`";
        }
        problems.add(&sources.shown(folder, name), None, what, remedy);
    }
    file
}
