//! The live view: finished steps scroll up, running ones stay below with their progress.
//!
//! ```text
//! ✓ 3 quick steps                                  scrolled up
//! ✓ boot node core  13.7s                          scrolled up
//! ⠹ join node edge          3.2s  waiting for the node to register       frame
//! ⠹ import the image nats   12s   ━━━━━━──── 4.3 MiB of 5.7 MiB          frame
//!   … and 5 more running                                                 frame
//! up dev  12/31 · 0:24                                                   frame
//! ```

use std::time::Duration;

use super::View;
use super::clock::Now;
use super::event::{Event, Level, Outcome};
use super::format;
use super::mode::{Paint, Style};
use super::plain::summary;
use super::steps::Steps;

/// Steps that finish faster are counted instead of listed.
const QUICK_SECONDS: f64 = 0.3;

/// Most running steps to show, even on a tall terminal.
const MOST_RUNNING: usize = 12;

/// Widest column of titles.
const TITLE_WIDTH: usize = 40;

/// Cells of a progress bar.
const BAR_WIDTH: u64 = 12;

/// A terminal's size in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Cells in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// The state of the live view.
#[derive(Debug)]
pub struct Live {
    style: Style,
    steps: Steps,
    active: bool,
    running: Vec<Running>,
    /// Titles of quick steps that were not printed yet.
    quick: Vec<String>,
}

#[derive(Debug)]
struct Running {
    id: String,
    since: Duration,
    message: String,
    bytes: Option<(u64, u64)>,
}

impl Live {
    /// A view with these looks.
    pub fn new(style: Style) -> Live {
        Live {
            style,
            steps: Steps::default(),
            active: false,
            running: Vec::new(),
            quick: Vec::new(),
        }
    }

    /// The lines that stay at the bottom, none wider than the terminal; empty outside a plan.
    pub fn frame(&self, now: &Now, size: Size) -> Vec<String> {
        if !self.active {
            return Vec::new();
        }
        // Two lines for the footer and the line that says how many are not shown, one to spare.
        let room = size.rows.saturating_sub(3).clamp(1, MOST_RUNNING);
        let width = self.running.iter().take(room).map(|r| self.steps.title(&r.id).chars().count());
        let width = width.max().unwrap_or(0).min(TITLE_WIDTH);
        let mut lines: Vec<Line> =
            self.running.iter().take(room).map(|r| self.running_line(now, r, width)).collect();
        if self.running.len() > room {
            let more = format!(
                "  {} and {} more running",
                self.style.pick("…", "..."),
                self.running.len() - room
            );
            lines.push(vec![(Paint::Faint, more)]);
        }
        lines.push(self.footer(now));
        // One cell less: some terminals wrap as soon as the last one is written.
        let columns = size.columns.saturating_sub(1);
        lines.iter().map(|line| self.fit(line, columns)).collect()
    }

    fn running_line(&self, now: &Now, step: &Running, width: usize) -> Line {
        let elapsed = now.elapsed.saturating_sub(step.since);
        let title = clip(self.steps.title(&step.id), width, self.style);
        let took = format::seconds(elapsed);
        let mut line = vec![
            (Paint::Strong, format!("{} ", self.spinner(elapsed))),
            (Paint::None, format!("{title:width$}  ")),
            (Paint::Faint, format!("{took:<5} ")),
        ];
        if let Some((done, total)) = step.bytes {
            line.push((Paint::Good, format!("{} ", self.bar(done, total))));
            let text = format!("{} of {}", format::bytes(done), format::bytes(total));
            line.push((Paint::Faint, text));
        } else if !step.message.is_empty() {
            line.push((Paint::Faint, step.message.lines().next().unwrap_or_default().to_owned()));
        }
        line
    }

    fn footer(&self, now: &Now) -> Line {
        let dot = self.style.pick("·", "-");
        let clock = format::clock(now.elapsed);
        let state = match self.steps.undo {
            (0, _) => format!("  {}/{} {dot} {clock}", self.steps.done, self.steps.total),
            (total, tried) => format!("  undoing {tried}/{total} {dot} {clock}"),
        };
        vec![(Paint::Strong, self.steps.name.clone()), (Paint::Faint, state)]
    }

