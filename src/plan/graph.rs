//! A plan for people and for Graphviz.

use std::fmt::Write as _;

use super::Plan;

impl Plan {
    /// One line a step, with what it waits for.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if self.is_empty() {
            let _ = writeln!(text, "cluster {}: nothing to do", self.cluster);
        } else {
            let count = self.steps.len();
            let s = if count == 1 { "" } else { "s" };
            let _ = writeln!(text, "{} {}: {count} step{s}", self.operation.as_str(), self.cluster);
            let width = self.steps.iter().map(|s| s.id.len()).max().unwrap_or(0);
            for step in &self.steps {
                let _ = write!(text, "  {:width$}  {}", step.id, step.title);
                if !step.needs.is_empty() {
                    let needs: Vec<&str> = step.needs.iter().map(String::as_str).collect();
                    let _ = write!(text, "  <- {}", needs.join(", "));
                }
                text.push('\n');
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// Graphviz, for `pipe plan --dot | dot -Tsvg`.
    pub fn to_dot(&self) -> String {
        let mut dot =
            format!("digraph {:?} {{\n  rankdir=LR;\n  node [shape=box];\n", self.cluster.as_str());
        for step in &self.steps {
            let _ = writeln!(dot, "  {:?} [label={:?}];", step.id, step.title);
            for need in &step.needs {
                let _ = writeln!(dot, "  {need:?} -> {:?};", step.id);
            }
        }
        dot.push_str("}\n");
        dot
    }
}
