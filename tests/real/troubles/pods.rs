//! A component whose pods do not get ready, once for each reason that users report.

use super::super::bad_days::failed;
use super::super::case::hold;
use super::super::pipe::Home;
use super::{IMAGE, NODE};

const CHART: &str = "apiVersion: v2\nname: trouble\nversion: 0.1.0\n";

/// Whatever the profile says a pod is.
const TEMPLATE: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: trouble}
spec:
  serviceName: trouble
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app.kubernetes.io/instance: {{ .Release.Name }}}
      annotations: {edit: {{ .Values.edit | default \"none\" | quote }}}
    spec: {{ merge (dict \"containers\" (list .Values.container)) .Values.pod | toJson }}
  {{- with .Values.storageClass }}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: {{ . }}, resources: {requests: {storage: 1Mi}}}
  {{- end }}
";

const COMPONENT: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Component
name: trouble
description: Pods that the tests want
chart: trouble
images: []
values: {pod: {terminationGracePeriodSeconds: 0}}
sizes: {single: {}}
ready:
- {statefulSet: trouble, within: WITHIN}
";

/// A profile with the component, and what differs from a pod that works.
pub fn write(home: &Home, within: &str, command: &str, more: &str) {
    home.write("charts-cache/trouble/Chart.yaml", CHART);
    home.write("charts-cache/trouble/templates/app.yaml", TEMPLATE);
    home.write("profiles/components/trouble.yaml", &COMPONENT.replace("WITHIN", within));
    let profile = format!(
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: trouble\ncomponents:\n\
         - name: trouble\n  namespace: trouble\n  values:\n\
         \x20   container: {{name: app, image: '{IMAGE}', command: {command}}}\n{more}"
    );
    home.write("profiles/trouble.yaml", &profile);
}

/// A case, what the container runs, and what else the profile says.
type Trouble = (&'static str, &'static str, &'static str);

pub const USUAL: [Trouble; 5] = [
    ("pod-crash-loop", "[/app, crash], readinessProbe: {tcpSocket: {port: 1}}", ""),
    ("pod-exec-format", "[/foreign], readinessProbe: {tcpSocket: {port: 1}}", ""),
    ("pod-no-image", "[/app], imagePullPolicy: Always", ""),
    ("pod-storage-class", "[/app]", "    storageClass: fast\n"),
    // The claim of the one before is still there, and is not what this one waits for.
    ("pod-taint", "[/app]", ""),
];

/// The others, in the extended set.
pub const MORE: [Trouble; 3] = [
    (
        "pod-out-of-memory",
        "[/app, hog], readinessProbe: {tcpSocket: {port: 1}}, resources: {limits: {memory: 20Mi}}",
        "",
    ),
    ("pod-selector", "[/app]", "    pod: {nodeSelector: {disk: ssd}}\n"),
    ("pod-no-room", "[/app], resources: {requests: {memory: 900Gi}}", ""),
];

pub fn troubles(home: &Home, troubles: &[Trouble]) {
    for &(name, command, more) in troubles {
        // Nothing has to happen before the scheduler, or its absence, says why.
        let scheduled =
            !matches!(name, "pod-selector" | "pod-no-room" | "pod-storage-class" | "pod-taint");
        // What no start will change is not waited for until the deadline.
        let (within, code) = match (name, scheduled) {
            ("pod-exec-format", _) => ("3m", 1),
            (_, true) => ("20s", 6),
            (_, false) => ("5s", 6),
        };
        write(home, within, command, more);
        if name == "pod-taint" {
            home.ok(&format!("kubectl -c one -- taint node {NODE} team=db:NoSchedule"));
        }
        let result = failed(&mut home.command("up one --profile trouble"), code);
        // The last cause is the whole story, with times and back-offs: the first says it, and the
        // story is held to the words that matter.
        let mut held = result.clone();
        let causes = held["error"]["causes"].as_array_mut().expect("causes");
        let story = causes.pop().expect("what was seen").to_string();
        println!("        {name}: {story}");
        causes.truncate(2);
        hold(name, &held, &[]);
        assert!(story.contains("trouble-0"), "{story}");
        assert!(story.contains(word(name)), "{story}");
        assert_eq!(home.json("status one")["state"], "running", "the cluster stays");
    }
}

/// After all of them: a pod that works does.
pub fn mended(home: &Home) {
    home.ok(&format!("kubectl -c one -- taint node {NODE} team-"));
    home.ok("kubectl -c one -- delete pvc --all -n trouble --wait=false");
    write(home, "30s", "[/app]", "");
    home.ok("up one --profile trouble");
    home.ok("up one --profile bare --prune");
}

/// What the evidence must name.
fn word(name: &str) -> &'static str {
    match name {
        "pod-crash-loop" => "unknown key colour",
        "pod-exec-format" => "exec format error",
        "pod-out-of-memory" => "OOMKilled",
        "pod-no-image" => "pipe-e2e-trouble:1",
        "pod-selector" => "didn't match",
        "pod-no-room" => "Insufficient memory",
        "pod-storage-class" => "fast",
        _ => "untolerated taint",
    }
}
