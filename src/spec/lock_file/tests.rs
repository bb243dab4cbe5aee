use proptest::prelude::*;

use super::*;
use crate::trust::policy::Class;

fn digest(c: char) -> String {
    format!("sha256:{}", c.to_string().repeat(64))
}

fn profiles(names: &[&str]) -> BTreeSet<ProfileName> {
    names.iter().map(|name| ProfileName::parse(name).unwrap()).collect()
}

fn image(name: &str) -> ImageName {
    ImageName::parse(name).unwrap()
}

fn upstream(c: char, of: &[&str], at: &str) -> Locked {
    Locked {
        profiles: profiles(of),
        source: Source::Upstream,
        anchor: Anchor::Digest {
            digest: digest(c),
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
        },
        platforms: BTreeMap::from([
            ("linux/amd64".to_owned(), digest('a')),
            ("linux/arm/v7".to_owned(), digest('b')),
        ]),
        evidence: Verdict {
            class: Class::DigestOnly,
            words: "held to its digest alone: \"why\": a # b".to_owned(),
            by: None,
            stand_in: None,
        },
        at: at.parse().unwrap(),
    }
}

fn engine(c: char, of: &[&str], at: &str) -> Locked {
    Locked {
        source: Source::Engine,
        anchor: Anchor::Config { config: digest(c), served: None, media_type: None },
        evidence: Verdict {
            class: Class::Built,
            words: "built on this host".to_owned(),
            by: Some("0123".to_owned()),
            stand_in: None,
        },
        ..upstream(c, of, at)
    }
}

fn lock() -> LockFile {
    let mut lock = LockFile::default();
    let found = BTreeMap::from([
        (image("docker.io/library/nats:2.15.2"), upstream('1', &["ci"], "2026-11-21T20:00:00Z")),
        (image("quay.io/minio/minio:X"), engine('2', &["ci"], "2026-11-21T20:00:00Z")),
    ]);
    lock.renew(&profiles(&["ci"]), found);
    lock
}

fn read(text: &str) -> Result<LockFile, String> {
    let problems = Problems::default();
    let lock = LockFile::read(NAME, text.as_bytes(), &problems);
    match problems.into_result() {
        Ok(()) => Ok(lock.unwrap()),
        Err(error) => Err(error.causes.join("\n")),
    }
}

#[test]
fn what_people_read_in_a_diff() {
    let mut lock = lock();
    assert!(lock.serve(
        &image("quay.io/minio/minio:X"),
        &digest('3'),
        "application/vnd.oci.image.manifest.v1+json"
    ));
    assert!(!lock.serve(&image("docker.io/library/nats:2.15.2"), &digest('3'), "x"));
    insta::assert_snapshot!(lock.text());
    assert_eq!(read(&lock.text()).unwrap(), lock);
    assert_eq!(read(&LockFile::default().text()).unwrap(), LockFile::default());
}

#[test]
fn nothing_changes_where_nothing_did() {
    let mut lock = lock();
    let minio = image("quay.io/minio/minio:X");
    lock.serve(&minio, &digest('3'), "t");
    let before = lock.text();
    let found = BTreeMap::from([
        (image("docker.io/library/nats:2.15.2"), upstream('1', &["ci"], "2027-01-01T00:00:00Z")),
        (minio.clone(), engine('2', &["ci"], "2027-01-01T00:00:00Z")),
    ]);
    lock.renew(&profiles(&["ci"]), found);
    assert_eq!(lock.text(), before);
    // Built anew: what the cache serves is another image's.
    lock.renew(
        &profiles(&["ci"]),
        BTreeMap::from([(minio.clone(), engine('4', &["ci"], "2027-01-01T00:00:00Z"))]),
    );
    assert_eq!(lock.images.len(), 1, "what the profile needs no more is gone");
    assert_eq!(lock.images[&minio].manifest(), None);
    assert_eq!(lock.images[&minio].at.to_string(), "2027-01-01T00:00:00Z");
}

#[test]
fn profiles_share_entries_and_leave_each_others_alone() {
    let mut lock = lock();
    let (nats, minio) = (image("docker.io/library/nats:2.15.2"), image("quay.io/minio/minio:X"));
    let found =
        BTreeMap::from([(nats.clone(), upstream('1', &["laptop"], "2027-01-01T00:00:00Z"))]);
    lock.renew(&profiles(&["laptop"]), found);
    assert_eq!(lock.images[&nats].profiles, profiles(&["ci", "laptop"]));
    lock.renew(&profiles(&["ci"]), BTreeMap::new());
    assert_eq!(lock.images[&nats].profiles, profiles(&["laptop"]));
    assert!(!lock.images.contains_key(&minio));
}

#[test]
fn every_problem_at_once() {
    let text = "apiVersion: pipe.dev/v1\nkind: Lock\nmore: 1\nimages:\n  nats:2: {}\n\
        \x20 docker.io/a:1:\n    profiles: [X]\n    source: here\n    digest: sha256:0\n    mediaType: t\n\
        \x20   platforms: {amd64: x}\n    evidence: {class: signed, words: w, who: me}\n    at: today\n\
        \x20 docker.io/b:1: {profiles: [a], source: engine, config: x, platforms: {}, evidence: {class: none, words: w}, at: '2026-01-01T00:00:00Z'}\n";
    insta::assert_snapshot!(read(text).unwrap_err());
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        words in ".{0,60}", by in prop::option::of(".{0,40}"),
        stand_in in prop::option::of(".{0,40}"), seconds in 0i64..4_000_000_000,
        names in prop::collection::btree_set("[a-z]{1,5}", 1..4), config in any::<bool>(),
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut locked = if config { engine('7', &names, "2026-01-01T00:00:00Z") } else { upstream('7', &names, "2026-01-01T00:00:00Z") };
        locked.evidence = Verdict { words, by, stand_in, ..locked.evidence };
        locked.at = Timestamp::from_second(seconds).unwrap();
        let lock = LockFile { images: BTreeMap::from([(image("r.io/x:1"), locked)]) };
        prop_assert_eq!(read(&lock.text()).unwrap(), lock);
    }

    #[test]
    fn nothing_that_is_read_makes_it_fail(text in ".{0,300}") {
        let _read = read(&text);
    }
}
