//! Whatever stands in the files, reading them ends, with a `Spec` or with problems.

use std::fs;
use std::path::Path;

use pipe::Kind;
use pipe::spec::source::Sources;
use pipe::spec::{self, Arch};
use proptest::prelude::*;

use super::project;

/// Loads a project whose files hold `bytes`; all that matters is that it ends, and how.
fn load_bytes(cluster: &[u8], profile: &[u8], component: &[u8]) {
    let dir = project(&[]);
    let write = |path: &str, bytes: &[u8]| fs::write(dir.path().join(path), bytes).unwrap();
    write("clusters/dev.yaml", cluster);
    write("profiles/laptop.yaml", profile);
    write("profiles/components/nats.yaml", component);
    let sources = Sources::find(Some(dir.path()), dir.path()).unwrap();
    if let Err(error) = spec::load(&sources, "dev", Some("laptop"), Arch::Amd64) {
        assert_eq!(error.kind, Kind::Files, "{error:?}");
        assert!(!error.causes.is_empty());
    }
}

fn shipped(path: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A shipped file with pieces of it, and of what YAML cares about, put in other places.
fn mutated(path: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let original = shipped(path);
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ": ",
            "- ",
            "\n",
            "  ",
            "\t",
            "&a ",
            "*a",
            "!!x ",
            "|\n",
            ">",
            "'",
            "\"",
            "#",
            "---\n",
            "...\n",
            "<<: ",
            "? ",
            "~",
            "-1",
            "1e999",
            "\u{feff}",
            "\0",
            "é",
            "%YAML 9\n",
            "a",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..4),
    ];
    let edit = (any::<prop::sample::Index>(), 0_usize..12, piece);
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut bytes = original.clone();
        for (at, removed, piece) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + removed).min(bytes.len());
            bytes.splice(start..end, piece);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        load_bytes(&bytes, &bytes, &bytes);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[-\\[\\]{}:,&*!|>'\"%@`#?~a-c0-2 \n\t]{0,200}") {
        load_bytes(text.as_bytes(), text.as_bytes(), text.as_bytes());
    }

    #[test]
    fn mutated_files_never_panic(
        cluster in mutated("clusters/dev.yaml"),
        profile in mutated("profiles/laptop.yaml"),
        component in mutated("profiles/components/nats.yaml"),
    ) {
        load_bytes(&cluster, &profile, &component);
    }
}
