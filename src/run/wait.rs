//! Waiting, typed: a condition, a deadline, a back-off, and the last observation in the error.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::report::Events;
use crate::world::engine::{EngineError, Fault};
use crate::{Error, Result};

/// The first pause between two looks; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long one look may take before it counts as "no answer".
const LOOK: Duration = Duration::from_secs(15);

/// What one look at the condition showed.
pub enum Seen<T> {
    /// The condition holds.
    Ready(T),
    /// It does not yet; what was seen instead.
    NotYet(String),
    /// It never will.
    Never(Error),
}

impl<T> Seen<T> {
    /// What a failed read of the engine means: reads are asked again by themselves, so one that still
    /// reaches nobody is of an engine that is gone.
    pub fn of(error: EngineError) -> Seen<T> {
        match error.fault {
            Fault::Unreachable => Seen::Never(error.into()),
            _ => Seen::NotYet(error.to_string()),
        }
    }
}

/// One wait.
pub struct Wait<'a> {
    /// Stable code of the time-out error: `node-not-ready`.
    pub code: &'static str,
    /// What is waited for, as in "… did not become ready".
    pub what: String,
    /// Deadline from now.
    pub within: Duration,
    /// The step that waits, for progress.
    pub step: &'a str,
    /// Where progress goes.
    pub events: &'a Events,
    /// Ends the wait early.
    pub stop: &'a CancellationToken,
}

impl Wait<'_> {
    /// Looks until the condition holds.
    ///
    /// # Errors
    /// [`crate::Kind::TimedOut`] with the last observation, [`crate::Kind::Interrupted`] when
    /// stopped, or what `look` said can never come true.
    pub async fn until<T, F, S>(&self, mut look: F) -> Result<T>
    where
        F: FnMut() -> S,
        S: Future<Output = Seen<T>>,
    {
        let deadline = Instant::now() + self.within;
        let mut pause = FIRST_PAUSE;
        let mut last = String::from("nothing was seen");
        loop {
            let seen = tokio::select! {
                seen = tokio::time::timeout(LOOK, look()) => seen,
                () = self.stop.cancelled() => return Err(Error::interrupted()),
            };
            match seen {
                Ok(Seen::Ready(value)) => return Ok(value),
                Ok(Seen::Never(error)) => return Err(error),
                Ok(Seen::NotYet(observation)) => {
                    if observation != last {
                        self.events.progress(self.step, observation.clone());
                        last = observation;
                    }
                }
                Err(_elapsed) => last = format!("no answer within {} s", LOOK.as_secs()),
            }
            if Instant::now() + pause >= deadline {
                return Err(self.timed_out(&last));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return Err(Error::interrupted()),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn timed_out(&self, last: &str) -> Error {
        let seconds = self.within.as_secs();
        Error::timed_out(self.code, format!("{} within {seconds} s", self.what))
            .because(format!("last seen: {last}"))
    }
}
