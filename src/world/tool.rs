//! Programs that `pipe` runs but does not contain: found, or fetched at a pinned version.
//!
//! In this order: `PATH`, if new enough; our cache, where the image factory puts what it built;
//! a download, checked by SHA-256 and installed there.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::spec::Arch;
use crate::world::env::Env;
use crate::world::process::Program;
use crate::{Error, Result};

mod download;

/// A tool and the version that is fetched where the host has none.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Name of the program.
    pub name: &'static str,
    /// Pinned version, with its `v`.
    pub version: &'static str,
    /// Oldest version (major, minor) on `PATH` that will do, and the arguments that print it;
    /// `None` if any will.
    minimum: Option<(u32, u32, &'static [&'static str])>,
    /// Where it is downloaded from; replaced in tests.
    base: String,
    packing: Packing,
}

/// In what form a tool is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    /// `<base>/<name>-<version>-linux-<arch>.tar.gz`, the program in `linux-<arch>/`, and the
    /// archive's checksum in `….sha256sum`.
    HelmArchive,
    /// `<base>/<version>/<name>-linux-<arch>`, and the checksums of all its files in
    /// `<name>_checksums.txt`.
    CosignBinary,
    /// `<base>/<version>/bin/linux/<arch>/<name>`, and its checksum in `….sha256`.
    KubernetesBinary,
}

/// Where a tool was found; `report` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolOrigin {
    /// On the user's `PATH`.
    Path,
    /// In our cache.
    Cache,
    /// Downloaded just now.
    Download,
}

/// A tool that is there.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FoundTool {
    /// The program.
    pub path: PathBuf,
    /// Where it was found.
    pub origin: ToolOrigin,
}

impl Tool {
    /// Helm: the pinned version, or 3.14 or newer on `PATH`.
    pub fn helm() -> Tool {
        Tool {
            name: "helm",
            version: "v4.3.1",
            minimum: Some((3, 14, &["version", "--template", "{{.Version}}"])),
            base: "https://get.helm.sh".to_owned(),
            packing: Packing::HelmArchive,
        }
    }

    /// kubectl, any version.
    pub fn kubectl() -> Tool {
        Tool {
            name: "kubectl",
            version: "v1.36.4",
            minimum: None,
            base: "https://dl.k8s.io/release".to_owned(),
            packing: Packing::KubernetesBinary,
        }
    }

    /// cosign, any version; whoever asks it looks at the one it has.
    pub fn cosign() -> Tool {
        Tool {
            name: "cosign",
            version: "v3.1.3",
            minimum: None,
            base: "https://github.com/sigstore/cosign/releases/download".to_owned(),
            packing: Packing::CosignBinary,
        }
    }

    /// The same tool, downloaded from `base`.
    #[must_use]
    pub fn from_base(self, base: impl Into<String>) -> Tool {
        Tool { base: base.into(), ..self }
    }

    /// Where the pinned version is, or will be, in our cache.
    pub fn cached_path(&self, env: &Env) -> Result<PathBuf> {
        Ok(env.cache_dir()?.join("tools").join(self.name).join(self.version).join(self.name))
    }

    /// Finds the tool without the network.
    pub async fn find(&self, env: &Env) -> Result<Option<FoundTool>> {
        if let Some(path) = env.find_program(self.name)
            && self.is_new_enough(&path, env).await
        {
            return Ok(Some(FoundTool { path, origin: ToolOrigin::Path }));
        }
        let path = self.cached_path(env)?;
        Ok(path.is_file().then_some(FoundTool { path, origin: ToolOrigin::Cache }))
    }

    /// Finds the tool, or downloads it.
    pub async fn find_or_fetch(&self, env: &Env) -> Result<FoundTool> {
        if let Some(found) = self.find(env).await? {
            return Ok(found);
        }
        let path = self.cached_path(env)?;
        download::install(self, &path, env).await.map_err(|why| {
            Error::host("tool-missing", format!("{} cannot be had", self.name))
                .because(format!("it is neither on PATH nor in {}", path.display()))
                .because(why)
                .hint(format!(
                    "build it from source, in a clone of pipe: scripts/images/factory tools {}",
                    self.name
                ))
                .hint(format!("or install {} {} and put it on PATH", self.name, self.version))
        })?;
        Ok(FoundTool { path, origin: ToolOrigin::Download })
    }

