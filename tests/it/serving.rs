//! `pipe images serve` and `stop`: the real binary and an engine on a real socket, which remembers what
//! it was told to make; the registry in it answers on the port that was published.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::scripted::{Reply, Request};
use crate::troubles::engine::{Scene, asks_for_image, image, scene};

/// What the engine has.
#[derive(Default)]
struct Has {
    containers: BTreeMap<String, Value>,
    network: Option<Value>,
    volume: bool,
    /// Changes, in order: `POST networks/create`.
    changes: Vec<String>,
}

type Shared = Arc<Mutex<Has>>;

fn engine() -> (Scene, Shared) {
    let has = Shared::default();
    let answering = Arc::clone(&has);
    let scene = scene(move |request| answer(&mut answering.lock().unwrap(), request));
    (scene, has)
}

fn answer(has: &mut Has, request: &Request) -> Option<Reply> {
    let path = request.target.split('?').next().unwrap_or_default();
    // Both of the client's dialects, of any version.
    let parts: Vec<&str> = path
        .split('/')
        .skip_while(|part| !["containers", "images", "networks", "volumes"].contains(part))
        .collect();
    let path = parts.join("/");
    if !["GET", "HEAD"].contains(&request.method.as_str()) {
        has.changes.push(format!("{} {path}", request.method));
    }
    let body = || serde_json::from_slice::<Value>(&request.body).unwrap();
    let json = |value: Value| Some(Reply::new(200, value.to_string()));
    match (request.method.as_str(), &parts[..]) {
        ("GET", ["images", ..]) if asks_for_image(request) => Some(image("amd64")),
        ("GET", ["containers", "json"]) => json(has.containers.values().map(line).collect()),
        ("GET", ["containers", name, "json"]) => json(inspected(has.containers.get(*name)?)),
        ("GET", ["containers", name, "archive"]) => Some(told(has.containers.get(*name)?)),
        ("POST", ["containers", "create"]) => {
            let mut made = body();
            made["state"] = json!("created");
            has.containers.insert(made["name"].as_str().unwrap().to_owned(), made);
            json(json!({"Id": "cd".repeat(32)}))
        }
        ("PUT", ["containers", _, "archive"]) => Some(Reply::new(200, "")),
        ("POST", ["containers", name, "start"]) => {
            let container = has.containers.get_mut(*name)?;
            container["state"] = json!("running");
            serve(u16::try_from(container["portmappings"][0]["host_port"].as_u64()?).ok()?);
            Some(Reply::new(204, ""))
        }
        ("POST", ["containers", name, "stop"]) => {
            has.containers.get_mut(*name)?["state"] = json!("exited");
            Some(Reply::new(204, ""))
        }
        ("DELETE", ["containers", name]) => has.containers.remove(*name).and(json(json!([]))),
        ("POST", ["networks", "create"]) => {
            has.network = Some(body());
            json(has.network.clone()?)
        }
        ("GET", ["networks", "kind", "json"]) => json(has.network.clone()?),
        ("DELETE", ["networks", "kind"]) => has.network.take().and(json(json!([]))),
        ("POST", ["volumes", "create"]) => {
            has.volume = true;
            json(json!({"Name": "pipe-registry", "Mountpoint": "/nowhere"}))
        }
        ("GET", ["volumes", "pipe-registry", "json"]) if has.volume => {
            json(json!({"Name": "pipe-registry", "Mountpoint": "/nowhere"}))
        }
        _ => None,
    }
}

fn line(container: &Value) -> Value {
    let networks: Vec<&String> = container["Networks"].as_object().unwrap().keys().collect();
    json!({"Id": "cd".repeat(32), "Names": [container["name"]], "Image": container["image"],
        "Labels": container["labels"], "State": container["state"], "Networks": networks})
}

fn inspected(container: &Value) -> Value {
    json!({"Id": "cd".repeat(32), "Name": container["name"], "Image": "ab".repeat(32),
        "ImageName": container["image"], "Config": {"Labels": container["labels"]},
        "State": {"Status": container["state"]}, "HostConfig": {}, "NetworkSettings": {}})
}

/// What a node was told, as an archive of one file.
fn told(container: &Value) -> Reply {
    let text = container["told"].to_string();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "told.json", text.as_bytes()).unwrap();
    Reply::new(200, archive.into_inner().unwrap())
}

/// A registry that has nothing, until the test ends.
fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let _client_gone = stream.read(&mut head);
            let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
            let _client_gone = stream.write_all(answer.as_bytes());
        }
    });
}

/// A node that runs and pulls from the cache.
fn node(cluster: &str, state: &str) -> Value {
    json!({"name": format!("{cluster}-worker"), "image": "kindest/node", "state": state,
        "labels": {"pipe.dev/cluster": cluster, "io.x-k8s.kind.role": "worker"},
        "Networks": {"kind": {}}, "told": {"cache": "10.89.0.254"}})
}

