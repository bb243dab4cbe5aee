//! The user's files from the outside: what is shipped loads, what is wrong is said, nothing panics.

mod faults;
mod forbidden;
mod schema;

use std::fs;

use pipe::spec::source::{Folder, Sources};
use pipe::spec::{self, Arch, Fidelity, Spec};

/// A project with these files; paths are relative to its folder.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["clusters", "profiles/components"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// Loads cluster `cluster` of a project with these files, on an amd64 host.
fn load(files: &[(&str, &str)], cluster: &str) -> pipe::Result<Spec> {
    let dir = project(files);
    let sources = Sources::find(None, dir.path()).unwrap();
    spec::load(&sources, cluster, None, Arch::Amd64)
}

#[test]
fn every_shipped_file_loads_on_every_host() {
    let sources = Sources::built_in();
    let names = |folder| sources.names(folder).unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(names(Folder::Clusters), ["ci", "dev", "single"]);
    assert_eq!(names(Folder::Profiles), ["ci", "laptop", "quickstart"]);
    for cluster in names(Folder::Clusters) {
        for profile in names(Folder::Profiles) {
            for arch in [Arch::Amd64, Arch::Arm64] {
                spec::load(&sources, &cluster, None, arch).unwrap();
                spec::load(&sources, &cluster, Some(&profile), arch).unwrap();
            }
        }
    }
}

#[test]
fn dev_is_the_three_nodes_of_the_design() {
    let spec = spec::load(&Sources::built_in(), "dev", None, Arch::Amd64).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&spec.cluster).unwrap(), @r#"
    {
      "name": "dev",
      "provider": "kind",
      "profile": "laptop",
      "host_ports": "default",
      "network": "auto",
      "pod_subnet": "10.244.0.0/16",
      "service_subnet": "10.96.0.0/16",
      "nodes": [
        {
          "name": "core",
          "host": "dev-control-plane",
          "control_plane": true,
          "fidelity": "native",
          "role": "core",
          "zone": "a",
          "arch": null,
          "accelerator": null,
          "resources": {},
          "labels": {
            "app.kubernetes.io/managed-by": "pipe",
            "node-role.kubernetes.io/core": "",
            "pipe.dev/cluster": "dev",
            "pipe.dev/fidelity": "native",
            "pipe.dev/node": "core",
            "role": "core",
            "topology.kubernetes.io/zone": "a",
            "zone": "a"
          },
          "taints": []
        },
        {
          "name": "edge",
          "host": "dev-worker",
          "control_plane": false,
          "fidelity": "labelled",
          "role": "general",
          "zone": "b",
          "arch": "arm64",
          "accelerator": null,
          "resources": {},
          "labels": {
            "app.kubernetes.io/managed-by": "pipe",
            "arch": "arm64",
            "node-role.kubernetes.io/general": "",
            "pipe.dev/cluster": "dev",
            "pipe.dev/fidelity": "labelled",
            "pipe.dev/node": "edge",
            "role": "general",
            "topology.kubernetes.io/zone": "b",
            "zone": "b"
          },
          "taints": [
            {
              "key": "arch",
              "value": "arm64",
              "effect": "NoSchedule"
            }
          ]
        },
        {
          "name": "gpu",
          "host": "dev-worker2",
          "control_plane": false,
          "fidelity": "native",
          "role": "ml",
          "zone": "c",
          "arch": null,
          "accelerator": "gpu",
          "resources": {
            "nvidia.com/gpu": 2
          },
          "labels": {
            "accelerator": "gpu",
            "app.kubernetes.io/managed-by": "pipe",
            "node-role.kubernetes.io/ml": "",
            "pipe.dev/cluster": "dev",
            "pipe.dev/fidelity": "native",
            "pipe.dev/node": "gpu",
            "role": "ml",
            "topology.kubernetes.io/zone": "c",
            "zone": "c"
          },
          "taints": [
            {
              "key": "accelerator",
              "value": "gpu",
              "effect": "NoSchedule"
            }
          ]
        }
      ]
    }
    "#);
}

/// `count` makes nodes that differ in their names alone.
#[test]
fn count_is_unrolled() {
    let cluster = "{apiVersion: pipe.dev/v1alpha1, kind: Cluster, name: x, profile: quickstart, nodes: [\
                   {name: edge, count: 3, zone: b, labels: {team: a}}, {name: core, controlPlane: true},\
                   {name: gpu, accelerator: gpu}]}";
    let nodes = load(&[("clusters/x.yaml", cluster)], "x").unwrap().cluster.nodes;
    let names: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.host.as_str())).collect();
    assert_eq!(
        names,
        [
            ("core", "x-control-plane"),
            ("edge", "x-worker"),
            ("edge-2", "x-worker2"),
            ("edge-3", "x-worker3"),
            ("gpu", "x-worker4"),
        ]
    );
    for node in &nodes[1..4] {
        assert_eq!((node.zone.as_deref(), node.labels["team"].as_str()), (Some("b"), "a"));
        assert_eq!(node.labels["pipe.dev/node"], node.name.as_str());
    }
}

