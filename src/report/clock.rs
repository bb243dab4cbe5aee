//! Time as the views see it: handed in, so that tests can script it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How often views are asked for what became due.
const TICK: Duration = Duration::from_millis(100);

/// One moment, in both of the senses that a view needs.
#[derive(Clone, Debug)]
pub struct Now {
    /// Wall-clock time.
    pub at: Timestamp,
    /// Where the user's wall clock hangs.
    pub zone: TimeZone,
    /// Monotonic time since the view started.
    pub elapsed: Duration,
}

impl Now {
    /// Local time of day: `09:12:03`.
    pub fn time_of_day(&self) -> String {
        self.at.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    /// RFC 3339 in UTC with milliseconds: `2026-11-21T09:12:03.120Z`.
    pub fn rfc3339(&self) -> String {
        self.at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }
}

/// The real clock.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    zone: TimeZone,
}

impl Clock {
    /// A clock that reads zero now.
    pub fn start() -> Clock {
        Clock { started: Instant::now(), zone: TimeZone::system() }
    }

    /// This moment.
    pub fn now(&self) -> Now {
        Now { at: Timestamp::now(), zone: self.zone.clone(), elapsed: self.started.elapsed() }
    }
}

/// The heartbeat of a view; ticks that were missed are not made up for.
pub fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    ticks
}

#[cfg(test)]
impl Now {
    /// `seconds` after 09:12:00 UTC on a fixed day.
    pub fn scripted(seconds: f64) -> Now {
        let elapsed = Duration::from_secs_f64(seconds);
        let start: Timestamp = "2026-11-21T09:12:00Z".parse().unwrap();
        Now { at: start + elapsed, zone: TimeZone::UTC, elapsed }
    }
}
