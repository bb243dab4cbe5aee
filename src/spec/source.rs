//! Where the files are: the project's folders first, below them the same folders in the binary.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{embedded, name, yaml};
use crate::{Error, Kind, Result};

/// Folder of the charts, below the project's.
pub(super) const CHARTS_FOLDER: &str = "charts-cache";

/// Deepest folder of a chart; charts within charts need a few levels each.
const CHART_DEPTH_MAX: usize = 20;

/// Most bytes of a chart; helm takes 100 MiB at most.
const CHART_BYTES_MAX: u64 = 100 * 1024 * 1024;

/// Most files of a chart.
const CHART_FILES_MAX: usize = 10_000;

/// The folders of files that users write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// `clusters/`.
    Clusters,
    /// `profiles/`.
    Profiles,
    /// `profiles/components/`.
    Components,
    /// `profiles/trust/`.
    Trust,
}

impl Folder {
    /// Every one.
    pub const ALL: [Folder; 4] =
        [Folder::Clusters, Folder::Profiles, Folder::Components, Folder::Trust];

    /// Its path below the project's folder.
    pub const fn path(self) -> &'static str {
        match self {
            Folder::Clusters => "clusters",
            Folder::Profiles => "profiles",
            Folder::Components => "profiles/components",
            Folder::Trust => "profiles/trust",
        }
    }
}

/// Where a file or a chart comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A file or folder of the project.
    Project(PathBuf),
    /// Embedded in `pipe`.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Project(path) => write!(f, "{}", path.display()),
            Origin::BuiltIn => f.write_str("built-in"),
        }
    }
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its name without `.yaml`.
    pub name: String,
    /// How problems call it: the path as the user knows it, or `built-in clusters/dev.yaml`.
    pub shown: String,
    /// Where it was found.
    pub origin: Origin,
    /// Its content; one byte more than [`yaml::SIZE_MAX`] at most.
    pub bytes: Vec<u8>,
}

impl SourceFile {
    /// The folder it lies in; none for what is in the binary.
    pub fn folder(&self) -> Option<&Path> {
        match &self.origin {
            Origin::Project(path) => path.parent(),
            Origin::BuiltIn => None,
        }
    }
}

/// The user's files, and those in the binary that they do not shadow.
#[derive(Clone, Debug)]
pub struct Sources {
    root: Option<PathBuf>,
    /// What problems put before a file's path; empty where the project's folder is the current one.
    shown_root: PathBuf,
}

impl Sources {
    /// Only what is in the binary.
    pub fn built_in() -> Sources {
        Sources { root: None, shown_root: PathBuf::new() }
    }

    /// The project: `dir` where given, else the nearest folder from `cwd` upwards that has
    /// `clusters/` or `profiles/`; without one, what is in the binary.
    ///
    /// # Errors
    /// [`Kind::Usage`] if `dir` has neither.
    pub fn find(dir: Option<&Path>, cwd: &Path) -> Result<Sources> {
        let is_project = |folder: &Path| {
            folder.join(Folder::Clusters.path()).is_dir()
                || folder.join(Folder::Profiles.path()).is_dir()
        };
        let root = match dir {
            Some(dir) => {
                let root = cwd.join(dir);
                if !is_project(&root) {
                    let what = format!("{} has no clusters/ and no profiles/", dir.display());
                    return Err(Error::usage("no-project", what)
                        .hint("name the folder above them with --dir or PIPE_DIR")
                        .hint("`pipe init` writes a starter set"));
                }
                Some(root)
            }
            None => cwd.ancestors().find(|folder| is_project(folder)).map(Path::to_owned),
        };
        let shown_root = match (dir, &root) {
            (Some(dir), _) => dir.to_owned(),
            (None, Some(root)) if root == cwd => PathBuf::new(),
            (None, root) => root.clone().unwrap_or_default(),
        };
        Ok(Sources { root, shown_root })
    }

