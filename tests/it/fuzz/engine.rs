//! What comes over the engine's socket: lists, streams of JSON lines, frames of an exec.

use std::sync::{Arc, Mutex};

use pipe::world::engine::{Engine, Exec, Pull};
use proptest::prelude::*;

use super::{check, mutated};
use crate::scripted::{Reply, Scripted};

const PULL: &str = "{\"status\":\"Pulling fs layer\",\"progressDetail\":{},\"id\":\"aa\"}\r\n\
    {\"status\":\"Downloading\",\"progressDetail\":{\"current\":5,\"total\":10},\"id\":\"bb\"}\r\n\
    {\"errorDetail\":{\"message\":\"manifest unknown\"},\"error\":\"manifest unknown\"}\r\n";

const INFO: &str = r#"{"host":{"arch":"amd64","cgroupManager":"cgroupfs","cgroupVersion":"v1",
"ociRuntime":{"name":"crun"},"security":{"rootless":false}},"store":{"graphRoot":"/x"},
"version":{"APIVersion":"4.3.1","Version":"4.3.1"}}"#;

const LIST: &str =
    r#"[{"Id":"1","Names":["a"],"Image":"i","Labels":null,"State":"stopping","Networks":null}]"#;

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
    "9223372036854775807",
    "18446744073709551615",
    "1e400",
    "true",
    "\\ud800",
    "\0",
    "\n",
    "\r\n",
    "{}",
    "[]",
    "\"id\":\"cc\"",
    "\"progressDetail\":{\"current\":9223372036854775807,\"total\":9223372036854775807}",
    "{\"status\":\"x\",\"progressDetail\":{\"current\":9223372036854775807,\"total\":9223372036854775807},\"id\":\"zz\"}\r\n",
    "{\"status\":\"x\",\"progressDetail\":{\"current\":9223372036854775807,\"total\":9223372036854775807},\"id\":\"yy\"}\r\n",
    "{\"status\":\"x\",\"progressDetail\":{\"current\":9223372036854775807,\"total\":9223372036854775807},\"id\":\"xx\"}\r\n",
    "{\"ImageID\":\"2\",\"UniqueSize\":18446744073709551615,\"SharedSize\":18446744073709551615},",
];

/// An engine that gives one body for every question, which the test changes.
struct Server {
    runtime: tokio::runtime::Runtime,
    body: Arc<Mutex<Vec<u8>>>,
    engine: Engine,
    _server: Scripted,
    _folder: tempfile::TempDir,
}

fn server(start: &'static str) -> Server {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let body: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (shown, guard) = (body.clone(), runtime.enter());
    let (server, path) = Scripted::unix(folder.path(), move |request, _| {
        if request.target.ends_with("/exec") && !start.is_empty() {
            return Reply::new(201, start);
        }
        Reply::new(200, shown.lock().unwrap().clone())
    });
    drop(guard);
    let engine = Engine::connect(&path).unwrap();
    Server { runtime, body, engine, _server: server, _folder: folder }
}

impl Server {
    fn says(&self, bytes: &[u8]) {
        *self.body.lock().unwrap() = bytes.to_vec();
    }
}

#[test]
fn pulls() {
    let server = server("");
    check("engine-pull", 150, &mutated(PULL.into(), PIECES), |bytes| {
        server.says(&bytes);
        let pull = Pull { name: "docker.io/library/nats:9", login: None, plain: false };
        let pulled = server.engine.pull(&pull, |_| ());
        if let Err(error) = server.runtime.block_on(pulled) {
            assert!(error.to_string().contains("docker.io/library/nats:9"), "{error}");
        }
    });
}

#[test]
fn answers() {
    let server = server("");
    let bodies = prop_oneof![mutated(INFO.into(), PIECES), mutated(LIST.into(), PIECES),];
    check("engine-answers", 100, &bodies, |bytes| {
        server.says(&bytes);
        server.runtime.block_on(async {
            let _info = server.engine.info().await;
            let _list = server.engine.containers(&[]).await;
            let _container = server.engine.inspect("dev-worker").await;
            let _image = server.engine.image("localhost/x:1").await;
        });
    });
}

#[test]
fn frames_of_an_exec() {
    let server = server(r#"{"Id":"e1"}"#);
    let frames = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x02de".to_vec();
    let pieces: &[&str] =
        &["\0\0\0\0\x7f", "\x01\0\0\0", "\x02", "\x03\0\0\0\0\0\0\x01", "\0", "\n"];
    check("engine-exec", 100, &mutated(frames, pieces), |bytes| {
        server.says(&bytes);
        let exec = Exec::new(["true"]).within(std::time::Duration::from_millis(100));
        let _output = server.runtime.block_on(server.engine.exec("dev-worker", exec));
    });
}
