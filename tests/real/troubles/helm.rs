//! A helm that is killed in the middle leaves its release pending, and helm itself refuses to touch
//! such a one. The next `up` does.

use std::process::Child;
use std::time::{Duration, Instant};

use super::super::case::healed;
use super::super::failure::signal;
use super::super::host::{self, podman};
use super::super::pipe::Home;
use super::{pods, silent_port};

/// Everything that helm applies to StatefulSets waits for a server that never answers.
const HOOK: &str = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: trouble}
webhooks:
- name: never.pipe.dev
  clientConfig: {url: 'https://GATEWAY:PORT/'}
  rules: [{apiGroups: [apps], apiVersions: [v1], operations: ['*'], resources: [statefulsets]}]
  timeoutSeconds: 30
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
";

/// Once in the first installation, once in an upgrade.
pub fn left_pending(home: &Home) {
    let gateways = "{{range .Subnets}}{{.Gateway}} {{end}}";
    let gateways = podman(["network", "inspect", "kind", "--format", gateways]);
    let gateway = gateways.split_whitespace().find(|g| g.contains('.')).expect("a gateway");
    let hook = HOOK.replace("GATEWAY", gateway).replace("PORT", &silent_port().to_string());
    home.write("hook.yaml", &hook);
    healed("helm-pending");

    pods::write(home, "30s", "[/app]", "");
    killed_while(home, "pending-install");
    assert_eq!(home.json("status one")["components"][0]["state"], "pending-install");
    home.ok("up one --profile trouble");
    assert_eq!(releases(home), "deployed 1");

    pods::write(home, "30s", "[/app]", "    edit: second\n");
    killed_while(home, "pending-upgrade");
    assert_eq!(home.json("status one")["components"][0]["state"], "pending-upgrade");
    home.ok("up one");
    // Helm keeps the record of the one that was cut off; the newest counts.
    assert_eq!(releases(home).lines().last(), Some("deployed 4"), "{}", releases(home));
    let edit =
        "kubectl -c one -- get pod trouble-0 -n trouble -o jsonpath={.metadata.annotations.edit}";
    assert_eq!(home.ok(edit), "second");
    assert_eq!(home.json("plan one")["steps"], serde_json::json!([]));
}

/// State and revision of each record, oldest first.
fn releases(home: &Home) -> String {
    let fields = "jsonpath={range .items[*]}{.metadata.labels.status} {.metadata.labels.version}{\"\\n\"}{end}";
    let mut list = home.command("kubectl -c one -- get secret -n trouble -l owner=helm -o");
    let output = list.arg(fields).output().expect("kubectl runs");
    assert!(output.status.success(), "{}", host::text(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Kills `pipe`, and then helm, when the release is in `state`; it must stay in it.
fn killed_while(home: &Home, state: &str) {
    home.ok("kubectl -c one -- apply -f hook.yaml");
    let mut child = home.spawn("up one --profile trouble");
    await_state(home, state, &mut child);
    signal(&child, "KILL");
    child.wait().expect("it ends");
    let helm = home.path("").to_string_lossy().into_owned();
    for line in host::processes_with(std::path::Path::new("upgrade")) {
        // Ours alone: the chart lies in this home's state folder.
        if let Some((pid, _)) = line.split_once(' ').filter(|(_, command)| command.contains(&helm))
        {
            let pid: i32 = pid.parse().expect("a process id");
            let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
            // It may have ended with `pipe`.
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    home.ok("kubectl -c one -- delete -f hook.yaml");
    assert!(releases(home).contains(state), "{} instead of {state}", releases(home));
}

fn await_state(home: &Home, state: &str, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !releases(home).contains(state) {
        if let Some(status) = child.try_wait().expect("the child can be asked") {
            let log = std::fs::read_to_string(home.path("spawned.log")).unwrap_or_default();
            panic!("pipe ended with {status} before helm was {state}: {log}");
        }
        assert!(Instant::now() < deadline, "helm was never {state}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
