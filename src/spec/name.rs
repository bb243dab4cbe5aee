//! Newtypes for every name that crosses a module border; parsed once, at the edge.

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod cached;
pub mod url;

/// Longest DNS label (RFC 1123).
const DNS_LABEL_MAX: usize = 63;

/// Longest cluster name: `<cluster>-control-plane` must stay a DNS label with room to spare, and
/// k3d allows 32.
const CLUSTER_NAME_MAX: usize = 32;

/// Why `text` is not a DNS label, or `None` if it is one.
pub fn dns_label_fault(text: &str, max: usize) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    if text.len() > max {
        return Some(format!("is {} characters long, more than {max}", text.len()));
    }
    if let Some(c) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Some(format!("contains {c:?}; only a-z, 0-9 and '-' may stand in it"));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Some("starts or ends with '-'".to_owned());
    }
    None
}

macro_rules! label_name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text`; the error says what is wrong with it.
            pub fn parse(text: &str) -> Result<Self, String> {
                match dns_label_fault(text, $max) {
                    None => Ok(Self(text.to_owned())),
                    Some(fault) => Err(format!("{text:?} {fault}")),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::parse(text)
            }
        }
    };
}

label_name!(
    /// Name of a cluster: a DNS label of at most 32 characters.
    ClusterName,
    CLUSTER_NAME_MAX
);
label_name!(
    /// Our name of a node, unique in its cluster.
    NodeName,
    DNS_LABEL_MAX
);
label_name!(
    /// Name of a profile; also its file's name.
    ProfileName,
    DNS_LABEL_MAX
);
label_name!(
    /// Name of a component; also its file's and its Helm release's name.
    ComponentName,
    53
);

/// A CPU architecture, in Go's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Arch {
    /// The host's architecture, if `pipe` knows it.
    pub fn host() -> Option<Arch> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Arch::Amd64),
            "aarch64" => Some(Arch::Arm64),
            _ => None,
        }
    }

    /// The host's architecture.
    ///
    /// # Errors
    /// `pipe` does not know it.
    pub fn of_host() -> crate::Result<Arch> {
        Arch::host().ok_or_else(|| {
            crate::Error::host("unknown-arch", "pipe knows amd64 and arm64 hosts only")
                .because(format!("this is {}", std::env::consts::ARCH))
        })
    }

    /// Parses Go's spelling and the kernel's.
    pub fn parse(text: &str) -> Option<Arch> {
        match text {
            "amd64" | "x86_64" => Some(Arch::Amd64),
            "arm64" | "aarch64" => Some(Arch::Arm64),
            _ => None,
        }
    }

    /// Go's spelling: `amd64`, `arm64`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest image name; registries allow 255 characters for the repository alone.
const IMAGE_NAME_MAX: usize = 512;

/// A fully qualified image name: registry, repository and tag, as charts and nodes use it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

impl ImageName {
    /// Accepts `registry/repository:tag` with an optional `@sha256:…`; short names are refused,
    /// because each engine expands them differently.
    pub fn parse(text: &str) -> Result<ImageName, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (registry, rest) = name
            .split_once('/')
            .filter(|(registry, _)| registry.contains(['.', ':']) || *registry == "localhost")
            .ok_or_else(|| format!("{text:?} has no registry; write docker.io/library/NAME:TAG"))?;
        let (repository, tag) = rest
            .rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))
            .ok_or_else(|| format!("{text:?} has no tag; write {name}:TAG"))?;
        let repository_ok = repository.split('/').all(is_repository_part);
        let tag_ok = tag.len() <= 128
            && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        let digest_ok = digest.is_none_or(|digest| {
            digest.strip_prefix("sha256:").is_some_and(|hex| {
                hex.len() == 64 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
            })
        });
        let fits = text.len() <= IMAGE_NAME_MAX;
        if !is_registry(registry) || !repository_ok || !tag_ok || !digest_ok || !fits {
            return Err(format!("{text:?} is not an image name"));
        }
        Ok(ImageName(text.to_owned()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without a digest: `registry/repository:tag`.
    pub fn tagged(&self) -> &str {
        self.0.split_once('@').map_or(self.0.as_str(), |(name, _)| name)
    }

    /// The digest, if the name carries one: `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, digest)| digest)
    }

    /// Registry and repository, without tag and digest.
    pub fn repository(&self) -> &str {
        self.tagged().rsplit_once(':').map_or(self.tagged(), |(repository, _)| repository)
    }

    /// The registry: `docker.io`.
    pub fn registry(&self) -> &str {
        self.0.split_once('/').map_or("", |(registry, _)| registry)
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        self.tagged().rsplit_once(':').map_or("", |(_, tag)| tag)
    }

    /// The name by which a node remembers that what it has under this name is a stand-in.
    pub fn stand_in_mark(&self) -> String {
        format!("localhost/pipe/stand-in/{}", self.tagged())
    }

    /// Last part of the repository and the tag, short enough for a step name: `nats-2.15.2`.
    pub fn short(&self) -> String {
        let tagged = self.tagged();
        tagged.rsplit('/').next().unwrap_or(tagged).replace(':', "-")
    }
}

/// `HOST` or `HOST:PORT`, as registries are named.
fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(h, p)| (h, Some(p)));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let port_ok = port.is_none_or(|port| {
        port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    host.split('.').all(is_label) && port_ok
}

/// Words of a-z and 0-9 with one of `.`, `_`, `__` and any number of `-` between them. Anything else
/// (`..` above all) would also mean something in the paths of the engine's API.
fn is_repository_part(text: &str) -> bool {
    let is_word = |c: char| matches!(c, 'a'..='z' | '0'..='9');
    let between = |run: &str| matches!(run, "" | "." | "_" | "__") || run.chars().all(|c| c == '-');
    text.starts_with(is_word) && text.ends_with(is_word) && text.split(is_word).all(between)
}

impl TryFrom<String> for ImageName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> String {
        name.0
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_come_apart() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let image = ImageName::parse(&format!("docker.io/kindest/node:v1@{digest}")).unwrap();
        assert_eq!(image.tagged(), "docker.io/kindest/node:v1");
        assert_eq!(image.repository(), "docker.io/kindest/node");
        assert_eq!((image.tag(), image.digest()), ("v1", Some(digest.as_str())));
        assert_eq!(image.short(), "node-v1");
        for good in ["localhost/x:1", "r.example.com:5000/a--b/c__d.e/f:_1"] {
            assert!(ImageName::parse(good).is_ok(), "{good}");
        }
        for wrong in [
            "nats:2",
            "docker.io/library/nats",
            "docker.io/x:1@sha256:0",
            "docker.io/X:1",
            "docker.io/../x:1",
            "docker.io/a//b:1",
            "docker.io/a_-b:1",
            "docker.io/x:-1",
            "docker.io?x=/y:1",
            ".docker.io/x:1",
            "docker.io:port/x:1",
            "docker.io:+1/x:1",
        ] {
            assert!(ImageName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
