//! Signatures with certificates: asked of the program cosign, which knows sigstore's authorities and
//! their log. Whoever calls names the identity; cosign says yes or why not.

use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::trust::policy::{Demand, Finding, Identity};
use crate::world::env::Env;
use crate::world::process::Program;
use crate::world::tool::Tool;
use crate::{Error, Kind, Result};

/// For one question: cosign asks the registry and, at its first run, sigstore for its keys.
const DEADLINE: Duration = Duration::from_secs(120);

/// The first of each line without the hole GHSA-whqx-f9j3-ch6m: older ones accept bundles that they
/// must not.
const FLOOR: [(u32, u32, u32); 2] = [(2, 6, 2), (3, 0, 4)];

/// What is asked about: `registry/repository@sha256:…`, by HTTP where `plain`.
#[derive(Clone, Debug)]
pub struct Subject {
    /// By digest: a tag may lead elsewhere a moment later.
    pub name: String,
    /// Whether the registry speaks HTTP.
    pub plain: bool,
}

/// Looks for what `demand` wants, [`Demand::Keyless`] or [`Demand::Attestation`]. That there is no
/// cosign is a finding, and never a pass.
///
/// # Errors
/// The user interrupted.
pub async fn look(
    env: &Env,
    subject: &Subject,
    demand: &Demand,
    cancel: &CancellationToken,
) -> Result<Finding> {
    let (command, identity, issuer, predicate) = match demand {
        Demand::Keyless { identity, issuer } => ("verify", identity, issuer, None),
        Demand::Attestation { identity, issuer, predicate } => {
            ("verify-attestation", identity, issuer, Some(predicate))
        }
        Demand::Key(_) | Demand::Built { .. } | Demand::DigestOnly { .. } => {
            return Err(Error::bug("cosign was to check what it does not know"));
        }
    };
    let cosign = Tool::cosign();
    let found = tokio::select! {
        found = cosign.find_or_fetch(env) => found,
        () = cancel.cancelled() => return Err(Error::interrupted()),
    };
    let tool = match found {
        Ok(tool) => tool,
        Err(error) => {
            let why = format!("it takes the program cosign to check that: {error}");
            return Ok(Finding::Nothing(why));
        }
    };
    let program =
        |arguments: &[&str]| Program::new(&tool.path, env).args(arguments).within(DEADLINE);
    if let Some(version) = outdated(&program(&["version", "--json"]), cancel).await? {
        let why = format!(
            "{} is {version}, which has the hole GHSA-whqx-f9j3-ch6m; it takes 3.0.4 or newer",
            tool.path.display()
        );
        return Ok(Finding::Nothing(why));
    }
    // cosign looks for an expression anywhere in the identity; `a|b` must not lose its ends.
    let whole = format!("^(?:{})$", identity.as_str());
    let mut arguments = vec![command];
    arguments.extend(match identity {
        Identity::Is(text) => ["--certificate-identity", text],
        Identity::Fits(_) => ["--certificate-identity-regexp", &whole],
    });
    arguments.extend(["--certificate-oidc-issuer", issuer]);
    if let Some(predicate) = predicate {
        arguments.extend(["--type", predicate]);
    }
    if subject.plain {
        arguments.push("--allow-http-registry");
    }
    arguments.push(&subject.name);
    match program(&arguments).run(cancel).await {
        Ok(_said) => Ok(match predicate {
            None => Finding::Certificate { identity: identity.clone(), issuer: issuer.clone() },
            Some(predicate) => Finding::Statement {
                identity: identity.clone(),
                issuer: issuer.clone(),
                predicate: predicate.clone(),
            },
        }),
        Err(error) if error.kind == Kind::Interrupted => Err(error),
        Err(error) => Ok(Finding::Nothing(refusal(&error))),
    }
}

/// The version, where it is one that must not be asked; one that cannot say its version was built by
/// hand, from what is current.
async fn outdated(program: &Program, cancel: &CancellationToken) -> Result<Option<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        git_version: String,
    }
    let text = match program.run(cancel).await {
        Ok(output) => output.text(),
        Err(error) if error.kind == Kind::Interrupted => return Err(error),
        Err(_says_nothing) => return Ok(None),
    };
    let Ok(Version { git_version }) = serde_json::from_str(&text) else { return Ok(None) };
    Ok(is_outdated(&git_version).then_some(git_version))
}

fn is_outdated(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(std::result::Result::ok);
    let (Some(major), Some(minor), Some(patch)) = (next(), next(), next()) else { return false };
    let newest = FLOOR.iter().map(|floor| floor.0).max().unwrap_or_default();
    let floor = FLOOR.iter().find(|floor| floor.0 == major);
    major <= newest && floor.is_none_or(|floor| (major, minor, patch) < *floor)
}

/// What cosign said last, which is why.
fn refusal(error: &Error) -> String {
    let said = error.causes.iter().flat_map(|cause| cause.lines());
    let said: Vec<&str> = said.map(str::trim).filter(|line| !line.is_empty()).collect();
    let line =
        said.iter().rev().find(|line| line.to_lowercase().starts_with("error")).or(said.last());
    format!("cosign refuses: {}", line.copied().unwrap_or(&error.what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_the_hole_are_known() {
        for old in ["v1.13.1", "v2.6.1", "2.4.0", "v3.0.3", "v3.0.3-rc.1"] {
            assert!(is_outdated(old), "{old}");
        }
        for good in ["v2.6.2", "v3.0.4", "v3.1.3", "v3.1.3+x", "v4.0.0", "devel", "(devel)", ""] {
            assert!(!is_outdated(good), "{good}");
        }
    }
}
