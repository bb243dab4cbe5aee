//! How far a backup or a restore is, told now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::report::format;
use crate::report::{Event, Events};

/// Between two tellings; chunks come much faster.
const PAUSE: Duration = Duration::from_millis(200);

/// Counts bytes of one step, and tells of it.
#[derive(Debug)]
pub struct Progress {
    events: Events,
    step: String,
    /// Bytes in all, where known.
    total: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    done: u64,
    item: String,
    told: Instant,
}

impl Progress {
    /// Of `step`, which has `total` bytes where that is known.
    pub fn new(events: &Events, step: &str, total: Option<u64>) -> Progress {
        let state = State { done: 0, item: String::new(), told: Instant::now() };
        Progress { events: events.clone(), step: step.to_owned(), total, state: Mutex::new(state) }
    }

    /// What it is at now: `bucket artifacts`.
    pub fn item(&self, name: impl Into<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.item = name.into();
        self.tell(&mut state);
    }

    /// So many bytes more are done.
    pub fn advance(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += bytes;
        if state.told.elapsed() >= PAUSE {
            self.tell(&mut state);
        }
    }

    fn tell(&self, state: &mut State) {
        state.told = Instant::now();
        let message = match (self.total, state.done) {
            (None, 1..) => format!("{}, {}", state.item, format::bytes(state.done)),
            _ => state.item.clone(),
        };
        let bytes = self.total.map(|total| (state.done, total.max(state.done)));
        self.events.send(Event::StepProgress { id: self.step.clone(), message, bytes });
    }
}
