//! Against a FoundationDB that lies in one way, exactly the check that must notice fails, says what it
//! saw, and what was made is removed all the same. Every word goes through the true client of the API
//! server and a connection that is turned over to a program, as `kubectl exec` has it.

use std::sync::Arc;

use pipe::smoke::{Driver, Report};
use pipe::world::kube::Kube;

use crate::lying::{self, Run, assert_caught, names};

use self::server::{Lie, LyingFdb};

pub mod server;

async fn kube(port: u16) -> Kube {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: s\n\
         clusters: [{{name: s, cluster: {{server: \"http://127.0.0.1:{port}\"}}}}]\n\
         contexts: [{{name: s, context: {{cluster: s, user: s}}}}]\nusers: [{{name: s, user: {{}}}}]\n"
    );
    Kube::from_yaml(&text).await.unwrap()
}

async fn check_server(lie: Lie, stand_in: Option<&str>) -> (Report, Arc<LyingFdb>) {
    let server = Arc::new(LyingFdb::start(lie).await);
    let kube = kube(server.port()).await;
    let mut target = lying::target("foundationdb", None, &[]);
    target.floor = vec!["7.3.68".to_owned()];
    target.stand_in = stand_in.map(str::to_owned);
    let run = Run {
        driver: Driver::Fdb,
        target,
        silent: lie == Lie::Silent,
        restart: Some(Box::new(|| server.restart())),
        exec: Some(Box::new(|command, within| {
            let kube = kube.clone();
            Box::pin(
                async move { kube.exec("data", "foundationdb-0", None, &command, within).await },
            )
        })),
    };
    (run.report().await, server)
}

/// Runs the checks against a lie; `name` must be the first that fails, having seen `saw`.
async fn caught(lie: Lie, name: &str, saw: &str) -> Report {
    let (report, server) = check_server(lie, None).await;
    assert_caught(&report, name, saw, &[]);
    let keeps = [Lie::KeepsKeys, Lie::AcceptsSystemKeys];
    assert!(server.is_clean() || keeps.contains(&lie), "left behind:\n{report}");
    report
}

#[tokio::test]
async fn an_honest_database_passes_and_nothing_is_left() {
    let (report, server) = check_server(Lie::None, None).await;
    assert!(report.passed, "{report}");
    insta::assert_snapshot!(names(&report), @"available healthy version read-only system-key write read-back write-again rollback restart read-again write-more clean-up");
    assert!(server.is_clean());
    let (report, _server) = check_server(Lie::LateAtFirst, None).await;
    assert!(report.passed, "it may take its time:\n{report}");
}

#[tokio::test]
async fn a_stand_in_is_checked_and_proves_nothing() {
    let (report, _server) = check_server(Lie::OldVersion, Some("a fake")).await;
    assert!(report.passed, "its version is no fault:\n{report}");
    let text = report.to_string();
    assert!(text.starts_with("foundationdb: not proven; its stand-in (a fake)"), "{text}");
}

#[tokio::test]
async fn a_database_that_does_not_serve_is_noticed_before_anything_is_set() {
    let report = caught(Lie::Unavailable, "available", "The database is unavailable").await;
    assert_eq!(report.checks.len(), 1, "{report}");
    for (lie, saw) in [
        (Lie::Recovering, "recovery is not over: accepting_commits (Described.)"),
        (Lie::DataMissing, "data is not healthy: missing_data"),
        (Lie::OfAnotherPod, "is other-0, which is no pod of foundationdb"),
    ] {
        let report = caught(lie, "healthy", saw).await;
        assert_eq!(report.checks.len(), 2, "{report}");
    }
}

#[tokio::test]
async fn a_version_with_a_fault_is_noticed() {
    let _report = caught(Lie::OldVersion, "version", "7.3.67, which has known faults").await;
}

#[tokio::test]
async fn open_doors_are_noticed() {
    let _report = caught(Lie::WritesWithoutLeave, "read-only", "committed at version").await;
    let _report =
        caught(Lie::RefusesForAnotherReason, "read-only", "another reason: ERROR: Tra").await;
    let _report = caught(Lie::AcceptsSystemKeys, "system-key", "committed at version").await;
}

#[tokio::test]
async fn lost_changed_and_stale_keys_are_noticed() {
    let _report = caught(Lie::LosesAKey, "read-back", "9 of 10 keys").await;
    let _report = caught(Lie::Corrupts, "read-back", "pipe/smoke/t1/000 is \"t1-0-").await;
    let _report = caught(Lie::ReadsOldVersions, "read-back", "before the commit at").await;
    let _report = caught(Lie::VersionStandsStill, "write-again", "not after 1000").await;
    let _report = caught(Lie::KeepsWhatIsRolledBack, "rollback", "is \"undone\" instead").await;
    let _report = caught(Lie::KeepsKeys, "clean-up", "15 keys are still there").await;
}

#[tokio::test]
async fn a_restart_that_was_none_and_one_that_lost_a_key_are_noticed() {
    let _report = caught(Lie::DoesNotRestart, "restart", "generation 2: nothing restarted").await;
    let _report = caught(Lie::ForgetsOnRestart, "read-again", "9 of 10 keys").await;
}

#[tokio::test]
async fn a_pod_that_runs_nothing_and_an_answer_that_breaks_off_are_noticed() {
    let _report = caught(Lie::NoProgram, "available", "executable file not found").await;
    let _report = caught(Lie::BreaksOff, "available", "ended before the program did").await;
    let _report = caught(Lie::TimesOut, "available", "fdbcli gave up").await;
    let _report = caught(Lie::Silent, "available", "at the deadline of 2 s for all checks").await;
}
