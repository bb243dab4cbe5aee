//! Our client and our signatures on a real registry, and the real cosign on both.

use std::process::{Command, Stdio};

use bytes::Bytes;
use pipe::run::cache::copy::{Freight, copy};
use pipe::run::cache::meter::Meter;
use pipe::run::cache::signatures::{self, Pen};
use pipe::trust::{PublicKey, SigningKey, attached, bundle};
use pipe::world::registry::{Manifest, Repository, Shape};
use pipe::{Kind, Result};
use serde_json::{Value, json};

use super::host::{not_extended, text, tool};
use super::{Case, block_on};

mod server;

pub(super) use server::{Server, no_registry};

pub const CASES: [Case; 4] = [
    case("a_registry_keeps_what_it_is_given_and_nothing_else", || block_on(keeps())),
    case("an_image_is_copied_by_digest_with_what_refers_to_it", || block_on(copies())),
    case("signatures_that_are_not_good_are_refused", || block_on(refused())),
    Case {
        name: "cosign_and_we_accept_each_others_signatures",
        skip: || not_extended().or_else(no_registry),
        run: || block_on(signatures()),
    },
];

const fn case(name: &'static str, run: fn()) -> Case {
    Case { name, skip: no_registry, run }
}

pub(super) const NAME: &str = "docker.io/library/app";
pub(super) const NOW: &str = "2026-11-21T00:00:00Z";

/// Stores an image of one layer; `seed` makes it another image.
pub(super) async fn put_image(repository: &Repository, seed: &str) -> Result<Manifest> {
    let content = seed.repeat(1000);
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    let mut layer = tar::Builder::new(Vec::new());
    layer.append_data(&mut header, "seed", content.as_bytes()).unwrap();
    let layer = layer.into_inner().unwrap();
    let layer = attached::Blob::new("application/vnd.oci.image.layer.v1.tar", layer);
    let arch = pipe::spec::Arch::of_host().unwrap();
    let config = json!({"architecture": arch, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]}});
    let config =
        attached::Blob::new("application/vnd.oci.image.config.v1+json", config.to_string().into());
    for blob in [&layer, &config] {
        assert!(repository.put_blob(&blob.digest, &blob.content).await?);
        assert!(!repository.put_blob(&blob.digest, &blob.content).await?, "sent twice");
    }
    let descriptor = |blob: &attached::Blob| json!({"mediaType": blob.media_type, "digest": blob.digest, "size": blob.content.len()});
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": descriptor(&config),
        "layers": [descriptor(&layer)]});
    let manifest = Manifest::new(kind, manifest.to_string().into());
    repository.put_manifest(&manifest, None).await?;
    Ok(manifest)
}

