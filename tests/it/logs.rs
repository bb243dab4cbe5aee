//! `pipe logs` against an engine that says what the test wants.

use serde_json::json;

use crate::env::TestEnv;
use crate::scripted::{Reply, Request, Scripted};

/// An engine with one stopped node of cluster dev.
fn engine(request: &Request, _before: usize) -> Reply {
    let containers = json!([{
        "Id": "1", "Names": ["dev-control-plane"], "Image": "i", "State": "exited",
        "Labels": {
            "io.x-k8s.kind.cluster": "dev", "io.x-k8s.kind.role": "control-plane",
            "pipe.dev/cluster": "dev", "pipe.dev/node": "core",
        },
    }]);
    match request.target.split('?').next().unwrap_or_default() {
        "/_ping" => Reply::new(200, "OK").header("Libpod-API-Version", "5.4.2"),
        target if target.ends_with("/containers/json") && request.target.contains("other") => {
            Reply::new(200, "[]")
        }
        target if target.ends_with("/containers/json") => Reply::new(200, containers.to_string()),
        target => Reply::podman_error(500, "broken", &format!("no answer to {target}")),
    }
}

fn served() -> (TestEnv, Scripted) {
    let mut env = TestEnv::new();
    let (server, socket) = Scripted::unix(&env.path("run"), engine);
    env.set("PIPE_ENGINE", &format!("unix://{}", socket.display()));
    (env, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_answered_with_a_near_one() {
    let (env, _server) = served();
    let stderr = env.pipe(["logs", "cor"]).code(2).stderr().to_owned();
    assert!(stderr.contains("did you mean \"core\"?"), "{stderr}");
    let stderr = env.pipe(["logs", "dev"]).code(2).stderr().to_owned();
    assert!(stderr.contains("pipe logs --cluster dev"), "{stderr}");
    let stderr = env.pipe(["logs", "core", "--cluster", "other"]).code(1).stderr().to_owned();
    assert!(stderr.contains("there is no cluster other"), "{stderr}");
    let stderr = env.pipe(["logs", "--follow"]).code(2).stderr().to_owned();
    assert!(stderr.contains("<NAME>") || stderr.contains("[NAME]"), "{stderr}");
}

/// An engine that answers almost nothing still gives an archive, which says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_in_the_index_with_its_reason() {
    let (mut env, _server) = served();
    env.set("HTTPS_PROXY", "http://ada:hunter22@proxy.example:3128");
    let said = env.pipe(["--quiet", "logs", "--output", "dev.tar.gz"]).success();
    assert_eq!(said.stdout(), "[root]/work/dev.tar.gz\n");
    let bytes = std::fs::read(env.path("work/dev.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut all = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        all += &format!("=== {}\n", entry.path().unwrap().display());
        std::io::Read::read_to_string(&mut entry, &mut all).unwrap();
    }
    assert!(
        all.starts_with("=== pipe-dev-") && all.contains("/index.md\n# Evidence of cluster dev")
    );
    for part in [
        "## What could not be had",
        "| nodes/dev-control-plane/journal.txt | what its services said | the container does not run",
        "| nodes/dev-control-plane/inspect.json |",
        "no answer to",
        "| cluster | what the API server says | no control plane runs |",
        "engine/containers.json",
    ] {
        assert!(all.contains(part), "no {part} in {all}");
    }
    assert!(!all.contains("hunter22"), "{all}");
}
