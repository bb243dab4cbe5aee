//! The only place that prints: events in, lines on a stream out.
//!
//! ```text
//! Event ─ mask ─┬─ live  (a terminal; painted by human)   ─▶ stderr
//!               ├─ plain (anything else; --quiet: less)   ─▶ stderr
//!               └─ json  (--json)                         ─▶ stdout
//! ```
//!
//! The three views are pure: an event and the time go in, lines come out. [`Report`] owns the
//! streams. stdout is the data asked for, stderr everything else; a reader that went away is
//! success.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::{Error, Result};

pub mod clock;
pub mod error;
pub mod event;
pub mod format;
pub mod human;
pub mod json;
pub mod live;
pub mod mask;
pub mod mode;
pub mod plain;
pub mod scrub;
pub mod steps;
pub mod stream;
pub mod table;

pub use clock::Now;
pub use event::{Event, Events, Level, Outcome, StepLine};
pub use mask::Mask;
pub use mode::{Flags, Mode, Style};
pub use stream::Stream;
pub use table::Table;

use clock::Clock;
use human::Screen;
use live::Live;

/// Turns events into lines; pure, so that snapshots can hold it.
pub trait View: Send {
    /// Lines to print for this event.
    fn event(&mut self, now: &Now, event: &Event) -> Vec<String>;

    /// Lines that became due with time alone; called a few times a second.
    fn tick(&mut self, _now: &Now) -> Vec<String> {
        Vec::new()
    }
}

/// The way out for everything `pipe` prints; cheap to clone.
#[derive(Clone, Debug)]
pub struct Report {
    mode: Mode,
    mask: Mask,
    streams: Arc<Mutex<Streams>>,
}

#[derive(Debug)]
struct Streams {
    stdout: Stream,
    stderr: Stream,
}

impl Report {
    /// A report on the process's own streams.
    pub fn stdio(mode: Mode, mask: Mask) -> Report {
        Report::new(mode, mask, Stream::stdout(), Stream::stderr())
    }

    /// A report on the given streams. [`Mode::Human`] draws on the process's terminal all the same.
    pub fn new(mode: Mode, mask: Mask, stdout: Stream, stderr: Stream) -> Report {
        Report { mode, mask, streams: Arc::new(Mutex::new(Streams { stdout, stderr })) }
    }

    /// How this report prints.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The secrets that this report hides; register new ones here.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Consumes the stream until every [`Events`] is dropped. Await the handle before printing
    /// anything else, or it may land inside the live view.
    #[must_use = "await it, or the last lines may be lost"]
    pub fn spawn(&self, events: UnboundedReceiver<Event>) -> JoinHandle<Result<()>> {
        let report = self.clone();
        #[expect(clippy::disallowed_methods, reason = "the caller awaits the handle")]
        tokio::spawn(async move {
            match report.mode {
                Mode::Human(style) => {
                    human::run(Live::new(style), Screen::stderr(), events, &report.mask).await;
                    Ok(())
                }
                Mode::Plain(style) => report.print_events(plain::Plain::new(style), events).await,
                Mode::Quiet(style) => report.print_events(plain::Quiet::new(style), events).await,
                Mode::Json => report.print_events(json::Json, events).await,
            }
        })
    }

