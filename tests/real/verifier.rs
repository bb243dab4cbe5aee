//! containerd of a node asks our verifier, and does what it says: seen from the API server, as people
//! see it, and with files that are put there by hand.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use pipe::provider::kind::containerd::{self, with_hosts, with_verifier};
use pipe::provider::kind::surroundings::HOSTS;
use pipe::provider::kind::verifier::{BIN, Delivery, PROGRAM};
use pipe::run::cache::signatures::{self, Pen};
use pipe::trust::SigningKey;
use pipe::trust::forbidden::{Forbidden, Pattern, Rule};
use pipe::verifier::config::{Config, Mode, VERDICTS, VERSION};
use pipe::world::engine::FileToPut;
use pipe::world::executable::Executable;
use serde_json::Value;

use super::cache::{NAME, NOW, Server, no_registry, put_image};
use super::cluster::ONE;
use super::host::{not_extended, podman, root, text};
use super::pipe::Home;
use super::{Case, block_on};

pub const CASES: [Case; 1] = [Case {
    name: "containerd_of_a_node_asks_the_verifier",
    skip: || not_extended().or_else(no_registry),
    run: || block_on(asks()),
}];

const NODE: &str = "one-control-plane";

/// From a pod's creation until its image is pulled, or was refused.
const PULLED: Duration = Duration::from_secs(90);