#[test]
fn nats_is_data() {
    let spec = spec::load(&Sources::built_in(), "dev", Some("quickstart"), Arch::Amd64).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&spec.profile.components[0]).unwrap(), @r#"
    {
      "name": "nats",
      "namespace": "messaging",
      "size": "single",
      "values": {},
      "when_unavailable": "fail",
      "definition": {
        "name": "nats",
        "description": "NATS messaging with JetStream on a persistent volume",
        "chart": "nats",
        "images": [
          "docker.io/library/nats:2.15.2"
        ],
        "needs": [],
        "ports": [
          {
            "name": "client",
            "catalogue": "nats-client"
          },
          {
            "name": "monitor",
            "catalogue": "nats-monitor"
          }
        ],
        "credentials": {
          "secret": "nats-credentials",
          "keys": {
            "password": {
              "generate": {
                "length": 32,
                "fixed": "pipe-development-only"
              }
            },
            "username": {
              "value": "pipe"
            }
          }
        },
        "values": {
          "service": {
            "nodePorts": {
              "client": 30001,
              "monitor": 30002
            }
          }
        },
        "sizes": {
          "single": {}
        },
        "ready": [
          {
            "condition": {
              "statefulSet": "nats"
            },
            "within": {
              "secs": 180,
              "nanos": 0
            }
          },
          {
            "condition": {
              "endpoints": "nats"
            },
            "within": {
              "secs": 60,
              "nanos": 0
            }
          }
        ],
        "smoke": {
          "driver": "nats",
          "port": "client",
          "within": {
            "secs": 90,
            "nanos": 0
          }
        },
        "env": {
          "NATS_PASSWORD": "{password}",
          "NATS_URL": "nats://{host}:{port:client}",
          "NATS_USER": "{username}"
        }
      }
    }
    "#);
    assert_eq!(spec.profile.components[0].definition.ports[0].entry().unwrap().host_port, 4222);
}

#[test]
fn count_makes_nodes_in_file_order() {
    let cluster = "
apiVersion: pipe.dev/v1alpha1
kind: Cluster
name: x
profile: laptop
nodes:
- {name: edge, count: 2}
- {name: core, controlPlane: true}
- {name: far, arch: amd64}
- {name: odd, arch: amd64, fidelity: labelled}
";
    let spec = load(&[("clusters/x.yaml", cluster)], "x").unwrap();
    let nodes = spec.cluster.nodes;
    let names: Vec<_> = nodes.iter().map(|n| (n.name.as_str(), n.host.as_str())).collect();
    assert_eq!(
        names,
        [
            ("core", "x-control-plane"),
            ("edge", "x-worker"),
            ("edge-2", "x-worker2"),
            ("far", "x-worker3"),
            ("odd", "x-worker4"),
        ]
    );
    assert!(nodes[0].taints.is_empty() && nodes[3].taints.is_empty());
    assert_eq!((nodes[3].fidelity, nodes[4].fidelity), (Fidelity::Native, Fidelity::Labelled));
    assert_eq!(nodes[4].taints[0].key, "arch");
}

/// A component file with these lines after its head.
fn component(name: &str, lines: &str) -> String {
    format!(
        "apiVersion: pipe.dev/v1alpha1\nkind: Component\nname: {name}\ndescription: x\nchart: nats\n\
         images: []\nsizes: {{single: {{}}}}\nready: []\n{lines}"
    )
}

#[test]
fn what_is_needed_comes_first() {
    let one = component("one", "needs: [two, nats]\n");
    let two = component("two", "");
    let profile = "{apiVersion: pipe.dev/v1alpha1, kind: Profile, name: p, images: {policy: off}, components: [\
                   {name: one, namespace: a}, {name: nats, namespace: a, values: {replicas: 3}}, {name: two, namespace: a}]}";
    let files = [
        ("profiles/p.yaml", profile),
        ("profiles/components/one.yaml", one.as_str()),
        ("profiles/components/two.yaml", two.as_str()),
    ];
    let dir = project(&files);
    let sources = Sources::find(Some(dir.path()), dir.path()).unwrap();
    let spec = spec::load(&sources, "single", Some("p"), Arch::Amd64).unwrap();
    let names: Vec<_> = spec.profile.components.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["nats", "two", "one"]);
    assert_eq!(
        spec.profile.components[0].chart_values(),
        serde_json::json!({"replicas": 3, "service": {"nodePorts": {"client": 30001, "monitor": 30002}}})
    );
}
