//! What `Kube` makes of an API server's refusals: the true client, true bytes, a scripted server.

use std::collections::BTreeMap;

use pipe::world::kube::{Kube, Taint};
use serde_json::json;

use self::server::{Reply, ScriptedKube, kubeconfig};

mod server;

/// A client of a server that answers exactly `replies`, in this order.
async fn scripted(replies: impl IntoIterator<Item = Reply>) -> (Kube, ScriptedKube) {
    let server = ScriptedKube::start(replies).await;
    (Kube::from_yaml(&kubeconfig(server.port())).await.unwrap(), server)
}

fn node(version: &str, taints: serde_json::Value) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "dev-worker", "resourceVersion": version},
        "spec": {"taints": taints},
    })
}

fn arm64() -> Taint {
    Taint { key: "arch".into(), value: "arm64".into(), effect: "NoSchedule".into() }
}

#[tokio::test]
async fn a_refusal_has_its_code_and_the_servers_words() {
    for (status, code) in [
        (400, "kube-invalid"),
        (401, "kube-unauthorized"),
        (403, "kube-forbidden"),
        (404, "kube-not-found"),
        (409, "kube-conflict"),
        (422, "kube-invalid"),
        (418, "kube-refused"),
        (500, "kube-server-error"),
    ] {
        let (kube, _server) = scripted([Reply::status(status, "nodes is not for you")]).await;
        let error = kube.nodes().await.unwrap_err();
        assert_eq!(error.code, code);
        let words = format!("answered {status}: nodes is not for you");
        assert!(error.to_string().contains(&words), "{error}");
    }
}

#[tokio::test]
async fn an_error_names_what_was_tried() {
    let (kube, _server) = scripted([Reply::status(403, "no")]).await;
    let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let error = kube.patch_node_labels("dev-worker", &labels, &[]).await.unwrap_err();
    insta::assert_snapshot!(error, @"cannot label node dev-worker: the API server answered 403: no");
}

#[tokio::test]
async fn a_plain_text_failure_is_shown() {
    let (kube, _server) = scripted([Reply::text(500, "upstream is gone\n")]).await;
    let error = kube.nodes().await.unwrap_err();
    assert_eq!(error.code, "kube-server-error");
    assert!(error.to_string().ends_with("answered 500: upstream is gone"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_not_kubernetes_is_told_apart() {
    let (kube, _server) = scripted([Reply::text(200, "<html>a proxy</html>")]).await;
    assert_eq!(kube.nodes().await.unwrap_err().code, "kube-answer");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let (kube, server) = scripted([]).await;
    server.stop().await;
    let error = kube.nodes().await.unwrap_err();
    assert_eq!(error.code, "kube-unreachable");
    assert!(error.to_string().contains("refused"), "{error}");
    let observation = kube.readyz().await.unwrap_err();
    assert!(observation.contains("refused"), "{observation}");
    let explained = kube.explain("messaging", "app=nats").await;
    assert!(explained.contains("refused"), "{explained}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout() {
    let (kube, _server) = scripted([Reply::Silence]).await;
    let error = kube.nodes().await.unwrap_err();
    assert_eq!((error.code, error.kind.exit_code()), ("kube-timeout", 6));
    insta::assert_snapshot!(error, @"cannot list the nodes: the API server did not answer within 15 s");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let busy = Reply::status(429, "storage is (re)initializing");
    let version = json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.4", "gitCommit": "",
        "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
    });
    let (kube, _server) = scripted([busy, Reply::json(&version)]).await;
    assert_eq!(kube.version().await.unwrap(), "v1.36.4");
}

#[tokio::test]
async fn readyz_says_which_check_fails() {
    let body = "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nreadyz check failed\n";
    let (kube, server) = scripted([Reply::text(500, body), Reply::text(200, "ok")]).await;
    assert_eq!(kube.readyz().await, Err("etcd failed: reason withheld".to_owned()));
    assert_eq!(kube.readyz().await, Ok(()));
    assert!(server.requests()[0].starts_with("GET /readyz"), "{:?}", server.requests());
}

#[tokio::test]
async fn taints_are_written_over_what_was_read() {
    let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"});
    let (kube, server) = scripted([
        Reply::json(&node("7", json!([]))),
        Reply::status(409, "the object has been modified"),
        Reply::json(&node("8", json!([not_ready]))),
        Reply::json(&node("9", json!([]))),
    ])
    .await;
    kube.set_node_taints("dev-worker", &[arm64()], &[]).await.unwrap();
    let requests = server.requests();
    assert!(requests[1].contains(r#""resourceVersion":"7""#), "{}", requests[1]);
    let last = &requests[3];
    for part in [r#""resourceVersion":"8""#, "not-ready", "arm64"] {
        assert!(last.contains(part), "{part} is not in {last}");
    }
}

#[tokio::test]
async fn taints_that_are_there_are_not_written() {
    let there = json!([{"key": "arch", "value": "arm64", "effect": "NoSchedule"}]);
    let (kube, server) = scripted([Reply::json(&node("7", there))]).await;
    kube.set_node_taints("dev-worker", &[arm64()], &[]).await.unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_conflict_that_stays_is_an_error() {
    let rounds = std::iter::repeat_with(|| {
        [Reply::json(&node("7", json!([]))), Reply::status(409, "modified")]
    });
    let (kube, _server) = scripted(rounds.take(50).flatten()).await;
    let error = kube.set_node_taints("dev-worker", &[arm64()], &[]).await.unwrap_err();
    assert_eq!(error.code, "kube-conflict");
    assert!(!error.hints.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_none() {
    let missing = || Reply::status(404, "not found");
    let (kube, _server) = scripted(std::iter::repeat_with(missing).take(3)).await;
    assert_eq!(kube.stateful_set("messaging", "nats").await.unwrap(), None);
    assert_eq!(kube.get_secret("messaging", "nats-credentials").await.unwrap(), None);
    kube.delete_pod("messaging", "nats-0").await.unwrap();
}

#[tokio::test]
async fn an_unknown_kind_is_named() {
    let (kube, _server) = scripted([Reply::status(404, "the server could not find it")]).await;
    let error = kube.delete("example.com/v1", "Widget", None, "w").await.unwrap_err();
    assert_eq!(error.code, "kube-kind-unknown");
    assert!(error.what.contains("kind Widget of example.com/v1"), "{error}");
}

#[tokio::test]
async fn a_secret_is_sent_encoded_and_never_shown() {
    let (kube, server) = scripted([Reply::status(403, "secrets is forbidden")]).await;
    let data = BTreeMap::from([("password".to_owned(), "geheim".to_owned())]);
    let error = kube
        .put_secret("messaging", "nats-credentials", &data, &BTreeMap::new())
        .await
        .unwrap_err();
    assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
    let request = &server.requests()[0];
    assert!(request.contains("fieldManager=pipe"), "{request}");
    assert!(request.contains(r#""password":"Z2VoZWlt""#), "{request}");
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_is_refused() {
    let error = Kube::from_yaml("clusters: 1").await.err().unwrap();
    assert_eq!(error.code, "kubeconfig-invalid");
    let missing = std::path::Path::new("no/such/kubeconfig");
    assert_eq!(Kube::from_kubeconfig(missing).await.err().unwrap().code, "kubeconfig-unreadable");
}