    /// Whether the program on `PATH` will do; one that cannot say its version will not.
    async fn is_new_enough(&self, path: &PathBuf, env: &Env) -> bool {
        let Some((major, minor, version_args)) = self.minimum else { return true };
        let program = Program::new(path, env).args(version_args).within(Duration::from_secs(15));
        match program.run(&CancellationToken::new()).await {
            Ok(output) => parse_version(&output.text()).is_some_and(|seen| seen >= (major, minor)),
            Err(_broken) => false,
        }
    }

    /// Address of the file to download, and of its checksum.
    fn addresses(&self, arch: Arch) -> (String, String) {
        let Tool { name, version, base, .. } = self;
        match self.packing {
            Packing::HelmArchive => {
                let file = format!("{base}/{name}-{version}-linux-{arch}.tar.gz");
                (file.clone(), format!("{file}.sha256sum"))
            }
            Packing::CosignBinary => {
                let folder = format!("{base}/{version}");
                (format!("{folder}/{name}-linux-{arch}"), format!("{folder}/{name}_checksums.txt"))
            }
            Packing::KubernetesBinary => {
                let file = format!("{base}/{version}/bin/linux/{arch}/{name}");
                (file.clone(), format!("{file}.sha256"))
            }
        }
    }
}

/// Major and minor of `v3.14.2+g…`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// An environment whose `PATH` holds a `helm` that runs `script`.
    fn with_helm(script: &str) -> (tempfile::TempDir, Env) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("helm");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().to_str().unwrap();
        let env = Env::from([("PATH", path), ("XDG_CACHE_HOME", path)]);
        (folder, env)
    }

    #[tokio::test]
    async fn path_wins_if_new_enough() {
        for good in
            ["echo v3.14.0", "echo v4.3.1+g123", r#"test "$2" = --template && echo v3.20.1"#]
        {
            let (_folder, env) = with_helm(good);
            let found = Tool::helm().find(&env).await.unwrap().unwrap();
            assert_eq!(found.origin, ToolOrigin::Path, "{good}");
        }
        for bad in ["echo v3.13.9", "echo v2.17.0", "exit 1", "echo nonsense"] {
            let (_folder, env) = with_helm(bad);
            assert_eq!(Tool::helm().find(&env).await.unwrap(), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn cache_is_next() {
        let (_folder, env) = with_helm("echo v3.1.0");
        let cached = Tool::helm().cached_path(&env).unwrap();
        assert!(cached.ends_with("pipe/tools/helm/v4.3.1/helm"));
        std::fs::create_dir_all(cached.parent().unwrap()).unwrap();
        std::fs::write(&cached, "").unwrap();
        let found = Tool::helm().find(&env).await.unwrap().unwrap();
        assert_eq!(found, FoundTool { path: cached, origin: ToolOrigin::Cache });
    }

    #[test]
    fn addresses() {
        let (file, sum) = Tool::helm().addresses(Arch::Amd64);
        assert_eq!(file, "https://get.helm.sh/helm-v4.3.1-linux-amd64.tar.gz");
        assert_eq!(sum, format!("{file}.sha256sum"));
        let (file, sums) = Tool::cosign().addresses(Arch::Amd64);
        assert!(file.ends_with("/v3.1.3/cosign-linux-amd64"), "{file}");
        assert!(sums.ends_with("/v3.1.3/cosign_checksums.txt"), "{sums}");
        let (file, _) = Tool::kubectl().addresses(Arch::Arm64);
        assert_eq!(file, "https://dl.k8s.io/release/v1.36.4/bin/linux/arm64/kubectl");
    }
}
