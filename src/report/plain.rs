//! One timestamped line for each thing that happens: logs, CI, pipes.

use std::collections::HashMap;
use std::time::Duration;

use super::View;
use super::clock::Now;
use super::event::{Event, Level, Outcome};
use super::format;
use super::mode::{Paint, Style};
use super::steps::Steps;

/// Shortest time between two progress lines of one step, whatever they say.
const NEW_MESSAGE_EVERY: Duration = Duration::from_secs(2);

/// Shortest time between two progress lines of one step that say the same.
const SAME_MESSAGE_EVERY: Duration = Duration::from_secs(10);

/// The view for everything that is not a terminal.
#[derive(Debug)]
pub struct Plain {
    style: Style,
    steps: Steps,
    progress: HashMap<String, Progress>,
}

/// What a running step last said, and what of it was printed.
#[derive(Debug, Default)]
struct Progress {
    message: String,
    bytes: Option<(u64, u64)>,
    /// Whether the step said anything since the last line.
    news: bool,
    printed: Option<(Duration, String)>,
}

impl Progress {
    fn due(&self, now: Duration) -> bool {
        self.news
            && match &self.printed {
                None => true,
                Some((at, message)) => {
                    let pause = match *message == self.message {
                        true => SAME_MESSAGE_EVERY,
                        false => NEW_MESSAGE_EVERY,
                    };
                    now.saturating_sub(*at) >= pause
                }
            }
    }
}

impl Plain {
    /// A view with these looks.
    pub fn new(style: Style) -> Plain {
        Plain { style, steps: Steps::default(), progress: HashMap::new() }
    }

    fn line(&self, now: &Now, paint: Paint, sign: (&str, &str), text: &str) -> String {
        let sign = self.style.pick(sign.0, sign.1);
        let text = if self.style.unicode { text.to_owned() } else { ascii(text) };
        format!(
            "{} {}",
            now.time_of_day(),
            self.style.paint(paint, format!("{sign} {text}").trim_start())
        )
    }

    /// The progress line of `id`, if it is due.
    fn progress_line(&mut self, now: &Now, id: &str) -> Option<String> {
        let progress = self.progress.get_mut(id).filter(|p| p.due(now.elapsed))?;
        progress.news = false;
        progress.printed = Some((now.elapsed, progress.message.clone()));
        let mut text = format!("{}: {}", self.steps.title(id), progress.message);
        if let Some((done, total)) = progress.bytes {
            text += &format!(" {} of {}", format::bytes(done), format::bytes(total));
        }
        Some(self.line(now, Paint::Faint, ("·", "."), &text))
    }

    fn finished(&self, now: &Now, id: &str, seconds: f64, outcome: &Outcome) -> Vec<String> {
        let title = self.steps.title(id);
        let took = format::seconds(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        match outcome {
            Outcome::Done => {
                vec![self.line(now, Paint::Good, ("✓", "ok"), &format!("{title} {took}"))]
            }
            Outcome::Failed { error } => {
                let text = format!("{title} {took}: {}", error.what);
                vec![self.line(now, Paint::Bad, ("✗", "FAILED"), &text)]
            }
            // The end says how many never started; a line for each would bury the failure.
            Outcome::Cancelled => Vec::new(),
        }
    }
}

impl View for Plain {
    fn event(&mut self, now: &Now, event: &Event) -> Vec<String> {
        self.steps.follow(event);
        match event {
            Event::PlanStarted { .. } => {
                let text =
                    format!("{}: {}", self.steps.name, format::count(self.steps.total, "step"));
                vec![self.line(now, Paint::Strong, ("", ""), &text)]
            }
            Event::StepStarted { id } => {
                self.progress.remove(id);
                vec![self.line(now, Paint::None, ("+", "+"), self.steps.title(id))]
            }
            Event::StepProgress { id, message, bytes } => {
                let progress = self.progress.entry(id.clone()).or_default();
                progress.message.clone_from(message);
                progress.bytes = *bytes;
                progress.news = true;
                self.progress_line(now, id).into_iter().collect()
            }
            Event::StepFinished { id, seconds, outcome } => {
                self.progress.remove(id);
                self.finished(now, id, *seconds, outcome)
            }
            Event::UndoStarted { reason, steps } => {
                let text = format!("undoing {}: {reason}", format::count(steps.len(), "step"));
                vec![self.line(now, Paint::Warn, ("↩", "<"), &text)]
            }
            Event::UndoFinished { id, error: None } => {
                let text = format!("undone: {}", self.steps.title(id));
                vec![self.line(now, Paint::None, ("↩", "<"), &text)]
            }
            Event::UndoFinished { id, error: Some(error) } => {
                let text = format!("not undone: {}: {}", self.steps.title(id), error.what);
                vec![self.line(now, Paint::Bad, ("✗", "FAILED"), &text)]
            }
            Event::PlanFinished { done, seconds, ok } => {
                let text = summary(&self.steps, *done, *seconds);
                vec![match ok {
                    true => self.line(now, Paint::Good, ("✓", "ok"), &text),
                    false => self.line(now, Paint::Bad, ("✗", "FAILED"), &text),
                }]
            }
            Event::Note { level: Level::Info, message } => {
                vec![self.line(now, Paint::None, ("", ""), message)]
            }
            Event::Note { level: Level::Warning, message } => {
                vec![self.line(now, Paint::Warn, ("!", "!"), &format!("warning: {message}"))]
            }
        }
    }

