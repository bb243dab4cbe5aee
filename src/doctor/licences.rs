//! Licences of components that nobody has accepted.

use super::{Facts, Finding, codes};

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let licences = facts.needs.licences.iter();
    licences
        .map(|licence| {
            let what = format!(
                "the licence {} of component {} is not accepted",
                licence.name, licence.component
            );
            Finding::new(codes::LICENCE_NOT_ACCEPTED, what)
                .needed("it may be used only by who has read and accepted its text")
                .remedy(format!("read it: {}", licence.text))
                .remedy(format!("then accept it, once: pipe up --accept {}", licence.name))
                .remedy(format!("or leave {} out of the profile", licence.component))
        })
        .collect()
}
