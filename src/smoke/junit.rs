//! Reports in the form that CI systems show: a suite for each component, a case for each check.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::{NotChecked, Report};
use crate::{Error, Result};

/// JUnit's XML. What a stand-in passed is a case of its own that says so, and the component's checks are
/// then not counted as its own: they are skipped. So is the only case of a component that was left out.
///
/// # Errors
/// None that a user can cause.
pub fn junit(cluster: &str, reports: &[Report], others: &[NotChecked]) -> Result<String> {
    let mut document = Document::new(format!("pipe smoke {cluster}"));
    for report in reports {
        let mut suite = TestSuite::new(report.component.as_str());
        for check in &report.checks {
            let saw = format!("tried to {}; saw {}", check.tried, check.saw);
            let status = match (check.passed, &report.stand_in) {
                (true, None) => TestCaseStatus::success(),
                (true, Some(what)) => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(format!("passed by {what}, which stands in"));
                    status
                }
                (false, _) => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(saw.as_str());
                    if let Some(evidence) = &report.evidence {
                        status.set_description(evidence.as_str());
                    }
                    status
                }
            };
            let mut case = TestCase::new(check.name.as_str(), status);
            case.set_classname(format!("pipe.{cluster}.{}", report.component));
            case.set_time(Duration::from_secs_f64(check.seconds.max(0.0)));
            case.set_system_out(saw);
            suite.add_test_case(case);
        }
        suite.set_time(Duration::from_secs_f64(report.seconds.max(0.0)));
        document.add_test_suite(suite);
    }
    for NotChecked { component, skipped } in others {
        let mut status = TestCaseStatus::skipped();
        status.set_message(skipped.as_str());
        let mut case = TestCase::new("installed", status);
        case.set_classname(format!("pipe.{cluster}.{component}"));
        let mut suite = TestSuite::new(component.as_str());
        suite.add_test_case(case);
        document.add_test_suite(suite);
    }
    document.to_string().map_err(|why| Error::bug(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::{Check, Driver};

    #[test]
    fn failed_and_stood_in_for_are_told_apart() {
        let check = |name: &str, passed| Check {
            name: name.into(),
            tried: "publish <100> messages".into(),
            saw: "100 acknowledged".into(),
            passed,
            seconds: 0.25,
        };
        let report = |component: &str, passed, stand_in: Option<&str>| Report {
            component: component.into(),
            driver: Driver::Nats,
            run_id: "r1".into(),
            stand_in: stand_in.map(str::to_owned),
            passed,
            seconds: 0.5,
            checks: vec![check("publish", true), check("read-back", passed)],
            evidence: (!passed).then(|| "pod nats-0 is \"ready\"".into()),
        };
        let all = [
            report("nats", false, None),
            report("minio", true, None),
            report("clickhouse", true, Some("ClickHouse 18")),
        ];
        let gone = NotChecked { component: "scylladb".into(), skipped: "no <image>".into() };
        insta::assert_snapshot!(junit("dev", &all, &[gone]).unwrap());
    }
}
