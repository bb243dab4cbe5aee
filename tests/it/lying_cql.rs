//! A smoke check that cannot fail proves nothing: against a CQL server that lies in one way, exactly
//! the check that must notice fails, and says what it saw.

use pipe::smoke::{Driver, Report, Target};

use crate::lying::{self, Run, assert_cleaned, names};

use self::server::{Lie, LyingCql};

pub mod frame;
pub mod node;
mod server;

const PASSWORD: &str = "right-password";

async fn check(lie: Lie, restart: bool) -> Report {
    let server = LyingCql::start(lie, "pipe", PASSWORD).await;
    let login = [("username", "pipe"), ("password", PASSWORD)];
    let mut target = lying::target("scylladb", Some(server.port()), &login);
    target.floor = vec!["2026.1.9".into()];
    Run {
        driver: Driver::Cql,
        target,
        silent: lie == Lie::Silent,
        restart: restart.then_some(Box::new(|| server.restart())),
        exec: None,
    }
    .report()
    .await
}

/// Asserts that `name` is the first check that fails and that it saw `saw`.
fn assert_caught(report: &Report, name: &str, saw: &str) {
    lying::assert_caught(report, name, saw, &[PASSWORD]);
}

#[tokio::test]
async fn an_honest_server_passes() {
    let report = check(Lie::None, true).await;
    assert!(report.passed, "{report}");
    insta::assert_snapshot!(names(&report), @"connect version wrong-password no-password initial-user table write read-back once restart read-again write-more clean-up");
}

/// As from a pod, to which a Service is a name.
#[tokio::test]
async fn a_server_is_found_by_its_name() {
    let server = LyingCql::start(Lie::None, "pipe", PASSWORD).await;
    let login = [("username", "pipe"), ("password", PASSWORD)];
    let target = lying::target("scylladb", Some(server.port()), &login);
    for (host, passes) in [("localhost", true), ("nowhere.invalid.", false)] {
        let target = Target { host: host.into(), ..target.clone() };
        let run = Run { driver: Driver::Cql, target, silent: !passes, restart: None, exec: None };
        let report = run.report().await;
        assert_eq!(report.passed, passes, "{report}");
        if !passes {
            assert_caught(&report, "connect", "nowhere.invalid.");
        }
    }
}

#[tokio::test]
async fn an_open_door_is_noticed() {
    let report = check(Lie::AcceptsAnyPassword, false).await;
    assert_caught(&report, "wrong-password", "let in");
    assert_cleaned(&report);
    let report = check(Lie::AcceptsAnybody, false).await;
    assert_caught(&report, "wrong-password", "let in");
    let nobody = report.checks.iter().find(|check| check.name == "no-password").unwrap();
    assert!(!nobody.passed && nobody.saw == "let in", "{report}");
}

#[tokio::test]
async fn the_user_that_everybody_knows_is_noticed() {
    let report = check(Lie::KeepsInitialUser, false).await;
    assert_caught(&report, "initial-user", "let in");
    assert_cleaned(&report);
}

#[tokio::test]
async fn a_closed_connection_is_no_refusal() {
    let report = check(Lie::ClosesInsteadOfRefusing, false).await;
    assert_caught(&report, "wrong-password", "");
    assert_cleaned(&report);
}

#[tokio::test]
async fn an_old_version_is_noticed() {
    let report = check(Lie::OldVersion, false).await;
    assert_caught(&report, "version", "ScyllaDB 2026.1.3-0.20260601, which is too old");
}

#[tokio::test]
async fn another_cluster_is_noticed() {
    let report = check(Lie::OtherCluster, false).await;
    assert_caught(
        &report,
        "connect",
        "of cluster orders; it accepted the credentials, which is not scylladb",
    );
    assert_eq!(report.checks.len(), 1, "nothing is written to it:\n{report}");
}

#[tokio::test]
async fn rows_that_are_lost_stale_or_of_another_are_noticed() {
    let report = check(Lie::LosesARow, false).await;
    assert_caught(&report, "read-back", "row 42 of 199 with other content, or none");
    assert_cleaned(&report);
    let report = check(Lie::ReturnsStaleRows, false).await;
    assert_caught(&report, "read-back", "row 42 of 200 with other content");
    assert_cleaned(&report);
    let report = check(Lie::ReturnsMore, false).await;
    assert_caught(&report, "read-back", "201 rows instead of 200");
    assert_cleaned(&report);
}

#[tokio::test]
async fn a_refused_write_is_noticed() {
    let report = check(Lie::HasNoQuorum, false).await;
    assert_caught(&report, "write", "row 0: ");
    assert_cleaned(&report);
}

#[tokio::test]
async fn a_transaction_that_is_none_is_noticed() {
    let report = check(Lie::AppliesTwice, false).await;
    assert_caught(&report, "once", "the second was applied too");
    assert_cleaned(&report);
    let report = check(Lie::AppliesSecretly, false).await;
    assert_caught(&report, "once", "the row is now (2000, \"second\", 1)");
    let report = check(Lie::NeverApplies, false).await;
    assert_caught(&report, "once", "the first was not applied");
}

#[tokio::test]
async fn a_restart_that_was_none_is_noticed() {
    let report = check(Lie::DoesNotRestart, true).await;
    assert_caught(&report, "restart", "the same process as before");
    assert_cleaned(&report);
}

#[tokio::test]
async fn data_lost_in_a_restart_is_noticed() {
    let report = check(Lie::ForgetsOnRestart, true).await;
    assert_caught(&report, "read-again", "190 rows instead of 200");
    assert_cleaned(&report);
    let report = check(Lie::ComesBackEmpty, true).await;
    assert_caught(&report, "restart", "another host, with other data");
}

#[tokio::test]
async fn what_is_dropped_and_still_there_is_noticed() {
    let report = check(Lie::KeepsKeyspace, false).await;
    assert_caught(&report, "clean-up", "dropped, and still there");
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let report = check(Lie::Silent, false).await;
    assert_caught(&report, "connect", "at the deadline of 2 s");
}
