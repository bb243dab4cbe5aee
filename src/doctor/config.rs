//! The user's `config.yaml`, and the certificates and mirrors that it names.

use jiff::Timestamp;

use super::{Facts, Finding, codes};
use crate::Kind;
use crate::world::certificate::Validity;
use crate::world::facts::AuthorityFact;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let config = &facts.host.config;
    let file = config.file.display();
    // A proxy variable that is wrong has a finding of its own.
    if let Some(fault) = config.fault.as_ref().filter(|fault| fault.kind == Kind::Files) {
        let finding = Finding::new(codes::CONFIG_INVALID, format!("{file} cannot be used"));
        let finding = finding.seen(fault.causes.join("\n"));
        let hints = fault.hints.iter().fold(finding, |finding, hint| finding.remedy(hint));
        return vec![hints.remedy("correct it, or move it away: nothing needs it")];
    }
    if !config.exists {
        return Vec::new();
    }
    let now = facts.host.clock.now;
    let mut findings: Vec<Finding> =
        config.authorities.iter().flat_map(|authority| of_authority(authority, now)).collect();
    if findings.is_empty() {
        let mirrored = match config.mirrored.as_slice() {
            [] => "none".to_owned(),
            registries => registries.join(", "),
        };
        let files = config.authorities.len();
        let seen = format!("files of certificates: {files}; registries with mirrors: {mirrored}");
        findings.push(Finding::new(codes::CONFIG_READY, format!("{file} is used")).seen(seen));
    }
    findings
}

fn of_authority(authority: &AuthorityFact, now: Timestamp) -> Vec<Finding> {
    let file = authority.file.display();
    let mut findings = Vec::new();
    for (index, certificate) in authority.certificates.iter().enumerate() {
        let which = format!("certificate {} in {file}", index + 1);
        match certificate {
            Err(why) => findings.push(
                Finding::new(codes::AUTHORITY_BROKEN, format!("{which} cannot be read"))
                    .seen(why)
                    .remedy("fetch the file again, in PEM form")
                    .remedy(format!("look at it: openssl x509 -in {file} -noout -text")),
            ),
            Ok(Validity { not_after, .. }) if *not_after < now => findings.push(
                Finding::new(codes::AUTHORITY_EXPIRED, format!("{which} has expired"))
                    .seen(format!("valid until {not_after}"))
                    .remedy("ask who gave it to you for the new one"),
            ),
            Ok(Validity { not_before, .. }) if *not_before > now => findings.push(
                Finding::new(codes::AUTHORITY_EXPIRED, format!("{which} is not valid yet"))
                    .seen(format!("valid from {not_before}"))
                    .remedy("is this host's clock right? `date` shows it"),
            ),
            Ok(_) => {}
        }
    }
    findings
}