    async fn print_events(
        &self,
        mut view: impl View,
        mut events: UnboundedReceiver<Event>,
    ) -> Result<()> {
        let clock = Clock::start();
        let mut ticks = clock::ticks();
        loop {
            let lines = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => view.event(&clock.now(), &self.mask.event(event)),
                    None => return Ok(()),
                },
                _ = ticks.tick() => view.tick(&clock.now()),
            };
            let mut streams = self.streams();
            let stream = match self.mode {
                Mode::Json => &mut streams.stdout,
                _ => &mut streams.stderr,
            };
            for line in lines {
                stream.line(&line)?;
            }
        }
    }

    /// Prints data that the user asked for, as it is: not masked, because `pipe env` is asked for
    /// credentials.
    pub fn data(&self, text: &str) -> Result<()> {
        self.streams().stdout.text(text)
    }

    /// Prints one JSON document that the user asked for; not masked, like [`Report::data`].
    pub fn document(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Error::bug("a JSON document cannot be written").because(e))?;
        self.streams().stdout.line(&text)
    }

    /// Ends a command: in JSON mode the last line, `{"type":"result","schema":1,…}`, on stdout;
    /// else nothing for success and the error for people on stderr.
    pub fn result(&self, operation: &str, outcome: Result<&impl Serialize, &Error>) -> Result<()> {
        let masked = outcome.map_err(|error| self.mask.error(error));
        match (self.mode.style(), masked) {
            (None, masked) => {
                let (data, error) = (masked.as_ref().ok().copied(), masked.as_ref().err());
                self.result_line(operation, data, error)
            }
            (Some(_), Ok(_)) => Ok(()),
            (Some(style), Err(error)) => self.streams().stderr.text(&error::text(&error, style)),
        }
    }

    /// Ends a command in JSON mode with data and an error both: a report of what failed.
    pub fn result_line(
        &self,
        operation: &str,
        data: Option<&impl Serialize>,
        error: Option<&Error>,
    ) -> Result<()> {
        let error = error.map(|error| self.mask.error(error));
        let line = json::result(&Clock::start().now(), operation, data, error.as_ref())?;
        self.streams().stdout.line(&self.mask.apply(&line))
    }

    /// Prints one line for people outside any plan; nothing in quiet mode unless it is a warning.
    pub fn note(&self, level: Level, message: &str) -> Result<()> {
        let message = self.mask.apply(message).into_owned();
        let event = Event::Note { level, message };
        let now = Clock::start().now();
        let (lines, to_stdout) = match self.mode {
            Mode::Human(style) => (Live::new(style).event(&now, &event), false),
            Mode::Plain(style) => (plain::Plain::new(style).event(&now, &event), false),
            Mode::Quiet(style) => (plain::Quiet::new(style).event(&now, &event), false),
            Mode::Json => (json::Json.event(&now, &event), true),
        };
        let mut streams = self.streams();
        let stream = if to_stdout { &mut streams.stdout } else { &mut streams.stderr };
        lines.iter().try_for_each(|line| stream.line(line))
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        // A panic while printing leaves at worst half a line behind; printing goes on.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::stream::tests::Buffer;

    fn report(mode: Mode, mask: Mask) -> (Report, Buffer, Buffer) {
        let (out, err) = (Buffer::default(), Buffer::default());
        let report = Report::new(mode, mask, Stream::to(out.clone()), Stream::to(err.clone()));
        (report, out, err)
    }

    #[tokio::test]
    async fn json_goes_to_stdout_masked_and_ends_with_the_result() {
        let mask = Mask::default();
        let (report, out, err) = report(Mode::Json, mask.clone());
        let (events, receiver) = Events::channel();
        let printing = report.spawn(receiver);
        mask.add("s3cr3t-word");
        events.warn("the password is s3cr3t-word");
        drop(events);
        printing.await.unwrap().unwrap();
        let error = Error::failed("nope", "cannot use s3cr3t-word");
        report.result("up", Err::<&(), _>(&error)).unwrap();

        let lines: Vec<serde_json::Value> =
            out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["type"], "note");
        assert_eq!(lines[0]["message"], "the password is •••");
        assert_eq!(lines[1]["type"], "result");
        assert_eq!(lines[1]["schema"], 1);
        assert_eq!(lines[1]["ok"], false);
        assert_eq!(lines[1]["exit_code"], 1);
        assert_eq!(lines[1]["error"]["what"], "cannot use •••");
        assert_eq!(err.text(), "");
    }

    #[tokio::test]
    async fn plain_goes_to_stderr_and_errors_are_for_people() {
        let (report, out, err) = report(Mode::Plain(Style::PLAIN), Mask::default());
        let (events, receiver) = Events::channel();
        let printing = report.spawn(receiver);
        events.info("using the built-in cluster dev");
        drop(events);
        printing.await.unwrap().unwrap();
        report.result("up", Err::<&(), _>(&Error::failed("nope", "it broke"))).unwrap();
        assert_eq!(out.text(), "");
        let text = err.text();
        assert!(text.contains(" using the built-in cluster dev\n"), "{text}");
        assert!(text.ends_with("error: it broke [nope]\n"), "{text}");
    }

    #[test]
    fn quiet_prints_warnings_only() {
        let (report, _out, err) = report(Mode::Quiet(Style::PLAIN), Mask::default());
        report.note(Level::Info, "hello").unwrap();
        report.note(Level::Warning, "beware").unwrap();
        assert_eq!(err.text(), "warning: beware\n");
    }
}
