//! How `Helm` drives the program: a fake one on disk records how it was called.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pipe::world::env::Env;
use pipe::world::helm::{Helm, Install};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Writes arguments, environment and input beside itself, and prints what `<verb>.out` says.
const FAKE_HELM: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 70
echo "$*" >>calls
env | grep -E '^(HELM_|KUBECONFIG)' | sort >"env.$1"
if [ "$1" = upgrade ]; then cat >stdin; fi
if [ -f "$1.err" ]; then cat "$1.err" >&2; exit 1; fi
if [ -f "$1.out" ]; then cat "$1.out"; fi
"#;

struct Fake {
    folder: tempfile::TempDir,
    helm: Helm,
}

impl Fake {
    fn new(listed: &serde_json::Value) -> Fake {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("helm");
        std::fs::write(&program, FAKE_HELM).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let env = Env::from([
            ("PATH", path.as_str()),
            ("HELM_KUBECONTEXT", "production"),
            ("HELM_DRIVER", "sql"),
            ("KUBECONFIG", "/home/ada/.kube/config"),
        ]);
        let helm = Helm::new(program, Path::new("/state/kubeconfig"), Path::new("/cache/h"), &env);
        let fake = Fake { folder, helm };
        fake.write("list.out", &listed.to_string());
        fake
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    async fn install(&self) -> pipe::Result<()> {
        let labels = BTreeMap::from([("pipe.dev/spec-hash".to_owned(), "abc".to_owned())]);
        let values = json!({"replicas": 1, "token": "geheim"});
        let install = Install {
            release: "nats",
            namespace: "messaging",
            chart: "/charts/nats".into(),
            values: &values,
            labels: &labels,
        };
        self.helm.upgrade_install(&install, &CancellationToken::new()).await
    }
}

fn listed(status: &str) -> serde_json::Value {
    json!([{
        "name": "nats", "namespace": "messaging", "revision": "2", "updated": "",
        "status": status, "chart": "nats-0.1.0", "app_version": "2.15.2",
    }])
}

#[tokio::test]
async fn an_installation_is_one_upgrade_with_values_on_its_input() {
    let fake = Fake::new(&json!([]));
    fake.install().await.unwrap();
    insta::assert_snapshot!(fake.read("calls"), @"
    list --output json --deployed --failed --pending --uninstalling --namespace messaging --filter ^nats$
    upgrade nats /charts/nats --install --namespace messaging --reset-values --values - --history-max 5 --labels pipe.dev/spec-hash=abc
    ");
    assert_eq!(fake.read("stdin"), r#"{"replicas":1,"token":"geheim"}"#);
}

#[tokio::test]
async fn the_users_helm_settings_are_not_used() {
    let fake = Fake::new(&json!([]));
    fake.install().await.unwrap();
    insta::assert_snapshot!(fake.read("env.upgrade"), @"
    HELM_CACHE_HOME=/cache/h/cache
    HELM_CONFIG_HOME=/cache/h/config
    HELM_DATA_HOME=/cache/h/data
    KUBECONFIG=/state/kubeconfig
    ");
}

#[tokio::test]
async fn a_killed_installation_is_removed_first() {
    let fake = Fake::new(&listed("pending-install"));
    fake.install().await.unwrap();
    let verbs = verbs(&fake);
    assert_eq!(verbs, ["list", "uninstall", "upgrade"]);
}

#[tokio::test]
async fn a_killed_upgrade_is_rolled_back_first() {
    let fake = Fake::new(&listed("pending-upgrade"));
    let history = json!([
        {"revision": 1, "updated": "", "status": "deployed", "chart": "", "description": ""},
        {"revision": 2, "updated": "", "status": "pending-upgrade", "chart": "", "description": ""},
    ]);
    fake.write("history.out", &history.to_string());
    fake.install().await.unwrap();
    assert_eq!(verbs(&fake), ["list", "history", "rollback", "upgrade"]);
    assert!(fake.read("calls").contains("rollback nats 1 --namespace messaging"));
}

#[tokio::test]
async fn a_failed_release_needs_no_healing() {
    let fake = Fake::new(&listed("failed"));
    fake.install().await.unwrap();
    assert_eq!(verbs(&fake), ["list", "upgrade"]);
}

#[tokio::test]
async fn a_failure_shows_helms_words_and_no_values() {
    let fake = Fake::new(&json!([]));
    fake.write("upgrade.err", "Error: values don't meet the specifications of the schema\n");
    let error = fake.install().await.unwrap_err();
    assert_eq!(error.what, "cannot install helm release nats");
    let text = format!("{error:?}");
    assert!(text.contains("values don't meet"), "{text}");
    assert!(!text.contains("geheim"), "{text}");
}

#[tokio::test]
async fn releases_are_listed_with_their_state() {
    let fake = Fake::new(&listed("pending-upgrade"));
    let releases = fake.helm.list(&CancellationToken::new()).await.unwrap();
    assert_eq!((&*releases[0].status, &*releases[0].chart), ("pending-upgrade", "nats-0.1.0"));
    fake.write("list.out", "no releases, sorry");
    let error = fake.helm.list(&CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.code, "helm-output");
}

fn verbs(fake: &Fake) -> Vec<String> {
    let calls = fake.read("calls");
    calls.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
