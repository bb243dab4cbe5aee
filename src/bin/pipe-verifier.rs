//! What containerd asks on a node before it pulls an image. Argv and stdin in; a reason on stdout,
//! a log on stderr, and the exit code out; nothing else.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let answer = pipe::verifier::answer(std::env::args_os().skip(1), std::io::stdin());
    // Nobody is left to be told of what cannot be written; the exit code says it all.
    for line in &answer.log {
        let _unheard = writeln!(std::io::stderr(), "{line}");
    }
    let _unheard = writeln!(std::io::stdout(), "{}", answer.reason);
    if answer.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
