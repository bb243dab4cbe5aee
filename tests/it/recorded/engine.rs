//! A scripted engine that shows recorded objects and forgets those that are removed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::scripted::{Reply, Request, Scripted};

/// What the engine has.
#[derive(Debug)]
struct Objects {
    info: Value,
    containers: Vec<Value>,
    inspected: Value,
    volumes: Vec<Value>,
    networks: Vec<Value>,
}

/// The engine; ends when dropped.
pub struct RecordedEngine {
    objects: Arc<Mutex<Objects>>,
    server: Scripted,
    socket: PathBuf,
    // Serves while the test waits for a program.
    _runtime: Runtime,
}

impl RecordedEngine {
    /// Serves the objects recorded in `fixture` on a socket in `folder`, each container with
    /// `change` made to it.
    pub fn start(fixture: &Path, folder: &Path, change: impl Fn(&mut Value)) -> RecordedEngine {
        let read = |name: &str| -> Value {
            serde_json::from_slice(&fs::read(fixture.join(name)).unwrap()).unwrap()
        };
        let list = |name: &str| read(name).as_array().unwrap().clone();
        let mut containers = list("containers.json");
        containers.iter_mut().for_each(change);
        let objects = Arc::new(Mutex::new(Objects {
            info: read("info.json"),
            containers,
            inspected: read("old-control-plane.json"),
            volumes: list("volumes.json"),
            networks: vec![read("network.json")],
        }));
        let runtime = Runtime::new().unwrap();
        let script = {
            let objects = Arc::clone(&objects);
            move |request: &Request, _: usize| answer(&mut objects.lock().unwrap(), request)
        };
        let (server, socket) = {
            let _inside = runtime.enter();
            Scripted::unix(folder, script)
        };
        RecordedEngine { objects, server, socket, _runtime: runtime }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Requests that were no reads.
    pub fn changes(&self) -> Vec<String> {
        let requests = self.server.requests().into_iter();
        let changes =
            requests.filter(|request| request.method != "GET" && request.method != "HEAD");
        changes.map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    /// A label of the first container.
    pub fn label(&self, name: &str) -> String {
        let objects = self.objects.lock().unwrap();
        objects.containers[0]["Labels"][name].as_str().unwrap_or_default().to_owned()
    }

    /// Whether nothing of any cluster is left.
    pub fn is_empty(&self) -> bool {
        let objects = self.objects.lock().unwrap();
        objects.containers.is_empty() && objects.volumes.is_empty() && objects.networks.is_empty()
    }
}

impl fmt::Debug for RecordedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.objects.lock().unwrap(), self.server.requests())
    }
}

/// What Podman would answer.
fn answer(objects: &mut Objects, request: &Request) -> Reply {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = path.trim_start_matches('/');
    let path = path
        .split_once('/')
        .filter(|(version, _)| version.starts_with('v'))
        .map_or(path, |(_, rest)| rest);
    let path = path.trim_start_matches("libpod/");
    let parts: Vec<&str> = path.split('/').collect();
    let json = |value: &Value| Reply::new(200, value.to_string());
    match (request.method.as_str(), parts.as_slice()) {
        (_, ["_ping"]) => {
            let version = objects.info["version"]["Version"].as_str().unwrap().to_owned();
            Reply::new(200, "OK").header("Libpod-API-Version", &version)
        }
        ("GET", ["info"]) => json(&objects.info),
        ("GET", ["containers", "json"]) => json(&labelled(&objects.containers, query)),
        ("GET", ["containers", name, "json"]) if has(&objects.containers, name) => {
            json(&objects.inspected)
        }
        ("GET", ["containers", name, "archive"]) if has(&objects.containers, name) => {
            if query.contains("pipe-joined") { joined() } else { not_found() }
        }
        ("DELETE", ["containers", name]) => removed(&mut objects.containers, name),
        ("GET", ["volumes", "json"]) => json(&labelled(&objects.volumes, query)),
        ("DELETE", ["volumes", name]) => removed(&mut objects.volumes, name),
        ("GET", ["networks", "json"]) => json(&labelled(&objects.networks, query)),
        ("GET", ["networks", name, "json"]) => objects
            .networks
            .iter()
            .find(|network| network["name"] == *name)
            .map_or_else(not_found, json),
        ("DELETE", ["networks", name]) => removed(&mut objects.networks, name),
        _ => not_found(),
    }
}

/// Those that carry every label in the query's filter.
fn labelled(all: &[Value], query: &str) -> Value {
    let url = reqwest::Url::parse(&format!("http://podman/?{query}")).unwrap();
    let filters = url.query_pairs().find(|(name, _)| name == "filters");
    let filters: Value =
        filters.map_or(json!({}), |(_, text)| serde_json::from_str(&text).unwrap());
    let wanted: Vec<&str> =
        filters["label"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let carries = |object: &&Value| {
        let labels = if object["Labels"].is_null() { &object["labels"] } else { &object["Labels"] };
        wanted.iter().all(|label| match label.split_once('=') {
            Some((key, value)) => labels[key] == value,
            None => !labels[label].is_null(),
        })
    };
    all.iter().filter(carries).cloned().collect()
}

fn is_called(object: &Value, name: &str) -> bool {
    object["Names"][0] == name || object["Name"] == name || object["name"] == name
}

fn has(all: &[Value], name: &str) -> bool {
    all.iter().any(|object| is_called(object, name))
}

fn removed(all: &mut Vec<Value>, name: &str) -> Reply {
    if !has(all, name) {
        return not_found();
    }
    all.retain(|object| !is_called(object, name));
    Reply::new(200, "[]")
}

fn not_found() -> Reply {
    Reply::podman_error(404, "no such object", "no such object")
}

/// The marker of a finished node, as an archive.
fn joined() -> Reply {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    archive.append_data(&mut header, "pipe-joined", std::io::empty()).unwrap();
    Reply::new(200, archive.into_inner().unwrap())
}
