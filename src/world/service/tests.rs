use std::os::unix::fs::PermissionsExt;

use super::*;

fn host(cgroups: Cgroups, systemd: bool) -> Host {
    Host { cgroups, systemd, ..Host::default() }
}

/// An environment with a private runtime folder and `script` as its only `podman`.
fn rigged(script: &str) -> (tempfile::TempDir, Env) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("podman");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().to_str().unwrap();
    let env = Env::from([("PATH", path), ("XDG_RUNTIME_DIR", path)]);
    (folder, env)
}

#[test]
fn flags_for_each_kind_of_host() {
    let flags = |cgroups, systemd| flags(&host(cgroups, systemd), true).unwrap().join(" ");
    assert_eq!(flags(Cgroups::V2, true), "");
    assert_eq!(flags(Cgroups::V2, false), "--cgroup-manager cgroupfs");
    assert_eq!(flags(Cgroups::Hybrid, false), "--runtime runc --cgroup-manager cgroupfs");
    assert_eq!(flags(Cgroups::V1, true), "--runtime runc");
    assert_eq!(super::flags(&host(Cgroups::V1, true), false).unwrap_err().code, "no-runc");
}

#[tokio::test]
async fn no_podman_names_the_remedy() {
    let (_folder, mut env) = rigged("");
    env.vars.insert("PATH".into(), "/nowhere".into());
    let error = start(&env, &host(Cgroups::V2, true)).await.unwrap_err();
    assert_eq!((error.kind, error.code), (crate::Kind::Host, "no-podman"));
    assert!(error.hints[0].contains("apt-get install podman"));
}

#[tokio::test]
async fn a_service_that_ends_at_once_is_seen_at_once() {
    let (_folder, env) = rigged("echo 'Error: no such storage driver' >&2; exit 125");
    let started = std::time::Instant::now();
    let error = start(&env, &host(Cgroups::V2, true)).await.unwrap_err();
    assert!(started.elapsed() < START_DEADLINE / 2);
    insta::assert_snapshot!(error.causes.join(" | "), @"it ended at once: exit status: 125 | Error: no such storage driver");
    assert!(error.hints[0].contains("system service --time=0 unix://"), "{:?}", error.hints);
    assert_eq!(running(&env), None);
}

#[tokio::test]
async fn a_reused_process_id_is_left_alone() {
    let (_folder, env) = rigged("");
    let files = Files::of(&env);
    files.prepare().unwrap();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let stale = PidFile { pid: own, start_time: 1, socket: files.socket.clone() };
    fs::write(&files.pid, serde_json::to_vec(&stale).unwrap()).unwrap();
    assert_eq!(running(&env), None);
    assert!(!stop(&env).await.unwrap());
    assert!(!files.pid.exists());
}

#[test]
fn a_socket_path_that_cannot_be_bound_is_refused() {
    let long = format!("/tmp/{}", "x".repeat(120));
    let files = Files::of(&Env::from([("XDG_RUNTIME_DIR", long.as_str())]));
    assert_eq!(files.prepare().unwrap_err().code, "engine-socket-path");
}
