use std::time::Instant;

use super::*;

fn sh(script: &str) -> Program {
    let env = Env::from([("PATH", "/usr/bin:/bin")]);
    Program::new("sh", &env).args(["-c", script]).stop_grace(Duration::from_millis(200))
}

async fn run(program: Program) -> Result<Output> {
    program.run(&CancellationToken::new()).await
}

#[tokio::test]
async fn captures_output_and_feeds_input() {
    let big = vec![b'x'; 1 << 20];
    let output = run(sh("cat; echo oops >&2").stdin(big.clone())).await.unwrap();
    assert_eq!(output.stdout, big);
    assert_eq!(output.stderr, b"oops\n");
    // Input that nobody reads is no failure.
    assert_eq!(run(sh("echo done").stdin(big)).await.unwrap().text(), "done");
}

#[tokio::test]
async fn gets_only_the_environment_it_is_given() {
    let output = run(sh("echo $HOME-$COLOUR").var("COLOUR", "red")).await.unwrap();
    assert_eq!(output.text(), "-red");
}

#[tokio::test]
async fn failure_shows_a_pasteable_line_and_the_end_of_stderr() {
    let error = run(sh("seq 100 >&2; exit 3")).await.unwrap_err();
    assert_eq!(error.code, "program-failed");
    assert!(error.what.ends_with("'seq 100 >&2; exit 3'` failed with exit code 3"), "{error}");
    assert!(error.causes[0].starts_with("81\n") && error.causes[0].ends_with("100"), "{error}");
}

#[tokio::test]
async fn missing_program_is_a_host_error() {
    let error = run(Program::new("no-such-program", &Env::from([]))).await.unwrap_err();
    assert_eq!((error.kind, error.code), (crate::Kind::Host, "program-unstartable"));
}

#[tokio::test]
async fn deadline_ends_the_whole_group_even_if_it_ignores_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let script = format!("trap '' TERM; sleep 300 & echo $! >{}; wait", pid_file.display());
    let mut deadline = Duration::from_millis(300);
    // On a busy machine the script may not even have begun by then: it gets twice as long.
    let grandchild = loop {
        let started = Instant::now();
        let error = run(sh(&script).within(deadline)).await.unwrap_err();
        assert_eq!(error.kind, crate::Kind::TimedOut);
        assert!(started.elapsed() < deadline + Duration::from_secs(100), "it waited for the end");
        let written = std::fs::read_to_string(&pid_file).unwrap_or_default();
        if written.ends_with('\n') {
            break written.trim().to_owned();
        }
        deadline *= 2;
        assert!(deadline < Duration::from_secs(100), "the script never began");
    };
    // A killed process takes a moment to end.
    let killed = Instant::now();
    while !gone(&grandchild) {
        assert!(killed.elapsed() < Duration::from_secs(100), "the rest of the group goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn cancel_is_an_interruption() {
    let cancel = CancellationToken::new();
    let program = sh("echo ready; sleep 300");
    let (result, ()) = tokio::join!(program.run(&cancel), async { cancel.cancel() });
    assert_eq!(result.unwrap_err().kind, crate::Kind::Interrupted);
}

#[tokio::test]
async fn output_held_open_by_a_background_child_does_not_hang() {
    let started = Instant::now();
    let output = run(sh("echo ok; sleep 300 & exit 0")).await.unwrap();
    assert_eq!(output.text(), "ok");
    assert!(started.elapsed() < Duration::from_secs(100));
}

#[tokio::test]
async fn pass_through_reports_exit_codes_and_signals() {
    assert_eq!(sh("exit 7").pass_through().await.unwrap(), 7);
    assert_eq!(sh("kill -9 $$").pass_through().await.unwrap(), 137);
}

#[test]
fn quoting() {
    let program = Program::new("/bin/x", &Env::from([])).args(["--set=a.b", "it's", "", "a b"]);
    insta::assert_snapshot!(program.command_line(), @r"/bin/x --set=a.b 'it'\''s' '' 'a b'");
}

/// Whether a process is gone or only waits to be reaped.
fn gone(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')),
    }
}
