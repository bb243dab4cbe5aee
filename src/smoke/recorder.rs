//! Runs checks one after another under one deadline, and keeps what each tried and saw.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{Check, Driver, Report, Target};

/// What a check saw, for good or bad, and what later checks need of it.
pub(super) type Outcome<T> = Result<(T, String), String>;

/// Deadline for undoing what the checks made, given even when nothing else is left.
const CLEAN_UP_DEADLINE: Duration = Duration::from_secs(10);

/// Collects the checks of one run.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    deadline: Instant,
    checks: Vec<Check>,
}

impl Recorder {
    /// Starts the clock.
    pub(super) fn new(within: Duration) -> Recorder {
        let started = Instant::now();
        Recorder { started, deadline: started + within, checks: Vec::new() }
    }

    /// Runs one check. `tried` says what is done, in the imperative, with the expectation. `None`
    /// means that it failed, or that the deadline passed first.
    pub(super) async fn check<T>(
        &mut self,
        name: &'static str,
        tried: impl Into<String>,
        attempt: impl Future<Output = Outcome<T>>,
    ) -> Option<T> {
        let started = Instant::now();
        let outcome = match timeout_at(self.deadline, attempt).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(format!(
                "no answer after {:.1} s, at the deadline of {} s for all checks",
                started.elapsed().as_secs_f64(),
                (self.deadline - self.started).as_secs()
            )),
        };
        self.record(name, tried.into(), started, outcome)
    }

    /// Runs the check that removes what the others made, past the deadline if need be.
    pub(super) async fn clean_up(
        &mut self,
        name: &'static str,
        tried: impl Into<String>,
        attempt: impl Future<Output = Outcome<()>>,
    ) {
        let started = Instant::now();
        let outcome = match timeout(CLEAN_UP_DEADLINE, attempt).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(format!("no answer within {} s", CLEAN_UP_DEADLINE.as_secs())),
        };
        self.record(name, tried.into(), started, outcome);
    }

    fn record<T>(
        &mut self,
        name: &'static str,
        tried: String,
        started: Instant,
        outcome: Outcome<T>,
    ) -> Option<T> {
        let (value, saw) = match outcome {
            Ok((value, saw)) => (Some(value), saw),
            Err(saw) => (None, saw),
        };
        let passed = value.is_some();
        let seconds = started.elapsed().as_secs_f64();
        self.checks.push(Check { name: name.to_owned(), tried, saw, passed, seconds });
        value
    }

    pub(super) fn into_report(self, driver: Driver, target: &Target) -> Report {
        Report {
            component: target.component.clone(),
            driver,
            run_id: target.run_id.clone(),
            stand_in: target.stand_in.clone(),
            // A driver that checked nothing has proven nothing.
            passed: !self.checks.is_empty() && self.checks.iter().all(|check| check.passed),
            seconds: self.started.elapsed().as_secs_f64(),
            checks: self.checks,
            evidence: None,
        }
    }
}