    fn spinner(&self, elapsed: Duration) -> char {
        let frames = self.style.pick("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", r"|/-\");
        let count = frames.chars().count() as u128;
        let index = elapsed.as_millis() / 100 % count;
        frames.chars().nth(index as usize).unwrap_or('*')
    }

    fn bar(&self, done: u64, total: u64) -> String {
        let filled = match total {
            0 => 0,
            _ => (u128::from(done.min(total)) * u128::from(BAR_WIDTH) / u128::from(total)) as usize,
        };
        let (full, rest) = (self.style.pick("━", "="), self.style.pick("─", "-"));
        full.repeat(filled) + &rest.repeat(BAR_WIDTH as usize - filled)
    }

    /// Cuts a line to `columns` cells and colours what is left.
    fn fit(&self, line: &Line, columns: usize) -> String {
        let mut left = columns;
        let mut text = String::new();
        for (paint, part) in line {
            let part = clip(part, left, self.style);
            left -= part.chars().count();
            text += &self.style.paint(*paint, &part);
        }
        text.trim_end().to_owned()
    }

    fn signed(&self, paint: Paint, sign: (&str, &str), text: &str) -> String {
        format!("{} {text}", self.style.paint(paint, self.style.pick(sign.0, sign.1)))
    }

    fn good(&self, text: &str) -> String {
        self.signed(Paint::Good, ("✓", "ok"), text)
    }

    fn bad(&self, text: &str) -> String {
        self.signed(Paint::Bad, ("✗", "FAILED"), text)
    }

    /// The quick steps that were held back: one by name, more as a number.
    fn flush(&mut self) -> Vec<String> {
        match std::mem::take(&mut self.quick).as_slice() {
            [] => Vec::new(),
            [title] => vec![self.good(title)],
            titles => vec![self.good(&format::count(titles.len(), "quick step"))],
        }
    }

    fn finished(&mut self, id: &str, seconds: f64, outcome: &Outcome) -> Vec<String> {
        self.running.retain(|step| step.id != id);
        let title = self.steps.title(id).to_owned();
        let took = format::seconds(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let took = self.style.paint(Paint::Faint, &took);
        match outcome {
            Outcome::Done if seconds < QUICK_SECONDS => {
                self.quick.push(title);
                Vec::new()
            }
            Outcome::Done => {
                let mut lines = self.flush();
                lines.push(self.good(&format!("{title}  {took}")));
                lines
            }
            Outcome::Failed { error } => {
                let mut lines = self.flush();
                lines.push(self.bad(&format!("{title}  {took}")));
                lines.push(format!("  {}", error.what));
                lines
            }
            // The end says how many never started; a line for each would bury the failure.
            Outcome::Cancelled => Vec::new(),
        }
    }
}

impl View for Live {
    fn event(&mut self, now: &Now, event: &Event) -> Vec<String> {
        self.steps.follow(event);
        match event {
            Event::PlanStarted { .. } => {
                self.active = true;
                let text =
                    format!("{}: {}", self.steps.name, format::count(self.steps.total, "step"));
                vec![self.style.paint(Paint::Strong, &text)]
            }
            Event::StepStarted { id } => {
                let (message, bytes) = (String::new(), None);
                self.running.push(Running { id: id.clone(), since: now.elapsed, message, bytes });
                Vec::new()
            }
            Event::StepProgress { id, message, bytes } => {
                if let Some(step) = self.running.iter_mut().find(|step| step.id == *id) {
                    step.message.clone_from(message);
                    step.bytes = *bytes;
                }
                Vec::new()
            }
            Event::StepFinished { id, seconds, outcome } => self.finished(id, *seconds, outcome),
            Event::UndoStarted { reason, steps } => {
                let mut lines = self.flush();
                let text = format!("undoing {}: {reason}", format::count(steps.len(), "step"));
                lines.push(self.signed(Paint::Warn, ("↩", "<"), &text));
                lines
            }
            Event::UndoFinished { id, error: None } => {
                vec![self.signed(
                    Paint::Faint,
                    ("↩", "<"),
                    &format!("undone: {}", self.steps.title(id)),
                )]
            }
            Event::UndoFinished { id, error: Some(error) } => {
                vec![self.bad(&format!("not undone: {}: {}", self.steps.title(id), error.what))]
            }
            Event::PlanFinished { done, seconds, ok } => {
                self.active = false;
                self.running.clear();
                let mut lines = self.flush();
                let text = summary(&self.steps, *done, *seconds);
                lines.push(if *ok { self.good(&text) } else { self.bad(&text) });
                lines
            }
            Event::Note { level: Level::Info, message } => vec![message.clone()],
            Event::Note { level: Level::Warning, message } => {
                vec![format!("{} {message}", self.style.paint(Paint::Warn, "warning:"))]
            }
        }
    }
}

/// Parts of one line with their colours.
type Line = Vec<(Paint, String)>;

/// At most `width` characters of `text`, with a mark where something is missing.
fn clip(text: &str, width: usize, style: Style) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mark = style.pick("…", "~");
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { String::new() } else { kept + mark }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::event::StepLine;

    const MONO: Style = Style { colour: false, unicode: true };

    fn busy(count: usize) -> Live {
        let mut live = Live::new(MONO);
        let steps = (0..count)
            .map(|i| StepLine { id: format!("s{i}"), title: format!("do the thing number {i}") })
            .collect();
        let start = Event::PlanStarted { operation: "up".into(), cluster: "dev".into(), steps };
        live.event(&Now::scripted(0.0), &start);
        for i in 0..count {
            live.event(&Now::scripted(0.0), &Event::StepStarted { id: format!("s{i}") });
        }
        live
    }

    #[test]
    fn many_running_steps_stay_within_the_terminal() {
        let live = busy(35);
        let frame = live.frame(&Now::scripted(2.0), Size { columns: 80, rows: 24 });
        assert_eq!(frame.len(), MOST_RUNNING + 2);
        insta::assert_snapshot!(frame[MOST_RUNNING - 1..].join("\n"), @"
        ⠋ do the thing number 11  2.0s
          … and 23 more running
        up dev  0/35 · 0:02
        ");
        let small = live.frame(&Now::scripted(2.0), Size { columns: 20, rows: 5 });
        insta::assert_snapshot!(small.join("\n"), @"
        ⠋ do the thing num…
        ⠋ do the thing num…
          … and 33 more ru…
        up dev  0/35 · 0:02
        ");
        let tiny = live.frame(&Now::scripted(2.0), Size { columns: 0, rows: 0 });
        assert_eq!(tiny.concat(), "");
    }

    #[test]
    fn quick_steps_fold_into_a_count() {
        let mut live = busy(4);
        let done = |id: &str, seconds| Event::StepFinished {
            id: id.into(),
            seconds,
            outcome: Outcome::Done,
        };
        let now = Now::scripted(1.0);
        assert!(live.event(&now, &done("s0", 0.1)).is_empty());
        assert!(live.event(&now, &done("s1", 0.2)).is_empty());
        insta::assert_snapshot!(live.event(&now, &done("s2", 1.0)).join("\n"), @"
        ✓ 2 quick steps
        ✓ do the thing number 2  1.0s
        ");
        assert!(live.event(&now, &done("s3", 0.2)).is_empty());
        let end = Event::PlanFinished { done: 4, seconds: 1.0, ok: true };
        insta::assert_snapshot!(live.event(&now, &end).join("\n"), @"
        ✓ do the thing number 3
        ✓ up dev: 4 steps in 1.0s
        ");
        assert!(live.frame(&now, Size { columns: 80, rows: 24 }).is_empty());
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let mut live = busy(1);
        live.style.colour = true;
        let frame = live.frame(&Now::scripted(1.0), Size { columns: 12, rows: 24 });
        insta::assert_snapshot!(frame.join("\n").escape_debug(), @r"\u{1b}[1m⠋ \u{1b}[0mdo the t…\n\u{1b}[1mup dev\u{1b}[0m\u{1b}[2m  0/…\u{1b}[0m");
    }
}
