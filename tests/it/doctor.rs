//! `pipe doctor`, and what it makes of `up`: the real binary against an engine that says what the
//! test wants. What the host itself adds differs from machine to machine, so that nothing is said
//! about it here.

use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::env::TestEnv;
use crate::scripted::{Reply, Request, Scripted};

/// An engine that can do everything but resolve names, and has nothing.
fn engine(request: &Request, _before: usize) -> Reply {
    let info = json!({
        "host": {
            "arch": "amd64", "cgroupManager": "cgroupfs", "cgroupVersion": "v2",
            "networkBackend": "netavark", "networkBackendInfo": {"backend": "netavark", "dns": {}},
            "ociRuntime": {"name": "runc"}, "security": {"rootless": false},
        },
        "store": {
            "graphDriverName": "overlay", "graphRoot": "/nowhere/storage",
            "graphStatus": {"Backing Filesystem": "extfs", "Later": 7},
        },
        "version": {"APIVersion": "5.4.2", "Version": "5.4.2", "Built": 0},
    });
    match request.target.split('?').next().unwrap_or_default() {
        "/_ping" => Reply::new(200, "OK").header("Libpod-API-Version", "5.4.2"),
        target if target.ends_with("/libpod/info") => Reply::new(200, info.to_string()),
        target if target.ends_with("/json") && target.contains("/images/") => {
            Reply::podman_error(404, "no such image", "no such image")
        }
        target if target.ends_with("/containers/json") => Reply::new(200, "[]"),
        target => Reply::podman_error(500, "unexpected", target),
    }
}

fn served() -> (TestEnv, Scripted, PathBuf) {
    let mut env = TestEnv::new();
    let (server, socket) = Scripted::unix(&env.path("run"), engine);
    env.set("PIPE_ENGINE", &format!("unix://{}", socket.display()));
    env.set("PIPE_NODE_IMAGE", "localhost/node:1");
    (env, server, socket)
}

