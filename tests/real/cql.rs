//! CQL on a real cluster: Cassandra, installed as a project's own component, stands where ScyllaDB's
//! image cannot be had.

use std::path::Path;

use serde_json::Value;

use super::host::{self, podman};
use super::pipe::Home;

const PROFILE: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Profile
name: cql
components:
- {name: cassandra, namespace: data}
";

/// Why Cassandra cannot run here.
pub fn no_cassandra() -> Option<String> {
    let images = podman(["images", "--format", "{{.Repository}}", "localhost/pipe/cassandra"]);
    let there = !images.trim().is_empty();
    (!there).then(|| "no Cassandra is built: scripts/images/factory build cassandra".to_owned())
}

/// Makes Cassandra a component of the home's project, and `cql` a profile of it alone.
fn into_project(home: &Home) {
    let charts = host::root().join("tests/charts");
    copy(home, &charts.join("cassandra.yaml"), "profiles/components/cassandra.yaml");
    for file in ["Chart.yaml", "values.yaml", "templates/all.yaml"] {
        copy(home, &charts.join("cassandra").join(file), &format!("charts-cache/cassandra/{file}"));
    }
    home.write("profiles/cql.yaml", PROFILE);
}

fn copy(home: &Home, from: &Path, to: &str) {
    home.write(to, &std::fs::read_to_string(from).expect("a file of the chart"));
}

/// Installed, proven, restarted and proven again, on the cluster `one`.
pub fn is_proven(home: &Home) {
    into_project(home);
    let (_, up) = home.stream("up one --profile cql");
    let report = only(&up["smoke"]);
    assert_eq!(report["passed"], true, "{report}");
    assert_eq!(report["driver"], "cql", "{report}");
    println!("        cassandra: {}", only(&up["components"])["seconds"]);

    let (_, restarted) = home.stream("smoke one --restart");
    let report = only(&restarted["reports"]);
    assert_eq!(report["passed"], true, "{report}");
    let checks = report["checks"].as_array().expect("checks");
    let names: Vec<&str> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    let wanted = [
        "connect",
        "version",
        "wrong-password",
        "no-password",
        "initial-user",
        "table",
        "write",
        "read-back",
        "once",
        "restart",
        "read-again",
        "write-more",
        "clean-up",
    ];
    assert_eq!(names, wanted, "{report}");
}

fn only(list: &Value) -> &Value {
    match list.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        _ => panic!("not one: {list:#}"),
    }
}
