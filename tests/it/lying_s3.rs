//! Against a store that lies in one way, exactly the check that must notice fails, says what it saw,
//! and what was made is removed all the same.

use std::sync::Arc;

use pipe::smoke::{Driver, Report};

use crate::lying::{self, Run, assert_caught, names};

use self::server::{KEY, Lie, LyingS3, SECRET};

mod server;

const BUCKETS: [&str; 2] = ["artifacts", "backups"];

async fn check_store(lie: Lie, restart: bool) -> (Report, Arc<LyingS3>) {
    let server = Arc::new(LyingS3::start(lie, &BUCKETS).await);
    let keys = [("accessKey", KEY), ("secretKey", SECRET)];
    let mut target = lying::target("minio", Some(server.port()), &keys);
    target.buckets = BUCKETS.map(str::to_owned).to_vec();
    let run = Run {
        driver: Driver::S3,
        target,
        silent: lie == Lie::Silent,
        restart: restart.then_some(Box::new(|| server.restart())),
        exec: None,
    };
    (run.report().await, server)
}

/// Runs the checks against a lie; `name` must be the first that fails, having seen `saw`.
async fn caught(lie: Lie, name: &str, saw: &str) -> Report {
    let (report, server) = check_store(lie, true).await;
    assert_caught(&report, name, saw, &[SECRET, "X-Amz"]);
    if lie != Lie::KeepsBucket {
        let left = server.left();
        let ours = left.iter().filter(|name| !BUCKETS.contains(&name.as_str()));
        assert_eq!(ours.count(), 0, "left behind: {left:?}\n{report}");
    }
    report
}

#[tokio::test]
async fn an_honest_store_passes_and_nothing_is_left() {
    let (report, server) = check_store(Lie::None, true).await;
    assert!(report.passed, "{report}");
    insta::assert_snapshot!(names(&report), @"connect wrong-secret wrong-key no-key buckets bucket put read-back list wrong-checksum private restart read-again put-more clean-up");
    assert_eq!(server.left(), BUCKETS);
}

#[tokio::test]
async fn strangers_on_the_port_are_noticed_before_anything_is_made() {
    let report = caught(Lie::OtherStore, "connect", "403 InvalidAccessKeyId").await;
    assert_eq!(report.checks.len(), 1, "{report}");
    let report =
        caught(Lie::NoStore, "connect", "last: 200, which is no answer of an S3 store").await;
    assert_eq!(report.checks.len(), 1, "{report}");
}

#[tokio::test]
async fn somebody_else_may_answer_until_the_port_leads_to_the_pod() {
    let (report, _server) = check_store(Lie::StrangerAtFirst, true).await;
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn open_doors_are_noticed() {
    let _report =
        caught(Lie::AcceptsAnySecret, "wrong-secret", "404 NoSuchBucket instead of 403").await;
    let _report = caught(Lie::AcceptsAnyKey, "wrong-key", "404 NoSuchBucket instead of 403").await;
    let _report = caught(Lie::AcceptsNobody, "no-key", "404 NoSuchBucket instead of 403").await;
    let _report = caught(Lie::ShowsObjectsToAnybody, "private", "1048577 bytes").await;
}

#[tokio::test]
async fn a_closed_connection_is_no_refusal() {
    let _report =
        caught(Lie::ClosesInsteadOfRefusing, "wrong-secret", "error sending request").await;
}

#[tokio::test]
async fn missing_buckets_are_missed() {
    let _report = caught(Lie::LacksABucket, "buckets", "no bucket artifacts").await;
    let _report = caught(Lie::MakesNoBucket, "bucket", "made, and not there").await;
}

#[tokio::test]
async fn changed_content_is_noticed() {
    let _report =
        caught(Lie::Corrupts, "read-back", "with other content: 1048577 bytes of digest").await;
    let _report =
        caught(Lie::Shortens, "read-back", "with other content: 500 bytes of digest").await;
    let _report = caught(Lie::Tears, "read-back", "first/one megabyte+a bit: ").await;
}

#[tokio::test]
async fn wrong_lists_are_noticed() {
    let _report =
        caught(Lie::ListsFewer, "list", "listed: first/empty (0); there are: first/empty (0), ")
            .await;
    let _report = caught(Lie::ListsOtherLengths, "list", "first/empty (1)").await;
    let _report = caught(Lie::ListsStrangers, "list", "first/strange (1)").await;
}

#[tokio::test]
async fn unchecked_uploads_are_noticed() {
    let _report = caught(Lie::IgnoresChecksum, "wrong-checksum", "200 instead of 400").await;
    let _report = caught(Lie::StoresWhatItRefuses, "wrong-checksum", "stored all the same").await;
}

#[tokio::test]
async fn a_bucket_that_stays_is_noticed() {
    let _report = caught(Lie::KeepsBucket, "clean-up", "deleted, and still there").await;
}

#[tokio::test]
async fn a_loss_by_restart_is_noticed() {
    let _report = caught(Lie::ForgetsOnRestart, "read-again", "404 NoSuchKey instead of 200").await;
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let _report = caught(Lie::Silent, "connect", "at the deadline of 2 s for all checks").await;
}
