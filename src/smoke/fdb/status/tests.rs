use serde_json::{Value, json};

use super::Status;

// Sources and licences: tests/fixtures/foundationdb/README.md.
const OPERATOR: &str = include_str!("../../../../tests/fixtures/foundationdb/operator-7.1.json");
const NO_DATABASE: &str =
    include_str!("../../../../tests/fixtures/foundationdb/separate_no_database.json");
const INITIALIZING: &str =
    include_str!("../../../../tests/fixtures/foundationdb/separate_initializing.json");
const NO_SERVERS: &str =
    include_str!("../../../../tests/fixtures/foundationdb/separate_no_servers.json");
const NO_REPLICAS: &str =
    include_str!("../../../../tests/fixtures/foundationdb/local_6_machine_no_replicas_remain.json");

fn faults(text: &str) -> Vec<String> {
    Status::parse(text).unwrap().faults("foundationdb")
}

/// The operator's sample as if it were of this chart: one process, in a pod of ours.
fn single() -> Value {
    let mut status: Value = serde_json::from_str(OPERATOR).unwrap();
    let cluster = &mut status["cluster"];
    cluster["configuration"]["redundancy_mode"] = "single".into();
    let processes = cluster["processes"].as_object().unwrap();
    let (id, mut process) = processes.iter().next().map(|(k, v)| (k.clone(), v.clone())).unwrap();
    process["locality"]["instance_id"] = "foundationdb-0".into();
    cluster["processes"] = json!({ id: process });
    status
}

#[test]
fn one_whole_database_of_our_own_has_no_faults() {
    let status = Status::parse(&single().to_string()).unwrap();
    assert_eq!(status.faults("foundationdb"), Vec::<String>::new());
    assert_eq!((status.generation(), status.version()), (2, Some("7.1.0-rc1")));
    insta::assert_snapshot!(status.summary(), @"FoundationDB 7.1.0-rc1 at 10.1.19.2:4501, single ssd-2, generation 2");
}

#[test]
fn each_fault_is_named() {
    for (pointer, value, fault) in [
        ("/client/database_status/available", json!(false), "the database is not available"),
        ("/client/coordinators/quorum_reachable", json!(false), "no quorum of coordinators"),
        (
            "/cluster/recovery_state/name",
            json!("accepting_commits"),
            "recovery is not over: accepting_commits (Rec",
        ),
        ("/cluster/data/state/healthy", json!(false), "data is not healthy: healthy"),
        ("/cluster/database_lock_state/locked", json!(true), "the database is locked"),
        ("/cluster/configuration/redundancy_mode", json!("double"), "redundancy is \"double\""),
    ] {
        let mut status = single();
        *status.pointer_mut(pointer).unwrap() = value;
        let faults = faults(&status.to_string());
        assert!(faults.len() == 1 && faults[0].starts_with(fault), "{pointer}: {faults:?}");
    }
    let whole = single().to_string();
    let other = Status::parse(&whole).unwrap().faults("other");
    assert!(other.len() == 1 && other[0].ends_with("no pod of other"), "{other:?}");
    let excluded = faults(&whole.replace("\"excluded\":false", "\"excluded\":true"));
    assert!(excluded.len() == 1 && excluded[0].ends_with("is excluded"), "{excluded:?}");
}

#[test]
fn real_troubles_are_faults_with_what_the_database_says_of_them() {
    let samples = [
        ("no database", NO_DATABASE),
        ("no servers", NO_SERVERS),
        ("initializing", INITIALIZING),
        ("no replicas", NO_REPLICAS),
    ];
    let found = samples.map(|(name, text)| format!("{name}:\n- {}", faults(text).join("\n- ")));
    insta::assert_snapshot!("troubles", found.join("\n"));
    let many = faults(OPERATOR);
    assert!(many[0].starts_with("redundancy is \"double\""), "{many:?}");
    assert!(many.iter().any(|fault| fault.ends_with("processes instead of 1")), "{many:?}");
}

#[test]
fn what_says_nothing_proves_nothing() {
    assert_eq!(faults("{}").len(), 6, "{:?}", faults("{}"));
    for text in ["", "Unable to", "[]", "{\"client\":", "{\"client\": 1}"] {
        assert!(Status::parse(text).is_err(), "{text}");
    }
    let warned = format!("\nWARNING: Long delay (Ctrl-C to interrupt)\n{}", single());
    assert!(Status::parse(&warned).is_ok());
}
