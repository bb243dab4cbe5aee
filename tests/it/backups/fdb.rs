//! FoundationDB, whose backup is made and used by programs in its pod: our scripts in a real shell, with
//! programs that do in small what the real ones do.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use self::pod::{Fault, Pod};
use super::{folders, state};
use crate::env::TestEnv;

mod pod;

/// A cluster with FoundationDB in `pod`, with some keys, and a store that nobody asks.
fn cluster(pod: &Pod) -> TestEnv {
    let env = TestEnv::new();
    let profile = "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: mine\ncomponents:\n\
                   - {name: foundationdb, namespace: data}\n- {name: minio, namespace: data}\n";
    env.write("profiles/mine.yaml", profile);
    let login = json!({"accessKey": "a", "secretKey": "b"});
    state(&env, "dev", json!({"s3": 9}), &[("foundationdb", json!({})), ("minio", login)]);
    env.write("../home/.local/state/pipe/clusters/dev/kubeconfig", &pod.kubeconfig());
    for (key, value) in [("a", "1"), ("shop/1", "boat"), ("shop/2", "harbour")] {
        pod.set(key, value);
    }
    env
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_comes_back_and_nothing_stays_in_the_pod() {
    let pod = Pod::start().await;
    let env = cluster(&pod);
    let before = pod.pairs();
    let made = env.pipe(["backup", "dev", "foundationdb", "--json"]).result();
    let backup = &made["data"]["backups"][0];
    assert_eq!(backup["holds"], "all keys at version 1300", "{made}");
    assert_eq!(backup["left_out"], json!([]), "{made}");
    assert_eq!(pod.pairs(), before, "a backup only reads");
    assert!(pod.is_clean());

    // Over what is there only when told to, and then exactly.
    pod.set("newer", "x");
    pod.set("shop/1", "sold");
    let there = pod.pairs();
    let refused = env.pipe(["restore", "dev"]).code(1).both();
    assert!(refused.contains("foundationdb: every key of its database (about "), "{refused}");
    assert_eq!(pod.pairs(), there);
    env.pipe(["restore", "dev", "--replace"]).success();
    assert_eq!(pod.pairs(), before);
    pod.clear();
    env.pipe(["restore", "dev"]).success();
    assert_eq!(pod.pairs(), before);
    assert!(pod.is_clean());

    let folder = folders(&env, "foundationdb").pop().unwrap();
    let archive = folder.join("0001.tar");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let damaged = env.pipe(["restore", "dev", "--replace"]).code(1).both();
    assert!(damaged.contains("0001.tar: its content is not what was backed up"), "{damaged}");
    assert_eq!(pod.pairs(), before, "nothing was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_the_pod_is_no_backup_and_ends_there() {
    let pod = Pod::start().await;
    let env = cluster(&pod);
    for (fault, why) in [
        (Fault::NoPod, "has no pod to run a program in"),
        (Fault::Full, "its node's disk has 4.0 MiB left, and 64.0 MiB must be"),
        (Fault::Program("agent"), "backup_agent ended in the middle: "),
        (Fault::Program("incomplete"), "what fdbbackup wrote cannot be restored"),
        (Fault::Program("elsewhere"), "ERROR: Missing backup data"),
        (Fault::Program("in-use"), "A backup is already running on tag `pipe'"),
        (Fault::BreaksOff("Submitted"), "the connection ended before the program did"),
        (Fault::BreaksOffArchive, "the connection ended before the program did"),
    ] {
        pod.fails(fault);
        let text = env.pipe(["backup", "dev", "foundationdb"]).code(1).both();
        assert!(text.contains(why), "{fault:?}: {text}");
        assert_eq!(folders(&env, "foundationdb"), [""; 0].map(PathBuf::from), "{fault:?}");
        assert!(pod.is_clean(), "{fault:?}");
    }
    // A pod that is killed leaves work that nobody does; the next one puts an end to it.
    pod.fails(Fault::Killed("Submitted"));
    env.pipe(["backup", "dev", "foundationdb"]).code(1).both();
    pod.fails(Fault::None);
    env.pipe(["backup", "dev", "foundationdb"]).success();
    assert!(pod.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_off_is_said_and_repeated() {
    let pod = Pod::start().await;
    let env = cluster(&pod);
    let before = pod.pairs();
    env.pipe(["backup", "dev", "foundationdb"]).success();
    for (fault, why, touched) in [
        (Fault::Full, "its node's disk has 4.0 MiB left", false),
        (Fault::BreaksOff("pipe: send"), "the connection ended before", false),
        (Fault::Program("refuses"), "restore into a non-empty destination", true),
        (Fault::BreaksOff("Restoring"), "the connection ended before", true),
    ] {
        pod.fails(fault);
        let text = env.pipe(["restore", "dev", "--replace"]).code(1).both();
        assert!(text.contains(why), "{fault:?}: {text}");
        assert_eq!(text.contains("half restored"), touched, "{fault:?}: {text}");
        assert_eq!(text.contains("nothing was touched"), !touched, "{fault:?}: {text}");
        assert!(pod.is_clean(), "{fault:?}");
        assert_eq!(pod.pairs() == before, !touched, "{fault:?}");
    }
    // Nobody was there to unlock it.
    pod.fails(Fault::Killed("Restoring"));
    env.pipe(["restore", "dev", "--replace"]).code(1).both();
    pod.fails(Fault::None);
    let locked = env.pipe(["backup", "dev", "foundationdb"]).code(1).both();
    assert!(locked.contains("the database is locked"), "{locked}");
    let refused = env.pipe(["restore", "dev"]).code(1).both();
    assert!(refused.contains("its database holds, which is locked"), "{refused}");
    env.pipe(["restore", "dev", "--replace"]).success();
    assert_eq!(pod.pairs(), before);
    assert!(pod.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_does_not_do_it_by_itself() {
    let pod = Pod::start().await;
    let env = cluster(&pod);
    let arguments = ["backup", "schedule", "dev", "foundationdb", "--to", "s3:minio"];
    let refused = env.pipe(arguments).code(2).both();
    assert!(refused.contains("the cluster cannot back up foundationdb by itself"), "{refused}");
    assert!(refused.contains("let the host do it"), "{refused}");
}
