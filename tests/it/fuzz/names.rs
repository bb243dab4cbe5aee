//! The small parsers: what they accept is what the other side accepts.

use pipe::spec::template::{self, Piece};
use pipe::spec::{ClusterName, ImageName, Taint, label};
use pipe::world::network::Subnet;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Bytes, check, mutated};

/// The grammar of image references, written a second time from the registries' own.
pub(super) fn assert_is_reference(text: &str) {
    let (name, digest) = text.split_once('@').map_or((text, None), |(n, d)| (n, Some(d)));
    let (repository, tag) = name.rsplit_once(':').unwrap();
    let mut parts = repository.split('/');
    let registry = parts.next().unwrap();
    let (host, port) = registry.split_once(':').unwrap_or((registry, "1"));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    assert!(host.split('.').all(is_label), "host of {text:?}");
    assert!(!port.is_empty() && port.chars().all(|c| c.is_ascii_digit()), "port of {text:?}");
    let mut count = 0;
    for part in parts {
        count += 1;
        assert!(!part.is_empty(), "{text:?}");
        let ends =
            |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        assert!(
            ends(part.chars().next()) && ends(part.chars().next_back()),
            "{part:?} of {text:?}"
        );
        assert!(!part.contains("..") && !part.contains("___"), "{part:?} of {text:?}");
        let usable = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
        assert!(part.chars().all(usable), "{part:?} of {text:?}");
    }
    assert!(count > 0, "{text:?}");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(tag.starts_with(word) && tag.len() <= 128, "tag of {text:?}");
    assert!(tag.chars().all(|c| word(c) || matches!(c, '.' | '-')), "tag of {text:?}");
    if let Some(digest) = digest {
        assert_eq!(digest.len(), "sha256:".len() + 64);
    }
    assert!(text.len() <= 512);
}

#[test]
fn image_names() {
    let good = "registry.example.com:5000/a/b_c.d-e/f__g:v1.2-rc_3";
    let digest = format!("docker.io/kindest/node:v1@sha256:{}", "0a".repeat(32));
    let pieces: &[&str] = &[
        "/", ":", "@", ".", "..", "-", "_", "__", "___", "//", "A", "é", " ", "?", "#", "%2f", "\n",
    ];
    let text = prop_oneof![
        mutated(good.into(), pieces),
        mutated(digest.into_bytes(), pieces),
        mutated("localhost/x:1".into(), pieces),
        "[a-zA-Z0-9./:@_-]{0,40}".prop_map(|text| Bytes(text.into_bytes())),
    ];
    check("image-names", 3000, &text, |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let Ok(image) = ImageName::parse(&text) else { return };
        assert_is_reference(&text);
        assert_eq!(image.as_str(), text);
        let mut again = format!("{}:{}", image.repository(), image.tag());
        assert_eq!(image.tagged(), again);
        if let Some(digest) = image.digest() {
            again += &format!("@{digest}");
        }
        assert_eq!(again, text);
    });
}

#[test]
fn labels_taints_and_names() {
    let text = prop_oneof!["[a-zA-Z0-9./:=_-]{0,80}", "\\PC{0,20}", "[a-z0-9-]{30,70}"];
    check("labels", 3000, &text, |text| {
        let is_name = |name: &str| {
            (1..=63).contains(&name.len())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        if label::key_fault(&text).is_none() {
            assert!(is_name(text.rsplit('/').next().unwrap()), "{text:?}");
            assert!(text.matches('/').count() <= 1, "{text:?}");
        }
        if label::value_fault(&text).is_none() {
            assert!(text.is_empty() || is_name(&text), "{text:?}");
        }
        if let Ok(taint) = label::parse_taint(&text) {
            let Taint { key, value, effect } = &taint;
            let equals = if text.contains('=') { "=" } else { "" };
            assert_eq!(format!("{key}{equals}{value}:{effect}"), text);
        }
        let _fault = label::resource_fault(&text);
        let _reserved = label::reserved(&text);
        if ClusterName::parse(&text).is_ok() {
            assert!(text.len() <= 32 && !text.contains(['/', '.']), "{text:?}");
        }
    });
}

#[test]
fn templates() {
    let pieces: &[&str] =
        &["{", "}", "{host}", "{node}", "{file:", "{port:", ":", "é", "{}", "{{", "\0"];
    let text = mutated("nats://{username}:{password}@{host}:{port:client}".into(), pieces);
    check("templates", 2000, &text, |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let filled = template::render(&text, |piece| {
            Some(match piece {
                Piece::Host => "{host}".to_owned(),
                Piece::Node => "{node}".to_owned(),
                Piece::File(name) => format!("{{file:{name}}}"),
                Piece::Port(name) => format!("{{port:{name}}}"),
                Piece::Credential(key) => format!("{{{key}}}"),
                Piece::Literal(_) => unreachable!("literals are not asked for"),
            })
        });
        // Filled in with themselves, variables give the template again.
        assert_eq!(filled.is_some(), template::parse(&text).is_ok());
        if let Some(filled) = filled {
            assert_eq!(filled, text);
        }
    });
}

#[test]
fn subnets() {
    let text = prop_oneof![
        mutated("10.89.0.0/24".into(), &["/", ".", "-1", "+", "33", "256", "0", " ", ":"]),
        (any::<[u8; 4]>(), 0_u8..40).prop_map(|([a, b, c, d], prefix)| {
            Bytes(format!("{a}.{b}.{c}.{d}/{prefix}").into_bytes())
        }),
    ];
    check("subnets", 3000, &(text, select(vec![0_u8, 8, 24, 32, 255])), |(bytes, prefix)| {
        let text = String::from_utf8_lossy(&bytes);
        let Ok(subnet) = text.parse::<Subnet>() else { return };
        let again: Subnet = subnet.to_string().parse().unwrap();
        assert_eq!(again, subnet);
        assert!(subnet.overlaps(subnet));
        for part in subnet.parts(prefix).take(10) {
            assert!(part.overlaps(subnet), "{part} of {subnet}");
        }
    });
}
