//! A [`Plan`] is data: what will be done, in which order, and why it is safe to do at once.
//!
//! `build` turns a `Spec` and what was [`observed`] into a plan, `teardown` what is there alone; nothing here does I/O, so a plan can be printed, compared and tested.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::report::StepLine;
use crate::spec::ClusterName;

pub mod action;
pub mod balancer;
pub mod build;
mod cache;
pub mod components;
pub mod graph;
pub mod input;
pub mod kept;
mod node_change;
pub mod nodes;
pub mod observed;
pub mod reserve;
pub mod surroundings;
pub mod teardown;
#[cfg(test)]
mod tests;
pub mod wake;

pub use action::{Action, NodePlan, Publish};
pub use balancer::BalancerPlan;
pub use observed::Observed;
pub use reserve::Reservation;

/// Readable and stable: `join/edge`, `install/nats`. Plans, events, journal and tests share it.
pub type StepId = String;

/// How far along a step is; decides what a failure undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The cluster is being made: a failure undoes everything this run made.
    Cluster,
    /// Components: a failure removes releases this run installed for the first time.
    Component,
    /// Proof: a failure undoes nothing.
    Smoke,
    /// Removal: goes on after failures and has no undo.
    Removal,
}

/// One thing to do, and what must be done before it.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// What it does, in the imperative.
    pub title: String,
    /// What a failure of it undoes.
    pub phase: Phase,
    /// Steps that must be done first.
    pub needs: BTreeSet<StepId>,
    /// The deed.
    pub action: Action,
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Bring a cluster to its spec.
    Up,
    /// Remove a cluster.
    Teardown,
    /// Start a cluster's containers.
    Start,
    /// Stop a cluster's containers.
    Stop,
    /// Empty nodes.
    NodeDrain,
    /// Take nodes out.
    NodeRemove,
}

impl Operation {
    /// As the command is typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::Up => "up",
            Operation::Teardown => "teardown",
            Operation::Start => "start",
            Operation::Stop => "stop",
            Operation::NodeDrain => "node drain",
            Operation::NodeRemove => "node remove",
        }
    }
}

/// A directed acyclic graph of steps, kept in a valid order.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// What it is for.
    pub operation: Operation,
    /// The cluster it works on.
    pub cluster: ClusterName,
    /// Every step after the ones it needs.
    pub steps: Vec<Step>,
    /// What the user should know although nothing is done about it.
    pub notes: Vec<String>,
    /// Whether what else differs can only be seen, and so planned, after this.
    pub more: bool,
}

impl Plan {
    /// A plan without steps.
    pub fn new(operation: Operation, cluster: ClusterName) -> Plan {
        Plan { operation, cluster, steps: Vec::new(), notes: Vec::new(), more: false }
    }

    /// Appends a step. Needs that are not in the plan are dropped: what they stand for is already
    /// true, so nothing has to be waited for. So are needs of needs. The order is valid by
    /// construction.
    pub fn add<'a>(
        &mut self,
        id: impl Into<StepId>,
        phase: Phase,
        needs: impl IntoIterator<Item = &'a str>,
        action: Action,
    ) {
        let known: BTreeSet<&str> =
            needs.into_iter().filter(|id| self.step(id).is_some()).collect();
        let mut implied = BTreeSet::new();
        for need in &known {
            self.ancestors(need, &mut implied);
        }
        let needs = known.difference(&implied).map(|id| (*id).to_owned()).collect();
        let title = action.title();
        self.steps.push(Step { id: id.into(), title, phase, needs, action });
    }

    /// The step called `id`.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }

    /// Everything that must be done before the step `id`.
    fn ancestors<'a>(&'a self, id: &str, found: &mut BTreeSet<&'a str>) {
        let Some(step) = self.step(id) else { return };
        for need in &step.needs {
            if found.insert(need) {
                self.ancestors(need, found);
            }
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Ids of the steps whose id starts with `prefix`, in order.
    pub fn ids(&self, prefix: &str) -> Vec<StepId> {
        self.steps.iter().map(|s| &s.id).filter(|id| id.starts_with(prefix)).cloned().collect()
    }

    /// The steps as the event stream announces them.
    pub fn lines(&self) -> Vec<StepLine> {
        self.steps.iter().map(|s| StepLine { id: s.id.clone(), title: s.title.clone() }).collect()
    }
}
