use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::spec::ImageName;
use crate::spec::lock_file::{Anchor, Locked, Source};
use crate::trust::policy::Verdict;

const REPOSITORY: &str = "docker.io/library/app";

/// `sha256:` with this digit, 64 times.
fn sha(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn set(digests: &str) -> BTreeSet<String> {
    digests.chars().map(sha).collect()
}

/// An image of one layer that is called as it is, and weighs 10.
fn image(digit: char) -> Stored {
    Stored {
        config: Some(sha(digit)),
        blobs: BTreeMap::from([(format!("layer-{digit}"), 10), (sha(digit), 1)]),
        ..Stored::default()
    }
}

/// `1` → a (index of b and c, of which b is here), `2` → d, signed; e has lost its name, f refers to a.
fn held() -> Held {
    let mark = |digit: char| {
        let (subject, digest) = (sha(digit), format!("signature-{digit}"));
        let blobs = BTreeMap::from([(digest.clone(), 2)]);
        (attached(digit), Mark { subject, digest, children: BTreeSet::new(), blobs })
    };
    let index = Stored {
        children: set("bc"),
        referrers: set("f"),
        for_here: Some(sha('b')),
        blobs: BTreeMap::from([(sha('a'), 1)]),
        ..Stored::default()
    };
    let list = Mark {
        subject: sha('a'),
        digest: "list-a".to_owned(),
        children: set("f"),
        blobs: BTreeMap::from([("list-a".to_owned(), 1)]),
    };
    let mut marks = BTreeMap::from(['a', 'b', 'd', 'e'].map(mark));
    marks.insert(format!("sha256-{}", "a".repeat(64)), list);
    Held {
        repository: REPOSITORY.to_owned(),
        upstream: REPOSITORY.to_owned(),
        names: BTreeMap::from([("1".to_owned(), sha('a')), ("2".to_owned(), sha('d'))]),
        manifests: ['b', 'd', 'e', 'f']
            .into_iter()
            .map(|digit| (sha(digit), image(digit)))
            .chain([(sha('a'), index)])
            .collect(),
        marks,
    }
}

fn attached(digit: char) -> String {
    format!("sha256-{}.sig", digit.to_string().repeat(64))
}

fn lock(name: &str, anchor: Anchor) -> Claims {
    let locked = Locked {
        profiles: BTreeSet::new(),
        source: Source::Upstream,
        anchor,
        platforms: BTreeMap::new(),
        evidence: Verdict::refused(&[]),
        at: Timestamp::UNIX_EPOCH,
    };
    let images = BTreeMap::from([(ImageName::parse(name).unwrap(), locked)]);
    Claims {
        locks: BTreeMap::from([("pipe.lock".into(), LockFile { images })]),
        ..Claims::default()
    }
}

fn by_digest(name: &str, digit: char) -> Claims {
    lock(name, Anchor::Digest { digest: sha(digit), media_type: String::new() })
}

fn by_config(name: &str, digit: char) -> Claims {
    lock(name, Anchor::Config { config: sha(digit), served: None, media_type: None })
}

fn by_cluster(exists: bool) -> Claims {
    let dev = ClusterName::parse("dev").unwrap();
    let mut claims = Claims::default();
    let name = ImageName::parse("docker.io/app:1").unwrap();
    claims.known.used(&dev, [&name], Timestamp::UNIX_EPOCH);
    claims.clusters.extend(exists.then_some(dev));
    claims
}

fn shown(goers: &BTreeSet<Goer>) -> String {
    let of = |goer: &Goer| match &goer.tag {
        Some(tag) => tag.clone(),
        None => format!("@{}", &goer.digest[7..8]),
    };
    goers.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_goes_and_what_stays() {
    for (why, claims, goers, kept) in [
        ("nobody needs anything", Claims::default(), "@e 1 2", ""),
        (
            "a lock: all below it, and what refers to it",
            by_digest("docker.io/app:1", 'a'),
            "@e 2",
            "abf",
        ),
        ("a lock by an image's configuration", by_config("docker.io/app:2", 'd'), "@e 1", "d"),
        ("of an index, by that for this machine", by_config("docker.io/app:1", 'b'), "@e 2", "abf"),
        (
            "a lock that has the name elsewhere keeps that",
            by_digest("docker.io/app:1", 'e'),
            "1 2",
            "e",
        ),
        (
            "a lock of another name of it keeps the bytes",
            by_digest("docker.io/app:3", 'd'),
            "@e 1 2",
            "d",
        ),
        ("a lock of bytes that are not here", by_digest("docker.io/app:1", '9'), "@e 1 2", ""),
        ("a lock of another repository", by_digest("quay.io/app:1", 'a'), "@e 1 2", ""),
        ("a cluster", by_cluster(true), "@e 2", "abf"),
        ("a cluster that is gone", by_cluster(false), "@e 1 2", ""),
    ] {
        let held = held();
        let parting = held.part(&claims, |_| true);
        assert_eq!(shown(&parting.goers), goers, "{why}");
        assert_eq!(parting.kept, set(kept), "{why}");
        let all: BTreeSet<String> = held.manifests.keys().cloned().collect();
        assert_eq!(&all - &parting.kept, parting.gone, "{why}");
    }
}

#[test]
fn nothing_goes_that_was_not_agreed_to() {
    let held = held();
    let parting = held.part(&Claims::default(), |goer| goer.tag.as_deref() == Some("2"));
    assert_eq!(shown(&parting.goers), "2");
    assert_eq!((parting.gone, parting.kept), (set("d"), set("abef")));
}

#[test]
fn bytes_that_somebody_shares_are_not_freed() {
    let (one, mut other) = (held(), held());
    other.repository = "quay.io/team/app".to_owned();
    let parting = one.part(&by_digest("docker.io/app:1", 'a'), |_| true);
    // d and e: layer, manifest, signature of each.
    assert_eq!(freed(&[(one.clone(), parting.clone())]), 2 * (10 + 1 + 2));
    let all_stay = other.part(&Claims::default(), |_| false);
    assert_eq!(freed(&[(one.clone(), parting.clone()), (other, all_stay)]), 0);
    assert_eq!(one.size(&sha('a')), 1 + (10 + 1) * 2, "with what is below and what refers to it");
}

#[test]
fn what_only_a_lock_leads_to_is_pinned() {
    let held = held();
    let pins = |claims: &Claims| held.pins(&held.part(claims, |_| true));
    assert_eq!(
        pins(&by_digest("docker.io/app:1", 'a')),
        set(""),
        "its tag and its lists hold all of it"
    );
    assert_eq!(pins(&by_digest("docker.io/app:1", 'e')), set("e"));
    assert_eq!(pins(&by_digest("docker.io/app:3", 'd')), set("d"), "its own name goes");
}

#[test]
fn tags_that_belong_to_a_digest() {
    let hex = "ab".repeat(32);
    let of = format!("sha256:{hex}");
    for tag in [format!("sha256-{hex}"), format!("sha256-{hex}.sig"), format!("sha256-{hex}.kept")]
    {
        assert_eq!(subject(&tag), Some(of.clone()), "{tag}");
    }
    for tag in [
        "1.0".to_owned(),
        "sha256-ab.sig".to_owned(),
        format!("sha256-{hex}0"),
        "sha256-ü".repeat(20),
    ] {
        assert_eq!(subject(&tag), None, "{tag}");
    }
}

prop_compose! {
    /// Repositories in which everything may lead to everything that comes after it.
    fn any_held()(
        edges in proptest::collection::vec((0u8..12, 0u8..16, any::<bool>()), 0..24),
        names in proptest::collection::btree_map("[a-d]", 0u8..12, 0..4),
        there in proptest::collection::btree_set(0u8..12, 0..12),
        marks in proptest::collection::btree_set(0u8..12, 0..12),
    ) -> Held {
        let digest = |number: u8| sha(char::from_digit(u32::from(number), 16).unwrap());
        let mut held = Held {
            repository: REPOSITORY.to_owned(),
            upstream: REPOSITORY.to_owned(),
            ..Held::default()
        };
        for number in &there {
            let blobs = BTreeMap::from([(digest(*number), 1), (format!("layer-{}", number % 3), 5)]);
            let config = Some(digest(*number));
            held.manifests.insert(digest(*number), Stored { blobs, config, ..Stored::default() });
        }
        for (from, to, is_child) in edges {
            if let Some(stored) = held.manifests.get_mut(&digest(from))
                && from < to
            {
                let into = if is_child { &mut stored.children } else { &mut stored.referrers };
                into.insert(digest(to % 16));
            }
        }
        let is_there = |number: &u8| there.contains(number);
        held.names = names.into_iter().filter(|(_, it)| is_there(it)).map(|(tag, it)| (tag, digest(it))).collect();
        for number in marks {
            let (subject, mark) = (digest(number), format!("mark-{number}"));
            let children = held.manifests.get(&subject).map(|it| it.referrers.clone()).unwrap_or_default();
            let blobs = BTreeMap::from([(mark.clone(), 1)]);
            held.marks.insert(mark.clone(), Mark { subject, digest: mark, children, blobs });
        }
        held
    }
}

proptest! {
    #[test]
    fn nothing_that_is_needed_goes(
        held in any_held(),
        locked in proptest::collection::vec(("[a-d]", 0u32..12), 0..3),
        agreed in any::<bool>(),
    ) {
        let mut claims = Claims::default();
        for (number, (tag, digit)) in locked.iter().enumerate() {
            let name = format!("docker.io/app:{tag}");
            let one = by_digest(&name, char::from_digit(*digit, 16).unwrap());
            for lock in one.locks.into_values() {
                claims.locks.insert(number.to_string().into(), lock);
            }
        }
        let parting = held.part(&claims, |_| agreed);
        // Every manifest stays or goes, and so does every name.
        prop_assert!(parting.kept.is_disjoint(&parting.gone));
        prop_assert_eq!(parting.kept.len() + parting.gone.len(), held.manifests.len());
        // What is locked stays, whatever its name leads to by now.
        for (_, digit) in &locked {
            let digest = sha(char::from_digit(*digit, 16).unwrap());
            prop_assert_eq!(parting.kept.contains(&digest), held.manifests.contains_key(&digest));
        }
        // Nothing that stays leads to something that goes.
        for digest in &parting.kept {
            let stored = &held.manifests[digest];
            prop_assert!(parting.gone.is_disjoint(&stored.children));
            prop_assert!(parting.gone.is_disjoint(&stored.referrers));
        }
        // A name that stays leads to something that stays.
        for (tag, digest) in &held.names {
            let goes = parting.goers.iter().any(|goer| goer.tag.as_ref() == Some(tag));
            prop_assert!(goes || parting.kept.contains(digest));
        }
        if !agreed {
            prop_assert!(parting.goers.is_empty() && parting.gone.is_empty());
        }
        // Whoever removes what no tag leads to removes nothing that stays.
        let pins = held.pins(&parting);
        let goes = |tag: &String| parting.goers.iter().any(|goer| goer.tag.as_ref() == Some(tag));
        let mut tagged: Vec<String> = pins.iter().cloned().collect();
        tagged.extend(held.names.iter().filter(|(tag, _)| !goes(tag)).map(|(_, it)| it.clone()));
        for mark in held.marks.values().filter(|mark| parting.kept.contains(&mark.subject)) {
            tagged.extend(mark.children.iter().cloned());
        }
        let mut marked = BTreeSet::new();
        while let Some(digest) = tagged.pop() {
            if let Some(stored) = held.manifests.get(&digest) && marked.insert(digest) {
                tagged.extend(stored.children.iter().cloned());
            }
        }
        prop_assert!(parting.kept.is_subset(&marked), "{:?} of {:?}", marked, parting.kept);
    }
}
