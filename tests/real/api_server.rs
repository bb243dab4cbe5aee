//! `Kube` and `Helm` against a real etcd, kube-apiserver and helm, without any node: what the API
//! server stores is real, and no pod ever starts.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::host::{artefact, missing};
use super::{Case, block_on};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use pipe::world::env::Env;
use pipe::world::helm::{Helm, Install};
use pipe::world::kube::{Kube, SPEC_HASH_LABEL, Taint};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const START_DEADLINE: Duration = Duration::from_secs(90);

/// A control plane of two processes; killed when dropped.
struct ControlPlane {
    folder: tempfile::TempDir,
    processes: Vec<Child>,
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _gone_already = process.kill();
            let _reaped = process.wait();
        }
    }
}

const PROGRAMS: [(&str, &str); 3] =
    [("etcd", "etcd"), ("kubernetes", "kube-apiserver"), ("helm", "helm")];

pub const CASES: [Case; 1] = [Case {
    name: "kube_and_helm_clients_on_a_real_api_server",
    skip: || missing(&PROGRAMS),
    run: || block_on(works()),
}];

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(program: &Path, args: &[String], log: &Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl ControlPlane {
    fn start(etcd: &Path, api_server: &Path) -> ControlPlane {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let key = at("service-account.key");
        let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&key).output().unwrap();
        assert!(made.status.success());
        std::fs::write(at("tokens.csv"), "test-token,admin,1,system:masters\n").unwrap();
        let (etcd_url, peer_url) =
            (format!("http://127.0.0.1:{etcd_port}"), format!("http://127.0.0.1:{peer_port}"));
        let etcd_args = [
            format!("--data-dir={}", at("etcd").display()),
            format!("--listen-client-urls={etcd_url}"),
            format!("--advertise-client-urls={etcd_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
            "--unsafe-no-fsync".into(),
        ];
        let server_args = [
            format!("--etcd-servers={etcd_url}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".into(),
            format!("--cert-dir={}", at("certificates").display()),
            format!("--token-auth-file={}", at("tokens.csv").display()),
            "--authorization-mode=AlwaysAllow".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", key.display()),
            format!("--service-account-signing-key-file={}", key.display()),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--disable-admission-plugins=ServiceAccount".into(),
        ];
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: t\n\
             clusters: [{{name: t, cluster: {{server: \"https://127.0.0.1:{port}\", \
             insecure-skip-tls-verify: true}}}}]\n\
             contexts: [{{name: t, context: {{cluster: t, user: t}}}}]\n\
             users: [{{name: t, user: {{token: test-token}}}}]\n"
        );
        std::fs::write(at("kubeconfig"), kubeconfig).unwrap();
        let processes = vec![
            spawn(etcd, &etcd_args, &at("etcd.log")),
            spawn(api_server, &server_args, &at("kube-apiserver.log")),
        ];
        ControlPlane { folder, processes }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// For what only the test makes.
    async fn client(&self) -> Client {
        let file = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(file, &options).await.unwrap();
        config.proxy_url = None;
        Client::try_from(config).unwrap()
    }

    async fn ready(&self) -> Kube {
        let kube = Kube::from_kubeconfig(&self.kubeconfig()).await.unwrap();
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            match kube.readyz().await {
                Ok(()) => return kube,
                Err(last) => assert!(Instant::now() < deadline, "never ready: {last}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn works() {
    let [etcd, api_server, helm] =
        PROGRAMS.map(|(recipe, name)| artefact(recipe, name).expect("checked before"));
    let plane = ControlPlane::start(&etcd, &api_server);
    let kube = plane.ready().await;
    assert!(kube.version().await.unwrap().starts_with("v1."));
    let client = plane.client().await;
    objects(&kube, &client).await;
    nodes(&kube, &client).await;
    pods(&kube, &client).await;
    releases(&kube, &plane, &helm).await;
    foundationdb(&kube, &client, &plane, &helm).await;
}

/// Creates an object of any kind that the API server knows.
async fn create(client: &Client, object: Value) {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let types = object.types.as_ref().unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types).unwrap());
    let api = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    api.create(&PostParams::default(), &object).await.unwrap();
}

async fn objects(kube: &Kube, client: &Client) {
    let labels = map(&[("pipe.dev/cluster", "dev")]);
    for _twice in 0..2 {
        kube.ensure_namespace("messaging", &labels).await.unwrap();
    }
    let error = kube.ensure_namespace("UPPER", &labels).await.unwrap_err();
    assert_eq!(error.code, "kube-invalid", "{error}");
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"80": "http"},
        "metadata": {"name": "settings", "namespace": "messaging"},
    });
    create(client, settings.clone()).await;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": "standard-local",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "rancher.io/local-path",
    });
    create(client, class).await;
    let classes = kube.storage_classes().await.unwrap();
    assert!(classes.len() == 1 && classes[0].default, "{classes:?}");
    let error = kube.delete("example.com/v1", "Widget", None, "w").await.unwrap_err();
    assert_eq!(error.code, "kube-kind-unknown", "{error}");

    for _twice in 0..2 {
        kube.delete("v1", "ConfigMap", Some("messaging"), "settings").await.unwrap();
    }
    // Its name is free again.
    create(client, settings).await;

    let both = map(&[("username", "pipe"), ("password", "0123")]);
    kube.put_secret("messaging", "nats-credentials", &both, &labels).await.unwrap();
    assert_eq!(kube.get_secret("messaging", "nats-credentials").await.unwrap(), Some(both));
    let one = map(&[("password", "4567")]);
    kube.put_secret("messaging", "nats-credentials", &one, &labels).await.unwrap();
    assert_eq!(kube.get_secret("messaging", "nats-credentials").await.unwrap(), Some(one));
    assert_eq!(kube.get_secret("messaging", "none").await.unwrap(), None);
}

async fn nodes(kube: &Kube, client: &Client) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge"}});
    create(client, node).await;
    let found = kube.nodes().await.unwrap();
    assert!(found.len() == 1 && !found[0].ready, "{found:?}");
    assert_eq!(found[0].ready_message, "kubelet has not reported yet");

    let taint = |value: &str| Taint {
        key: "arch".into(),
        value: value.into(),
        effect: "NoSchedule".into(),
    };
    kube.patch_node_labels("edge", &map(&[("zone", "a"), ("arch", "arm64")]), &[]).await.unwrap();
    kube.patch_node_labels("edge", &map(&[("zone", "b")]), &["arch".into()]).await.unwrap();
    kube.set_node_taints("edge", &[taint("amd64")], &[]).await.unwrap();
    kube.set_node_taints("edge", &[taint("arm64")], &[]).await.unwrap();
    let units = BTreeMap::from([("nvidia.com/gpu".to_owned(), 2)]);
    kube.patch_capacity("edge", &units, &[]).await.unwrap();
    kube.set_pod_cidr("edge", "10.244.1.0/24").await.unwrap();
    kube.set_pod_cidr("edge", "10.244.1.0/24").await.unwrap();
    let error = kube.set_pod_cidr("edge", "10.244.2.0/24").await.unwrap_err();
    assert_eq!(error.code, "kube-invalid", "{error}");
    let error = kube.patch_node_labels("edge", &map(&[("zone", "not a label")]), &[]).await;
    assert_eq!(error.unwrap_err().code, "kube-invalid");

    let edge = kube.nodes().await.unwrap().remove(0);
    assert_eq!(edge.labels.get("zone").map(String::as_str), Some("b"));
    assert!(!edge.labels.contains_key("arch"));
    assert!(edge.taints.contains(&taint("arm64")) && !edge.taints.contains(&taint("amd64")));
    assert_eq!(edge.capacity.get("nvidia.com/gpu").map(String::as_str), Some("2"));
    assert_eq!(edge.pod_cidr.as_deref(), Some("10.244.1.0/24"));

    kube.set_node_taints("edge", &[], &[taint("")]).await.unwrap();
    kube.patch_capacity("edge", &BTreeMap::new(), &["nvidia.com/gpu".into()]).await.unwrap();
    let edge = kube.nodes().await.unwrap().remove(0);
    assert!(edge.taints.iter().all(|taint| taint.key != "arch"), "{:?}", edge.taints);
    assert!(edge.capacity.is_empty(), "{:?}", edge.capacity);
    let error = kube.patch_node_labels("nowhere", &BTreeMap::new(), &[]).await.unwrap_err();
    assert_eq!(error.code, "kube-not-found");
}

async fn pods(kube: &Kube, client: &Client) {
    let nobody = kube.explain("messaging", "app=x").await;
    assert_eq!(nobody, "no pod app=x in namespace messaging");
    for object in [json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "x-0", "namespace": "messaging", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "x", "image": "example.com/x:1"}]},
    })] {
        create(client, object).await;
    }
    let pods = kube.pods("messaging", "app=x").await.unwrap();
    // One of this pod, and one of another that had its name before.
    for (uid, message) in [(pods[0].uid.as_str(), "0/1 nodes are available"), ("gone", "of before")]
    {
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "FailedScheduling",
            "metadata": {"name": format!("x-0.{}", message.len()), "namespace": "messaging"},
            "involvedObject": {"kind": "Pod", "name": "x-0", "namespace": "messaging", "uid": uid},
            "message": message, "count": 3,
        });
        create(client, event).await;
    }
    let explained = kube.explain("messaging", "app=x").await;
    insta::assert_snapshot!(explained, @"pod x-0 is Pending, not ready; last events: Warning FailedScheduling (3 times): 0/1 nodes are available");
    let pods = kube.pods("messaging", "app=x").await.unwrap();
    assert!(pods.len() == 1 && !pods[0].uid.is_empty(), "{pods:?}");
    kube.delete_pod("messaging", "x-0").await.unwrap();
    kube.delete_pod("messaging", "x-0").await.unwrap();
    assert_eq!(kube.endpoints_ready("messaging", "nats").await.unwrap(), 0);
}