#[test]
fn the_cache_is_served_without_a_cluster_and_put_away_again() {
    let (scene, has) = engine();
    let served = scene.env.pipe(["images", "serve", "--json"]).success().last_json();
    assert_eq!(served["data"]["done"], json!(["network", "volume", "container", "start"]));
    let address = served["data"]["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{served}");
    {
        let has = has.lock().unwrap();
        let made = &has.containers["pipe-registry"];
        assert_eq!(made["labels"]["pipe.dev/registry"], "zot");
        let network = has.network.as_ref().unwrap();
        assert_eq!(network["labels"]["app.kubernetes.io/managed-by"], "pipe", "{network}");
        let subnet = network["subnets"][0]["subnet"].as_str().unwrap();
        let on = made["Networks"]["kind"]["static_ips"][0].as_str().unwrap();
        assert_eq!(subnet.rsplit_once('.').unwrap().0, on.rsplit_once('.').unwrap().0);
    }

    // A second time it does nothing, but for the address that was asked for.
    let changes = has.lock().unwrap().changes.len();
    let again = scene.env.pipe(["images", "serve"]).success();
    assert!(again.both().contains(&format!("{address}\n")), "{}", again.both());
    assert!(again.both().contains("is served already"), "{}", again.both());
    assert_eq!(has.lock().unwrap().changes.len(), changes);

    let stopped = scene.env.pipe(["images", "stop", "--json"]).success().last_json();
    assert_eq!(stopped["data"]["done"], json!(["stop", "container", "network"]));
    {
        let has = has.lock().unwrap();
        assert!(has.containers.is_empty() && has.network.is_none());
        assert!(has.volume, "what it holds stays");
    }
    let changes = has.lock().unwrap().changes.len();
    let stderr = scene.env.pipe(["images", "stop"]).success().stderr().to_owned();
    assert!(stderr.contains("the image cache is not served"), "{stderr}");
    assert_eq!(has.lock().unwrap().changes.len(), changes);
}

#[test]
fn nodes_that_pull_from_it_keep_it_until_somebody_insists() {
    let (scene, has) = engine();
    has.lock().unwrap().containers.insert("dev-worker".to_owned(), node("dev", "exited"));
    scene.env.pipe(["images", "serve"]).success();
    has.lock().unwrap().containers.insert("dev-worker".to_owned(), node("dev", "running"));
    let stderr = scene.env.pipe(["images", "stop"]).code(1).stderr().to_owned();
    insta::assert_snapshot!("cache_in_use", stderr);

    let forced = scene.env.pipe(["images", "stop", "--force", "--json"]).success().last_json();
    assert_eq!(forced["data"], json!({"done": ["stop"], "clusters": ["dev"]}));
    let has = has.lock().unwrap();
    assert_eq!(has.containers["pipe-registry"]["state"], "exited", "a cluster will need it again");
    assert!(has.network.is_some());
}

#[test]
fn one_that_does_not_start_leaves_nothing() {
    let (scene, has) = {
        let has = Shared::default();
        let answering = Arc::clone(&has);
        let scene = scene(move |request| {
            let mut has = answering.lock().unwrap();
            let reply = answer(&mut has, request);
            if request.target.ends_with("/start") {
                has.containers.get_mut("pipe-registry")?["state"] = json!("exited");
            }
            reply
        });
        (scene, has)
    };
    let run = scene.env.pipe(["images", "serve"]).code(1);
    assert!(run.stderr().contains("[cache-exited]"), "{}", run.stderr());
    let has = has.lock().unwrap();
    assert!(has.containers.is_empty() && has.network.is_none(), "{:?}", has.changes);
}

#[test]
fn nothing_is_pruned_where_not_everything_is_known() {
    let (scene, has) = engine();
    for arguments in [["images", "prune", "--yes"], ["images", "list", "--cache"]] {
        let stderr = scene.env.pipe(arguments).code(1).stderr().to_owned();
        assert!(stderr.contains("[cache-stopped]"), "{stderr}");
        assert!(stderr.contains("pipe images serve"), "{stderr}");
    }
    scene.env.pipe(["images", "serve"]).success();
    let prune = ["images", "prune", "--yes"];
    let stderr = scene.env.pipe(prune).success().stderr().to_owned();
    assert!(stderr.contains("every image in the cache is needed"), "{stderr}");

    has.lock().unwrap().containers.insert("dev-worker".to_owned(), node("dev", "exited"));
    let stderr = scene.env.pipe(prune).code(1).stderr().to_owned();
    insta::assert_snapshot!("cache_use_unknown", stderr);
    has.lock().unwrap().containers.remove("dev-worker");

    scene.env.write("pipe.lock", "kind: Lock\nimages: [");
    let stderr = scene.env.pipe(prune).code(3).stderr().to_owned();
    assert!(stderr.contains("while a lock cannot be read"), "{stderr}");
    let listed = scene.env.pipe(["images", "list", "--cache"]).code(3).stderr().to_owned();
    assert!(listed.contains("pipe.lock"), "{listed}");
}
