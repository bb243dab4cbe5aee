//! `kill -9` in the middle: the next `up` or `teardown` finishes the job.

use super::Case;
use super::cluster::ONE;
use super::failure::signal;
use super::pipe::Home;

pub const CASES: [Case; 2] = [
    Case::new("kill_once_in_each_kind_of_step", each_kind),
    Case::extended("kill_at_every_step_of_dev", every_step_of_dev),
];

const STORE: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Profile
name: messages
components:
- {name: minio, namespace: data, buckets: [kept]}
";

/// One run after the other is killed, each a step further; the last one finishes. Then a teardown
/// is killed, and the next one finishes that.
fn each_kind() {
    let home = Home::new(&["one"]);
    // A store has every kind of step that a component can have.
    home.write("profiles/messages.yaml", STORE);
    home.write_cluster("one", ONE);
    let steps = [
        "network",
        "create/core",
        "boot/core",
        "init",
        "kubeconfig",
        "label/core",
        "proxy",
        "storage",
        "dns",
        "dns-ready",
        "load/minio-RELEASE.2025-09-07T16-13-09Z",
        "prepare/minio",
        "install/minio",
        "serve/minio",
        "buckets/minio",
        "smoke/minio",
    ];
    for step in steps {
        // A step that an earlier run has finished is not planned again.
        let plan = home.json("plan one");
        let planned = plan["steps"].as_array().expect("steps").iter().any(|s| s["id"] == step);
        if planned {
            kill_at(&home, "one", step, "up one");
        } else {
            println!("        {step}: done by the run before");
        }
    }
    home.ok("up one --smoke");
    assert_eq!(home.json("status one")["state"], "running");
    kill_at(&home, "one", "remove/one-control-plane", "teardown one");
    home.ok("teardown one");
    home.assert_clean();

    // And the other way out of a half-made cluster.
    kill_at(&home, "one", "init", "up one");
    home.ok("teardown one");
    home.assert_clean();
}

/// Every step of the three-node plan, each time from nothing: `up` after even ones, `teardown`
/// after odd ones.
fn every_step_of_dev() {
    let home = Home::new(&["dev"]);
    let text = std::fs::read_to_string(super::host::root().join("clusters/dev.yaml")).expect("dev");
    home.write_cluster("dev", &text.replace("hostPorts: default", "hostPorts: auto"));
    let plan = home.json("plan dev --profile quickstart");
    let steps: Vec<String> = plan["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter_map(|step| step["id"].as_str().map(str::to_owned))
        .collect();
    for (index, step) in steps.iter().enumerate() {
        let began = std::time::Instant::now();
        kill_at(&home, "dev", step, "up dev --profile quickstart");
        let end = if index % 2 == 0 { "up" } else { "teardown" };
        if end == "up" {
            home.ok("up dev --profile quickstart");
            assert_eq!(home.json("status dev")["state"], "running");
        }
        home.ok("teardown dev");
        home.assert_clean();
        println!(
            "        killed at {step}, finished by {end}: {:.0} s",
            began.elapsed().as_secs_f64()
        );
    }
}

fn kill_at(home: &Home, cluster: &str, step: &str, line: &str) {
    let mut child = home.spawn(line);
    home.await_step(cluster, step, &mut child);
    signal(&child, "KILL");
    let status = child.wait().expect("it ends");
    assert!(!status.success(), "{line} ended before it could be killed at {step}");
}
