//! What an image's repository is called in the cache: its registry, then its path there.
//!
//! ```text
//! docker.io/library/nats:2              docker.io/library/nats
//! docker.io/nats@sha256:…               docker.io/library/nats
//! registry.example:5000/team/app:1      registry.example__5000/team/app
//! ```
//!
//! A contract between those who fill the cache, the nodes that pull from it, and the verifier in
//! them: all of them ask here. A port's colon cannot stand in a repository, and two underscores
//! cannot stand in a host's name, so the way back is certain.

use super::{is_registry, is_repository_part};

/// Stands for a port's colon.
const PORT: &str = "__";

/// Where names without a path lie at Docker's registry.
const LIBRARY: &str = "library";

/// The repository of `reference` in the cache; its tag and its digest, if any, do not matter.
///
/// # Errors
/// What is wrong with the name. What passes is safe in the path of a URL.
pub fn repository(reference: &str) -> Result<String, String> {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let (registry, rest) = name
        .split_once('/')
        .filter(|(registry, _)| registry.contains(['.', ':']) || *registry == "localhost")
        .ok_or_else(|| format!("{reference:?} has no registry"))?;
    // Parts have no colon, so what follows one is a tag.
    let path = rest.split_once(':').map_or(rest, |(path, _)| path);
    if !is_registry(registry) || !path.split('/').all(is_repository_part) {
        return Err(format!("{reference:?} is not an image name"));
    }
    // As containerd reads names before it asks anybody (distribution/reference, `normalize.go`).
    let registry = registry.to_ascii_lowercase();
    let dockers = matches!(registry.as_str(), "docker.io" | "index.docker.io");
    Ok(match dockers {
        true if !path.contains('/') => format!("docker.io/{LIBRARY}/{path}"),
        true => format!("docker.io/{path}"),
        false => format!("{}/{path}", folder(&registry)),
    })
}

/// The first part of the repositories that come from `registry`.
pub fn folder(registry: &str) -> String {
    registry.replacen(':', PORT, 1)
}

/// Registry and path, without tag, of what the cache has under `repository`; nothing where it was not
/// named here.
pub fn upstream(cached: &str) -> Option<String> {
    let (folder, path) = cached.split_once('/')?;
    let upstream = format!("{}/{path}", folder.replacen(PORT, ":", 1));
    (repository(&upstream).ok()? == cached).then_some(upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_place_and_the_way_back_is_certain() {
        for (reference, expected) in [
            ("docker.io/library/nats:2.15.2", "docker.io/library/nats"),
            ("docker.io/nats:2", "docker.io/library/nats"),
            ("index.docker.io/nats:2", "docker.io/library/nats"),
            ("docker.io/bitnami/nats@sha256:00", "docker.io/bitnami/nats"),
            ("docker.io/library/nats:2@sha256:00", "docker.io/library/nats"),
            ("registry.k8s.io/pause", "registry.k8s.io/pause"),
            ("localhost/pipe/node:1", "localhost/pipe/node"),
            ("localhost:5000/app:1", "localhost__5000/app"),
            ("Registry.Example:5000/a/b__c:1", "registry.example__5000/a/b__c"),
            ("10.89.0.7:5000/app", "10.89.0.7__5000/app"),
        ] {
            let cached = repository(reference).unwrap();
            assert_eq!(cached, expected, "{reference}");
            let back = upstream(&cached).unwrap();
            assert_eq!(repository(&back).unwrap(), cached, "{reference}");
        }
        assert_eq!(upstream("localhost__5000/b__c").unwrap(), "localhost:5000/b__c");
        assert_eq!(upstream("pipe/canary"), None);
        assert_eq!(upstream("docker.io/nats"), None);
    }

    /// What is no name must not become a path.
    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in [
            "",
            "nats:2",
            "library/nats:2",
            "docker.io/",
            "docker.io//nats",
            "docker.io/../v2/nats",
            "docker.io/a/./b",
            "docker.io/a%2fb:1",
            "docker.io/a?b",
            "docker.io/a#b",
            "docker.io/A:1",
            "[::1]:5000/a:1",
            "localhost__5000/a:1",
            "docker.io\n/a",
        ] {
            assert!(repository(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_image_names_accept_has_a_place(
            host in "[a-z0-9]{1,8}(\\.[a-z]{2,5})?:[1-9][0-9]{0,3}",
            path in "[a-z0-9]{1,5}((__|\\.|-{1,3})[a-z0-9]{1,4})?(/[a-z]{1,4}){0,2}",
        ) {
            let upstream_name = format!("{host}/{path}");
            assert!(super::super::ImageName::parse(&format!("{upstream_name}:1")).is_ok());
            let cached = repository(&upstream_name).unwrap();
            assert_eq!(upstream(&cached), Some(upstream_name));
        }
    }
}