/// Two images under one index with a tag.
pub(super) async fn put_index(
    repository: &Repository,
    tag: &str,
) -> Result<(Manifest, Vec<Manifest>)> {
    let children = [
        put_image(repository, &format!("{tag} one")).await?,
        put_image(repository, &format!("{tag} two")).await?,
    ];
    let kind = "application/vnd.oci.image.index.v1+json";
    let entries: Vec<Value> = children
        .iter()
        .zip(["amd64", "arm64"])
        .map(|(child, arch)| {
            json!({"mediaType": child.media_type, "digest": child.digest, "size": child.bytes.len(),
                "platform": {"os": "linux", "architecture": arch}})
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
    let index = Manifest::new(kind, index.to_string().into());
    repository.put_manifest(&index, Some(tag)).await?;
    Ok((index, children.to_vec()))
}

async fn keeps() {
    let server = Server::start().await;
    let repository = server.registry().repository(NAME);
    let (index, children) = put_index(&repository, "1.0").await.unwrap();
    assert_eq!(repository.manifest("1.0").await.unwrap().as_ref(), Some(&index));
    assert_eq!(
        repository.manifest(&children[1].digest).await.unwrap().as_ref(),
        Some(&children[1])
    );
    assert_eq!(repository.manifest("2.0").await.unwrap(), None);
    assert_eq!(repository.tags().await.unwrap(), ["1.0"]);

    // Bytes that are not what they are called are not served.
    let claimed = attached::sha256(b"what it should be");
    let lie = futures::stream::iter([Ok(Bytes::from_static(b"what it is"))]);
    let error = repository.upload(&claimed, lie).await.unwrap_err();
    assert!(error.causes.concat().to_lowercase().contains("digest"), "{error:?}");
    assert_eq!(repository.blob_size(&claimed).await.unwrap(), None);
    // Nor is what broke off on its way.
    let broken: [Result<Bytes>; 2] = [
        Ok(Bytes::from(vec![7; 20 << 20])),
        Err(pipe::Error::failed("gone", "the source is gone")),
    ];
    let error = repository.upload(&claimed, futures::stream::iter(broken)).await.unwrap_err();
    assert_eq!(error.code, "gone");
    assert_eq!(repository.blob_size(&claimed).await.unwrap(), None);

    // In several parts, and taken over by another repository without being sent again.
    let big: Vec<u8> = (0..40u32 << 20).map(|at| (at / 251) as u8).collect();
    let digest = attached::sha256(&big);
    let parts: Vec<Result<Bytes>> =
        big.chunks(5 << 20).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    repository.upload(&digest, futures::stream::iter(parts)).await.unwrap();
    assert!(repository.blob(&digest, big.len() as u64).await.unwrap() == big);
    let other = server.registry().repository("quay.io/team/app");
    assert!(other.mount(&digest, NAME).await.unwrap());
    assert_eq!(other.blob_size(&digest).await.unwrap(), Some(big.len() as u64));
    assert!(!other.mount(&claimed, NAME).await.unwrap());

    assert!(repository.remove_manifest(&index.digest).await.unwrap());
    assert_eq!(repository.manifest("1.0").await.unwrap(), None);
}

async fn copies() {
    let (there, here) = (Server::start().await, Server::start().await);
    let from = there.registry().repository("library/app");
    let to = here.registry().repository(NAME);
    let (index, children) = put_index(&from, "1.0").await.unwrap();
    let publisher = SigningKey::generate().unwrap();
    let pen = Pen { name: NAME, key: &publisher, now: NOW };
    signatures::sign(&from, &index.digest, pen).await.unwrap();

    let freight = Freight { digest: &index.digest, tag: Some("1.0"), arches: &["amd64"] };
    let meter = &Meter::default();
    let first = copy(&from, &to, freight, meter).await.unwrap();
    assert!(first.sent > 0, "{first:?}");
    assert_eq!(to.manifest("1.0").await.unwrap().as_ref(), Some(&index), "the index stays whole");
    assert_eq!(to.manifest(&children[0].digest).await.unwrap().as_ref(), Some(&children[0]));
    let Shape::Image(image) = children[0].shape().unwrap() else { panic!("no image") };
    let layer = &image.layers()[0];
    to.blob(layer.digest().as_ref(), layer.size()).await.unwrap();
    let trusted = [publisher.public().clone()];
    for digest in [&index.digest, &children[0].digest] {
        signatures::verify(&to, digest, &trusted).await.unwrap();
    }
    if std::env::var_os("PIPE_TEST_ZOT").is_none() {
        assert_eq!(to.manifest(&children[1].digest).await.unwrap(), None, "nobody needs it");
    }
    let again = copy(&from, &to, freight, meter).await.unwrap();
    assert_eq!(again.sent, 0, "sent twice: {again:?}");

    let error =
        copy(&from, &to, Freight { arches: &["riscv64"], ..freight }, meter).await.unwrap_err();
    assert_eq!(error.code, "image-platform");
    assert!(error.to_string().contains("linux/amd64, linux/arm64"), "{error:?}");
    let gone = attached::sha256(b"gone");
    let error = copy(&from, &to, Freight { digest: &gone, ..freight }, meter).await.unwrap_err();
    assert_eq!(error.code, "manifest-unknown");
    assert!(error.hints[0].contains("lock"), "{error:?}");
}

async fn signatures() {
    let server = Server::start().await;
    let repository = server.registry().repository(NAME);
    let key = SigningKey::generate().unwrap();
    let trusted = [key.public().clone()];
    let (index, children) = put_index(&repository, "1.0").await.unwrap();
    let pen = Pen { name: NAME, key: &key, now: NOW };
    signatures::sign(&repository, &index.digest, pen).await.unwrap();
    let before =
        (repository.tags().await.unwrap(), repository.referrers(&index.digest).await.unwrap());
    signatures::sign(&repository, &index.digest, pen).await.unwrap();
    let after =
        (repository.tags().await.unwrap(), repository.referrers(&index.digest).await.unwrap());
    assert_eq!(before, after, "signed a second time");
    assert_eq!(after.1.len(), 1);

    // The real cosign accepts both forms, of the index and of each image.
    let public = server.folder.path().join("key.pub");
    std::fs::write(&public, key.public().to_pem().unwrap()).unwrap();
    for digest in [&index, &children[0], &children[1]].map(|manifest| &manifest.digest) {
        assert_eq!(
            signatures::verify(&repository, digest, &trusted).await.unwrap(),
            key.public().id()
        );
        let reference = format!("{}/{NAME}@{digest}", server.address);
        for form in ["--new-bundle-format=true", "--new-bundle-format=false"] {
            let output = server.cosign(&public, &["verify", &reference, form]);
            assert!(output.status.success(), "{form}: {}", text(&output));
            assert!(
                text(&output).contains(digest.trim_start_matches("sha256:")),
                "{}",
                text(&output)
            );
        }
    }
    // A second key signs beside the first, and both count.
    let second = SigningKey::generate().unwrap();
    signatures::sign(&repository, &index.digest, Pen { key: &second, ..pen }).await.unwrap();
    for key in [&key, &second] {
        let trusted = [key.public().clone()];
        assert_eq!(
            signatures::verify(&repository, &index.digest, &trusted).await.unwrap(),
            key.public().id()
        );
        std::fs::write(&public, key.public().to_pem().unwrap()).unwrap();
        let reference = format!("{}/{NAME}@{}", server.address, index.digest);
        let output = server.cosign(&public, &["verify", &reference, "--new-bundle-format=false"]);
        assert!(output.status.success(), "{}", text(&output));
    }

    // And we accept what the real cosign signs, in both forms.
    let cosign = server.folder.path().join("cosign.key");
    let made = Command::new(tool("cosign"))
        .args(["import-key-pair", "--yes", "--key"])
        .arg({
            let pem = server.folder.path().join("plain.pem");
            std::fs::write(&pem, SigningKey::generate().unwrap().to_pem().unwrap()).unwrap();
            pem
        })
        .args(["--output-key-prefix", "cosign"])
        .current_dir(server.folder.path())
        .env("HOME", server.folder.path())
        .env("COSIGN_PASSWORD", "")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let theirs = std::fs::read_to_string(server.folder.path().join("cosign.pub")).unwrap();
    let theirs = [PublicKey::from_pem(&theirs).unwrap()];
    for (tag, form) in [("2.0", "--new-bundle-format=true"), ("3.0", "--new-bundle-format=false")] {
        let (index, _) = put_index(&repository, tag).await.unwrap();
        let reference = format!("{}/{NAME}@{}", server.address, index.digest);
        let output = Command::new(tool("cosign"))
            .args([
                "sign",
                "--yes",
                "--tlog-upload=false",
                "--use-signing-config=false",
                form,
                "--key",
            ])
            .arg(&cosign)
            .args(["--allow-http-registry", &reference])
            .env("HOME", server.folder.path())
            .env("COSIGN_PASSWORD", "")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{form}: {}", text(&output));
        let verified = signatures::verify(&repository, &index.digest, &theirs).await;
        assert_eq!(verified.unwrap(), theirs[0].id(), "{form}");
        let error = signatures::verify(&repository, &index.digest, &trusted).await.unwrap_err();
        assert_eq!(error.kind, Kind::Signature);
    }
}

async fn refused() {
    let server = Server::start().await;
    let repository = server.registry().repository(NAME);
    let (key, stranger) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let trusted = [key.public().clone()];
    let refusal = async |digest: &str| {
        let error = signatures::verify(&repository, digest, &trusted).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Signature, "signature-refused"), "{error:?}");
        error.causes.join("; ")
    };

    let unsigned = put_image(&repository, "unsigned").await.unwrap();
    assert_eq!(refusal(&unsigned.digest).await, "it has none");

    let theirs = put_image(&repository, "of a stranger").await.unwrap();
    let pen = Pen { name: NAME, key: &stranger, now: NOW };
    signatures::sign(&repository, &theirs.digest, pen).await.unwrap();
    assert!(refusal(&theirs.digest).await.contains("not trusted"));

    // A good signature of one image, hung on another.
    let good = bundle::sign(&key, &unsigned.digest);
    let victim = put_image(&repository, "victim").await.unwrap();
    hang(&repository, &victim, good.clone()).await;
    assert!(refusal(&victim.digest).await.contains(&unsigned.digest));

    // Half of a good one.
    let halved = put_image(&repository, "halved").await.unwrap();
    let whole = bundle::sign(&key, &halved.digest);
    hang(&repository, &halved, whole[..whole.len() / 2].to_vec()).await;
    assert!(refusal(&halved.digest).await.contains("cannot be read"));

    // Something else that refers to it takes nothing from a good one beside it.
    hang(&repository, &halved, whole).await;
    signatures::verify(&repository, &halved.digest, &trusted).await.unwrap();
}

async fn hang(repository: &Repository, subject: &Manifest, content: Vec<u8>) {
    let attachment = attached::referrer(content, &subject.descriptor().unwrap(), NOW).unwrap();
    for blob in &attachment.blobs {
        repository.put_blob(&blob.digest, &blob.content).await.unwrap();
    }
    let manifest = Manifest::new(attachment.manifest.media_type, attachment.manifest.content);
    repository.put_referrer(&manifest, &subject.digest, bundle::MEDIA_TYPE).await.unwrap();
}
