//! A smoke check that cannot fail proves nothing: against a server that lies in one way, exactly
//! the check that must notice fails, and says what it saw.

use pipe::smoke::{Driver, Report};

use crate::lying::{self, Run, assert_cleaned, names};

use self::server::{Lie, LyingNats};

mod server;

const PASSWORD: &str = "right-password";

async fn check(lie: Lie, restart: bool) -> Report {
    let server = LyingNats::start(lie, "pipe", PASSWORD).await;
    let login = [("username", "pipe"), ("password", PASSWORD)];
    let target = lying::target("nats", Some(server.port()), &login);
    Run {
        driver: Driver::Nats,
        target,
        silent: lie.is_silent(),
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
    assert!(report.evidence.is_none() && report.failure().is_none());
    insta::assert_snapshot!(names(&report), @"connect wrong-password no-password stream publish read-back duplicate stale-sequence restart read-again publish-more clean-up");
}

#[tokio::test]
async fn lost_messages_are_missed() {
    let report = check(Lie::DeliversFewer, false).await;
    assert_caught(&report, "read-back", "60 of 100 messages, then no more");
    assert_cleaned(&report);
}

#[tokio::test]
async fn disorder_is_noticed() {
    let report = check(Lie::Reorders, false).await;
    assert_caught(&report, "read-back", "sequence 43 where 42 was due");
    assert_cleaned(&report);
}

#[tokio::test]
async fn changed_content_is_noticed() {
    let report = check(Lie::Corrupts, false).await;
    assert_caught(&report, "read-back", "message 42 with other content");
    assert_cleaned(&report);
}

#[tokio::test]
async fn leftovers_of_another_run_are_noticed() {
    let report = check(Lie::DeliversMore, false).await;
    assert_caught(&report, "read-back", "3 messages more than were published");
}

#[tokio::test]
async fn a_wrong_acknowledgement_is_noticed() {
    let report = check(Lie::AcksWrongSequence, false).await;
    assert_caught(&report, "publish", "message 42 acknowledged as sequence 41");
    assert_cleaned(&report);
}

#[tokio::test]
async fn an_open_door_is_noticed() {
    let report = check(Lie::AcceptsAnyPassword, false).await;
    assert_caught(&report, "wrong-password", "NATS server nats-0 2.15.2");
    assert_caught(&report, "wrong-password", "let it in");
    let report = check(Lie::AcceptsNoPassword, false).await;
    assert_caught(&report, "no-password", "let it in");
}

#[tokio::test]
async fn a_closed_connection_is_no_refusal() {
    let report = check(Lie::ClosesInsteadOfRefusing, false).await;
    assert_caught(&report, "wrong-password", "IO error");
}

#[tokio::test]
async fn a_forgotten_id_is_noticed() {
    let report = check(Lie::StoresDuplicates, false).await;
    assert_caught(&report, "duplicate", "stored again, as sequence 101");
    let report = check(Lie::StoresDuplicatesSecretly, false).await;
    assert_caught(&report, "duplicate", "called a duplicate, but 101 messages are stored");
}

#[tokio::test]
async fn an_ignored_expectation_is_noticed() {
    let report = check(Lie::IgnoresExpectedSequence, false).await;
    assert_caught(&report, "stale-sequence", "accepted as sequence 101");
    assert_cleaned(&report);
}

#[tokio::test]
async fn a_stranger_on_the_port_is_noticed() {
    let report = check(Lie::OtherServer, false).await;
    assert_caught(&report, "connect", "NATS server somebody-elses 2.15.2");
    assert_eq!(report.checks.len(), 1, "nothing may be made on a stranger's server:\n{report}");
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let report = check(Lie::SilentFromTheStart, false).await;
    assert_caught(&report, "connect", "at the deadline of 2 s for all checks");
    let report = check(Lie::SilentJetStream, false).await;
    assert_caught(&report, "stream", "at the deadline of 2 s for all checks");
}

#[tokio::test]
async fn a_stream_that_stays_is_noticed() {
    let report = check(Lie::KeepsStream, false).await;
    assert_caught(&report, "clean-up", "deleted, and still there");
}

#[tokio::test]
async fn a_restart_that_was_none_is_noticed() {
    let report = check(Lie::DoesNotRestart, true).await;
    assert_caught(&report, "restart", "nothing restarted");
    assert_cleaned(&report);
}

#[tokio::test]
async fn a_loss_by_restart_is_noticed() {
    let report = check(Lie::ForgetsOnRestart, true).await;
    assert_caught(&report, "read-again", "90 of 100 messages, then no more");
    assert_cleaned(&report);
}
