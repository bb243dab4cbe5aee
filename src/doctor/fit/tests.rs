//! Which components stay, which are left out, and why.

use std::collections::BTreeSet;

use super::*;
use crate::doctor::tests::{component, made_for_arm, on_avx2};

const MB: u64 = 1_000_000;

fn optional(component: NeededComponent) -> NeededComponent {
    NeededComponent { optional: true, ..component }
}

/// An old machine with this many megabytes, on which others took most of the asynchronous I/O.
fn host(memory: u64) -> Host {
    Host {
        memory_available: Some(memory * MB),
        cpu_features: Some(BTreeSet::from(["sse4_2".to_owned()])),
        aio_max: Some(65_536),
        aio_used: Some(64_000),
        ..Host::default()
    }
}

/// One node, which takes 900 MB, and these components.
fn needs(components: &[NeededComponent]) -> Needs {
    Needs {
        make: 1,
        control_plane: true,
        platform: "linux/amd64".to_owned(),
        components: components.to_vec(),
        ..Needs::default()
    }
}

fn said(needs: &Needs, host: &Host) -> String {
    let lines = left_out(needs, host).into_iter();
    let lines = lines.map(|left| format!("{} ({}): {}", left.component, left.for_room, left.why));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_may_be_left_out_and_does_not_fit_is_left_out() {
    let all = [
        optional(on_avx2(component("clickhouse", 100 * MB))),
        optional(component("scylladb", 900 * MB)),
        optional(made_for_arm(component("silo", 0), ImageSource::Lock)),
        optional(NeededComponent { aio: 6_100, ..component("cassandra", 0) }),
        component("nats", 200 * MB),
        optional(component("minio", 100 * MB)),
    ];
    insta::assert_snapshot!(said(&needs(&all), &host(1_300)));
    assert!(!all_fit(&needs(&all), &host(1_300)));

    let newer = Host {
        cpu_features: Some(BTreeSet::from(["sse4_2".to_owned(), "avx2".to_owned()])),
        aio_used: Some(0),
        ..host(4_000)
    };
    assert_eq!(said(&needs(&all[3..]), &newer), "");
    assert!(all_fit(&needs(&all[3..]), &newer));
    // What cannot be known is not held against anybody.
    let unknown = Host::default();
    assert_eq!(said(&needs(&[all[0].clone(), all[1].clone(), all[3].clone()]), &unknown), "");
}

/// What must stay has its room first, wherever it stands.
#[test]
fn who_may_be_left_out_makes_room_for_who_may_not() {
    let all = [optional(component("first", 300 * MB)), component("second", 300 * MB)];
    assert!(said(&needs(&all), &host(1_300)).starts_with("first (true)"));
    assert_eq!(said(&needs(&all), &host(1_500)), "");
    let waiting = NeededComponent { aio: 6_100, ..component("waiting", 0) };
    let all_but_io = [waiting, optional(component("quiet", 0))];
    assert_eq!(said(&needs(&all_but_io), &host(1_300)), "", "it takes no room from anybody");
    let swap = Host { swap_free: Some(200 * MB), ..host(1_300) };
    assert_eq!(said(&needs(&all), &swap), "", "slow is not impossible");
}

/// What runs has its memory already; what it would need anew, its image may still lack.
#[test]
fn what_runs_is_asked_for_no_room() {
    let runs = |component| NeededComponent { runs: true, ..component };
    let all = [
        runs(optional(component("scylladb", 9_000 * MB))),
        runs(NeededComponent { aio: 6_100, ..component("cassandra", 0) }),
    ];
    let standing = Needs { make: 0, control_plane: false, ..needs(&all) };
    assert!(all_fit(&standing, &host(10)));
    let changed = Needs { components: vec![runs(on_avx2(component("clickhouse", 0)))], ..standing };
    assert!(!all_fit(&changed, &host(10)));
}

#[test]
fn what_to_drop_is_as_little_as_will_do() {
    let (big, middle, small) =
        (component("big", 900), component("middle", 500), component("small", 60));
    let all = [&small, &big, &middle];
    assert_eq!(drop_largest(&all, 50), Some(vec!["small"]));
    assert_eq!(drop_largest(&all, 400), Some(vec!["middle"]));
    assert_eq!(drop_largest(&all, 1_000), Some(vec!["big", "middle"]));
    assert_eq!(drop_largest(&all, 2_000), None);
}
