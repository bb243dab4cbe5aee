//! What became of each test, as JSON lines in the file `PIPE_TEST_RESULTS` names: for
//! `scripts/verify-host`, which must not guess from output meant for people.
//!
//! A test whose `started` is followed by nothing did not end: the process was killed under it.

use std::any::Any;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use serde_json::{Value, json};

/// Appends one line: test, event and what belongs to it.
pub fn record(test: &str, event: &str, more: Value) {
    let Some(path) = std::env::var_os("PIPE_TEST_RESULTS") else { return };
    let mut line = json!({ "test": test, "event": event });
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    writeln!(file.expect("PIPE_TEST_RESULTS can be opened"), "{line}").expect("a line is written");
}

/// Runs a test and records how it ended; its panic goes on to the harness.
pub fn run(test: &str, run: fn()) {
    record(test, "started", Value::Null);
    let began = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(run));
    let seconds = (began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    match ended {
        Ok(()) => {
            record(test, "passed", json!({ "seconds": seconds }));
            println!("        {test} took {seconds:.1} s");
        }
        Err(panic) => {
            record(test, "failed", json!({ "seconds": seconds, "why": message(&*panic) }));
            resume_unwind(panic);
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}
