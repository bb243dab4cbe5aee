//! From a plan to its end: the journal is opened, the plan is run, the receipt is folded.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::{Finished, Runner};
use crate::Result;
use crate::plan::Plan;
use crate::spec::{ProfileName, Skipped};
use crate::state::journal::{Entry, Journal};
use crate::state::receipt::Receipt;

/// Writes down which components a run leaves out.
///
/// # Errors
/// The journal cannot be written.
pub(super) fn note_skipped(journal: &Journal, skipped: &[Skipped]) -> Result<()> {
    skipped.iter().try_for_each(|Skipped { component, why }| {
        journal.write(Entry::Skipped { component: component.name.clone(), why: why.clone() })
    })
}

/// Runs `plan` until `cancel`, or to its end.
///
/// # Errors
/// The journal or the receipt cannot be written. What came of the steps is in [`Finished`].
pub(super) async fn carry_out(
    context: &Arc<Context>,
    plan: &Plan,
    profile: Option<&ProfileName>,
    cancel: &CancellationToken,
    keep: bool,
) -> Result<Finished> {
    let state = context.state();
    let operation = plan.operation.as_str();
    let journal = Journal::begin(&state.journal(), operation, profile, context.mask.clone())?;
    if let Some(spec) = &context.spec {
        note_skipped(&journal, &spec.profile.skipped)?;
    }
    let runner = Runner {
        performer: Arc::clone(context),
        events: context.events.clone(),
        journal,
        cancel: cancel.clone(),
        stop: context.stop.clone(),
        keep,
    };
    let finished = runner.run(plan).await;
    // A teardown's last step removes the folder that the receipt would be in.
    if state.path().exists() {
        Receipt::load(&state)?.save(&state)?;
    }
    Ok(finished)
}
