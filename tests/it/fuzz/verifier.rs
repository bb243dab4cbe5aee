//! What reaches the image verifier: its configuration, containerd's question, and what the cache
//! says. Nothing of it lets an image in that no trusted key signed.

use std::ffi::OsString;

use pipe::trust::attached::sha256;
use pipe::trust::forbidden::Forbidden;
use pipe::trust::{SigningKey, bundle};
use pipe::verifier::config::{Config, Mode, VERSION};
use pipe::verifier::{Answer, answer};
use proptest::prelude::*;

use super::{check, mutated};
use crate::scripted::Reply;
use crate::verifier::store::Store;

const PIECES: &[&str] = &[
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "-1",
    "0",
    "18446744073709551615",
    "1e400",
    "true",
    "\\ud800",
    "\0",
    "\n",
    "{}",
    "[]",
    "=",
    "-",
    "--",
    "-name",
    "-digest",
    "-config",
    "\"mode\"",
    "\"version\":1,",
    "\"enforce\"",
    "sha256:",
    "\"keys\":[],",
    "..",
    "/",
];

const NAME: &str = "docker.io/library/nats:2";

fn config(folder: &std::path::Path, cache: &str, key: &SigningKey) -> String {
    let config = Config {
        version: VERSION,
        mode: Mode::Enforce,
        cache: cache.to_owned(),
        keys: vec![key.public().to_pem().unwrap()],
        allowed: Vec::new(),
        forbidden: Forbidden::default(),
        verdicts: folder.join("verdicts"),
    };
    config.to_text().unwrap()
}

fn assert_refused(answer: &Answer) {
    assert!(!answer.allowed, "{answer:?}");
    assert!(!answer.reason.is_empty() && answer.reason.chars().count() <= 601, "{answer:?}");
    assert!(!answer.reason.contains(char::is_control), "{answer:?}");
}

#[test]
fn questions_and_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("verifier.json");
    // No address that anybody could be asked at.
    let config = config(folder.path(), "nowhere", &SigningKey::generate().unwrap());
    let digest = sha256(b"an image");
    let flags = format!(
        "-name\0{NAME}\0-digest\0{digest}\0-stdin-media-type\0application/vnd.oci.descriptor.v1+json"
    );
    let descriptor = format!(r#"{{"mediaType":"x","digest":"{digest}","size":1}}"#);
    let same = |text: &str| Just(super::Bytes(text.as_bytes().to_vec()));
    let one_of_three = prop_oneof![
        (mutated(config.clone().into_bytes(), PIECES), same(&flags), same(&descriptor)),
        (same(&config), mutated(flags.clone().into_bytes(), PIECES), same(&descriptor)),
        (same(&config), same(&flags), mutated(descriptor.clone().into_bytes(), PIECES)),
    ];
    check("verifier-questions", 300, &one_of_three, |(config, flags, descriptor)| {
        std::fs::write(&file, &*config).unwrap();
        let flags = String::from_utf8_lossy(&flags).into_owned();
        let mut arguments: Vec<OsString> = vec!["-config".into(), file.clone().into()];
        arguments.extend(flags.split('\0').map(OsString::from));
        assert_refused(&answer(arguments, std::io::Cursor::new(descriptor.0)));
    });
}

#[test]
fn answers_of_the_cache() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("verifier.json");
    let [key, foreign] = [(); 2].map(|()| SigningKey::generate().unwrap());
    let image = sha256(b"an image");
    let list = format!("manifests/{}", image.replace(':', "-"));
    let signature = format!("{list}.sig");
    let index = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:aa","size":7}]}"#;
    let manifest = r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:bb","size":2},"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"sha256:cc","size":3,"annotations":{"dev.cosignproject.cosign/signature":"AA=="}}]}"#;
    let answers = prop_oneof![
        mutated(bundle::sign(&foreign, &image), PIECES).prop_map(|bytes| (0, bytes)),
        mutated(index.as_bytes().to_vec(), PIECES).prop_map(|bytes| (1, bytes)),
        mutated(manifest.as_bytes().to_vec(), PIECES).prop_map(|bytes| (2, bytes)),
    ];
    check("verifier-answers", 200, &answers, |(kind, bytes)| {
        let store = match kind {
            0 => Store::new().bundle(bytes.0, &image),
            1 => Store::new().answer(&list, Reply::new(200, bytes.0)),
            _ => Store::new().answer(&signature, Reply::new(200, bytes.0)),
        };
        let (_server, cache) = runtime.block_on(store.serve());
        std::fs::write(&file, config(folder.path(), &cache, &key)).unwrap();
        let arguments = ["-config", file.to_str().unwrap(), "-name", NAME, "-digest", &image];
        assert_refused(&answer(arguments.map(OsString::from), std::io::empty()));
    });
}
