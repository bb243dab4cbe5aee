//! End to end: the real binary, real Podman, real kubelets, real services.
//!
//! Its own harness, because a test that cannot run here must say so: each has a condition, and one
//! that does not hold is counted as ignored with its reason printed. `tests/expected-skips.txt`
//! lists what may be skipped where; any other skip fails the run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, reports by printing and is nobody's library"
)]

mod api_server;
mod backups;
mod bad_days;
mod bad_days_nodes;
mod bad_days_services;
mod cache;
#[allow(dead_code, reason = "the document is made in tests/it")]
#[path = "../troubles/case.rs"]
mod case;
mod charts;
mod cluster;
mod control_planes;
mod cql;
mod engine;
mod failure;
mod filling;
mod footprint;
mod foundationdb;
mod host;
mod images;
mod interop;
mod kill;
mod live;
mod logs;
mod matrix;
mod nats_smoke;
mod options;
mod pipe;
mod power;
mod registry;
mod release;
mod results;
mod services;
mod serving;
mod signed;
mod small_disk;
mod stored;
mod surroundings;
mod troubles;
mod verifier;

use libtest_mimic::{Arguments, Failed, Trial};

/// A test, when it can run, and what it does.
pub struct Case {
    pub name: &'static str,
    /// Why it cannot run here, if it cannot.
    pub skip: fn() -> Option<String>,
    pub run: fn(),
}

impl Case {
    /// A test that can always run where Podman and the images are.
    pub const fn new(name: &'static str, run: fn()) -> Case {
        Case { name, skip: || None, run }
    }

    /// A test of the extended set.
    pub const fn extended(name: &'static str, run: fn()) -> Case {
        Case { name, skip: host::not_extended, run }
    }
}

/// A part of a test that shares another's cluster, with a name and a condition of its own.
pub fn part(name: &str, skip: Option<String>, run: impl FnOnce()) {
    match skip {
        None => run(),
        Some(why) => {
            println!("skipped: {name}: {why}");
            results::record(name, "skipped", serde_json::json!({ "why": why }));
            assert!(is_expected(name), "skipped, but not expected to be: {name}: {why}");
        }
    }
}

/// Whether `tests/expected-skips.txt` lists it.
fn is_expected(name: &str) -> bool {
    let expected = include_str!("../expected-skips.txt");
    expected.lines().any(|line| line.split(':').next() == Some(name))
}

/// Runs an asynchronous test.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(test)
}

fn main() {
    let mut arguments = Arguments::from_args();
    // One host, two cores: clusters of two tests at once would only wait for each other.
    arguments.test_threads.get_or_insert(1);
    let mut cases = Vec::new();
    cases.extend(engine::CASES);
    cases.extend(nats_smoke::CASES);
    cases.extend(cache::CASES);
    cases.extend(filling::CASES);
    cases.extend(serving::CASES);
    cases.extend(verifier::CASES);
    cases.extend(charts::CASES);
    cases.extend(api_server::CASES);
    cases.extend(cluster::CASES);
    cases.extend(interop::CASES);
    cases.extend(options::CASES);
    cases.extend(images::CASES);
    cases.extend(foundationdb::CASES);
    cases.extend(surroundings::CASES);
    cases.extend(signed::CASES);
    cases.extend(control_planes::CASES);
    cases.extend(failure::CASES);
    cases.extend(bad_days::CASES);
    cases.extend(troubles::CASES);
    cases.extend(kill::CASES);
    cases.extend(live::CASES);
    cases.extend(bad_days_nodes::CASES);
    cases.extend(bad_days_services::CASES);
    cases.extend(matrix::CASES);
    cases.extend(release::CASES);
    // libtest takes one filter; a person debugging wants several.
    if let Ok(only) = std::env::var("PIPE_TEST_ONLY") {
        cases.retain(|case| only.split_whitespace().any(|word| case.name.contains(word)));
    }
    let listing = arguments.list;
    if !listing {
        pipe::Home::sweep();
    }
    let trials = cases
        .into_iter()
        .map(|case| {
            let skip = (case.skip)();
            let known = is_expected(case.name);
            if let (Some(why), false) = (&skip, listing) {
                println!("skipped: {}: {why}", case.name);
                results::record(case.name, "skipped", serde_json::json!({ "why": why }));
            }
            let unexpected = skip.clone().filter(|_| !known);
            let run = case.run;
            Trial::test(case.name, move || match unexpected {
                Some(why) => Err(Failed::from(format!("skipped, but not expected to be: {why}"))),
                None => {
                    results::run(case.name, run);
                    Ok(())
                }
            })
            .with_ignored_flag(skip.is_some() && known)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
