//! What is on the host: programs of the tests, and what must not be left behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The project's folder.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The user's cache, where the image factory leaves tools and the map of built images.
pub fn cache() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache")
    })
}

/// A tool that the image factory made: `kind`, `helm`, `kubectl`.
pub fn tool(name: &str) -> PathBuf {
    let versions = cache().join("pipe/tools").join(name);
    let newest = std::fs::read_dir(&versions)
        .unwrap_or_else(|e| panic!("{}: {e}; run scripts/images/factory tools", versions.display()))
        .filter_map(|entry| Some(entry.ok()?.path().join(name)))
        .filter(|path| path.exists())
        .max();
    newest.unwrap_or_else(|| panic!("no {name} below {}", versions.display()))
}

/// A program that the image factory built on its way to an image.
pub fn artefact(recipe: &str, name: &str) -> Option<PathBuf> {
    let builds = cache().join("pipe/factory/artefacts").join(recipe);
    let newest = std::fs::read_dir(builds).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let found = files_below(&entry.path())
            .into_iter()
            .find(|path| Path::new(path).file_name().is_some_and(|file| file == name))?;
        Some((entry.metadata().ok()?.modified().ok()?, entry.path().join(found)))
    });
    newest.max().map(|(_, path)| path)
}

/// Condition of tests that run such programs: the images may have been pulled instead.
pub fn missing(programs: &[(&str, &str)]) -> Option<String> {
    let (_, name) = programs.iter().find(|(recipe, name)| artefact(recipe, name).is_none())?;
    Some(format!("the image factory has not built {name} here"))
}

/// Podman with the flags that this host needs.
pub fn podman<const N: usize>(arguments: [&str; N]) -> String {
    let output = Command::new(root().join("scripts/lib/podman-wrapper"))
        .args(arguments)
        .output()
        .expect("podman runs");
    assert!(
        output.status.success(),
        "podman {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Removes images that tests made: of a run that was killed, one would lose its name to the next build
/// and then count as left behind.
pub fn remove_test_images() {
    for names in ["localhost/pipe-e2e-*", "docker.io/acme/pipe-e2e-*"] {
        let filter = format!("reference={names}");
        let found = podman(["images", "--filter", &filter, "--format", "{{.Repository}}:{{.Tag}}"]);
        for name in found.lines() {
            podman(["rmi", "--force", name]);
        }
    }
}

/// Everything on the host that a test could leave behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Residue {
    containers: BTreeSet<String>,
    networks: BTreeSet<String>,
    volumes: BTreeSet<String>,
    /// Without a name: what an image that was built again leaves, and layers of a build. Images with
    /// names may stay, they are a cache.
    nameless_images: BTreeSet<String>,
    mounts: BTreeSet<String>,
}

impl Residue {
    /// What was not there before. What went meanwhile is nobody's residue: an image without a name
    /// may be given one again, and removed by it.
    pub fn since(&self, before: &Residue) -> Residue {
        let new = |now: &BTreeSet<String>, before| now.difference(before).cloned().collect();
        Residue {
            containers: new(&self.containers, &before.containers),
            networks: new(&self.networks, &before.networks),
            volumes: new(&self.volumes, &before.volumes),
            nameless_images: new(&self.nameless_images, &before.nameless_images),
            mounts: new(&self.mounts, &before.mounts),
        }
    }

    /// What is there now.
    pub fn now() -> Residue {
        let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let mounts = std::fs::read_to_string("/proc/mounts").expect("mounts can be read");
        Residue {
            containers: lines(podman(["ps", "-a", "--format", "{{.Names}}"])),
            networks: lines(podman(["network", "ls", "--format", "{{.Name}}"])),
            // The cache's volume outlives clusters.
            volumes: lines(podman(["volume", "ls", "--format", "{{.Name}}"]))
                .into_iter()
                .filter(|name| name != "pipe-registry")
                .collect(),
            nameless_images: podman(["images", "--all", "--format", "{{.Repository}} {{.Id}}"])
                .lines()
                .filter_map(|line| line.strip_prefix("<none> "))
                .map(str::to_owned)
                .collect(),
            mounts: mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(1))
                .filter(|path| path.contains("/containers/") && !path.ends_with("/overlay"))
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// Command lines of running processes that mention `needle`.
pub fn processes_with(needle: &Path) -> Vec<String> {
    let needle = needle.to_string_lossy();
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("proc can be read").flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.chars().all(|c| c.is_ascii_digit()) {
            continue;
        }
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(needle.as_ref()) {
            found.push(format!("{pid} {command}"));
        }
    }
    found
}

/// Files below a folder, relative to it.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(folder) {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Condition of the extended set.
pub fn not_extended() -> Option<String> {
    let extended = std::env::var("PIPE_TEST_EXTENDED").is_ok_and(|value| !value.is_empty());
    (!extended).then(|| "part of the extended set: scripts/test --extended".to_owned())
}

/// Output as text, for assertions.
pub fn text(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
