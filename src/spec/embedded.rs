//! The clusters, profiles and charts that the binary carries, so that it works in an empty folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::forbidden_file;
use super::source::{CHARTS_FOLDER, Folder, stem};

static CLUSTERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/clusters");
static PROFILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/profiles");

/// The charts that we maintain. One by one, because fetched charts lie in the same folder.
static CHARTS: &[(&str, Dir<'_>)] = &[
    ("clickhouse", include_dir!("$CARGO_MANIFEST_DIR/charts-cache/clickhouse")),
    ("foundationdb", include_dir!("$CARGO_MANIFEST_DIR/charts-cache/foundationdb")),
    ("minio", include_dir!("$CARGO_MANIFEST_DIR/charts-cache/minio")),
    ("nats", include_dir!("$CARGO_MANIFEST_DIR/charts-cache/nats")),
    ("scylladb", include_dir!("$CARGO_MANIFEST_DIR/charts-cache/scylladb")),
];

/// The files of a folder, by name without ending.
pub(super) fn files(folder: Folder) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let below = |folder| PROFILES.get_dir(folder).into_iter().flat_map(Dir::files).collect();
    let files: Vec<_> = match folder {
        Folder::Clusters => CLUSTERS.files().collect(),
        Folder::Profiles => PROFILES.files().collect(),
        Folder::Components => below("components"),
        Folder::Trust => below("trust"),
    };
    files.into_iter().filter_map(|file| Some((stem(file.path())?, file.contents())))
}

/// The chart called `name`.
pub(super) fn chart(name: &str) -> Option<&'static Dir<'static>> {
    CHARTS.iter().find(|(found, _)| *found == name).map(|(_, chart)| chart)
}

/// Files of an embedded chart, by their path in it.
pub(super) fn collect<B: From<&'static [u8]>>(
    dir: &'static Dir<'static>,
    files: &mut BTreeMap<PathBuf, B>,
) {
    for file in dir.files() {
        files.insert(file.path().to_owned(), file.contents().into());
    }
    dir.dirs().for_each(|below| collect(below, files));
}

/// Every file, by its path in a project: what `pipe init` writes.
pub fn all() -> Vec<(PathBuf, &'static [u8])> {
    let mut found = Vec::new();
    for folder in Folder::ALL {
        // What a project says there comes on top of ours, so a copy says nothing.
        let adds = |name| folder == Folder::Trust && name == forbidden_file::NAME;
        for (name, bytes) in files(folder).filter(|(name, _)| !adds(*name)) {
            found.push((Path::new(folder.path()).join(format!("{name}.yaml")), bytes));
        }
    }
    for (name, chart) in CHARTS {
        let mut of_chart: BTreeMap<PathBuf, &'static [u8]> = BTreeMap::new();
        collect(chart, &mut of_chart);
        let place = |path: PathBuf| Path::new(CHARTS_FOLDER).join(name).join(path);
        found.extend(of_chart.into_iter().map(|(path, bytes)| (place(path), bytes)));
    }
    found
}
