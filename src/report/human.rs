//! Paints the live view on a terminal; the only file that knows `indicatif`.

use std::fmt;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;

use super::View;
use super::clock::{self, Clock};
use super::event::Event;
use super::live::{Live, Size};
use super::mask::Mask;

/// What to assume where a terminal does not tell its size.
const USUAL_SIZE: Size = Size { columns: 80, rows: 24 };

/// A terminal with lines that scroll up and a frame that is redrawn below them. Dropping it
/// removes the frame.
pub struct Screen {
    frame: ProgressBar,
    size: Box<dyn Fn() -> Size + Send>,
}

impl Screen {
    /// The terminal on stderr.
    pub fn stderr() -> Screen {
        Screen::on(ProgressDrawTarget::stderr(), stderr_size)
    }

    /// Any target; `size` is asked before each drawing, so that a resize is followed.
    pub fn on(target: ProgressDrawTarget, size: impl Fn() -> Size + Send + 'static) -> Screen {
        let style = ProgressStyle::with_template("{msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let frame = ProgressBar::with_draw_target(None, target).with_style(style);
        Screen { frame, size: Box::new(size) }
    }

    /// The terminal's size now.
    pub fn size(&self) -> Size {
        (self.size)()
    }

    /// Scrolls `lines` up and redraws the frame below them.
    pub fn draw(&self, lines: &[String], frame: &[String]) {
        self.frame.set_message(frame.join("\n"));
        if !lines.is_empty() {
            self.frame.println(lines.join("\n"));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.frame.finish_and_clear();
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("size", &self.size()).finish_non_exhaustive()
    }
}

fn stderr_size() -> Size {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
        }
        _ => USUAL_SIZE,
    }
}

/// Shows events until every sender is gone, then removes the frame.
pub async fn run(
    mut live: Live,
    screen: Screen,
    mut events: UnboundedReceiver<Event>,
    mask: &Mask,
) {
    let clock = Clock::start();
    let mut ticks = clock::ticks();
    loop {
        let lines = tokio::select! {
            event = events.recv() => match event {
                Some(event) => live.event(&clock.now(), &mask.event(event)),
                None => return,
            },
            _ = ticks.tick() => Vec::new(),
        };
        screen.draw(&lines, &live.frame(&clock.now(), screen.size()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use indicatif::InMemoryTerm;

    use super::*;
    use crate::report::clock::Now;
    use crate::report::event::tests::script;
    use crate::report::mode::Style;

    const MONO: Style = Style { colour: false, unicode: true };

    fn screen(columns: u16, rows: u16) -> (Screen, InMemoryTerm) {
        let terminal = InMemoryTerm::new(rows, columns);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let size = Size { columns: columns.into(), rows: rows.into() };
        (Screen::on(target, move || size), terminal)
    }

    /// Plays the script up to a moment and shows the terminal then.
    fn play(live: &mut Live, screen: &Screen, until: f64) {
        for (at, event) in script().into_iter().filter(|(at, _)| *at <= until) {
            let now = Now::scripted(at);
            let lines = live.event(&now, &event);
            screen.draw(&lines, &live.frame(&now, screen.size()));
        }
        // The last drawing before a look, as the next tick would do it.
        let frame = live.frame(&Now::scripted(until), screen.size());
        screen.frame.set_message(frame.join("\n"));
        screen.frame.force_draw();
    }

    #[test]
    fn steps_run_below_and_scroll_up_when_finished() {
        let (screen, terminal) = screen(80, 24);
        play(&mut Live::new(MONO), &screen, 3.0);
        insta::assert_snapshot!(terminal.contents(), @"
        up dev: 6 steps
        port 9000 is taken, using 40001
        ⠧ boot node core                2.7s  the API server is starting
        ⠧ import the image nats-2.15.2  2.7s  ━━━━━━━━━─── 4.3 MiB of 5.7 MiB
        up dev  2/6 · 0:03
        ");
    }

    #[test]
    fn undo_takes_the_footer() {
        let (screen, terminal) = screen(80, 24);
        play(&mut Live::new(MONO), &screen, 76.0);
        insta::assert_snapshot!(terminal.contents(), @"
        up dev: 6 steps
        port 9000 is taken, using 40001
        ✓ 2 quick steps
        ✓ import the image nats-2.15.2  3.9s
        ✓ boot node core  14s
        ✗ join node edge  1:01
          node edge never became ready
        ↩ undoing 2 steps: node edge never became ready
        ↩ undone: boot node core
        up dev  undoing 1/2 · 1:16
        ");
    }

    #[test]
    fn nothing_of_the_frame_is_left_at_the_end() {
        let (screen, terminal) = screen(80, 24);
        play(&mut Live::new(MONO), &screen, 80.0);
        drop(screen);
        insta::assert_snapshot!(terminal.contents(), @"
        up dev: 6 steps
        port 9000 is taken, using 40001
        ✓ 2 quick steps
        ✓ import the image nats-2.15.2  3.9s
        ✓ boot node core  14s
        ✗ join node edge  1:01
          node edge never became ready
        ↩ undoing 2 steps: node edge never became ready
        ↩ undone: boot node core
        ✗ not undone: make the network: the network is in use
        warning: the network kind was left
        ✗ up dev: 4 of 6 steps in 1:16
        ");
    }

    #[test]
    fn a_resize_is_followed() {
        let columns = Arc::new(AtomicUsize::new(80));
        let shared = Arc::clone(&columns);
        let size = move || Size { columns: shared.load(Ordering::Relaxed), rows: 24 };
        let terminal = InMemoryTerm::new(24, 80);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let screen = Screen::on(target, size);
        let mut live = Live::new(MONO);
        play(&mut live, &screen, 3.0);
        columns.store(30, Ordering::Relaxed);
        screen.draw(&["narrow now".into()], &live.frame(&Now::scripted(3.0), screen.size()));
        let widest = terminal.contents().lines().skip(3).map(|l| l.chars().count()).max();
        assert!(widest < Some(30), "{}", terminal.contents());
    }

    #[tokio::test]
    async fn the_stream_is_drained_before_the_end() {
        let (screen, terminal) = screen(80, 24);
        let mask = Mask::default();
        mask.add("is taken");
        let (events, receiver) = crate::report::Events::channel();
        script().into_iter().for_each(|(_, event)| events.send(event));
        drop(events);
        run(Live::new(MONO), screen, receiver, &mask).await;
        let text = terminal.contents();
        assert!(text.contains("port 9000 •••, using 40001"), "{text}");
        assert!(text.ends_with("✗ up dev: 4 of 6 steps in 1:16"), "{text}");
    }
}
