//! The program that containerd asks on a node, against registries on real sockets: honest ones, and
//! those that lie, hang or break.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pipe::trust::attached::sha256;
use pipe::trust::forbidden::{Forbidden, Pattern, Rule};
use pipe::trust::{PublicKey, SigningKey};
use pipe::verifier::config::{Config, Mode, VERSION};
use tempfile::TempDir;

use crate::scripted::{Reply, Scripted};

mod faults;
pub mod store;

use store::{REPOSITORY, Store};

const NAME: &str = "docker.io/library/nats:2.15.2";

/// How long the verifier waits for the cache.
const DEADLINE: Duration = Duration::from_secs(3);

/// From the question to the last reason, on a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// A node: a folder with a configuration and verdicts.
struct Node {
    folder: TempDir,
    config: Config,
}

/// What containerd would see.
#[derive(Debug)]
struct Said {
    allowed: bool,
    reason: String,
    log: String,
    took: Duration,
}

impl Said {
    fn refused(&self, why: &str) {
        assert!(!self.allowed && self.reason.contains(why), "{why} is not in {self:?}");
        assert_eq!(self.reason.lines().count(), 1, "{self:?}");
    }

    fn allowed(&self, why: &str) {
        assert!(self.allowed && self.reason.contains(why), "{why} is not in {self:?}");
    }
}

impl Node {
    /// Enforces signatures of `key` in the cache at `cache`.
    fn new(cache: &str, key: &SigningKey) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            version: VERSION,
            mode: Mode::Enforce,
            cache: cache.to_owned(),
            keys: vec![pem(key.public())],
            allowed: Vec::new(),
            forbidden: Forbidden::default(),
            verdicts: folder.path().join("verdicts"),
        };
        Node { folder, config }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("verifier.json")
    }

    /// As containerd asks.
    fn ask(&self, digest: &str) -> Said {
        self.ask_as(NAME, digest)
    }

    fn ask_as(&self, name: &str, digest: &str) -> Said {
        std::fs::write(self.file(), self.config.to_text().unwrap()).unwrap();
        let descriptor = serde_json::json!({
            "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": 1,
        });
        let media_type = "application/vnd.oci.descriptor.v1+json";
        let flags = ["-name", name, "-digest", digest, "-stdin-media-type", media_type];
        run(&self.file(), &flags, &format!("{descriptor}\n"))
    }
}

