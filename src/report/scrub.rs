//! Secrets by their shape, for text that others wrote: what [`super::Mask`] does not know by heart.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands in place of a secret.
const HIDDEN: &str = "•••";

/// Each shape keeps what its group `keep` matches, so that a reader sees what was there.
static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let shapes = [
        // Bootstrap tokens of kubeadm; the first half is their public name.
        r"(?P<keep>\b[a-z0-9]{6}\.)[a-z0-9]{16}\b",
        // Keys in PEM; in a line of its own or with escaped line ends.
        r"(?s)(?P<keep>-----BEGIN [A-Z ]*PRIVATE KEY-----).*?-----END [A-Z ]*PRIVATE KEY-----",
        // Keys and credentials of kubeconfig files, and PEM in base64.
        r#"(?P<keep>\b(?:client-key-data|id-token|refresh-token)\\?"?\s*:\s*\\?"?)[^\s"\\]+"#,
        r"(?P<keep>\bLS0tLS1CRUdJTi(?:BQUklWQVRF|BFQyBQUklWQVRF|BSU0EgUFJJVkFUR|BPUEVOU1NIIFBSSVZBVE))[A-Za-z0-9+/=]+",
        // JSON Web Tokens: service accounts.
        r"(?P<keep>\beyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
        // User and password in an address.
        r"(?P<keep>\b[a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@",
        // Headers.
        r#"(?i)(?P<keep>\bauthorization\\?"?\s*[:=]\s*\[?\s*\\?"?(?:basic |bearer )?)[^\s"'\\,\]]+"#,
        // Values by the name of their key, in YAML, JSON, TOML, flags and variables.
        r#"(?i)(?P<keep>\b[a-z0-9_.-]*(?:password|passwd|secret[_-]?key|secretaccesskey|access[_-]?key[_-]?secret|api[_-]?key|private[_-]?key|certificate-?key|identitytoken|auth[_-]?token)\\?"?\s*[:=]\s*\\?["']?)[^\s"'\\,;&}]{3,}"#,
        r#"(?i)(?P<keep>\b(?:auth|token|secret)\\?"?\s*[:=]\s*\\?["']?)[A-Za-z0-9+/=_.-]{16,}"#,
    ];
    // A shape that cannot be read is a defect that the test below finds.
    shapes.iter().filter_map(|shape| Regex::new(shape).ok()).collect()
});

/// `text` without what looks like a secret.
pub fn scrub(text: &str) -> Cow<'_, str> {
    SHAPES.iter().fold(Cow::Borrowed(text), |text, shape| {
        let hide = |found: &Captures<'_>| {
            let keep = found.name("keep").map_or("", |keep| keep.as_str());
            format!("{keep}{HIDDEN}")
        };
        match shape.replace_all(&text, hide) {
            Cow::Borrowed(_) => text,
            Cow::Owned(hidden) => Cow::Owned(hidden),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_can_be_read() {
        assert_eq!(SHAPES.len(), 9);
    }

    #[test]
    fn secrets_of_every_shape_go() {
        let secrets = [
            ("token: \"abcdef.0123456789abcdef\"", "0123456789abcdef"),
            ("--token abcdef.0123456789abcdef --ttl", "0123456789abcdef"),
            ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nabc\n-----END EC PRIVATE KEY-----", "MHcCAQ"),
            (r"-----BEGIN PRIVATE KEY-----\nMHcCAQ\n-----END PRIVATE KEY-----", "MHcCAQ"),
            ("    client-key-data: LS0tLS1CRUdJTiBSU0Eabc=\n", "LS0tLS1CRUdJTiBSU0Eabc"),
            (r#"{\"client-key-data\": \"c2VjcmV0\"}"#, "c2VjcmV0"),
            (
                "x LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tCk1IY0NBUUVFSUw=",
                "IEtFWS0tLS0tCk1IY0NBUUVFSUw",
            ),
            ("Bearer eyJhbGciOiJSUzI1.eyJpc3MiOiJrdWJl.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
            ("HTTPS_PROXY=http://ada:hunter22@proxy:3128/", "hunter22"),
            ("nats://admin:hunter22@127.0.0.1:4222", "hunter22"),
            ("Authorization: Basic YWRhOmh1bnRlcjIy", "YWRhOmh1bnRlcjIy"),
            ("authorization = [\"Bearer YWRhOmh1bnRlcjIy\"]", "YWRhOmh1bnRlcjIy"),
            ("NATS_PASSWORD=hunter22", "hunter22"),
            (r#""rootPassword": "hunter22","#, "hunter22"),
            ("password = \"hunter22\"", "hunter22"),
            ("--password=hunter22 x", "hunter22"),
            ("AWS_SECRET_ACCESS_KEY_SECRET_KEY: hunter22", "hunter22"),
            (
                "certificateKey: 0123456789abcdef0123456789abcdef",
                "0123456789abcdef0123456789abcdef",
            ),
            (r#"{"auths": {"r": {"auth": "YWRhOmh1bnRlcjIyMTIz"}}}"#, "YWRhOmh1bnRlcjIyMTIz"),
        ];
        for (text, secret) in secrets {
            let seen = scrub(text);
            assert!(!seen.contains(secret), "{text} became {seen}");
            assert!(seen.contains(HIDDEN), "{text} became {seen}");
        }
    }

    #[test]
    fn what_explains_a_failure_stays() {
        for text in [
            "error: secret \"nats-credentials\" not found",
            "MountVolume.SetUp failed for volume \"token\" : secret is missing",
            "sha256:9c2a0b1f3d8e4a5c6b7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
            "image docker.io/library/nats:2.15.2 at 10.244.0.5:4222",
            "k8s.io/kubernetes v1.36.4 kubelet.service: Main process exited",
            "http://127.0.0.1:10248/healthz and https://dev-control-plane:6443",
        ] {
            assert_eq!(scrub(text), text);
        }
    }
}
