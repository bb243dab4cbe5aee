//! What the views have in common: names of steps and how many there are.

use std::collections::HashMap;

use super::event::{Event, Outcome};

/// The plan as far as a view needs it.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// `up dev`.
    pub name: String,
    /// Steps in the plan.
    pub total: usize,
    /// Steps that were done.
    pub done: usize,
    /// Steps to undo, and how many of them were tried; zero before undo begins.
    pub undo: (usize, usize),
    titles: HashMap<String, String>,
}

impl Steps {
    /// Takes note of an event; call it first.
    pub fn follow(&mut self, event: &Event) {
        match event {
            Event::PlanStarted { operation, cluster, steps } => {
                let titles = steps.iter().map(|s| (s.id.clone(), s.title.clone())).collect();
                let name = format!("{operation} {cluster}");
                *self = Steps { name, total: steps.len(), titles, ..Steps::default() };
            }
            Event::StepFinished { outcome: Outcome::Done, .. } => self.done += 1,
            Event::UndoStarted { steps, .. } => self.undo = (steps.len(), 0),
            Event::UndoFinished { .. } => self.undo.1 += 1,
            _ => {}
        }
    }

    /// What a step does, in words; its id if the plan did not announce it.
    pub fn title<'a>(&'a self, id: &'a str) -> &'a str {
        self.titles.get(id).map_or(id, String::as_str)
    }
}
