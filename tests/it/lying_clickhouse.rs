//! Against a server that lies in one way, exactly the check that must notice fails, says what it saw,
//! and what was made is removed all the same.

use std::sync::Arc;

use pipe::smoke::{Driver, Report};

use crate::lying::{self, Run, assert_caught, names};

use self::server::{Lie, LyingClickHouse, PASSWORD};

mod server;

async fn check_server(lie: Lie, stand_in: Option<&str>) -> (Report, Arc<LyingClickHouse>) {
    let server = Arc::new(LyingClickHouse::start(lie).await);
    let login = [("username", "pipe"), ("password", PASSWORD)];
    let mut target = lying::target("clickhouse", Some(server.port()), &login);
    target.floor = ["26.3.62.3", "26.8.36.3"].map(str::to_owned).to_vec();
    target.stand_in = stand_in.map(str::to_owned);
    let run = Run {
        driver: Driver::ClickHouse,
        target,
        silent: lie == Lie::Silent,
        restart: Some(Box::new(|| server.restart())),
        exec: None,
    };
    (run.report().await, server)
}

/// Runs the checks against a lie; `name` must be the first that fails, having seen `saw`.
async fn caught(lie: Lie, name: &str, saw: &str) -> Report {
    let (report, server) = check_server(lie, None).await;
    assert_caught(&report, name, saw, &[PASSWORD]);
    assert!(server.is_clean() || lie == Lie::KeepsDatabase, "left behind:\n{report}");
    report
}

#[tokio::test]
async fn an_honest_server_passes_and_nothing_is_left() {
    let (report, server) = check_server(Lie::None, None).await;
    assert!(report.passed, "{report}");
    insta::assert_snapshot!(names(&report), @"connect version wrong-password no-password table insert read-back aggregate merge bad-row restart read-again insert-more clean-up");
    assert!(server.is_clean());
}

#[tokio::test]
async fn a_stand_in_is_checked_and_proves_nothing() {
    let (report, _server) = check_server(Lie::OldVersion, Some("18 instead of 26")).await;
    assert!(report.passed, "its version is no fault:\n{report}");
    let text = report.to_string();
    assert!(text.starts_with("clickhouse: not proven; its stand-in (18 instead of 26)"), "{text}");
    assert_eq!(serde_json::to_value(&report).unwrap()["stand_in"], "18 instead of 26");
}

#[tokio::test]
async fn strangers_on_the_port_are_noticed_before_anything_is_made() {
    let report = caught(Lie::OtherServer, "connect", "on somebody, up for").await;
    assert_eq!(report.checks.len(), 1, "{report}");
    let report = caught(Lie::NoClickHouse, "connect", "<html>hello</html>").await;
    assert_eq!(report.checks.len(), 1, "{report}");
}

#[tokio::test]
async fn somebody_else_may_answer_until_the_port_leads_to_the_pod() {
    let (report, _server) = check_server(Lie::StrangerAtFirst, None).await;
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn a_version_with_a_hole_is_noticed() {
    let _report = caught(Lie::OldVersion, "version", "26.8.36.2, which has known holes").await;
}

#[tokio::test]
async fn open_doors_are_noticed() {
    let _report =
        caught(Lie::AcceptsAnyPassword, "wrong-password", "let in: it answered \"1\"").await;
    let _report = caught(Lie::AcceptsNobody, "no-password", "let in: it answered \"1\"").await;
}

#[tokio::test]
async fn a_refusal_for_another_reason_is_none() {
    let _report =
        caught(Lie::RefusesForAnotherReason, "wrong-password", "refused with code 241").await;
}

#[tokio::test]
async fn lost_and_changed_rows_are_noticed() {
    let _report = caught(Lie::OtherEngine, "table", "engine \"Log\"").await;
    let _report =
        caught(Lie::LosesABatch, "read-back", "row 2501 of 7500 with other content").await;
    let _report = caught(Lie::Reorders, "read-back", "row 42 of 10000 with other content").await;
    let _report = caught(Lie::Corrupts, "read-back", "row 42 of 10000 with other content").await;
    let _report = caught(Lie::LosesInMerge, "merge", "row 8 of 9999 with other content").await;
    let _report = caught(Lie::Miscounts, "aggregate", "10001").await;
}

#[tokio::test]
async fn bad_rows_are_noticed() {
    let _report = caught(Lie::AcceptsBadRows, "bad-row", "accepted").await;
    let _report =
        caught(Lie::StoresGoodRowsOfABadInsert, "bad-row", "10001 rows instead of 10000").await;
}

#[tokio::test]
async fn an_error_behind_status_200_is_an_error() {
    let (report, _server) = check_server(Lie::FailsBehind200, None).await;
    let bad_row = report.checks.iter().find(|check| check.name == "bad-row").unwrap();
    assert!(bad_row.passed && bad_row.saw.starts_with("code 27"), "{report}");
}

#[tokio::test]
async fn a_database_that_stays_is_noticed() {
    let _report = caught(Lie::KeepsDatabase, "clean-up", "dropped, and still there").await;
}

#[tokio::test]
async fn a_restart_that_was_none_is_noticed() {
    let _report = caught(Lie::DoesNotRestart, "restart", "nothing restarted").await;
}

#[tokio::test]
async fn a_loss_by_restart_is_noticed() {
    let _report = caught(Lie::ForgetsOnRestart, "read-again", "9999 rows instead of 10000").await;
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let _report = caught(Lie::Silent, "connect", "at the deadline of 2 s for all checks").await;
}