fn finding<'a>(report: &'a Value, code: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["code"] == code);
    found.unwrap_or_else(|| panic!("no {code} in {report:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_document_with_facts_and_findings() {
    let (mut env, server, socket) = served();
    env.set("HTTPS_PROXY", "http://ada:hunter22@proxy.example:3128");
    let text = env.pipe(["doctor", "--json"]).code(4).stdout().to_owned();
    let report: Value = serde_json::from_str(&text).expect("one JSON document");
    assert_eq!((&report["schema"], &report["ok"]), (&json!(1), &json!(false)), "{text}");
    assert_eq!(report["engine"]["version"], "5.4.2");
    assert_eq!(report["needs"]["cluster"], "dev");
    assert_eq!(finding(&report, "no-network-dns")["severity"], "error");
    let answers = finding(&report, "engine-answers");
    assert_eq!((&answers["severity"], &answers["topic"]), (&json!("ok"), &json!("engine")));
    assert_eq!(finding(&report, "proxy-set")["severity"], "info");
    assert!(!text.contains("hunter22"), "{text}");
    assert!(!text.contains(&socket.display().to_string()), "the test's folders are normalised");
    assert!(server.requests().iter().all(|request| request.method == "GET"), "nothing is changed");
    assert!(env.state_files().is_empty(), "{:?}", env.state_files());
}

#[test]
fn a_host_without_an_engine_is_examined_all_the_same() {
    let mut env = TestEnv::new();
    env.set("PIPE_ENGINE", "unix:///nowhere/podman.sock");
    let text = env.pipe(["doctor"]).code(4).stdout().to_owned();
    for part in ["[engine-unreachable]", "/nowhere/podman.sock", "-> ", "room ", "guards "] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let report = env.pipe(["doctor", "--json"]).code(4).stdout().to_owned();
    let report: Value = serde_json::from_str(&report).expect("one JSON document");
    assert_eq!(report["engine"], Value::Null);
    assert_eq!(report["engine_error"]["code"], "engine-unreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_wrong_matter_only_where_a_cluster_is_named() {
    let (env, _server, _socket) = served();
    env.write("clusters/dev.yaml", "kind: Nothing\n");
    let said = env.pipe(["doctor"]).code(4);
    assert!(said.both().contains("no cluster is in mind"), "{}", said.both());
    let stderr = env.pipe(["doctor", "--cluster", "dev"]).code(3).stderr().to_owned();
    assert!(stderr.contains("clusters/dev.yaml"), "{stderr}");
}

/// Errors stop `up` before anything is touched, all at once, quickly.
#[tokio::test(flavor = "multi_thread")]
async fn an_up_that_cannot_be_done_is_refused_at_once() {
    let (env, server, _socket) = served();
    // Whoever holds it, it is held.
    let _held = TcpListener::bind("127.0.0.1:4222");
    let began = std::time::Instant::now();
    let stderr = env.pipe(["up", "single"]).code(4).stderr().to_owned();
    assert!(began.elapsed().as_secs() < 20, "took {:?}", began.elapsed());
    for part in ["[host-unable]", "[no-network-dns]", "[port-taken]", "4222", "aardvark-dns"] {
        assert!(stderr.contains(part), "no {part} in {stderr}");
    }
    let changing: Vec<String> = server
        .requests()
        .into_iter()
        .filter(|request| request.method != "GET")
        .map(|request| request.target)
        .collect();
    assert!(changing.is_empty(), "{changing:?}");
    assert!(env.state_files().is_empty(), "{:?}", env.state_files());
}

/// Ports that the cluster file itself publishes are in the one list, of `doctor` and of `up`.
#[tokio::test(flavor = "multi_thread")]
async fn published_ports_are_among_all_that_stands_in_the_way() {
    let (env, server, _socket) = served();
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let number = held.local_addr().expect("an address").port();
    env.write(
        "clusters/own.yaml",
        &format!(
            "apiVersion: pipe.dev/v1alpha1\nkind: Cluster\nname: own\nprovider: kind\n\
             profile: none\nhostPorts: auto\n\
             ports: [{{hostPort: {number}, nodePort: 30080}}]\nnodes: [{{name: core, controlPlane: true}}]\n"
        ),
    );
    let profile = "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: none\ncomponents: []\n";
    env.write("profiles/none.yaml", profile);
    let text = env.pipe(["doctor", "--cluster", "own", "--json"]).code(4).stdout().to_owned();
    let report: Value = serde_json::from_str(&text).expect("one JSON document");
    let what = finding(&report, "port-taken")["what"].as_str().expect("text").to_owned();
    assert_eq!(
        what,
        format!(
            "port 127.0.0.1:{number}/tcp that cluster own publishes is held by another program"
        )
    );
    let stderr = env.pipe(["up", "own"]).code(4).stderr().to_owned();
    assert!(stderr.contains(&what) && stderr.contains("[no-network-dns]"), "{stderr}");
    let made = |r: &Request| r.method == "POST" || r.method == "DELETE";
    assert!(!server.requests().iter().any(made), "something was made");
}

/// What is wrong with `config.yaml` is a finding, not the end of the examination.
#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_cannot_be_used_is_a_finding() {
    let (env, _server, _socket) = served();
    let config = |authorities: &str| {
        let text =
            format!("apiVersion: pipe.dev/v1alpha1\nkind: Config\nauthorities: [{authorities}]\n");
        env.write("../home/.config/pipe/config.yaml", &text);
        let output = env.pipe(["doctor", "--json"]).code(4);
        serde_json::from_str::<Value>(output.stdout()).expect("one JSON document")
    };
    env.write("../home/.config/pipe/text.pem", "hello\n");
    let report = config("none.pem, text.pem");
    let invalid = finding(&report, "config-invalid");
    let seen = invalid["seen"].as_str().expect("text");
    assert!(seen.contains("none.pem cannot be read"), "{invalid}");
    assert!(seen.contains("text.pem holds no certificate"), "{invalid}");
    finding(&report, "no-network-dns");

    let mut params = rcgen::CertificateParams::new(vec!["ca".to_owned()]).expect("parameters");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let old = params.self_signed(&key).expect("a certificate").pem();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    env.write("../home/.config/pipe/old.pem", &format!("{old}{broken}"));
    let report = config("old.pem");
    let expired = finding(&report, "authority-expired");
    assert_eq!(expired["seen"], "valid until 2021-01-01T00:00:00Z", "{expired}");
    assert_eq!(finding(&report, "authority-broken")["seen"], "it is no X.509 certificate");
}