/// Puts files where they belong, as the engine does it for `pipe`.
fn put(home: &Home, files: Vec<FileToPut>) {
    let archive = home.path("files.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(file.mode);
        header.set_size(file.content.len() as u64);
        let path = file.path.trim_start_matches('/');
        tar.append_data(&mut header, path, file.content.as_slice()).unwrap();
    }
    tar.finish().unwrap();
    let output = Command::new(root().join("scripts/lib/podman-wrapper"))
        .args(["cp", "-", &format!("{NODE}:/")])
        .stdin(std::fs::File::open(&archive).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[track_caller]
fn exec(arguments: &[&str]) -> String {
    let output: Output = Command::new(root().join("scripts/lib/podman-wrapper"))
        .args(["exec", NODE])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Another configuration for containerd, in force when this returns.
fn configure(home: &Home, config: &str) {
    put(home, vec![FileToPut::new(containerd::CONFIG, 0o644, config)]);
    exec(&["systemctl", "restart", "containerd.service"]);
}

/// What the pod's events say of its image, once they say what became of the pull.
fn pulled(home: &Home, image: &str) -> Result<(), String> {
    let pod = image.rsplit(['/', ':']).next().unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  restartPolicy: Never\n  \
         containers: [{{name: app, image: '{image}', command: [none]}}]\n"
    );
    home.write("pod.yaml", &text);
    home.ok("kubectl -c one -- apply -f pod.yaml");
    let deadline = Instant::now() + PULLED;
    loop {
        let events = home.ok(&format!(
            "kubectl -c one -- get events -o json --field-selector involvedObject.name={pod}"
        ));
        let events: Value = serde_json::from_str(&events).unwrap();
        let messages: Vec<&str> = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|event| event["message"].as_str())
            .collect();
        if messages.iter().any(|message| message.starts_with("Successfully pulled image")) {
            return Ok(());
        }
        if let Some(said) = messages.iter().find(|it| it.starts_with("Failed to pull image")) {
            return Err((*said).to_owned());
        }
        assert!(Instant::now() < deadline, "{image}: {messages:#?}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn delivery(cache: &str, key: &SigningKey, mode: Mode) -> Delivery {
    let rule = Rule {
        what: "an example".to_owned(),
        why: "its licence".to_owned(),
        instead: "another".to_owned(),
        images: vec![Pattern::parse("forbidden").unwrap()],
        except: Vec::new(),
    };
    let config = Config {
        version: VERSION,
        mode,
        cache: cache.to_owned(),
        keys: vec![key.public().to_pem().unwrap()],
        allowed: Vec::new(),
        forbidden: Forbidden::new(vec![rule]),
        verdicts: VERDICTS.into(),
    };
    // Beside the binary under test: this test program lies in a folder below.
    let program = Path::new(env!("CARGO_BIN_EXE_pipe")).with_file_name(PROGRAM);
    Delivery::new(Executable::installed(&program).unwrap(), &config).unwrap()
}

#[track_caller]
fn refused(pull: Result<(), String>, why: &str) {
    let said = pull.expect_err("it was pulled");
    assert!(said.contains("image verifier bindir blocked pull"), "{said}");
    assert!(said.contains("verifier pipe-verifier rejected image"), "{said}");
    assert!(said.contains(why), "{why} is not in {said}");
}

async fn asks() {
    let home = Home::new(&["one"]);
    let bare = "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: bare\ncomponents: []\n";
    home.write("profiles/bare.yaml", bare);
    home.write_cluster("one", &ONE.replace("profile: messages", "profile: bare"));
    home.ok("up one");

    let server = Server::start_at("0.0.0.0").await;
    let [key, stranger] = [(); 2].map(|()| SigningKey::generate().unwrap());
    for (repository, tag, signer) in [
        (NAME, "signed", Some(&key)),
        (NAME, "unsigned", None),
        (NAME, "foreign", Some(&stranger)),
        (NAME, "before", None),
        (NAME, "later", None),
        ("docker.io/mirror/forbidden", "forbidden", Some(&key)),
    ] {
        let repository = server.registry().repository(repository);
        let manifest = put_image(&repository, tag).await.unwrap();
        repository.put_manifest(&manifest, Some(tag)).await.unwrap();
        if let Some(key) = signer {
            let pen = Pen { name: NAME, key, now: NOW };
            signatures::sign(&repository, &manifest.digest, pen).await.unwrap();
        }
    }
    let format = "{{range .Subnets}}{{.Gateway}} {{end}}";
    let gateways = podman(["network", "inspect", "kind", "--format", format]);
    let gateway = gateways.split_whitespace().find(|it| it.contains('.')).expect("a gateway");
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let cache = format!("http://{gateway}:{port}");

    // On a node that runs: what a new node gets lies in the same places.
    let install = |mode| {
        let (files, commands) = delivery(&cache, &key, mode).replacement();
        put(&home, files);
        for command in commands {
            exec(&command.iter().map(String::as_str).collect::<Vec<_>>());
        }
        assert_eq!(exec(&["ls", BIN]).trim(), PROGRAM);
    };
    install(Mode::Enforce);
    let mirror = format!("{cache}/v2/docker.io");
    let hosts = format!(
        "server = {mirror:?}\noverride_path = true\ncapabilities = [\"pull\", \"resolve\"]\n\
         [host.{mirror:?}]\noverride_path = true\ncapabilities = [\"pull\", \"resolve\"]\n"
    );
    put(&home, vec![FileToPut::new(format!("{HOSTS}/docker.io/hosts.toml"), 0o644, hosts)]);

    // With the image's own configuration the verifier is there, and nobody asks it.
    let original = exec(&["cat", containerd::CONFIG]);
    let original =
        original.replace("discard_unpacked_layers = false", "discard_unpacked_layers = true");
    let original = with_hosts(&original, HOSTS).unwrap().unwrap_or(original);
    configure(&home, &original);
    pulled(&home, &format!("{NAME}:before")).unwrap();

    let (corrected, changes) = with_verifier(&original).unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    configure(&home, &corrected);
    let remedy = "`pipe images add docker.io/library/app:unsigned` puts it there, signed";
    refused(pulled(&home, &format!("{NAME}:unsigned")), remedy);
    refused(pulled(&home, &format!("{NAME}:foreign")), "which is not trusted here");
    refused(pulled(&home, "docker.io/mirror/forbidden:forbidden"), "forbidden: its licence");
    pulled(&home, &format!("{NAME}:signed")).unwrap();
    assert_eq!(exec(&["ls", VERDICTS]).lines().count(), 1);

    // Another configuration is in force at once.
    install(Mode::Warn);
    pulled(&home, &format!("{NAME}:later")).unwrap();
    home.ok("teardown one");
}
