//! What `up` reached of each component: where it is, what it is, and how long each part took.

use std::fmt;

use serde::Serialize;

use super::prepare::Prepared;
use super::up::{Endpoint, endpoints};
use crate::spec::Component;

/// One component at the end of `up`.
#[derive(Clone, Debug, Serialize)]
pub struct UpComponent {
    /// Its name.
    pub name: String,
    /// Why it was left out; it is not ready then.
    pub skipped: Option<String>,
    /// Where the host reaches it.
    pub endpoints: Vec<Endpoint>,
    /// Its images were built from source here, not pulled.
    pub built: bool,
    /// What stands in for it, where another product does: it is not proven then.
    pub stand_in: Option<String>,
    /// Seconds of this run's steps.
    pub seconds: Seconds,
}

/// How long each part took; absent where nothing was to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// `helm upgrade --install`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<f64>,
    /// From then until every gate held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serve: Option<f64>,
    /// Making buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<f64>,
    /// The smoke check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoke: Option<f64>,
}

impl Seconds {
    /// Those of a component's steps among `steps`.
    fn of(component: &str, steps: &[(String, f64)]) -> Seconds {
        let seconds = |kind: &str| {
            let id = format!("{kind}/{component}");
            let all: Vec<f64> = steps.iter().filter(|(s, _)| *s == id).map(|(_, t)| *t).collect();
            (!all.is_empty()).then(|| all.iter().sum())
        };
        Seconds {
            install: seconds("install"),
            serve: seconds("serve"),
            buckets: seconds("buckets"),
            smoke: seconds("smoke"),
        }
    }
}

/// Every component of the profile, the skipped ones last.
pub(super) fn components(prepared: &Prepared, steps: &[(String, f64)]) -> Vec<UpComponent> {
    let one = |component: &Component, skipped: Option<&String>| UpComponent {
        name: component.name.to_string(),
        skipped: skipped.cloned(),
        endpoints: match skipped {
            None => endpoints(component, &prepared.reservation),
            Some(_) => Vec::new(),
        },
        built: prepared.built.contains(&component.name),
        stand_in: component.stand_in.clone(),
        seconds: Seconds::of(component.name.as_str(), steps),
    };
    let ready = prepared.spec.profile.components.iter().map(|component| one(component, None));
    let skipped = prepared.spec.profile.skipped.iter();
    let skipped = skipped.map(|gone| one(&gone.component, Some(&gone.why)));
    ready.chain(skipped).collect()
}

/// What is left out, for a plan.
pub(super) fn skipped(prepared: &Prepared) -> impl Iterator<Item = String> {
    let skipped = prepared.spec.profile.skipped.iter();
    skipped.map(|gone| format!("component {} will be skipped: {}", gone.component.name, gone.why))
}

impl fmt::Display for UpComponent {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UpComponent { name, seconds, .. } = self;
        if let Some(why) = &self.skipped {
            return write!(f, "{name} is NOT ready, it was skipped: {why}");
        }
        match (&self.stand_in, self.built) {
            (Some(what), _) => write!(f, "{name} is ready, NOT proven: a stand-in, {what}")?,
            (None, true) => write!(f, "{name} is ready, built from source")?,
            (None, false) => write!(f, "{name} is ready")?,
        }
        let addresses = self.endpoints.iter().map(|e| format!("{} {}", e.name, e.address));
        let addresses: Vec<String> = addresses.collect();
        if !addresses.is_empty() {
            write!(f, ": {}", addresses.join(", "))?;
        }
        let parts = [
            ("installed", seconds.install),
            ("serving", seconds.serve),
            ("buckets", seconds.buckets),
            ("smoke", seconds.smoke),
        ];
        let took = parts.iter().filter_map(|(what, s)| Some(format!("{what} {:.1} s", (*s)?)));
        let took: Vec<String> = took.collect();
        if !took.is_empty() {
            write!(f, " ({})", took.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> UpComponent {
        let steps = [("install/s3".to_owned(), 1.25), ("serve/s3".to_owned(), 4.0)];
        let other = [("smoke/s3".to_owned(), 0.5), ("serve/nats".to_owned(), 9.0)];
        UpComponent {
            name: "s3".into(),
            skipped: None,
            endpoints: vec![Endpoint { name: "s3".into(), address: "127.0.0.1:9000".into() }],
            built: false,
            stand_in: None,
            seconds: Seconds::of("s3", &[steps, other].concat()),
        }
    }

    #[test]
    fn a_line_says_what_it_is_and_how_long_it_took() {
        let pulled = component();
        let built = UpComponent { built: true, ..component() };
        let what = Some("old instead of new".to_owned());
        let stand_in = UpComponent { stand_in: what, ..component() };
        let idle = UpComponent { seconds: Seconds::default(), ..component() };
        let skipped = UpComponent { skipped: Some("no registry".into()), ..component() };
        let lines = [pulled, built, stand_in, idle, skipped].map(|c| c.to_string()).join("\n");
        insta::assert_snapshot!(lines);
    }
}
