//! `pipe images lock`: the real binary, a registry and an engine on real sockets, a private cosign.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pipe::Kind;
use pipe::report::Events;
use pipe::run::cache::lock::{self, Needs, Place};
use pipe::run::cache::resolve::Resolver;
use pipe::spec::name::url::MirrorUrl;
use pipe::spec::source::Sources;
use pipe::spec::{self, Arch};
use pipe::state::paths::Paths;
use pipe::trust::attached::{self, sha256};
use pipe::trust::{SigningKey, simple};
use pipe::world::built::BuiltImages;
use pipe::world::env::Env;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::env::TestEnv;
use crate::scripted::{Reply, Request, Scripted};
use crate::troubles::engine::{Scene, asks_for_image, image, scene};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a registry has: path below `/v2/` to media type and bytes.
type Content = Arc<Mutex<BTreeMap<String, (String, Vec<u8>)>>>;

/// A registry, and everything that talks to it.
struct Stage {
    scene: Scene,
    content: Content,
    _registry: Scripted,
    runtime: Runtime,
    /// Where its mirror of `docker.io` is.
    mirror: String,
}

impl Stage {
    /// A project with the profile `p` of these components; `docker.io` has a mirror, everything else
    /// cannot be reached. The engine has what `has` fits.
    fn new(components: &str, has: &'static str) -> Stage {
        let mut scene = scene(move |request: &Request| {
            let has = asks_for_image(request) && !has.is_empty() && request.target.contains(has);
            has.then(|| image("amd64"))
        });
        let content = Content::default();
        let served = content.clone();
        let runtime = Runtime::new().unwrap();
        let (registry, base) = runtime.block_on(Scripted::tcp(move |request, _| {
            let path = request.target.strip_prefix("/v2/hub/").unwrap_or_default();
            match served.lock().unwrap().get(path) {
                Some((kind, bytes)) => Reply::new(200, bytes.clone()).header("content-type", kind),
                None => Reply::new(404, ""),
            }
        }));
        let env = &mut scene.env;
        // Whoever runs this may have a network, where names lead to real registries.
        env.set("HTTPS_PROXY", "http://127.0.0.1:9");
        let config = env.path("home/.config/pipe/config.yaml");
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();
        let text = format!(
            "apiVersion: pipe.dev/v1alpha1\nkind: Config\nmirrors: {{docker.io: ['{base}/hub']}}\n"
        );
        std::fs::write(config, text).unwrap();
        std::fs::remove_file(env.path("work/profiles/none.yaml")).unwrap();
        env.write("profiles/p.yaml", &profile(components));
        Stage { scene, content, _registry: registry, runtime, mirror: format!("{base}/hub") }
    }

    fn env(&self) -> &TestEnv {
        &self.scene.env
    }

    /// Puts an index under a tag; gives its digest.
    fn index(&self, repository: &str, tag: &str, amd64: char) -> String {
        let child = |arch: &str, c: char| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2,
                "digest": format!("sha256:{}", c.to_string().repeat(64)),
                "platform": {"os": if arch == "unknown" { arch } else { "linux" }, "architecture": arch},
            })
        };
        let manifests = [child("amd64", amd64), child("arm64", 'b'), child("unknown", 'c')];
        let index =
            serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let bytes = index.to_string().into_bytes();
        let digest = sha256(&bytes);
        for reference in [tag, &digest] {
            self.put(&format!("{repository}/manifests/{reference}"), INDEX, &bytes);
        }
        digest
    }

    fn put(&self, path: &str, kind: &str, bytes: &[u8]) {
        let entry = (kind.to_owned(), bytes.to_vec());
        self.content.lock().unwrap().insert(path.to_owned(), entry);
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.env().path("work/pipe.lock")).unwrap_or_default()
    }
}

fn profile(components: &str) -> String {
    format!("apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: p\ncomponents:\n{components}")
}

