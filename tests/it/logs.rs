//! `pipe logs` against an engine that says what the test wants.

use std::sync::Mutex;

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

/// What a program in the node says, as the engine frames it: 1 is its output, 2 its errors.
fn frame(stream: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0][..], &length, text.as_bytes()].concat()
}

/// An engine whose one node runs, without an API server in it. Execs get their number as id.
fn running(request: &Request, execs: &Mutex<Vec<Vec<String>>>) -> Reply {
    let target = request.target.split('?').next().unwrap_or_default();
    let mut parts = target.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some("json"), Some("containers")) => {
            let containers = engine(request, 0);
            let Reply::Answer { body, .. } = containers else { unreachable!() };
            Reply::new(200, String::from_utf8(body).unwrap().replace("exited", "running"))
        }
        (Some("exec"), _) => {
            let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let mut execs = execs.lock().unwrap();
            execs.push(serde_json::from_value(asked["Cmd"].clone()).unwrap());
            Reply::new(201, json!({"Id": format!("{}", execs.len() - 1)}).to_string())
        }
        (Some("start"), Some(id)) => {
            let argv = execs.lock().unwrap()[id.parse::<usize>().unwrap()].clone();
            Reply::Upgraded(match argv[0].as_str() {
                "kubectl" => frame(2, "The connection to the server was refused\n"),
                "journalctl" => frame(1, "kubelet says something\n"),
                "sh" if argv[2].contains("/var/log/pods") => {
                    let mark = &argv[4];
                    let pod = "messaging_nats-0_0000-11/nats";
                    frame(
                        1,
                        &format!(
                            "\n{mark} ./{pod}/0.log\nwhy it ended\n\n{mark} ./{pod}/1.log\nit serves\n"
                        ),
                    )
                }
                // It hangs, as a program on a dead disk does.
                "ctr" => return Reply::Silence,
                _ => frame(1, "fine\n"),
            })
        }
        (Some("json"), Some(id)) if target.contains("/exec/") => {
            let argv = execs.lock().unwrap()[id.parse::<usize>().unwrap()].clone();
            let code = i32::from(argv[0] == "kubectl");
            Reply::new(200, json!({"ID": id, "Running": false, "ExitCode": code}).to_string())
        }
        _ => engine(request, 0),
    }
}

/// The API server is gone, three programs in the node hang, and a container has restarted within its
/// pod: the archive has what both of its lives said, in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_api_server_and_a_restarted_container() {
    let mut env = TestEnv::new();
    let execs: Mutex<Vec<Vec<String>>> = Mutex::default();
    let script = move |request: &Request, _before: usize| running(request, &execs);
    let (server, socket) = Scripted::unix(&env.path("run"), script);
    env.set("PIPE_ENGINE", &format!("unix://{}", socket.display()));
    let began = std::time::Instant::now();
    env.pipe(["--quiet", "logs", "--output", "dev.tar.gz"]).success();
    // Three times the deadline of one question: they are asked at once.
    assert!(began.elapsed().as_secs() < 30, "it took {:?}", began.elapsed());
    let all = unpacked(&env);
    for part in [
        "/nodes/dev-control-plane/pods/messaging_nats-0/nats.0.log\nwhy it ended\n",
        "/nodes/dev-control-plane/pods/messaging_nats-0/nats.1.log\nit serves\n",
        "/nodes/dev-control-plane/kubelet.txt\nkubelet says something\n",
        "| cluster/pods.txt | all pods | the API server does not answer: exit code 1: The connection \
         to the server was refused |",
        "| nodes/dev-control-plane/tasks.txt | processes of those containers | ",
        "\nGathered in 1",
    ] {
        assert!(all.contains(part), "no {part} in {all}");
    }
    let asked = |word: &str| {
        let of_exec = |request: &&Request| {
            request.target.ends_with("/exec")
                && String::from_utf8_lossy(&request.body).contains(word)
        };
        server.requests().iter().filter(of_exec).count()
    };
    assert_eq!(asked("\"kubectl\""), 1, "nobody else need ask where nothing answers");
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

/// Every file of the archive, each below its name.
fn unpacked(env: &TestEnv) -> String {
    let bytes = std::fs::read(env.path("work/dev.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut all = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        all += &format!("=== {}\n", entry.path().unwrap().display());
        std::io::Read::read_to_string(&mut entry, &mut all).unwrap();
    }
    all
}

/// An engine that answers almost nothing still gives an archive, which says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_in_the_index_with_its_reason() {
    let (mut env, _server) = served();
    env.set("HTTPS_PROXY", "http://ada:hunter22@proxy.example:3128");
    let said = env.pipe(["--quiet", "logs", "--output", "dev.tar.gz"]).success();
    assert_eq!(said.stdout(), "[root]/work/dev.tar.gz\n");
    let all = unpacked(&env);
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