    /// The project's folder, if there is one.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// How problems call the file `name` of `folder`, whether it is there or not.
    pub fn shown(&self, folder: Folder, name: &str) -> String {
        self.shown_root.join(folder.path()).join(format!("{name}.yaml")).display().to_string()
    }

    /// Every name in `folder`, sorted, with the place that would be read.
    ///
    /// # Errors
    /// [`Kind::Files`] if the project's folder cannot be listed.
    pub fn names(&self, folder: Folder) -> Result<BTreeMap<String, Origin>> {
        let mut names: BTreeMap<String, Origin> =
            embedded::files(folder).map(|(name, _)| (name.to_owned(), Origin::BuiltIn)).collect();
        if let Some(path) = self.root.as_ref().map(|root| root.join(folder.path()))
            && path.is_dir()
        {
            let unreadable = |error| unreadable(&path, &error);
            for entry in fs::read_dir(&path).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if let Some(name) = stem(&path)
                    && path.is_file()
                {
                    names.insert(name.to_owned(), Origin::Project(path));
                }
            }
        }
        Ok(names)
    }

    /// The file `name` of `folder`; `None` if there is none.
    ///
    /// # Errors
    /// [`Kind::Files`] if it is there and cannot be read.
    pub fn read(&self, folder: Folder, name: &str) -> Result<Option<SourceFile>> {
        if !is_plain_name(name) {
            return Ok(None);
        }
        if let Some(root) = &self.root {
            let path = root.join(folder.path()).join(format!("{name}.yaml"));
            // Also a link that leads nowhere is there: the built-in file must not take its place.
            if path.symlink_metadata().is_ok() {
                let bytes = read_at_most(&path, yaml::SIZE_MAX as u64 + 1)
                    .map_err(|error| unreadable(&path, &error))?;
                let shown = self.shown(folder, name);
                let origin = Origin::Project(path);
                return Ok(Some(SourceFile { name: name.to_owned(), shown, origin, bytes }));
            }
        }
        Ok(embedded::files(folder).find(|(found, _)| *found == name).map(|(_, bytes)| SourceFile {
            name: name.to_owned(),
            shown: format!("built-in {}/{name}.yaml", folder.path()),
            origin: Origin::BuiltIn,
            bytes: bytes.to_vec(),
        }))
    }

    /// Where the chart `name` would be taken from; `None` if there is none.
    pub fn chart(&self, name: &str) -> Option<Origin> {
        if !is_plain_name(name) {
            return None;
        }
        let project = self.root.as_ref().map(|root| root.join(CHARTS_FOLDER).join(name));
        match project.filter(|folder| folder.join("Chart.yaml").is_file()) {
            Some(folder) => Some(Origin::Project(folder)),
            None => embedded::chart(name).map(|_| Origin::BuiltIn),
        }
    }

    /// How problems call the chart's folder.
    pub fn shown_chart(&self, name: &str) -> String {
        let folder = Path::new(CHARTS_FOLDER).join(name);
        match self.chart(name) {
            Some(Origin::Project(_)) => self.shown_root.join(folder).display().to_string(),
            _ => format!("built-in {}", folder.display()),
        }
    }

    /// The chart's files, by their path in it.
    ///
    /// # Errors
    /// [`Kind::Files`] if there is no such chart or a file of it cannot be read.
    pub fn chart_files(&self, name: &str) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut files = BTreeMap::new();
        match self.chart(name) {
            Some(Origin::Project(folder)) => Chart { root: &folder, bytes: 0 }
                .collect(&folder, 0, &mut files)
                .map_err(|error| unusable_chart(&folder, &error))?,
            _ => {
                let chart = embedded::chart(name).ok_or_else(|| no_chart(name))?;
                embedded::collect(chart, &mut files);
            }
        }
        Ok(files)
    }

    /// SHA-256 over the names and contents of the chart's files: changes when the chart does.
    ///
    /// # Errors
    /// [`Kind::Files`] if there is no such chart or a file of it cannot be read.
    pub fn chart_digest(&self, name: &str) -> Result<String> {
        let mut hash = Sha256::new();
        for (path, bytes) in self.chart_files(name)? {
            for part in [path.as_os_str().as_encoded_bytes(), &bytes] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        Ok(crate::digest::hex(&hash.finalize()))
    }

    /// The chart `name` as a folder that helm can read: the project's as it stands, a built-in one
    /// written to `into/<name>`, anew each time so that nothing of an older `pipe` stays in it.
    ///
    /// # Errors
    /// [`Kind::Files`] if there is no such chart, [`Kind::Failed`] if it cannot be written.
    pub fn materialise_chart(&self, name: &str, into: &Path) -> Result<PathBuf> {
        if let Origin::Project(folder) = self.chart(name).ok_or_else(|| no_chart(name))? {
            return Ok(folder);
        }
        let chart = embedded::chart(name).ok_or_else(|| no_chart(name))?;
        let folder = into.join(name);
        let write = || {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&folder)?;
            chart.extract(&folder)
        };
        write().map_err(|error| {
            let what = format!("cannot write the chart {name} to {}", folder.display());
            Error::failed("chart-unwritable", what).because(error)
        })?;
        Ok(folder)
    }
}