fn run(config: &Path, flags: &[&str], stdin: &str) -> Said {
    let begun = Instant::now();
    let mut verifier = Command::new(env!("CARGO_BIN_EXE_pipe-verifier"))
        .args(flags)
        .arg("-config")
        .arg(config)
        // containerd of a node has proxies in its environment; the cache is not behind them.
        .env_clear()
        .envs([("HTTP_PROXY", "http://127.0.0.1:1"), ("ALL_PROXY", "http://127.0.0.1:1")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever was refused before reading hangs up.
    let _unread = std::io::Write::write_all(&mut verifier.stdin.take().unwrap(), stdin.as_bytes());
    let output = verifier.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().trim_end().to_owned();
    Said {
        allowed: output.status.success(),
        reason: text(&output.stdout),
        log: text(&output.stderr),
        took: begun.elapsed(),
    }
}

fn pem(key: &PublicKey) -> String {
    key.to_pem().unwrap()
}

fn digest(content: &str) -> String {
    sha256(content.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_allowed_in_either_form_wherever_it_is_kept() {
    let key = SigningKey::generate().unwrap();
    let image = digest("an image");
    for (how, store) in [
        ("the referrers API", Store::new().api(&key, &image)),
        ("the referrers tag", Store::new().tagged(&key, &image)),
        ("the older form", Store::new().legacy(&key, &image)),
    ] {
        let (server, cache) = store.serve().await;
        Node::new(&cache, &key).ask(&image).allowed(&format!("{}", key.public().id()));
        let requests = server.requests();
        let prefix = format!("/v2/{REPOSITORY}/");
        assert!(requests.iter().all(|it| it.target.starts_with(&prefix)), "{how}: {requests:?}");
        assert!(requests.len() <= 5, "{how}: {requests:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_signature_counts_beside_any_number_of_bad_ones() {
    let [key, foreign] = [(); 2].map(|()| SigningKey::generate().unwrap());
    let [image, other] = [digest("an image"), digest("another")];
    let store = Store::new()
        .tagged(&foreign, &image)
        .replayed(&key, &other, &image)
        .legacy(&foreign, &image)
        .legacy(&key, &image);
    let (_server, cache) = store.serve().await;
    Node::new(&cache, &key).ask(&image).allowed("signed with the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_remembered_as_long_as_its_key_is_trusted() {
    let [key, next] = [(); 2].map(|()| SigningKey::generate().unwrap());
    let [image, unsigned] = [digest("an image"), digest("an unsigned image")];
    let (server, cache) = Store::new().tagged(&key, &image).serve().await;
    let mut node = Node::new(&cache, &key);
    node.ask(&image).allowed("signed with the key");
    let asked = server.requests().len();
    node.ask(&image).allowed("as was seen before");
    // Another key beside it changes nothing.
    node.config.keys.insert(0, pem(next.public()));
    node.ask(&image).allowed("as was seen before");
    assert_eq!(server.requests().len(), asked);
    // Without it, what it signed counts no more.
    node.config.keys.pop();
    node.ask(&image).refused("which is not trusted here");
    assert!(server.requests().len() > asked);
    // What was refused is asked about again each time.
    for _ in 0..2 {
        let asked = server.requests().len();
        node.ask(&unsigned).refused("not signed");
        assert!(server.requests().len() > asked);
    }
    // The cache is gone, and what is known is known.
    node.config.keys = vec![pem(key.public())];
    drop(server);
    node.ask(&image).allowed("as was seen before");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_depends_on_remembering() {
    let key = SigningKey::generate().unwrap();
    let image = digest("an image");
    let (server, cache) = Store::new().tagged(&key, &image).serve().await;
    let mut node = Node::new(&cache, &key);
    // A file where the folder should be stops root, too.
    node.config.verdicts = node.folder.path().join("file");
    std::fs::write(&node.config.verdicts, "").unwrap();
    for _ in 0..2 {
        let asked = server.requests().len();
        node.ask(&image).allowed("signed with the key");
        assert!(server.requests().len() > asked);
    }
    // And a verdict that broke off says nothing.
    node.config.verdicts = node.folder.path().join("verdicts");
    node.ask(&image).allowed("signed with the key");
    let file = node.config.verdicts.join(image.trim_start_matches("sha256:"));
    std::fs::write(&file, &std::fs::read(&file).unwrap()[..30]).unwrap();
    let asked = server.requests().len();
    node.ask(&image).allowed("signed with the key");
    assert!(server.requests().len() > asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn some_digests_need_no_signature() {
    let (server, cache) = Store::new().serve().await;
    let mut node = Node::new(&cache, &SigningKey::generate().unwrap());
    node.config.allowed = vec![digest("pause")];
    node.ask(&digest("pause")).allowed("allowed without a signature");
    assert!(server.requests().is_empty());
    node.ask(&digest("anything else")).refused("not signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_is_refused_in_every_mode_though_it_is_signed() {
    let key = SigningKey::generate().unwrap();
    let image = digest("an image");
    let store = Store::new().tagged(&key, &image);
    let (server, cache) = store.serve().await;
    let mut node = Node::new(&cache, &key);
    node.ask(&image).allowed("signed with the key");
    let asked = server.requests().len();
    let rule = Rule {
        what: "an example".to_owned(),
        why: "its licence".to_owned(),
        instead: "another".to_owned(),
        images: vec![Pattern::parse("library/nats").unwrap()],
        except: Vec::new(),
    };
    node.config.forbidden = Forbidden::new(vec![rule]);
    node.config.allowed = vec![image.clone()];
    for mode in [Mode::Enforce, Mode::Warn] {
        node.config.mode = mode;
        let said = node.ask(&image);
        said.refused("which is forbidden: its licence");
        said.refused("take another");
    }
    // Even where nothing else could be decided.
    node.config.keys = vec!["no key".to_owned()];
    node.ask(&image).refused("which is forbidden");
    assert_eq!(server.requests().len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_warn_everything_is_allowed_and_the_reason_said() {
    let [key, foreign] = [(); 2].map(|()| SigningKey::generate().unwrap());
    let image = digest("an image");
    let (_server, cache) = Store::new().tagged(&foreign, &image).serve().await;
    let mut node = Node::new(&cache, &key);
    node.config.mode = Mode::Warn;
    let said = node.ask(&image);
    said.allowed("not refused, since the policy is warn");
    assert!(said.log.starts_with("warning: no signature of it counts"), "{said:?}");
    node.ask(&digest("unsigned")).allowed("pipe images add docker.io/library/nats:2.15.2");
    node.ask_as("nats", &image).allowed("has no registry");
    node.config.keys = vec!["no key".to_owned()];
    node.ask(&image).allowed("pipe up");
    node.config.cache = "http://127.0.0.1:1".to_owned();
    node.config.keys = vec![pem(key.public())];
    node.ask(&image).allowed("cannot be reached");
    // None of that is a verdict to be remembered.
    node.config.mode = Mode::Enforce;
    node.ask(&image).refused("cannot be reached");
}
