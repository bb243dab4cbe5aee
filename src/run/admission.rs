//! Names of images that the API server refuses before any node is asked.

use std::time::Duration;

use super::context::Context;
use super::wait::Seen;
use crate::Result;
use crate::provider::kind::admission::{self, NAME, Then};
use crate::provider::kind::surroundings;
use crate::spec::source::Sources;
use crate::spec::{ImagePolicy, forbidden};
use crate::trust::admission as words;
use crate::world::env::Env;
use crate::world::kube::Admission;

/// An API server reads its policies anew within seconds.
const IN_FORCE: Duration = Duration::from_secs(60);

/// Where the API server is asked whether it refuses.
const NAMESPACE: &str = "kube-system";

/// What a profile wants of the API server; `None` where nodes pull from anywhere.
///
/// # Errors
/// The list of forbidden images cannot be used.
pub(super) fn wanted(
    sources: &Sources,
    env: &Env,
    policy: ImagePolicy,
) -> Result<Option<Admission>> {
    let then = match policy {
        ImagePolicy::Off => return Ok(None),
        ImagePolicy::Warn => Then::Warn,
        ImagePolicy::Enforce => Then::Deny,
    };
    let registries = surroundings::registries(&env.surroundings.mirrors);
    let demands = words::demands(&forbidden(sources)?, &registries);
    let demands = demands.into_iter().map(|demand| (demand.expression, demand.message));
    Ok(Some(admission::admission(&words::VARIABLES, demands, then)))
}

/// Puts the wanted policy in force and sees it refuse, or takes ours out of force.
pub(super) async fn restrict(context: &Context, id: &str) -> Result<()> {
    let kube = context.kube().await?;
    let Some(wanted) = &context.admission else { return kube.remove_admission(NAME).await };
    kube.put_admission(wanted).await?;
    if context.spec()?.profile.policy != ImagePolicy::Enforce {
        return Ok(());
    }
    let what = "the API server does not refuse forbidden images";
    let wait = context.wait(id, "admission-not-in-force", what, IN_FORCE);
    let refused = wait.until(|| async {
        // No registry has such a name, so that nothing but the policy refuses it.
        match kube.refusal(NAMESPACE, "registry.invalid/pipe/admission:1").await {
            Ok(Some(said)) if said.contains(NAME) => Seen::Ready(()),
            Ok(Some(said)) => Seen::NotYet(said),
            Ok(None) => Seen::NotYet("it would make a pod of any image".to_owned()),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    refused.await
}
