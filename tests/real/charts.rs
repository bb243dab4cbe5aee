//! Every chart of ours, as helm itself reads it: valid, and rendered as its component file says.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pipe::plan::components::chart_values;
use pipe::spec::source::Sources;
use pipe::spec::{Arch, Component, Memory, memory};

use super::Case;
use super::host::{self, root};

pub const CASES: [Case; 2] = [
    Case { name: "charts_pass_helm_lint", skip: no_helm, run: lint },
    Case { name: "charts_render_what_components_say", skip: no_helm, run: render },
];

fn helm() -> PathBuf {
    host::tool("helm")
}

fn no_helm() -> Option<String> {
    let there = host::cache().join("pipe/tools/helm").exists();
    (!there).then(|| "helm is not here: scripts/images/factory tools helm".to_owned())
}

fn lint() {
    for entry in std::fs::read_dir(root().join("charts-cache")).expect("charts").flatten() {
        let output = Command::new(helm()).args(["lint", "--strict"]).arg(entry.path()).output();
        let output = output.expect("helm runs");
        assert!(output.status.success(), "{}", host::text(&output));
    }
}

/// The manifests of a component's release.
fn template(component: &Component) -> String {
    let chart = root().join("charts-cache").join(&component.definition.chart);
    let mut child = Command::new(helm())
        .args(["template", component.name.as_str()])
        .arg(chart)
        .args(["--namespace", &component.namespace, "--values", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("helm runs");
    let values = chart_values(component).to_string();
    child.stdin.take().expect("a pipe").write_all(values.as_bytes()).expect("values are taken");
    let output = child.wait_with_output().expect("helm ends");
    assert!(output.status.success(), "{}", host::text(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn render() {
    // Both S3 stores use one chart, and a profile has only one of them; FoundationDB's image is not
    // to be had everywhere, so no profile of ours has it yet.
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("profiles");
    std::fs::create_dir_all(&other).expect("a folder");
    std::fs::write(
        other.join("other.yaml"),
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: other\ncomponents:\n\
         - {name: silo, namespace: data}\n- {name: foundationdb, namespace: data}\n- {name: scylladb, namespace: data}\n",
    )
    .expect("a profile");
    let sources = Sources::find(Some(folder.path()), folder.path()).expect("sources");
    for profile in ["quickstart", "other"] {
        let spec = ::pipe::spec::load(&sources, "single", Some(profile), Arch::Amd64);
        for mut component in spec.expect("a spec").profile.components {
            let manifests = template(&component);
            holds(&component, &manifests);
            if component.name.as_str() == "foundationdb" {
                serves_at_its_nodes_address(&manifests);
            }
            if !component.definition.stand_in.is_null() {
                component.stand_in = Some("another product".to_owned());
                let stand_in = template(&component);
                holds(&component, &stand_in);
                assert!(stand_in.contains("<yandex>") && !stand_in.contains("clickhouse>\n"));
            }
        }
    }
}

/// Clients dial what the server says its address is: the node's, at the port that they dialled first.
fn serves_at_its_nodes_address(manifests: &str) {
    for needed in [
        "hostNetwork: true",
        "dnsPolicy: ClusterFirstWithHostNet",
        "hostPort: 4500",
        "fieldPath: status.hostIP",
        "publishNotReadyAddresses: true",
        "--knob_disable_posix_kernel_aio=1",
        "runAsUser: 4059",
        "pipe:pipe@foundationdb-0.foundationdb-headless.data.svc.cluster.local:4500",
    ] {
        assert!(manifests.contains(needed), "no {needed}");
    }
}

/// What holds for every chart.
fn holds(component: &Component, manifests: &str) {
    let all = |key: &str| -> Vec<&str> {
        let lines = manifests.lines().map(|line| line.trim().trim_start_matches("- "));
        lines.filter_map(|line| line.strip_prefix(key)).map(str::trim).collect()
    };
    let images: Vec<&str> =
        component.definition.images.iter().map(|image| image.as_str()).collect();
    assert_eq!(all("image:"), images, "the chart runs what the component file names");
    for needed in [
        "startupProbe:",
        "readinessProbe:",
        "livenessProbe:",
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "drop: [ALL]",
        "type: RuntimeDefault",
        "automountServiceAccountToken: false",
        "storageClassName: standard-local",
    ] {
        assert!(manifests.contains(needed), "{}: no {needed}", component.name);
    }
    let ports: Vec<String> = component
        .definition
        .ports
        .iter()
        .map(|port| port.entry().expect("an entry").node_port.to_string())
        .collect();
    assert_eq!(all("nodePort:"), ports, "{}", component.name);
    assert!(!manifests.contains("kind: Secret"), "{}: secrets are pipe's", component.name);
    for memory in all("memory:") {
        assert!(memory.ends_with("Mi") || memory == "1Gi", "{}: {memory}", component.name);
    }
    assert_eq!(asked(manifests), component.memory, "{}: what doctor counts with", component.name);
}

/// What Kubernetes is asked for, of one pod with one container.
fn asked(manifests: &str) -> Memory {
    let mut asked = Memory::default();
    let mut of_limits = false;
    for line in manifests.lines().map(str::trim) {
        match line.split_once(": ") {
            None if line == "limits:" => of_limits = true,
            None if line == "requests:" => of_limits = false,
            Some(("memory", amount)) => {
                let bytes = memory::parse(amount).expect("an amount");
                let sum = if of_limits { &mut asked.limit } else { &mut asked.requested };
                *sum += bytes;
            }
            Some(("replicas", replicas)) => assert_eq!(replicas, "1"),
            _ => {}
        }
    }
    asked
}
