use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::report::Events;
use crate::state::lock::Waiting;
use crate::state::paths::tests::paths_in;

const ADMIN_CONF: &str = "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://dev-control-plane:6443
  name: dev
contexts:
- context:
    cluster: dev
    user: kubernetes-admin
  name: kubernetes-admin@dev
current-context: kubernetes-admin@dev
kind: Config
users:
- name: kubernetes-admin
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
";

/// What a user may have: unknown fields, odd scalars, quotes, flow style, a literal block.
const USER: &str = r#"apiVersion: v1
kind: Config
preferences: {colors: true}
x-note: 0123
x-version: 1.10
x-quoted: "yes"
x-tagged: !!str 12
x-anchor: &a {b: c}
x-alias: *a
x-text: |
  two
  lines
current-context: "work"
clusters:
  - name: work
    cluster:
      server: https://work.example:6443
      extensions:
      - {name: minikube.sigs.k8s.io, extension: {last-update: 'Thu, 01 Jan', provider: null}}
contexts:
- {name: work, context: {cluster: work, user: work, namespace: "on"}}
users:
- name: work
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: get-token, args: [--id, "007"], env: null}
"#;

struct Fixture {
    home: tempfile::TempDir,
    paths: Paths,
    lock: SharedLock,
}

impl Fixture {
    async fn new() -> Fixture {
        let home = tempfile::tempdir().unwrap();
        let paths = paths_in(home.path());
        let (cancel, (events, _receiver)) = (CancellationToken::new(), Events::channel());
        let at_most = Duration::from_secs(30);
        let waiting = Waiting { operation: "pipe up", at_most, cancel: &cancel, events: &events };
        let lock = SharedLock::acquire(&paths, &waiting).await.unwrap();
        Fixture { home, paths, lock }
    }

    /// A cluster with its own kubeconfig written.
    fn cluster(&self, name: &str) -> ClusterName {
        let cluster = ClusterName::parse(name).unwrap();
        let text = own(ADMIN_CONF, &format!("kind-{name}"), "https://127.0.0.1:40001").unwrap();
        write_own(&self.paths.cluster(&cluster), &text).unwrap();
        cluster
    }

    fn config(&self) -> PathBuf {
        self.home.path().join(".kube/config")
    }

    async fn merge(&self, cluster: &ClusterName, switch: bool) -> Result<()> {
        merge(&self.paths, cluster, &self.config(), switch, &self.lock).await
    }

    async fn unmerge(&self, cluster: &ClusterName) -> Result<Vec<PathBuf>> {
        let (name, usual) = (format!("kind-{cluster}"), self.config());
        let done = unmerge(&self.paths, cluster, &name, Some(&usual), &self.lock).await?;
        Ok(done.changed)
    }

    fn write_config(&self, text: &str) {
        fs::create_dir_all(self.home.path().join(".kube")).unwrap();
        fs::write(self.config(), text).unwrap();
    }
}

fn json(text: &str) -> serde_json::Value {
    // kube reads kubeconfigs with a YAML parser of its own: a second opinion on what we write.
    let config = kube::config::Kubeconfig::from_yaml(text).unwrap();
    serde_json::to_value(config).unwrap()
}

