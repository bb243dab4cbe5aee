//! What was tried and seen, as data and as text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Driver;
use crate::{Error, Kind};

/// One thing tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Stable within its driver: `read-back`.
    pub name: String,
    /// What was done and what had to come of it.
    pub tried: String,
    /// What came of it.
    pub saw: String,
    /// Whether that is what had to come of it.
    pub passed: bool,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// The verdict on one component.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[must_use]
pub struct Report {
    /// Which component.
    pub component: String,
    /// How it was checked.
    pub driver: Driver,
    /// Part of the names that the checks made.
    pub run_id: String,
    /// What was checked in the component's place: that one is not proven then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<String>,
    /// Every check passed, and there was at least one.
    pub passed: bool,
    /// Wall-clock seconds of all checks.
    pub seconds: f64,
    /// In the order in which they ran; none follows one that it depends on and that failed.
    pub checks: Vec<Check>,
    /// The cluster's view of the component, if a check failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// A component that is not there to be checked.
#[derive(Clone, Debug, Serialize)]
pub struct NotChecked {
    /// Which.
    pub component: String,
    /// Why it was left out.
    pub skipped: String,
}

impl fmt::Display for NotChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: NOT checked, it was skipped: {}", self.component, self.skipped)
    }
}

impl Report {
    /// The first failed check as an error of [`Kind::Smoke`]; `None` if all passed.
    pub fn failure(&self) -> Option<Error> {
        if self.passed {
            return None;
        }
        let what = format!("component {} failed its smoke check", self.component);
        let error = Error::new(Kind::Smoke, "smoke-failed", what);
        let error = match self.checks.iter().find(|check| !check.passed) {
            Some(check) => error
                .because(format!("{}: tried to {}; saw {}", check.name, check.tried, check.saw)),
            None => error.because("no check was run"),
        };
        Some(match &self.evidence {
            Some(evidence) => error.because(evidence),
            None => error,
        })
    }
}

impl fmt::Display for Report {
    /// A line for each check; no trailing newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.checks.iter().filter(|check| check.passed).count();
        let verdict = match (self.passed, &self.stand_in) {
            (false, _) => "FAILED".to_owned(),
            (true, None) => "passed".to_owned(),
            (true, Some(what)) => format!("not proven; its stand-in ({what}) passed"),
        };
        let Report { component, seconds, checks, .. } = self;
        write!(f, "{component}: {verdict}, {passed} of {} checks in {seconds:.1} s", checks.len())?;
        for check in checks {
            let Check { name, tried, saw, passed, seconds } = check;
            let mark = if *passed { "ok  " } else { "FAIL" };
            write!(
                f,
                "\n  {mark} {name} ({seconds:.1} s)\n       tried: {tried}\n       saw:   {saw}"
            )?;
        }
        if let Some(evidence) = &self.evidence {
            write!(f, "\n  the cluster says: {evidence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(passed: bool) -> Report {
        let check = |name: &str, passed| Check {
            name: name.into(),
            tried: "publish 100 messages".into(),
            saw: "100 acknowledged".into(),
            passed,
            seconds: 0.25,
        };
        Report {
            component: "nats".into(),
            driver: Driver::Nats,
            run_id: "r1".into(),
            stand_in: None,
            passed,
            seconds: 0.5,
            checks: vec![check("publish", true), check("read-back", passed)],
            evidence: (!passed).then(|| "pod nats-0 is ready".into()),
        }
    }

    #[test]
    fn text_says_what_was_tried_and_seen() {
        insta::assert_snapshot!(report(false), @r"
        nats: FAILED, 1 of 2 checks in 0.5 s
          ok   publish (0.2 s)
               tried: publish 100 messages
               saw:   100 acknowledged
          FAIL read-back (0.2 s)
               tried: publish 100 messages
               saw:   100 acknowledged
          the cluster says: pod nats-0 is ready
        ");
    }

    #[test]
    fn a_stand_in_proves_nothing_of_what_it_stands_for() {
        let mut report = report(true);
        report.stand_in = Some("ClickHouse 18 instead of 26".into());
        let text = report.to_string();
        let first = text.lines().next().unwrap();
        insta::assert_snapshot!(first, @"nats: not proven; its stand-in (ClickHouse 18 instead of 26) passed, 2 of 2 checks in 0.5 s");
    }

    #[test]
    fn only_a_failed_report_is_an_error() {
        assert!(report(true).failure().is_none());
        let error = report(false).failure().unwrap();
        assert_eq!(error.kind.exit_code(), 5);
        insta::assert_snapshot!(error, @"component nats failed its smoke check: read-back: tried to publish 100 messages; saw 100 acknowledged: pod nats-0 is ready");
    }
}