async fn releases(kube: &Kube, plane: &ControlPlane, program: &Path) {
    let home = plane.folder.path().join("helm-home");
    let path = std::env::var("PATH").unwrap();
    let env = Env::from([("PATH", path.as_str()), ("HELM_NAMESPACE", "elsewhere")]);
    let helm = Helm::new(program.to_owned(), &plane.kubeconfig(), &home, &env);
    let cancel = CancellationToken::new();
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts-cache/nats");
    let install = async |values: Value, hash: &str| {
        let labels = map(&[(SPEC_HASH_LABEL, hash)]);
        let install = Install {
            release: "nats",
            namespace: "messaging",
            chart: chart.clone(),
            values: &values,
            labels: &labels,
        };
        helm.upgrade_install(&install, &cancel).await
    };

    let three = json!({"replicas": 3, "service": {"nodePorts": {"client": 30422}}});
    install(three, "hash-1").await.unwrap();
    assert_eq!(summary(kube).await, ["nats 1 deployed hash-1"]);
    let rollout = kube.stateful_set("messaging", "nats").await.unwrap().unwrap();
    assert!(rollout.desired == 3 && !rollout.observed && !rollout.is_done(), "{rollout:?}");

    // Empty values mean the chart's own, not those of before.
    install(json!({}), "hash-2").await.unwrap();
    assert_eq!(summary(kube).await, ["nats 2 deployed hash-2"]);
    assert_eq!(kube.stateful_set("messaging", "nats").await.unwrap().unwrap().desired, 1);

    let error = install(json!({"replica": 3}), "hash-x").await.unwrap_err();
    assert!(error.to_string().contains("'replica' not allowed"), "{error}");
    assert_eq!(summary(kube).await, ["nats 2 deployed hash-2"]);

    kill_while_pending(kube, plane, program, "pending-upgrade").await;
    install(json!({}), "hash-3").await.unwrap();
    assert!(summary(kube).await[0].ends_with("deployed hash-3"), "{:?}", summary(kube).await);

    for _twice in 0..2 {
        helm.uninstall("nats", "messaging", &cancel).await.unwrap();
    }
    assert_eq!(summary(kube).await, Vec::<String>::new());
    assert_eq!(kube.stateful_set("messaging", "nats").await.unwrap(), None);

    kill_while_pending(kube, plane, program, "pending-install").await;
    install(json!({}), "hash-4").await.unwrap();
    assert_eq!(summary(kube).await, ["nats 1 deployed hash-4"]);
    let listed = helm.list(&cancel).await.unwrap();
    assert_eq!((&*listed[0].chart, &*listed[0].status), ("nats-0.1.0", "deployed"));
}

