//! Hostile bytes for everything that parses what others wrote: it ends, soon, in little memory, with
//! a value or with an error that says where. `docs/fuzzing.md` has the figures of long runs.
//!
//! In `cargo test` each property is tried a few hundred times. `scripts/fuzz SECONDS` gives each
//! that much time, starting from another seed each time.

mod disk;
mod engine;
mod files;
mod kubeconfig;
mod names;
mod repeated;
mod state;
mod trust;
mod verifier;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Most processor time for one case, without optimisation. Not the clock's: machines are busy.
const CASE_MAX: Duration = Duration::from_secs(10);

/// Tries `property` on values of `strategy`: `cases` of them, or for `PIPE_FUZZ_SECONDS`. A failure
/// is shrunk and shown; `PIPE_FUZZ_SEED` repeats a run.
fn check<S>(name: &str, cases: u32, strategy: &S, property: impl Fn(S::Value))
where
    S: Strategy,
    S::Value: Debug,
{
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = number("PIPE_FUZZ_SECONDS");
    let seed = number("PIPE_FUZZ_SEED").unwrap_or_else(rand::random::<u64>);
    let bytes: Vec<u8> = seed.to_le_bytes().repeat(4);
    let config = Config { failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let began = Instant::now();
    let (mut done, mut slowest) = (0_u32, Duration::ZERO);
    let more = |done| match seconds {
        None => done < cases,
        Some(seconds) => began.elapsed() < Duration::from_secs(seconds),
    };
    while more(done) {
        let case = strategy.new_tree(&mut runner).unwrap();
        let shown = match seconds {
            Some(_) => format!("{:?}", case.current()),
            None => "set PIPE_FUZZ_SECONDS to see it".to_owned(),
        };
        if seconds.is_some() {
            // A stack overflow or a lack of memory ends the process: then this file has the input.
            let last = std::env::temp_dir().join(format!("pipe-fuzz-{name}"));
            std::fs::write(last, format!("seed {seed}\n{shown}")).unwrap();
        }
        let started = processor_time();
        let result = runner.run_one(case, |value| {
            property(value);
            Ok(())
        });
        match result {
            Ok(_) => {}
            Err(TestError::Fail(why, least)) => {
                panic!("{name}, seed {seed}, case {done}: {why}\nsmallest input: {least:?}")
            }
            Err(TestError::Abort(why)) => panic!("{name}, seed {seed}: {why}"),
        }
        let took = processor_time().saturating_sub(started);
        assert!(took < CASE_MAX, "{name}, seed {seed}, case {done} took {took:?}: {shown}");
        slowest = slowest.max(took);
        done += 1;
    }
    println!(
        "fuzz {name}: {done} cases in {:.0} s, slowest {:.2} s, peak memory {} MB",
        began.elapsed().as_secs_f64(),
        slowest.as_secs_f64(),
        peak_memory()
    );
}

/// Processor time that this thread has used, in steps of ten milliseconds.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The name, in brackets, may hold anything; user and system time are the 12th and 13th after it.
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|word| word.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Most memory that this process ever held, in megabytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kibibytes = line.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    kibibytes.unwrap_or(0) / 1000
}

/// Bytes that are shown as text.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A file of the repository.
fn shipped(path: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// `original` with pieces taken out, doubled and put in: of `pieces`, of itself, and any bytes.
fn mutated(original: Vec<u8>, pieces: &'static [&'static str]) -> impl Strategy<Value = Bytes> {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    let source = original.clone();
    let piece = prop_oneof![
        4 => select(pieces).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..4),
        2 => (any::<Index>(), 1_usize..60).prop_map(move |(at, length)| {
            let start = at.index(source.len().max(1));
            source[start..(start + length).min(source.len())].to_vec()
        }),
    ];
    let edit = (any::<Index>(), prop_oneof![3 => Just(0_usize), 2 => 1_usize..12], piece);
    vec(edit, 1..6).prop_map(move |edits| {
        let mut bytes = original.clone();
        for (at, removed, piece) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + removed).min(bytes.len());
            bytes.splice(start..end, piece);
        }
        Bytes(bytes)
    })
}

/// What YAML and JSON care about, and what readers of them have stumbled over.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "\n",
    "\r\n",
    "\r",
    "  ",
    "\t",
    "&a ",
    "*a",
    "!!x ",
    "!!binary ",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "\\",
    "#",
    " #",
    "---\n",
    "...\n",
    "<<: ",
    "? ",
    "~",
    "null",
    "-1",
    "0",
    "0x7f",
    "0o17",
    "017",
    "1e999",
    "-.inf",
    ".nan",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1_000",
    "yes",
    "No",
    "on",
    "2026-11-21",
    "1:30",
    "\u{feff}",
    "\0",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "é",
    "😀",
    "%YAML 9\n",
    "%TAG ! x\n",
    "@",
    "`",
    "a",
    ",",
    "\"\\ud800\"",
    "\"\\x00\"",
    "{{",
    "}}",
    "${HOME}",
    "../../etc/passwd",
];
