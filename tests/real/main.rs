//! Tests against real programs.

mod nats_smoke;

/// Stub in this branch: says that a test did not run.
#[expect(clippy::print_stdout, reason = "the test harness reads it")]
fn skip(reason: &str) {
    println!("skipped: {reason}");
}