/// The real API server takes every object of a chart whose image is not to be had everywhere, as it is
/// meant: nothing that it does not know, and nothing that it defaults to something else.
async fn foundationdb(kube: &Kube, client: &Client, plane: &ControlPlane, program: &Path) {
    let home = plane.folder.path().join("helm-home");
    let path = std::env::var("PATH").unwrap();
    let helm =
        Helm::new(program.to_owned(), &plane.kubeconfig(), &home, &Env::from([("PATH", &*path)]));
    kube.ensure_namespace("data", &map(&[("pipe.dev/cluster", "dev")])).await.unwrap();
    let install = Install {
        release: "foundationdb",
        namespace: "data",
        chart: Path::new(env!("CARGO_MANIFEST_DIR")).join("charts-cache/foundationdb"),
        values: &json!({}),
        labels: &map(&[(SPEC_HASH_LABEL, "hash-1")]),
    };
    helm.upgrade_install(&install, &CancellationToken::new()).await.unwrap();
    let rollout = kube.stateful_set("data", "foundationdb").await.unwrap().unwrap();
    assert_eq!(rollout.desired, 1);
    let kind = GroupVersionKind::gvk("apps", "v1", "StatefulSet");
    let api = Api::<DynamicObject>::namespaced_with(
        client.clone(),
        "data",
        &ApiResource::from_gvk(&kind),
    );
    let set = serde_json::to_value(api.get("foundationdb").await.unwrap()).unwrap();
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(
        (&pod["hostNetwork"], &pod["dnsPolicy"]),
        (&json!(true), &json!("ClusterFirstWithHostNet"))
    );
    let container = &pod["containers"][0];
    assert_eq!(
        container["ports"],
        json!([
            {"name": "fdb", "containerPort": 4500, "hostPort": 4500, "protocol": "TCP"}
        ])
    );
    assert_eq!(container["livenessProbe"]["tcpSocket"]["port"], "fdb");
    assert!(container["lifecycle"]["postStart"]["exec"]["command"].is_array(), "{container}");
    let claims = &set["spec"]["volumeClaimTemplates"][0]["spec"];
    assert_eq!(claims["storageClassName"], "standard-local");

    // A size that the chart is not made for is refused before anything is applied.
    let install = Install { values: &json!({"replicas": 3}), ..install };
    let error = helm.upgrade_install(&install, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("replicas"), "{error}");
}