/// The content of a regular file, cut after `most` bytes. Anything else could block or never end.
fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A chart's folder while it is read.
struct Chart<'a> {
    root: &'a Path,
    /// Bytes read so far.
    bytes: u64,
}

impl Chart<'_> {
    /// Files below `folder`, by their path relative to the root. Links are followed, as helm does.
    fn collect(
        &mut self,
        folder: &Path,
        depth: usize,
        files: &mut BTreeMap<PathBuf, Vec<u8>>,
    ) -> io::Result<()> {
        let root = self.root;
        let at = |path: &Path, error: io::Error| {
            let relative = path.strip_prefix(root).unwrap_or(path).display().to_string();
            io::Error::other(format!("{relative}: {error}"))
        };
        let refused = |path: &Path, why: &str| at(path, io::Error::other(why));
        if depth > CHART_DEPTH_MAX {
            return Err(refused(
                folder,
                "folders are nested too deep; a link may lead in a circle",
            ));
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let metadata = fs::metadata(&path).map_err(|error| at(&path, error))?;
            if metadata.is_dir() {
                self.collect(&path, depth + 1, files)?;
                continue;
            }
            self.bytes = self.bytes.saturating_add(metadata.len());
            if self.bytes > CHART_BYTES_MAX || files.len() >= CHART_FILES_MAX {
                return Err(refused(&path, "with this file the chart is too large"));
            }
            let bytes = read_at_most(&path, CHART_BYTES_MAX).map_err(|error| at(&path, error))?;
            files.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), bytes);
        }
        Ok(())
    }
}

fn unusable_chart(folder: &Path, error: &io::Error) -> Error {
    let what = format!("the chart {} cannot be used", folder.display());
    Error::new(Kind::Files, "chart-unusable", what)
        .because(error)
        .hint("take out what is no part of the chart, or correct its permissions")
}

fn no_chart(name: &str) -> Error {
    let what = format!("there is no chart {name} in {CHARTS_FOLDER}/");
    Error::new(Kind::Files, "no-chart", what)
}

/// Whether `name` can be a file's name and nothing else: no path, no hidden file.
fn is_plain_name(text: &str) -> bool {
    name::dns_label_fault(text, 63).is_none()
}

