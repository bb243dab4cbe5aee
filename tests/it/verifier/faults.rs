//! Everything that must end in a refusal, with its reason.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use pipe::trust::{bundle, simple};

use super::*;

/// A key that is trusted and one that is not, and an image.
fn keys() -> (SigningKey, SigningKey, String) {
    let key = || SigningKey::generate().unwrap();
    (key(), key(), digest("an image"))
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_do_not_count() {
    let (key, foreign, image) = keys();
    let other = digest("another image");
    let good = bundle::sign(&key, &image);
    let forged = {
        let mut value: serde_json::Value = serde_json::from_slice(&good).unwrap();
        let theirs: serde_json::Value =
            serde_json::from_slice(&bundle::sign(&foreign, &image)).unwrap();
        value["dsseEnvelope"]["signatures"] = theirs["dsseEnvelope"]["signatures"].clone();
        value.to_string().into_bytes()
    };
    let swapped = {
        let mut value: serde_json::Value =
            serde_json::from_slice(&bundle::sign(&key, &other)).unwrap();
        let ours: serde_json::Value = serde_json::from_slice(&good).unwrap();
        value["dsseEnvelope"]["payload"] = ours["dsseEnvelope"]["payload"].clone();
        value.to_string().into_bytes()
    };
    let tampered = {
        let mut signed = simple::sign(&key, REPOSITORY, &other);
        signed.payload = simple::sign(&key, REPOSITORY, &image).payload;
        signed
    };
    for (what, store, expected) in [
        ("foreign bundle", Store::new().tagged(&foreign, &image), "which is not trusted here"),
        ("foreign by API", Store::new().api(&foreign, &image), "which is not trusted here"),
        ("foreign document", Store::new().legacy(&foreign, &image), "no trusted key made"),
        ("signed by another", Store::new().bundle(forged, &image), "no trusted key made"),
        ("payload of another", Store::new().bundle(swapped, &image), "no trusted key made"),
        ("document changed", Store::new().document(&tampered, &image), "no trusted key made"),
        ("replayed bundle", Store::new().replayed(&key, &other, &image), "belongs to sha256:"),
        (
            "replayed document",
            Store::new().document(&simple::sign(&key, REPOSITORY, &other), &image),
            "belongs to sha256:",
        ),
        (
            "truncated bundle",
            Store::new().bundle(good[..good.len() / 2].to_vec(), &image),
            "cannot be read: EOF",
        ),
        ("empty bundle", Store::new().bundle(Vec::new(), &image), "cannot be read: EOF"),
        ("other blob", Store::new().tagged(&key, &image).other_blobs(), "has other bytes"),
        ("other payload", Store::new().legacy(&key, &image).other_blobs(), "has other bytes"),
        ("no signature", Store::new().tagged(&key, &other).legacy(&key, &other), "not signed"),
        ("nothing", Store::new(), "`pipe images add docker.io/library/nats:2.15.2` puts it there"),
    ] {
        let (_server, cache) = store.serve().await;
        let said = Node::new(&cache, &key).ask(&image);
        assert!(!said.allowed && said.reason.contains(expected), "{what}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_broken() {
    let (key, _, image) = keys();
    let list = format!("manifests/sha256-{}", image.trim_start_matches("sha256:"));
    let elsewhere = Reply::new(307, "").header("location", "http://127.0.0.1:1/");
    for (what, reply, expected) in [
        ("500", Reply::new(500, "no"), "HTTP 500"),
        ("401", Reply::new(401, "no"), "HTTP 401"),
        ("a redirection", elsewhere, "HTTP 307"),
        ("garbage", Reply::new(200, "no"), "expected"),
        ("another list", Reply::new(200, r#"{"manifests": 1}"#), "invalid type"),
        ("torn", Reply::Torn(b"{".to_vec()), "gives no signature"),
        ("too much", Reply::new(200, vec![b' '; 2 << 20]), "gives no signature"),
        ("too deep", Reply::new(200, vec![b'['; 1 << 19]), "gives no signature"),
    ] {
        let (_server, cache) = Store::new().answer(&list, reply).serve().await;
        let said = Node::new(&cache, &key).ask(&image);
        assert!(!said.allowed && said.reason.contains(expected), "{what}: {said:?}");
        assert!(said.reason.contains("`pipe up` checks the cache"), "{what}: {said:?}");
    }
    // Where the list is broken, the older form still counts.
    let store = Store::new().answer(&list, Reply::new(500, "no")).legacy(&key, &image);
    let (_server, cache) = store.serve().await;
    Node::new(&cache, &key).ask(&image).allowed("signed with the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_not_there() {
    let (key, _, image) = keys();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let said = Node::new(&format!("http://127.0.0.1:{port}"), &key).ask(&image);
    said.refused("cannot be reached");
    said.refused("`pipe up` starts the cache");
    let (_server, cache) = Scripted::tcp(|_, _| Reply::Reset).await;
    Node::new(&cache, &key).ask(&image).refused("`pipe up`");
    // Its address is nothing that one could ask.
    for address in ["https://127.0.0.1:5000", "127.0.0.1:5000", "http://", ""] {
        Node::new(address, &key).ask(&image).refused("`pipe up`");
    }
}

/// However it hangs, there is an answer before containerd gives up after 10 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_hangs() {
    let (key, _, image) = keys();
    let (_server, silent) = Scripted::tcp(|_, _| Reply::Silence).await;
    // Says a byte now and then, without end.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = format!("http://{}", listener.local_addr().unwrap());
    let _detached = std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _detached = std::thread::spawn(move || {
                let mut stream = stream;
                let _request = stream.read(&mut [0; 4096]);
                let _head = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n");
                while stream.write_all(b" ").is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    for cache in [silent, slow] {
        let mut node = Node::new(&cache, &key);
        let said = node.ask(&image);
        said.refused("did not answer within 3 s");
        assert!(said.took < DEADLINE + SLACK && said.took >= DEADLINE, "{said:?}");
        node.config.mode = Mode::Warn;
        node.ask(&image).allowed("did not answer within 3 s");
    }
}

/// Nobody closes stdin.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_does_not_end() {
    let (key, _, image) = keys();
    let (_server, cache) = Store::new().tagged(&key, &image).serve().await;
    let node = Node::new(&cache, &key);
    std::fs::write(node.file(), node.config.to_text().unwrap()).unwrap();
    let begun = Instant::now();
    let mut verifier = Command::new(env!("CARGO_BIN_EXE_pipe-verifier"))
        .args(["-name", NAME, "-digest", &image, "-stdin-media-type"])
        .arg("application/vnd.oci.descriptor.v1+json")
        .arg("-config")
        .arg(node.file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let open = verifier.stdin.take();
    let output = verifier.wait_with_output().unwrap();
    drop(open);
    assert!(!output.status.success() && begun.elapsed() < DEADLINE + SLACK);
    let reason = String::from_utf8(output.stdout).unwrap();
    assert!(reason.contains("no verdict within 3 s"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_used() {
    let (key, _, image) = keys();
    let (_server, cache) = Store::new().tagged(&key, &image).serve().await;
    let node = Node::new(&cache, &key);
    node.ask(&image).allowed("signed with the key");
    let text = node.config.to_text().unwrap();
    let flags = ["-name", NAME, "-digest", &image];
    for (damaged, expected) in [
        (text[..text.len() / 2].to_owned(), "EOF"),
        (String::new(), "EOF"),
        ("garbage".to_owned(), "expected value"),
        (text.replace("\"version\": 1", "\"version\": 2"), "it has version 2"),
        (text.replace("BEGIN PUBLIC KEY", "BEGIN CERTIFICATE"), "P-256"),
        // Garbage is no permission, whatever stands in it.
        (text.replace("enforce", "off"), "unknown variant `off`"),
        (text.replace("enforce", "warn").replace("}", ""), "EOF"),
    ] {
        std::fs::write(node.file(), &damaged).unwrap();
        let said = run(&node.file(), &flags, "");
        said.refused(expected);
        said.refused("`pipe up` writes it anew");
    }
    std::fs::remove_file(node.file()).unwrap();
    run(&node.file(), &flags, "").refused("No such file or directory");
    // A folder cannot be read as a file by root either.
    std::fs::create_dir(node.file()).unwrap();
    run(&node.file(), &flags, "").refused("Is a directory");
    // Without end.
    run(Path::new("/dev/zero"), &flags, "").refused("expected value");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_are_none() {
    let (key, _, image) = keys();
    let (server, cache) = Store::new().tagged(&key, &image).serve().await;
    let mut node = Node::new(&cache, &key);
    node.ask_as("nats:2", &image).refused("has no registry");
    node.ask_as("docker.io/../../v2/nats:2", &image).refused("is not an image name");
    node.ask("sha512:00").refused("is no sha256 digest");
    let media_type = "application/vnd.oci.descriptor.v1+json";
    let flags = ["-name", NAME, "-digest", &image, "-stdin-media-type", media_type];
    run(&node.file(), &flags, "").refused("the descriptor cannot be read");
    let other = format!(r#"{{"digest":"{}"}}"#, digest("another image"));
    run(&node.file(), &flags, &other).refused("the descriptor is of sha256:");
    run(&node.file(), &[], "").refused("-name is missing");
    run(&node.file(), &["verify"], "").refused("where a flag should");
    assert!(server.requests().is_empty());
    node.config.mode = Mode::Warn;
    node.ask("sha512:00").allowed("is no sha256 digest");
}