/// Without the time that it was made.
fn timeless(lock: &str) -> String {
    let lines =
        lock.lines().map(|line| if line.contains(" at: ") { "    at: [time]" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

const NATS: &str = "- {name: nats, namespace: a}\n";
const MINIO: &str = "- {name: minio, namespace: b}\n";

#[test]
fn a_lock_is_written_once_and_stays_until_something_moves() {
    let stage = Stage::new(&format!("{NATS}{MINIO}"), "quay.io/minio");
    let digest = stage.index("library/nats", "2.15.2", 'a');
    let lock = ["images", "lock", "--profile", "p"];
    let out = stage.env().pipe(lock).success();
    insta::assert_snapshot!("lock_written", out.both());
    let written = stage.lock();
    assert!(written.contains(&digest));
    insta::assert_snapshot!("lock_file", timeless(&written));

    let again = stage.env().pipe(lock).success();
    assert!(again.both().contains("stays as it was"), "{}", again.both());
    assert_eq!(stage.lock(), written);
    let check = ["images", "lock", "--profile", "p", "--check"];
    stage.env().pipe(check).success();

    // The tag moves upstream, and the profile is edited.
    stage.index("library/nats", "2.15.2", 'd');
    stage.env().write("profiles/p.yaml", &profile(NATS));
    let stale = stage.env().pipe(check).code(1);
    insta::assert_snapshot!("lock_stale", stale.stderr());
    assert_eq!(stage.lock(), written, "a check writes nothing");
    stage.env().pipe(lock).success();
    assert!(!stage.lock().contains("minio") && !stage.lock().contains(&digest));
    stage.env().pipe(check).success();

    // Where no registry answers, that is said, and what is locked stands.
    stage.content.lock().unwrap().clear();
    let gone = stage.env().pipe(check).code(1);
    assert!(gone.stderr().contains("has no such tag now"), "{}", gone.stderr());
    std::fs::remove_file(stage.env().path("home/.config/pipe/config.yaml")).unwrap();
    let unasked = stage.env().pipe(check).success();
    assert!(unasked.both().contains("not looked up"), "{}", unasked.both());
}

#[test]
fn every_image_that_cannot_be_locked_is_in_the_error() {
    let stage = Stage::new(&format!("{NATS}{MINIO}"), "");
    let error = stage.env().pipe(["images", "lock"]).code(1);
    for name in ["docker.io/library/nats:2.15.2", "quay.io/minio/minio", "does not have it"] {
        assert!(error.stderr().contains(name), "{}", error.stderr());
    }
    assert_eq!(stage.lock(), "");
    let check = stage.env().pipe(["images", "lock", "--check"]).code(1);
    assert!(check.stderr().contains("lock-stale"), "{}", check.stderr());

    stage.env().write("pipe.lock", "apiVersion: pipe.dev/v1alpha1\nkind: Lock\nimages: {x: {}}\n");
    let broken = stage.env().pipe(["images", "lock"]).code(3);
    assert!(broken.stderr().contains("pipe.lock:3:"), "{}", broken.stderr());
}

#[test]
fn an_image_for_another_cpu_is_not_locked() {
    let stage = Stage::new(NATS, "");
    let text = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    stage.put("library/nats/manifests/2.15.2", INDEX, text.to_string().as_bytes());
    let error = stage.env().pipe(["images", "lock", "--profile", "p"]).code(1);
    assert!(error.stderr().contains("image-platform"), "{}", error.stderr());
}

/// A component of an image with a policy of its own.
fn guarded(accept: &str) -> Stage {
    let stage = Stage::new("- {name: app, namespace: a}\n", "");
    stage.env().write(
        "profiles/components/app.yaml",
        "apiVersion: pipe.dev/v1alpha1\nkind: Component\nname: app\ndescription: x\nchart: nats\n\
         images: [docker.io/acme/app:1]\nsizes: {single: {}}\nready: []\n",
    );
    stage.env().write(
        "profiles/trust/acme.yaml",
        &format!("apiVersion: pipe.dev/v1alpha1\nkind: TrustPolicy\nname: acme\nimages: [docker.io/acme/app]\naccept: [{accept}]\n"),
    );
    stage
}

/// The class and the words of the one image that is locked.
fn evidence(stage: &Stage) -> (String, String) {
    let out = stage.env().pipe(["images", "lock", "--profile", "p", "--json"]).success();
    let document: serde_json::Value = serde_json::from_str(out.stdout()).unwrap();
    let found = &document["images"]["docker.io/acme/app:1"]["evidence"];
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("class"), text("words"))
}

#[test]
fn cosign_is_asked_for_the_very_identity_and_believed_in_nothing_else() {
    let who = "https://github.com/acme/app/.github/workflows/release.yaml@refs/tags/1";
    let stage =
        guarded(&format!("{{keyless: {{identity: '{who}', issuer: 'https://issuer.example'}}}}"));
    let digest = stage.index("acme/app", "1", 'a');

    // Without it nothing passes.
    let (class, words) = evidence(&stage);
    assert_eq!(class, "none");
    assert!(words.contains("cosign") && words.contains("neither on PATH"), "{words}");

    let fake = |version: &str, verify: &str| {
        let body = format!(
            "case \"$1\" in\nversion) echo '{{\"gitVersion\": \"{version}\"}}' ;;\nverify) {verify} ;;\nesac"
        );
        stage.env().fake("cosign", &body);
    };
    fake("v3.1.3", "exit 0");
    let (class, words) = evidence(&stage);
    assert_eq!((class.as_str(), words.contains(who)), ("keyless", true), "{words}");
    let asked = stage.env().calls().into_iter().find(|call| call.contains(" verify ")).unwrap();
    for part in [
        &format!("--certificate-identity {who} "),
        "--certificate-oidc-issuer https://issuer.example ",
        &format!("/hub/acme/app@{digest}"),
        "--allow-http-registry",
    ] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }

    fake(
        "v3.1.3",
        "echo 'main.go:1: x' >&2; echo 'Error: no matching signatures: none' >&2; exit 12",
    );
    let (class, words) = evidence(&stage);
    assert_eq!(class, "none");
    assert!(words.contains("Error: no matching signatures"), "{words}");

    fake("v3.0.3", "exit 0");
    let (class, words) = evidence(&stage);
    assert_eq!((class.as_str(), words.contains("GHSA-whqx-f9j3-ch6m")), ("none", true), "{words}");
}

#[test]
fn a_key_in_a_policy_is_checked_by_ourselves() {
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let stage = guarded("{key: {file: acme.pub}}, {digestOnly: {reason: nothing else is there}}");
    let pem = |key: &SigningKey| key.public().to_pem().unwrap();
    stage.env().write("profiles/trust/acme.pub", &pem(&key));
    let digest = stage.index("acme/app", "1", 'a');
    let sign = |key: &SigningKey, digest: &str| {
        let signed = simple::sign(key, "docker.io/acme/app", digest);
        attached::legacy(&signed, &[]).unwrap()
    };
    let serve = |attachment: &attached::Attachment| {
        let manifest = &attachment.manifest;
        let path = format!("acme/app/manifests/{}", attached::signature_tag(&digest));
        stage.put(&path, &manifest.media_type, &manifest.content);
        for blob in &attachment.blobs {
            stage.put(&format!("acme/app/blobs/{}", blob.digest), &blob.media_type, &blob.content);
        }
    };
    assert_eq!(evidence(&stage).0, "digest-only");
    serve(&sign(&key, &digest));
    let (class, words) = evidence(&stage);
    assert_eq!((class.as_str(), words.contains(&key.public().id().to_string())), ("key", true));
    // Somebody else's, and ours on another image.
    serve(&sign(&other, &digest));
    assert_eq!(evidence(&stage).0, "digest-only");
    serve(&sign(&key, &sha256(b"another")));
    let (class, words) = evidence(&stage);
    assert_eq!(class, "digest-only");
    assert!(!words.contains("signed"), "{words}");
}

#[test]
fn under_enforce_what_is_not_believed_is_refused() {
    let stage = guarded("{keyless: {identity: a, issuer: 'https://issuer.example'}}");
    stage.index("acme/app", "1", 'a');
    stage.env().fake("cosign", "exit 1");
    let text = |path: &str| stage.env().path(path).display().to_string();
    let (home, bin) = (text("home"), text("bin"));
    let mut env = Env::from([("HOME", home.as_str()), ("PATH", bin.as_str())]);
    let mirror = MirrorUrl::parse(&stage.mirror).unwrap();
    env.surroundings.mirrors.insert("docker.io".to_owned(), vec![mirror]);
    let work = stage.env().path("work");
    let sources = Sources::find(Some(&work), &work).unwrap();
    let paths = Paths::from_env(|name| env.get(name).map(str::to_owned)).unwrap();
    let (forbidden, policies) =
        (spec::forbidden(&sources).unwrap(), spec::policies(&sources).unwrap());
    let (built, cancel) = (BuiltImages::default(), CancellationToken::new());
    let resolver = Resolver {
        env: &env,
        engine: None,
        built: &built,
        forbidden: &forbidden,
        policies: &policies,
        arch: Arch::Amd64,
        cancel: &cancel,
    };
    let mut needs = Needs::of(&sources, Some("p")).unwrap();
    let place = Place::of(&sources, &paths);
    let (events, _unread) = Events::channel();
    let run = |needs: &Needs| {
        stage.runtime.block_on(lock::lock(&resolver, &place, needs, &paths, &events))
    };
    needs.images.values_mut().for_each(|need| need.enforced = true);
    let refused = run(&needs).unwrap_err();
    assert_eq!((refused.kind, refused.code), (Kind::Signature, "evidence-refused"), "{refused:?}");
    assert!(refused.hints[0].contains("profiles/trust/"), "{refused:?}");
    assert_eq!(stage.lock(), "");
    needs.images.values_mut().for_each(|need| need.enforced = false);
    assert!(run(&needs).unwrap().notes[0].contains("is not believed"));
    assert!(stage.lock().contains("class: none"), "{}", stage.lock());
}

#[test]
fn what_was_built_here_comes_first_and_a_stand_in_only_where_allowed() {
    let stage = Stage::new(NATS, "localhost/pipe/nats");
    stage.index("library/nats", "2.15.2", 'a');
    let built = |class: &str| {
        let map = stage.env().path("home/.cache/pipe/images/built.json");
        std::fs::create_dir_all(map.parent().unwrap()).unwrap();
        let image = serde_json::json!({
            "upstream": "docker.io/library/nats:2.15.2", "local": "localhost/pipe/nats:2.15.2-abc",
            "recipe": "0123456789abcdef", "version": "2", "class": class, "instead": "something else",
        });
        let text = serde_json::json!({"schema": 1, "images": [image]});
        std::fs::write(map, text.to_string()).unwrap();
    };
    let lock = || {
        stage.env().pipe(["images", "lock", "--profile", "p"]).success().both();
        stage.lock()
    };
    built("built");
    let text = lock();
    assert!(text.contains("class: built") && text.contains("by: \"0123456789abcdef\""), "{text}");
    assert!(
        text.contains("anchoredBy: config") && text.contains("recipe 0123456789ab\""),
        "{text}"
    );
    built("stand-in");
    let text = lock();
    assert!(text.contains("source: upstream"), "{text}");
    stage.env().write("profiles/p.yaml", &profile(&format!("{NATS}images: {{standIns: allow}}\n")));
    let text = lock();
    assert!(text.contains("a stand-in, something else, built on this host"), "{text}");
}

#[test]
fn two_at_once_lose_nothing() {
    let stage = Stage::new(NATS, "");
    stage.env().write("profiles/q.yaml", &profile(NATS).replace("name: p\n", "name: q\n"));
    stage.index("library/nats", "2.15.2", 'a');
    std::thread::scope(|scope| {
        for name in ["p", "q"] {
            let env = stage.env();
            scope.spawn(move || env.pipe(["images", "lock", "--profile", name]).success());
        }
    });
    assert!(stage.lock().contains("profiles: [p, q]"), "{}", stage.lock());
}

#[test]
fn up_locks_on_first_use_and_holds_to_it_from_then_on() {
    let stage = Stage::new(NATS, "");
    let enforced =
        |components: &str| format!("{}images: {{policy: enforce}}\n", profile(components));
    stage.env().write("profiles/p.yaml", &enforced(NATS));
    let digest = stage.index("library/nats", "2.15.2", 'a');
    // A node image that boots anywhere; the engine of this test has none and makes no container.
    let image = "--node-image=docker.io/kindest/node:v1.34.0";
    let (plan, up) = (["plan", "one", "--profile=p", image], ["up", "one", "--profile=p", image]);
    stage.env().pipe(plan).success();
    assert_eq!(stage.lock(), "", "a plan writes nothing");
    let failed = stage.env().pipe(up).code(1);
    assert!(failed.both().contains("locked in "), "{}", failed.both());
    assert!(stage.lock().contains(&digest), "{}", stage.lock());

    // The tag moves, and the lock does not.
    let written = stage.lock();
    stage.index("library/nats", "2.15.2", 'd');
    let failed = stage.env().pipe(up).code(1);
    assert!(!failed.both().contains("locked in "), "{}", failed.both());
    assert_eq!(stage.lock(), written);

    // What a reviewed lock lacks is not added in passing.
    stage.env().write("profiles/p.yaml", &enforced(&format!("{NATS}{MINIO}")));
    for command in [plan, up] {
        let refused = stage.env().pipe(command).code(7);
        for part in ["[lock-stale]", "quay.io/minio/minio", "pipe images lock --profile p"] {
            assert!(refused.stderr().contains(part), "{part}: {}", refused.stderr());
        }
    }
    assert_eq!(stage.lock(), written);

    stage.env().write("pipe.lock", "apiVersion: pipe.dev/v1alpha1\nkind: Lock\nimages: {x: {}}\n");
    assert!(stage.env().pipe(up).code(3).stderr().contains("pipe.lock:3:"));
}
