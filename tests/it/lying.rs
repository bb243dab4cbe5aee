//! What the checks against servers that lie have in common: a check that cannot fail proves nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use pipe::smoke::{self, Driver, ExecInPod, Options, Report, Surroundings, Target};

/// What the cluster says of the pod.
const EVIDENCE: &str = "the pod is ready";

/// A component whose host port is `port`.
pub fn target(component: &str, port: Option<u16>, credentials: &[(&str, &str)]) -> Target {
    let owned = credentials.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    Target {
        component: component.into(),
        namespace: "data".into(),
        host: "127.0.0.1".into(),
        port,
        buckets: vec![],
        floor: vec![],
        stand_in: None,
        credentials: owned.collect::<BTreeMap<_, _>>(),
        run_id: "t1".into(),
    }
}

/// How a check is run.
pub struct Run<'a> {
    pub driver: Driver,
    pub target: Target,
    /// Whether the server never answers: then the check need not be patient.
    pub silent: bool,
    /// Restarts the server, where that is a part of the check.
    pub restart: Option<Box<dyn Fn() + Send + Sync + 'a>>,
    pub exec: Option<ExecInPod<'a>>,
}

impl Run<'_> {
    /// What came of it.
    pub async fn report(self) -> Report {
        let Run { driver, target, silent, restart, exec } = self;
        let options = Options {
            restart: restart.is_some(),
            reach: Duration::from_secs(1),
            within: Duration::from_secs(if silent { 2 } else { 30 }),
        };
        let surroundings = Surroundings {
            restart: Box::new(move || {
                restart.iter().for_each(|restart| restart());
                Box::pin(async { Ok(()) })
            }),
            exec,
            evidence: Box::new(|| Box::pin(async { EVIDENCE.into() })),
        };
        smoke::run(driver, &target, options, &surroundings).await.unwrap()
    }
}

/// Asserts that `name` is the first check that fails, that it saw `saw`, and that nobody was told a secret.
pub fn assert_caught(report: &Report, name: &str, saw: &str, secrets: &[&str]) {
    let first = report.checks.iter().find(|check| !check.passed);
    let first = first.unwrap_or_else(|| panic!("believed the lie:\n{report}"));
    assert_eq!(first.name, name, "{report}");
    assert!(first.saw.contains(saw), "{saw:?} is not what it saw:\n{report}");
    assert!(!report.passed);
    assert_eq!(report.evidence.as_deref(), Some(EVIDENCE));
    let error = report.failure().unwrap();
    assert_eq!(error.kind.exit_code(), 5);
    let everything = serde_json::to_string(report).unwrap() + &error.to_string();
    assert!(!secrets.iter().any(|secret| everything.contains(secret)), "{everything}");
}

/// Asserts that what the check made was removed all the same.
pub fn assert_cleaned(report: &Report) {
    let last = report.checks.last().unwrap();
    assert!(last.name == "clean-up" && last.passed, "{report}");
}

/// The checks in their order.
pub fn names(report: &Report) -> String {
    let names: Vec<&str> = report.checks.iter().map(|check| check.name.as_str()).collect();
    names.join(" ")
}
