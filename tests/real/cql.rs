//! CQL on a real cluster: ScyllaDB where the engine has its image, and Cassandra, installed as a
//! project's own component, where it has not.

use std::path::Path;

use serde_json::Value;

use super::backups;
use super::host::{self, podman};
use super::pipe::Home;

/// Of its component file.
const SCYLLADB: &str = "docker.io/scylladb/scylla:2026.1.9";

/// Why Cassandra cannot run here.
pub fn no_cassandra() -> Option<String> {
    let images = podman(["images", "--format", "{{.Repository}}", "localhost/pipe/cassandra"]);
    let there = !images.trim().is_empty();
    (!there).then(|| "no Cassandra is built: scripts/images/factory build cassandra".to_owned())
}

/// Why ScyllaDB cannot run here.
pub fn no_scylladb() -> Option<String> {
    let images = podman(["images", "--format", "{{.Repository}}:{{.Tag}}", SCYLLADB]);
    let there = !images.trim().is_empty();
    (!there).then(|| format!("{SCYLLADB} is not in the engine's store: podman pull it"))
}

/// Makes Cassandra a component of the home's project.
pub fn with_cassandra(home: &Home) {
    let charts = host::root().join("tests/charts");
    copy(home, &charts.join("cassandra.yaml"), "profiles/components/cassandra.yaml");
    for file in ["Chart.yaml", "values.yaml", "templates/all.yaml"] {
        copy(home, &charts.join("cassandra").join(file), &format!("charts-cache/cassandra/{file}"));
    }
}

fn copy(home: &Home, from: &Path, to: &str) {
    home.write(to, &std::fs::read_to_string(from).expect("a file of the chart"));
}

/// Refused until its licence is accepted, then installed, proven, restarted and proven again, on the
/// cluster `one`.
pub fn is_proven(home: &Home, component: &str, licence: &str) {
    let profile = format!(
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: cql\ncomponents:\n\
         - {{name: {component}, namespace: data}}\n"
    );
    home.write("profiles/cql.yaml", &profile);
    let refused = home.fails("up one --profile cql", 4);
    assert!(refused.contains(&format!("--accept {licence}")), "{refused}");
    let plan = home.ok("plan one --profile cql");
    assert!(
        plan.contains(&format!("up will refuse: the licence {licence} of component {component}")),
        "{plan}"
    );

    let (_, up) = home.stream(&format!("up one --profile cql --accept {licence}"));
    let report = only(&up["smoke"]);
    assert_eq!(report["passed"], true, "{report}");
    assert_eq!(report["driver"], "cql", "{report}");
    println!("        {component}: {}", only(&up["components"])["seconds"]);

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

    backups::cql::comes_back(home);

    // What was accepted once is remembered.
    assert_eq!(home.json("plan one --profile cql")["steps"], Value::Array(vec![]));
    home.ok("up one --profile cql");
}

fn only(list: &Value) -> &Value {
    match list.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        _ => panic!("not one: {list:#}"),
    }
}