/// The name of a `.yaml` file.
pub(super) fn stem(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".yaml").filter(|stem| is_plain_name(stem))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let what = format!("cannot read {}", path.display());
    Error::new(Kind::Files, "file-unreadable", what)
        .because(error)
        .hint("make it a file that you may read, or remove it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("clusters")).unwrap();
        fs::create_dir_all(dir.path().join("deep/below")).unwrap();
        fs::write(dir.path().join("clusters/dev.yaml"), "mine").unwrap();
        fs::write(dir.path().join("clusters/notes.txt"), "no").unwrap();
        dir
    }

    #[test]
    fn project_files_shadow_built_in_ones() {
        let dir = project();
        let sources = Sources::find(None, &dir.path().join("deep/below")).unwrap();
        assert_eq!(sources.root(), Some(dir.path()));
        assert_eq!(sources.read(Folder::Clusters, "dev").unwrap().unwrap().bytes, b"mine");
        let single = sources.read(Folder::Clusters, "single").unwrap().unwrap();
        assert_eq!(single.origin, Origin::BuiltIn);
        assert_eq!(single.shown, "built-in clusters/single.yaml");
        let names = sources.names(Folder::Clusters).unwrap();
        assert_eq!(names.keys().collect::<Vec<_>>(), ["ci", "dev", "single"]);
        assert!(matches!(names["dev"], Origin::Project(_)));
        assert_eq!(names["ci"], Origin::BuiltIn);
    }

    #[test]
    fn files_are_called_as_the_user_knows_them() {
        let dir = project();
        let shown =
            |sources: Sources| sources.read(Folder::Clusters, "dev").unwrap().unwrap().shown;
        assert_eq!(shown(Sources::find(None, dir.path()).unwrap()), "clusters/dev.yaml");
        let above = dir.path().parent().unwrap();
        let relative = Path::new(dir.path().file_name().unwrap());
        let expected = relative.join("clusters/dev.yaml").display().to_string();
        assert_eq!(shown(Sources::find(Some(relative), above).unwrap()), expected);
    }

    #[test]
    fn a_named_folder_must_be_a_project() {
        let dir = tempfile::tempdir().unwrap();
        let error = Sources::find(Some(dir.path()), Path::new("/")).unwrap_err();
        assert_eq!(error.kind, Kind::Usage);
        assert!(Sources::find(None, dir.path()).unwrap().root().is_none());
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let dir = project();
        let sources = Sources::find(Some(dir.path()), dir.path()).unwrap();
        for name in ["../clusters/dev", "/etc/passwd", ".", "", "dev.yaml", "Dev"] {
            assert!(sources.read(Folder::Clusters, name).unwrap().is_none(), "{name}");
            assert!(sources.chart(name).is_none(), "{name}");
        }
    }

    #[test]
    fn charts_become_real_folders() {
        let dir = project();
        let into = tempfile::tempdir().unwrap();
        let sources = Sources::find(Some(dir.path()), dir.path()).unwrap();
        let built_in = sources.materialise_chart("nats", into.path()).unwrap();
        assert_eq!(built_in, into.path().join("nats"));
        assert!(built_in.join("Chart.yaml").is_file());
        fs::write(built_in.join("stale"), "").unwrap();
        sources.materialise_chart("nats", into.path()).unwrap();
        assert!(!built_in.join("stale").exists());

        let own = dir.path().join("charts-cache/nats");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("Chart.yaml"), "").unwrap();
        assert_eq!(sources.materialise_chart("nats", into.path()).unwrap(), own);
        assert!(sources.materialise_chart("other", into.path()).is_err());
    }

    /// Cargo does not see files that are new in an embedded folder; this does.
    #[test]
    fn the_binary_holds_every_file_of_the_repository() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in Folder::ALL {
            let mut on_disk: Vec<_> = fs::read_dir(repository.join(folder.path()))
                .unwrap()
                .filter_map(|entry| Some(stem(&entry.unwrap().path())?.to_owned()))
                .collect();
            on_disk.sort();
            let mut embedded: Vec<_> =
                embedded::files(folder).map(|(name, _)| name.to_owned()).collect();
            embedded.sort();
            assert_eq!(on_disk, embedded, "touch src/spec/source.rs and build again");
        }
    }
}
