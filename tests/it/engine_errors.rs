//! What the engine client makes of an engine that misbehaves.

use std::time::Duration;

use pipe::Kind;
use pipe::world::engine::{Engine, Fault, Pull};
use pipe::world::env::Env;
use pipe::world::socket::{self, Candidate, Origin};

use crate::scripted::{Reply, Request, Scripted};

fn engine(
    script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
) -> (tempfile::TempDir, Scripted, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (server, path) = Scripted::unix(folder.path(), script);
    let engine = Engine::connect(&path).unwrap();
    (folder, server, engine)
}

fn pong(version: &str) -> Reply {
    Reply::new(200, "OK").header("Libpod-API-Version", version)
}

#[tokio::test]
async fn a_read_is_asked_again_after_500_and_after_a_broken_connection() {
    let (_folder, server, engine) = engine(|_, before| match before {
        0 => Reply::podman_error(500, "database is locked", "database is locked"),
        1 => Reply::Reset,
        2 => Reply::Torn(b"[{".to_vec()),
        _ => Reply::new(200, "[]"),
    });
    assert_eq!(engine.networks(&["pipe.dev/cluster=dev"]).await.unwrap(), []);
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    let target = &requests[0].target;
    assert!(target.starts_with("/v5.0.0/libpod/networks/json?filters="), "{target}");
    assert!(target.contains("pipe.dev%2Fcluster%3Ddev"), "{target}");
}

/// What Podman does with a container that it is starting: 200, then it fails to read.
#[tokio::test]
async fn a_file_whose_archive_ends_early_is_asked_for_again() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(7);
    archive.append_data(&mut header, "version", &b"v1.36.4"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let (_folder, server, engine) = engine(move |_, before| match before {
        0 => Reply::new(200, Vec::new()),
        1 => Reply::new(200, archive[..515].to_vec()),
        _ => Reply::new(200, archive.clone()),
    });
    let content = engine.get_file("dev-worker", "/kind/version").await.unwrap();
    assert_eq!(content.as_deref(), Some(&b"v1.36.4"[..]));
    assert_eq!(server.requests().len(), 3);
    let (_folder, _server, engine) = self::engine(|_, _| Reply::new(200, Vec::new()));
    let error = engine.get_file("dev-worker", "/kind/version").await.unwrap_err();
    assert_eq!(error.fault, Fault::Stream, "{error}");
}

#[tokio::test]
async fn a_read_gives_up_after_four_attempts_with_the_engines_words() {
    let (_folder, server, engine) =
        engine(|_, _| Reply::podman_error(500, "x", "database disk image is malformed"));
    let error = engine.inspect("dev-worker").await.unwrap_err();
    assert_eq!(error.fault, Fault::Status(500));
    assert_eq!(server.requests().len(), 4);
    let error = pipe::Error::from(error);
    assert_eq!((error.kind, error.code), (Kind::Failed, "engine-refused"));
    assert_eq!(
        error.to_string(),
        "cannot inspect container dev-worker: database disk image is malformed"
    );
}

