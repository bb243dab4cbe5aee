//! Why an image could not be pulled, from what the engine says: registries answer with a handful of
//! words, and each has a remedy of its own.

use super::room;
use crate::spec::ImageName;
use crate::world::engine::{Engine, SILENT};
use crate::{Error, Kind};

/// The engine has no room for it.
const NO_SPACE: &str = "pull-no-space";

/// Where a machine has no registry at all.
const FACTORY: &str = "without a registry, build it from packages, in a clone of pipe: scripts/images/factory ensure --images build";

/// A reason that is known by its words.
struct Reason {
    code: &'static str,
    kind: Kind,
    /// Any of these, in small letters.
    words: &'static [&'static str],
    cause: &'static str,
    remedies: &'static [&'static str],
}

/// The first that fits counts: what is more special comes first.
const REASONS: &[Reason] = &[
    Reason {
        code: "pull-rate-limit",
        kind: Kind::Failed,
        words: &["toomanyrequests", "too many requests", "rate limit"],
        cause: "the registry gives this address no more images for now (status 429)",
        remedies: &[
            "log in, which raises the limit: podman login REGISTRY",
            "or wait; what was pulled already is kept",
        ],
    },
    Reason {
        code: "pull-certificate",
        kind: Kind::Host,
        words: &["x509:", "certificate signed by unknown authority", "certificate has expired"],
        cause: "the engine does not trust the registry's certificate; many companies put their own in its place",
        remedies: &[
            "give the engine the authority's certificate: /etc/containers/certs.d/REGISTRY/ca.crt",
            "if the certificate is not valid yet or no more, set this machine's clock",
        ],
    },
    Reason {
        code: "pull-no-tls",
        kind: Kind::Host,
        words: &["server gave http response to https client"],
        cause: "the registry speaks plain HTTP, and the engine wants TLS",
        remedies: &[
            "allow it in /etc/containers/registries.conf: [[registry]] with insecure = true",
        ],
    },
    Reason {
        code: NO_SPACE,
        kind: Kind::Host,
        words: &["no space left on device", "disk quota exceeded"],
        cause: "a disk of the engine is full",
        remedies: &[
            "free some: podman system df shows what is in it, podman image prune removes what nobody uses",
        ],
    },
    Reason {
        code: "pull-broken",
        kind: Kind::Host,
        words: &["unexpected eof", "happened during read"],
        cause: "the connection to the registry broke off in the middle of the image",
        remedies: &[
            "run the command again; nothing of the half is kept",
            "if it breaks off again, a proxy or a mirror on the way may limit size or time",
        ],
    },
    Reason {
        code: "pull-silent",
        kind: Kind::TimedOut,
        words: &[SILENT],
        cause: "something takes connections for the registry, and never answers",
        remedies: &[
            "check the network and, behind a proxy, HTTPS_PROXY of the engine's service",
            FACTORY,
        ],
    },
    Reason {
        code: "pull-unauthorised",
        kind: Kind::Failed,
        words: &[
            "unauthorized",
            "authentication required",
            "(forbidden)",
            "access to the resource is denied",
            "denied:",
        ],
        cause: "the registry wants a login, or this login may not have the image; many say so of images that are not there, too",
        remedies: &["log in: podman login REGISTRY", "check the name for a slip of the pen"],
    },
    Reason {
        code: "pull-not-found",
        kind: Kind::Failed,
        words: &[
            "manifest unknown",
            "name unknown",
            "repository not found",
            "(not found)",
            "not found: manifest",
        ],
        cause: "the registry has no such image or tag",
        remedies: &["check the name and the tag", FACTORY],
    },
    Reason {
        code: "pull-no-network",
        kind: Kind::Host,
        words: &[
            "no such host",
            "dial tcp",
            "i/o timeout",
            "connection refused",
            "network is unreachable",
            "proxyconnect",
            "tls handshake timeout",
            "temporary failure in name resolution",
            "connection reset",
        ],
        cause: "the registry cannot be reached from the engine",
        remedies: &[
            "check the network and, behind a proxy, HTTPS_PROXY of the engine's service",
            FACTORY,
        ],
    },
];

/// As [`unavailable`], and where a disk is full, which one.
pub(super) async fn explained(engine: &Engine, image: &ImageName, error: &Error) -> Error {
    let error = unavailable(image, error);
    if error.code != NO_SPACE {
        return error;
    }
    room::full(engine).await.into_iter().fold(error, Error::because)
}

/// The error of an image that cannot be had: the reason where its words are known, what the engine
/// said, and the ways out.
fn unavailable(image: &ImageName, error: &Error) -> Error {
    let what = format!("image {image} cannot be had");
    let said = error.to_string().to_lowercase();
    let fits = |reason: &&Reason| reason.words.iter().any(|word| said.contains(word));
    let Some(reason) = REASONS.iter().find(fits) else {
        return Error::failed("image-unavailable", what)
            .because(error)
            .hint("check the network and, behind a proxy, HTTPS_PROXY of the engine's service")
            .hint(FACTORY);
    };
    let registry = image.repository().split('/').next().unwrap_or_default();
    let start = Error::new(reason.kind, reason.code, what).because(reason.cause).because(error);
    let fill = |remedy: &&str| remedy.replace("REGISTRY", registry);
    reason.remedies.iter().map(fill).fold(start, Error::hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words_become_a_reason() {
        let code = |said: &str| {
            let image = ImageName::parse("r.example.com:5000/a/b:1").unwrap();
            unavailable(&image, &Error::failed("engine-refused", "cannot pull").because(said)).code
        };
        for (said, expected) in [
            (
                "toomanyrequests: You have reached your unauthenticated pull rate limit",
                "pull-rate-limit",
            ),
            ("invalid status code from registry 429 (Too Many Requests)", "pull-rate-limit"),
            (
                "Get \"https://r/v2/\": x509: certificate signed by unknown authority",
                "pull-certificate",
            ),
            ("http: server gave HTTP response to HTTPS client", "pull-no-tls"),
            ("write /x: no space left on device", "pull-no-space"),
            ("unauthorized: authentication required", "pull-unauthorised"),
            ("requested access to the resource is denied", "pull-unauthorised"),
            ("manifest unknown: manifest unknown", "pull-not-found"),
            ("dial tcp: lookup r.example.com: no such host", "pull-no-network"),
            ("dial tcp 10.0.0.1:443: connect: connection refused", "pull-no-network"),
            ("storing blob to file: happened during read: unexpected EOF", "pull-broken"),
            ("the engine said nothing for 100s: the registry does not answer", "pull-silent"),
            ("something new", "image-unavailable"),
        ] {
            assert_eq!(code(said), expected, "{said}");
        }
    }

    #[test]
    fn remedies_name_the_registry() {
        let image = ImageName::parse("r.example.com:5000/a/b:1").unwrap();
        let error = unavailable(&image, &Error::failed("x", "toomanyrequests"));
        assert_eq!(
            error.hints[0],
            "log in, which raises the limit: podman login r.example.com:5000"
        );
    }
}