#[test]
fn own_takes_the_current_context_under_our_name() {
    let text = own(ADMIN_CONF, "kind-dev", "https://127.0.0.1:40001").unwrap();
    insta::assert_snapshot!(text, @"
    apiVersion: v1
    kind: Config
    clusters:
      - name: kind-dev
        cluster:
          certificate-authority-data: Q0E=
          server: https://127.0.0.1:40001
    contexts:
      - name: kind-dev
        context:
          cluster: kind-dev
          user: kind-dev
    current-context: kind-dev
    users:
      - name: kind-dev
        user:
          client-certificate-data: Q0VSVA==
          client-key-data: S0VZ
    ");
    for (raw, fault) in [
        ("", "it has no current context"),
        ("[]", "its top level is not a mapping"),
        ("contexts: [{name: a, context: {cluster: b, user: c}}]", "it has no cluster b"),
        ("a: [", "while parsing"),
    ] {
        let error = own(raw, "kind-dev", "https://127.0.0.1:1").unwrap_err();
        assert!(error.causes[0].contains(fault), "{error}");
    }
}

#[test]
fn the_users_file_by_precedence() {
    let env = |name: &str| match name {
        "KUBECONFIG" => Some(":/a/first:/b/second".to_owned()),
        _ => Some("/home/ada".to_owned()),
    };
    assert_eq!(user_file(Some(Path::new("/x")), env).unwrap(), Path::new("/x"));
    assert_eq!(user_file(None, env).unwrap(), Path::new("/a/first"));
    let home = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
    assert_eq!(user_file(None, home).unwrap(), Path::new("/home/ada/.kube/config"));
    assert_eq!(user_file(None, |_| None).unwrap_err().code, "no-home");
}

#[tokio::test]
async fn a_file_that_we_made_goes_with_the_last_cluster() {
    let fixture = Fixture::new().await;
    let (dev, ci) = (fixture.cluster("dev"), fixture.cluster("ci"));
    fixture.merge(&dev, true).await.unwrap();
    fixture.merge(&ci, false).await.unwrap();
    let text = fs::read_to_string(fixture.config()).unwrap();
    assert_eq!(json(&text)["current-context"], "kind-dev");
    assert_eq!(json(&text)["contexts"].as_array().unwrap().len(), 2);
    assert_eq!(fs::metadata(fixture.config()).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(fixture.unmerge(&dev).await.unwrap(), [fixture.config()]);
    let text = fs::read_to_string(fixture.config()).unwrap();
    insta::assert_snapshot!(text, @r#"
    apiVersion: v1
    kind: Config
    clusters:
      - name: kind-ci
        cluster:
          certificate-authority-data: Q0E=
          server: https://127.0.0.1:40001
    contexts:
      - name: kind-ci
        context:
          cluster: kind-ci
          user: kind-ci
    users:
      - name: kind-ci
        user:
          client-certificate-data: Q0VSVA==
          client-key-data: S0VZ
    current-context: ""
    "#);
    fixture.unmerge(&ci).await.unwrap();
    assert!(!fixture.config().exists(), "made by dev, removed with ci");
    assert!(!fixture.home.path().join(".kube").exists());
    assert!(fixture.unmerge(&ci).await.unwrap().is_empty(), "again is no error");
}

/// Found by fuzzing: the tag was dropped, and what it made of its text with it.
#[test]
fn tags_are_kept_in_effect_or_refused() {
    let with = |extra: &str| {
        let text =
            ADMIN_CONF.replace("user:\n    client", &format!("user:\n    {extra}\n    client"));
        own(&text, "kind-dev", "https://127.0.0.1:40001")
    };
    let kept =
        "a: !!int 7\n    b: !!null\n    c: !!str\n    !!str d: !!bool true\n    e: !!float 1.50";
    let once = with(kept).unwrap();
    for line in ["a: 7", "b: null", "c: \"\"", "d: true", "e: 1.50"] {
        assert!(once.contains(&format!("    {line}\n")), "{line} in {once}");
    }
    assert_eq!(own(&once, "kind-dev", "https://127.0.0.1:40001").unwrap(), once);
    for (lost, why) in [
        ("a: !!x", "the YAML tag !!x"),
        ("a: !!binary QUJD", "the YAML tag !!binary"),
        ("a: !!int 'b: c'", "the YAML tag !!int"),
        ("a: !own b", "the YAML tag !own"),
        ("a: 1\n    !!str a: 2", "the key a stands twice"),
    ] {
        let error = with(lost).unwrap_err();
        assert!(error.causes[0].contains(why), "{lost}: {error}");
    }
}

#[tokio::test]
async fn everything_else_in_the_users_file_stays() {
    let fixture = Fixture::new().await;
    let dev = fixture.cluster("dev");
    fixture.write_config(USER);
    fixture.merge(&dev, true).await.unwrap();
    let merged = fs::read_to_string(fixture.config()).unwrap();
    insta::assert_snapshot!(merged, @r#"
    apiVersion: v1
    kind: Config
    preferences:
      colors: true
    x-note: 0123
    x-version: 1.10
    x-quoted: "yes"
    x-tagged: "12"
    x-anchor:
      b: c
    x-alias:
      b: c
    x-text: "two\nlines\n"
    current-context: kind-dev
    clusters:
      - name: work
        cluster:
          server: https://work.example:6443
          extensions:
            - name: minikube.sigs.k8s.io
              extension:
                last-update: "Thu, 01 Jan"
                provider: null
      - name: kind-dev
        cluster:
          certificate-authority-data: Q0E=
          server: https://127.0.0.1:40001
    contexts:
      - name: work
        context:
          cluster: work
          user: work
          namespace: "on"
      - name: kind-dev
        context:
          cluster: kind-dev
          user: kind-dev
    users:
      - name: work
        user:
          exec:
            apiVersion: client.authentication.k8s.io/v1
            command: get-token
            args:
              - --id
              - "007"
            env: null
      - name: kind-dev
        user:
          client-certificate-data: Q0VSVA==
          client-key-data: S0VZ
    "#);
    fixture.unmerge(&dev).await.unwrap();
    let after = fs::read_to_string(fixture.config()).unwrap();
    let mut expected = json(USER);
    expected["current-context"] = "".into();
    assert_eq!(json(&after), expected);
    assert!(fixture.config().exists(), "not ours");
}

#[tokio::test]
async fn merging_twice_writes_once_and_keeps_other_contexts_current() {
    let fixture = Fixture::new().await;
    let dev = fixture.cluster("dev");
    fixture.write_config(USER);
    fixture.merge(&dev, false).await.unwrap();
    let first = fs::metadata(fixture.config()).unwrap().ino();
    fixture.merge(&dev, false).await.unwrap();
    assert_eq!(fs::metadata(fixture.config()).unwrap().ino(), first);
    let text = fs::read_to_string(fixture.config()).unwrap();
    assert_eq!(json(&text)["current-context"], "work");
    fixture.unmerge(&dev).await.unwrap();
    let text = fs::read_to_string(fixture.config()).unwrap();
    assert_eq!(json(&text), json(USER));
}

#[tokio::test]
async fn links_modes_and_read_only_files_are_respected() {
    let fixture = Fixture::new().await;
    let dev = fixture.cluster("dev");
    let real = fixture.home.path().join("dotfiles");
    fixture.write_config("");
    fs::remove_file(fixture.config()).unwrap();
    std::os::unix::fs::symlink(&real, fixture.config()).unwrap();
    fixture.merge(&dev, true).await.unwrap();
    assert!(fs::symlink_metadata(fixture.config()).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("kind-dev"));

    fs::set_permissions(&real, fs::Permissions::from_mode(0o440)).unwrap();
    let error = fixture.unmerge(&dev).await.unwrap_err();
    assert_eq!((error.code, error.kind.exit_code()), ("kubeconfig-unwritable", 4));
    assert_eq!(error.causes, ["the file is read-only"]);
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(&real, fs::read_to_string(&real).unwrap() + "x-mine: 1\n").unwrap();
    fixture.unmerge(&dev).await.unwrap();
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::read_to_string(&real).unwrap().contains("x-mine: 1"));
}

/// What the check before a cluster is made says, the merge says too, and the check leaves no trace.
#[tokio::test]
async fn what_cannot_be_merged_is_known_before() {
    let fixture = Fixture::new().await;
    let dev = fixture.cluster("dev");
    let config = fixture.config();
    let folder = config.parent().unwrap().to_owned();
    require_mergeable(&config).unwrap();
    assert!(!folder.exists(), "asking makes nothing");
    type Spoil = fn(&Path);
    let spoiled: [(&str, Spoil); 6] = [
        ("kubeconfig-unwritable", |config| {
            fs::write(config, "").unwrap();
            fs::set_permissions(config, fs::Permissions::from_mode(0o444)).unwrap();
        }),
        ("kubeconfig-unwritable", |config| fs::create_dir(config).unwrap()),
        ("kubeconfig-unwritable", |config| {
            std::os::unix::fs::symlink("/dev/null", config).unwrap();
        }),
        ("kubeconfig-unwritable", |config| {
            std::os::unix::fs::symlink("no/such/folder/config", config).unwrap();
        }),
        ("kubeconfig-unwritable", |config| {
            let folder = config.parent().unwrap();
            fs::remove_dir(folder).unwrap();
            fs::write(folder, "a file").unwrap();
        }),
        ("kubeconfig-invalid", |config| fs::write(config, "clusters: 7").unwrap()),
    ];
    for (code, spoil) in spoiled {
        fs::create_dir_all(&folder).unwrap();
        spoil(&config);
        let before = file::size(fixture.home.path());
        let error = require_mergeable(&config).unwrap_err();
        assert_eq!((error.code, error.kind.exit_code()), (code, 4), "{error}");
        assert!(!error.hints.is_empty() && error.what.contains("config"), "{error}");
        assert_eq!(file::size(fixture.home.path()), before);
        assert_eq!(fixture.merge(&dev, true).await.unwrap_err().code, code);
        file::remove(&folder).unwrap();
    }
    require_mergeable(&config).unwrap();
    fixture.merge(&dev, true).await.unwrap();
    require_mergeable(&config).unwrap();
}

#[tokio::test]
async fn a_broken_file_is_left_alone() {
    let fixture = Fixture::new().await;
    let dev = fixture.cluster("dev");
    for broken in ["clusters: {}x", "clusters: 7", "a: 1\n---\nb: 2\n", "just text", "a: !mine b"] {
        fixture.write_config(broken);
        assert_eq!(fixture.merge(&dev, true).await.unwrap_err().code, "kubeconfig-invalid");
        assert_eq!(fs::read_to_string(fixture.config()).unwrap(), broken);
        assert!(fixture.unmerge(&dev).await.unwrap().is_empty(), "teardown is not blocked");
    }
}

#[tokio::test]
async fn client_gos_lock_is_waited_for_and_named_when_stale() {
    let fixture = Fixture::new().await;
    fixture.write_config("");
    let lock = fixture.home.path().join(".kube/config.lock");
    fs::write(&lock, "").unwrap();
    let error = Guard::within(&fixture.config(), Duration::from_millis(120)).await.unwrap_err();
    assert_eq!((error.code, error.kind.exit_code()), ("kubeconfig-locked", 6));
    assert!(error.hints[0].ends_with(&format!("rm {}", lock.display())));

    let config = fixture.config();
    let (guard, ()) = tokio::join!(Guard::acquire(&config), async {
        tokio::task::yield_now().await;
        fs::remove_file(&lock).unwrap();
    });
    assert!(lock.exists());
    drop(guard.unwrap());
    assert!(!lock.exists());
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_the_usual_file_is_cleaned() {
    let fixture = Fixture::new().await;
    let dev = fixture.cluster("dev");
    fixture.write_config("x-mine: 1\n");
    fixture.merge(&dev, true).await.unwrap();
    let record = fixture.paths.cluster(&dev).merged();
    fs::write(&record, "{\"schema\": 1, \"fi").unwrap();
    fixture.merge(&dev, true).await.unwrap();
    let aside = record.with_file_name("merged.json.broken");
    assert_eq!(fs::read_to_string(aside).unwrap(), "{\"schema\": 1, \"fi");

    fs::write(&record, "").unwrap();
    assert_eq!(fixture.unmerge(&dev).await.unwrap(), [fixture.config()]);
    let left = fs::read_to_string(fixture.config()).unwrap();
    assert!(!left.contains("kind-dev") && left.contains("x-mine: 1"), "{left}");
}

#[tokio::test]
async fn a_record_of_a_newer_pipe_is_left_alone() {
    let fixture = Fixture::new().await;
    let dev = fixture.cluster("dev");
    fixture.merge(&dev, true).await.unwrap();
    let record = fixture.paths.cluster(&dev).merged();
    let newer = r#"{"schema": 2, "files": [], "contexts": ["kind-dev"]}"#;
    fs::write(&record, newer).unwrap();
    for error in
        [fixture.merge(&dev, true).await.unwrap_err(), fixture.unmerge(&dev).await.unwrap_err()]
    {
        assert_eq!(error.code, "made-by-newer-pipe");
    }
    assert_eq!(fs::read_to_string(&record).unwrap(), newer);
    assert!(fs::read_to_string(fixture.config()).unwrap().contains("kind-dev"));
}

/// As root, renaming over `/dev/null` works, and the host is broken from then on.
#[tokio::test]
async fn what_is_no_file_is_left_alone() {
    let fixture = Fixture::new().await;
    let dev = fixture.cluster("dev");
    fs::create_dir_all(fixture.home.path().join(".kube")).unwrap();
    for target in ["/dev/null", "."] {
        std::os::unix::fs::symlink(target, fixture.config()).unwrap();
        let error = fixture.merge(&dev, true).await.unwrap_err();
        assert_eq!(error.code, "kubeconfig-unwritable");
        assert_eq!(error.causes, ["it is not a regular file"]);
        // Also where it became one only after the merge.
        remember(&fixture.paths, &dev, &fixture.config()).unwrap();
        assert!(fixture.unmerge(&dev).await.unwrap().is_empty());
        assert_eq!(fs::read_link(fixture.config()).unwrap(), Path::new(target));
        fs::remove_file(fixture.config()).unwrap();
    }
    use std::os::unix::fs::FileTypeExt as _;
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

/// Found by fuzzing: the parser takes a block scalar's sign within a flow list, and says so again.
#[test]
fn what_is_written_can_be_read() {
    let odd = ADMIN_CONF.replace("Q0VSVA==", "[a, 'b',|\n          c, -1, +1, .5, ~, /x]");
    let text = own(&odd, "kind-dev", "https://x").unwrap();
    assert_eq!(own(&text, "kind-dev", "https://x").unwrap(), text);
}
