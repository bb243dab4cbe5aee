//! Versions of Kubernetes, the node images that bring them, and which may work together.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::ImageName;
use super::read::Fields;

/// Where kind's node images are.
const REPOSITORY: &str = "docker.io/kindest/node";

/// A node image that kind published.
struct Published {
    version: Version,
    digest: &'static str,
}

const fn published(minor: u32, patch: u32, digest: &'static str) -> Published {
    Published { version: Version { minor, patch }, digest }
}

/// The image of each version, newest first, by the digest that a release of kind names as its own
/// default (the first: 0.33.0, then 0.32.0 down to 0.25.0). kind builds a tag anew for each release,
/// so only the digest says which one is meant. Older ones do not know the form of kubeadm's
/// documents that we write.
const PUBLISHED: &[Published] = &[
    published(36, 4, "sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed"),
    published(36, 1, "sha256:3489c7674813ba5d8b1a9977baea8a6e553784dab7b84759d1014dbd78f7ebd5"),
    published(35, 0, "sha256:452d707d4862f52530247495d180205e029056831160e22870e37e3f6c1ac31f"),
    published(34, 0, "sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a"),
    published(33, 1, "sha256:050072256b9a903bd914c0b2866828150cb229cea0efe5892e2b644d5dd3b34f"),
    published(32, 2, "sha256:f226345927d7e348497136874b6d207e0b32cc52154ad8323129352923a3142f"),
    published(31, 2, "sha256:18fbefc20a7113353c7b75b5c869d7145a6abd6269154825872dc59c1329912e"),
];

/// The version of a cluster whose file names none.
pub const DEFAULT: Version = Version { minor: 36, patch: 4 };

/// How many minor versions a kubelet may be behind its API server.
const KUBELET_BEHIND: u32 = 3;

/// A version of Kubernetes: `v1.36.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    minor: u32,
    patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1.{}.{}", self.minor, self.patch)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Version {
    type Err = String;

    /// Reads `v1.36.4`, without what builds put behind it (`-rc.1`, `+k3s1`).
    fn from_str(text: &str) -> Result<Version, String> {
        let parse = || {
            let plain = text.trim().strip_prefix('v').unwrap_or(text.trim());
            let (plain, _) = plain.split_once(['-', '+']).unwrap_or((plain, ""));
            let (minor, patch) = plain.strip_prefix("1.")?.split_once('.')?;
            Some(Version { minor: number(minor)?, patch: number(patch)? })
        };
        parse().ok_or_else(|| format!("{text:?} is no version of Kubernetes"))
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl Version {
    /// kind's image of this version, by its digest; `None` where we know of none.
    pub fn image(self) -> Option<ImageName> {
        let found = PUBLISHED.iter().find(|entry| entry.version == self)?;
        ImageName::parse(&format!("{REPOSITORY}:{self}@{}", found.digest)).ok()
    }

    /// Why a node of this version may not join an API server of `server`; `None` if it may.
    pub fn skew_fault(self, server: Version) -> Option<String> {
        if self.minor > server.minor {
            return Some(format!(
                "a kubelet must not be newer than its API server: {self} after {server}"
            ));
        }
        (self.minor + KUBELET_BEHIND < server.minor).then(|| {
            format!(
                "a kubelet may be {KUBELET_BEHIND} minor versions behind its API server at most: \
                 {self} before {server}"
            )
        })
    }
}

/// The version and the node image that a cluster file names. A version that we know no image of
/// needs the image said.
pub fn read(fields: &Fields<'_>) -> (Option<Version>, Option<ImageName>) {
    let image = fields.optional("nodeImage").and_then(|cursor| {
        let remedy = "write REGISTRY/REPOSITORY:TAG, with @sha256:… where you know it";
        cursor.parsed(ImageName::parse, remedy)
    });
    let Some(cursor) = fields.optional("kubernetes") else { return (None, image) };
    let known: Vec<String> = PUBLISHED.iter().map(|entry| entry.version.to_string()).collect();
    let known = known.join(", ");
    let version = cursor.parsed(parse, &format!("write one of {known}"));
    if let Some(version) = version
        && version.image().is_none()
        && fields.optional("nodeImage").is_none()
    {
        cursor.problem(
            format!("no node image of Kubernetes {version} is known here"),
            format!(
                "use one of {known}, or name an image that has it: nodeImage: REGISTRY/REPOSITORY:TAG, \
                 or --node-image"
            ),
        );
    }
    (version, image)
}

/// `v1.36.4`, `1.36.4`, or `v1.36` for the newest of that line that we know.
fn parse(text: &str) -> Result<Version, String> {
    let plain = text.strip_prefix('v').unwrap_or(text);
    if let Some(minor) = plain.strip_prefix("1.").and_then(number) {
        let newest = PUBLISHED.iter().map(|entry| entry.version).find(|v| v.minor == minor);
        return newest
            .ok_or_else(|| format!("no node image of Kubernetes v1.{minor} is known here"));
    }
    match text.contains(['-', '+']) {
        true => Err(format!("{text:?} is no released version of Kubernetes")),
        false => text.parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_is_in_order_and_whole() {
        assert!(PUBLISHED.windows(2).all(|pair| pair[0].version > pair[1].version));
        assert!(PUBLISHED.iter().all(|entry| entry.version.image().is_some()));
        assert_eq!(PUBLISHED[0].version, DEFAULT);
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(version("v1.36.4\n").to_string(), "v1.36.4");
        assert_eq!(version("v1.36.4-5e8e005879f5"), version("1.36.4"));
        for bad in ["", "v1", "1.36", "v2.0.0", "v1.36.x", "v1.-1.2", "v1.36.4.5"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
        assert_eq!(parse("v1.36"), Ok(DEFAULT));
        assert_eq!(parse("1.35").unwrap().to_string(), "v1.35.0");
        assert!(parse("v1.12").is_err() && parse("v1.37.0-rc.1").is_err());
    }

    #[test]
    fn a_kubelet_is_never_newer_and_three_behind_at_most() {
        let fault = |node: &str, server: &str| version(node).skew_fault(version(server));
        assert_eq!(fault("v1.36.4", "v1.36.1"), None);
        assert_eq!(fault("v1.33.1", "v1.36.1"), None);
        assert!(fault("v1.32.2", "v1.36.1").unwrap().contains("3 minor versions behind"));
        assert!(fault("v1.36.1", "v1.35.9").unwrap().contains("must not be newer"));
    }
}
