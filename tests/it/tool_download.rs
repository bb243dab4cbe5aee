//! Tools are downloaded, checked and installed whole, or not at all.

use std::os::unix::fs::PermissionsExt;

use pipe::Kind;
use pipe::world::env::Env;
use pipe::world::tool::{Tool, ToolOrigin};
use sha2::{Digest, Sha256};

use crate::scripted::{Reply, Scripted};

const PROGRAM: &[u8] = b"#!/bin/sh\necho v4.3.1\n";

fn env(folder: &tempfile::TempDir) -> Env {
    Env::from([("PATH", "/nowhere"), ("XDG_CACHE_HOME", folder.path().to_str().unwrap())])
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A release archive with `member` in it.
fn archive(member: &str) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, content) in [("LICENSE", b"text".as_slice()), (member, PROGRAM)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn helm_member() -> String {
    format!("linux-{}/helm", pipe::spec::Arch::host().unwrap())
}

#[tokio::test]
async fn helm_is_unpacked_and_then_found_in_the_cache() {
    let archive = archive(&helm_member());
    let sum = format!("{}  helm-v4.3.1-linux.tar.gz\n", sha256(&archive));
    let (server, base) = Scripted::tcp(move |request, _| {
        if request.target.ends_with(".sha256sum") {
            Reply::new(200, sum.clone())
        } else {
            Reply::new(200, archive.clone())
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let helm = Tool::helm().from_base(base);
    let found = helm.find_or_fetch(&env(&folder)).await.unwrap();
    assert_eq!(found.origin, ToolOrigin::Download);
    assert_eq!(std::fs::read(&found.path).unwrap(), PROGRAM);
    assert_eq!(found.path.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let beside = std::fs::read_dir(found.path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "nothing unfinished is left");

    let again = helm.find_or_fetch(&env(&folder)).await.unwrap();
    assert_eq!((again.origin, again.path), (ToolOrigin::Cache, found.path));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn kubectl_is_a_plain_binary() {
    let (_server, base) = Scripted::tcp(|request, _| {
        let body = if request.target.ends_with(".sha256") {
            sha256(PROGRAM).into_bytes()
        } else {
            PROGRAM.to_vec()
        };
        Reply::new(200, body)
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let found = Tool::kubectl().from_base(base).find_or_fetch(&env(&folder)).await.unwrap();
    assert_eq!(std::fs::read(found.path).unwrap(), PROGRAM);
}

#[tokio::test]
async fn a_bad_download_installs_nothing_and_names_the_remedy() {
    let wrong = archive("elsewhere/helm");
    let wrong_sum = sha256(&wrong);
    type Script = Box<dyn Fn(bool) -> Reply + Send + Sync>;
    let scripts: [(&str, Script); 4] = [
        ("404", Box::new(|_| Reply::new(404, "gone"))),
        ("SHA-256", Box::new(|sum| Reply::new(200, if sum { "00  x" } else { "other" }))),
        (
            "there is no linux-",
            Box::new(move |sum| {
                Reply::new(200, if sum { wrong_sum.clone().into_bytes() } else { wrong.clone() })
            }),
        ),
        (
            "cannot be downloaded",
            Box::new(|sum| if sum { Reply::new(200, "00") } else { Reply::Torn(b"half".to_vec()) }),
        ),
    ];
    for (expected, script) in scripts {
        let (_server, base) =
            Scripted::tcp(move |request, _| script(request.target.ends_with(".sha256sum"))).await;
        let folder = tempfile::tempdir().unwrap();
        let helm = Tool::helm().from_base(base);
        let error = helm.find_or_fetch(&env(&folder)).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Host, "tool-missing"));
        assert!(error.causes[1].contains(expected), "{expected}: {error}");
        assert!(error.hints[0].contains("scripts/images/factory tools helm"));
        assert!(!helm.cached_path(&env(&folder)).unwrap().exists());
    }
}