#[tokio::test]
async fn a_change_is_sent_once() {
    let (_folder, server, engine) = engine(|_, _| Reply::podman_error(500, "x", "no"));
    let error = engine.start("dev-worker").await.unwrap_err();
    assert_eq!((error.fault, error.message.as_str()), (Fault::Status(500), "no"));
    assert_eq!(error.action, "start container dev-worker");
    let error = engine.remove("dev-worker").await.unwrap_err();
    assert_eq!(error.fault, Fault::Status(500));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn not_there_is_none_for_reads_and_done_for_removals() {
    let (_folder, server, engine) = engine(|_, _| Reply::podman_error(404, "no such", "no such"));
    assert!(engine.inspect("x").await.unwrap().is_none());
    assert!(engine.image("localhost/x:1").await.unwrap().is_none());
    assert!(engine.network("x").await.unwrap().is_none());
    assert!(engine.get_file("x", "/etc/x").await.unwrap().is_none());
    engine.remove("x").await.unwrap();
    engine.remove_network("x").await.unwrap();
    engine.remove_volume("x").await.unwrap();
    assert_eq!(engine.start("x").await.unwrap_err().fault, Fault::NotFound);
    assert_eq!(server.requests().len(), 8, "404 is an answer, not a reason to ask again");
}

#[tokio::test]
async fn conflicts_are_told_by_status_or_by_podmans_cause() {
    let (_folder, _server, engine) = engine(|request, _| match request.method.as_str() {
        "DELETE" => Reply::podman_error(409, "volume is being used", "in use by dev-worker"),
        _ => Reply::podman_error(500, "that name is already in use", "in use by 12ab"),
    });
    let error = engine.remove_volume("dev-worker-var").await.unwrap_err();
    assert_eq!(error.fault, Fault::Conflict);
    let labels = Default::default();
    let error = engine.create_volume(Some("v"), &labels).await.unwrap_err();
    assert_eq!(error.fault, Fault::Conflict);
    assert_eq!(pipe::Error::from(error).code, "engine-conflict");
}

#[tokio::test]
async fn states_nobody_expected_do_not_break_a_list() {
    let (_folder, _server, engine) = engine(|_, _| {
        Reply::new(
            200,
            r#"[{"Id":"1","Names":["a"],"Image":"i","Labels":null,"State":"stopping","Networks":null},
                {"Id":"2","Names":["b"],"Image":"i","State":"configured","Later":{}}]"#,
        )
    });
    let lines = engine.containers(&[]).await.unwrap();
    let states: Vec<String> = lines.iter().map(|line| format!("{:?}", line.state)).collect();
    assert_eq!(states, [r#"Other("stopping")"#, "Created"]);
}

#[tokio::test]
async fn a_failed_pull_is_an_error_although_it_began_with_200() {
    let (_folder, _server, engine) = engine(|_, _| {
        let lines = [
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aa"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"aa"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":3,"total":30},"id":"bb"}"#,
            r#"{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}"#,
        ];
        Reply::new(200, lines.map(|line| format!("{line}\r\n")).concat())
    });
    let mut seen = Vec::new();
    let pull = Pull { name: "docker.io/library/nats:9", login: None, plain: false };
    let pulled = engine.pull(&pull, |at| seen.push((at.done, at.total))).await;
    let error = pulled.unwrap_err();
    assert_eq!((error.fault, error.message.as_str()), (Fault::Stream, "manifest unknown"));
    assert_eq!(seen, [(0, 0), (5, 10), (8, 40)]);
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_malformed() {
    let (_folder, server, engine) = engine(|_, _| Reply::new(200, "<html>"));
    assert_eq!(engine.info().await.unwrap_err().fault, Fault::Malformed);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_engine_that_is_gone_is_a_host_error() {
    let (folder, server, engine) = engine(|_, _| Reply::Silence);
    drop((server, folder));
    let error = engine.info().await.unwrap_err();
    assert_eq!(error.fault, Fault::Unreachable);
    let error = pipe::Error::from(error);
    assert_eq!((error.kind, error.code), (Kind::Host, "engine-unreachable"));
}

#[tokio::test]
async fn discovery_tells_podman_from_docker_and_from_silence() {
    let (one, two, three) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_docker, docker) = Scripted::unix(one.path(), |_, _| Reply::new(200, "OK"));
    let stale = two.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let (_podman, podman) = Scripted::unix(three.path(), |_, _| pong("5.4.2"));

    let candidates = [
        (Origin::DockerHost, docker.clone()),
        (Origin::Rootful, stale),
        (Origin::Rootless, podman.clone()),
        (Origin::Own, podman.clone()),
    ]
    .map(|(origin, path)| Candidate { origin, path });
    let found = socket::first_answering(candidates.to_vec()).await.unwrap().unwrap();
    assert_eq!((found.candidate.origin, found.candidate.path), (Origin::Rootless, podman));
    assert_eq!(found.version, "5.4.2");
    assert_eq!(socket::first_answering(candidates[..2].to_vec()).await.unwrap(), None);

    // What the user names does not fall back to another.
    let error = socket::discover(docker.to_str(), &Env::from([])).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Host, "engine-unreachable"));
}

#[tokio::test]
async fn an_old_podman_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, path) = Scripted::unix(folder.path(), |_, _| pong("3.4.4"));
    let flag = format!("unix://{}", path.display());
    let error = socket::discover(Some(&flag), &Env::from([])).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Host, "engine-too-old"));
}

#[tokio::test]
async fn an_exec_past_its_deadline_is_a_timeout() {
    use pipe::world::engine::Exec;
    let (_folder, _server, engine) = engine(|_, before| match before {
        0 => Reply::new(201, r#"{"Id":"e1"}"#),
        _ => Reply::Silence,
    });
    let exec = Exec::new(["sleep", "inf"]).within(Duration::from_millis(200));
    let error = engine.exec("dev-worker", exec).await.unwrap_err();
    assert_eq!(error.fault, Fault::TimedOut);
    assert_eq!(error.action, "run sleep in container dev-worker");
}