    fn tick(&mut self, now: &Now) -> Vec<String> {
        let mut due: Vec<String> = self
            .progress
            .iter()
            .filter(|(_, progress)| progress.due(now.elapsed))
            .map(|(id, _)| id.clone())
            .collect();
        due.sort();
        due.iter().filter_map(|id| self.progress_line(now, id)).collect()
    }
}

/// How a plan went: `up dev: 12 of 31 steps in 0:24`.
pub fn summary(steps: &Steps, done: usize, seconds: f64) -> String {
    let took = format::seconds(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let count = match done == steps.total {
        true => format::count(done, "step"),
        false => format!("{done} of {}", format::count(steps.total, "step")),
    };
    format!("{}: {count} in {took}", steps.name)
}

/// `text` for a reader without Unicode.
fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            _ if c.is_ascii() => c,
            '•' => '*',
            '·' | '–' | '—' => '-',
            _ => '?',
        })
        .collect()
}

/// The view for `--quiet`: warnings and what could not be undone. The error itself is printed at
/// the end of the command.
#[derive(Debug)]
pub struct Quiet {
    style: Style,
    steps: Steps,
}

impl Quiet {
    /// A view with these looks.
    pub fn new(style: Style) -> Quiet {
        Quiet { style, steps: Steps::default() }
    }
}

impl View for Quiet {
    fn event(&mut self, _now: &Now, event: &Event) -> Vec<String> {
        self.steps.follow(event);
        let text = match event {
            Event::Note { level: Level::Warning, message } => message.clone(),
            Event::UndoFinished { id, error: Some(error) } => {
                format!("not undone: {}: {}", self.steps.title(id), error.what)
            }
            _ => return Vec::new(),
        };
        vec![format!("{} {text}", self.style.paint(Paint::Warn, "warning:"))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::event::tests::script;

    /// Plays the script with a tick every half second in between.
    fn play(mut view: impl View) -> String {
        let mut lines = Vec::new();
        let mut clock = 0.0;
        for (at, event) in script() {
            while clock < at {
                lines.extend(view.tick(&Now::scripted(clock)));
                clock += 0.5;
            }
            lines.extend(view.event(&Now::scripted(at), &event));
        }
        lines.join("\n")
    }

    #[test]
    fn in_unicode() {
        let style = Style { colour: false, unicode: true };
        insta::assert_snapshot!(play(Plain::new(style)), @"
        09:12:00 up dev: 6 steps
        09:12:00 + make the network
        09:12:00 ✓ make the network 0.1s
        09:12:00 + make the volume of core
        09:12:00 ✓ make the volume of core 0.2s
        09:12:00 + boot node core
        09:12:00 + import the image nats-2.15.2
        09:12:01 · import the image nats-2.15.2: reading 1.4 MiB of 5.7 MiB
        09:12:01 port 9000 is taken, using 40001
        09:12:02 · boot node core: etcd is starting
        09:12:04 · boot node core: the API server is starting
        09:12:04 ✓ import the image nats-2.15.2 3.9s
        09:12:14 ✓ boot node core 14s
        09:12:14 + join node edge
        09:13:15 ✗ join node edge 1:01: node edge never became ready
        09:13:15 ↩ undoing 2 steps: node edge never became ready
        09:13:16 ↩ undone: boot node core
        09:13:16 ✗ not undone: make the network: the network is in use
        09:13:16 ! warning: the network kind was left
        09:13:16 ✗ up dev: 4 of 6 steps in 1:16
        ");
    }

    #[test]
    fn in_ascii() {
        let text = play(Plain::new(Style::PLAIN));
        assert!(text.is_ascii(), "{text}");
        insta::assert_snapshot!(text.lines().last().unwrap(), @"09:13:16 FAILED up dev: 4 of 6 steps in 1:16");
    }

    #[test]
    fn in_colour() {
        let style = Style { colour: true, unicode: true };
        let text = play(Plain::new(style));
        insta::assert_snapshot!(text.lines().last().unwrap().escape_debug(), @r"09:13:16 \u{1b}[31m✗ up dev: 4 of 6 steps in 1:16\u{1b}[0m");
    }

    #[test]
    fn quietly() {
        insta::assert_snapshot!(play(Quiet::new(Style::PLAIN)), @"
        warning: not undone: make the network: the network is in use
        warning: the network kind was left
        ");
    }
}