async fn summary(kube: &Kube) -> Vec<String> {
    let records = kube.releases().await.unwrap();
    let line = |r: &pipe::world::kube::ReleaseRecord| {
        format!("{} {} {} {}", r.name, r.revision, r.status, r.spec_hash.as_deref().unwrap_or("-"))
    };
    records.iter().map(line).collect()
}

/// Kills a helm that waits for a hook which never ends, and so leaves its release pending.
async fn kill_while_pending(kube: &Kube, plane: &ControlPlane, program: &Path, status: &str) {
    let chart = plane.folder.path().join("stuck");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: nats\nversion: 9.9.9\n")
        .unwrap();
    let hook = "
apiVersion: batch/v1
kind: Job
metadata:
  name: never-ends
  annotations: {helm.sh/hook: 'pre-install,pre-upgrade'}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: x, image: example.com/x:1}]
";
    std::fs::write(chart.join("templates/hook.yaml"), hook).unwrap();
    let mut helm = Command::new(program)
        .args(["upgrade", "--install", "nats", "--namespace", "messaging"])
        .arg(&chart)
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + START_DEADLINE;
    while !kube.releases().await.unwrap().iter().any(|release| release.status == status) {
        assert!(Instant::now() < deadline, "never {status}: {:?}", summary(kube).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    helm.kill().unwrap();
    helm.wait().unwrap();
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
