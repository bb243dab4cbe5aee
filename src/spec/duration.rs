//! Deadlines as people write them: `90s`, `3m`, `1h30m`.

use std::time::Duration;

/// Longest deadline; a longer one is a slip of the pen.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses hours, minutes and seconds, in this order, each at most once.
pub fn parse(text: &str) -> Result<Duration, String> {
    let not_one = || format!("{text:?} is not a length of time");
    let mut rest = text;
    let mut seconds: u64 = 0;
    for (unit, factor) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit()) {
            return Err(not_one());
        }
        let number: u64 = number.parse().map_err(|_| not_one())?;
        seconds = number
            .checked_mul(factor)
            .and_then(|more| seconds.checked_add(more))
            .ok_or_else(not_one)?;
        rest = after;
    }
    match Duration::from_secs(seconds) {
        _ if !rest.is_empty() => Err(not_one()),
        Duration::ZERO => Err(format!("{text:?} is no time at all")),
        duration if duration > LONGEST => Err(format!("{text:?} is longer than a day")),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_people_write() {
        for (text, seconds) in [("90s", 90), ("3m", 180), ("1h30m", 5400), ("1m05s", 65)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "3",
            "m",
            "3 m",
            "-3m",
            "3s2m",
            "0s",
            "25h",
            "1.5m",
            "99999999999999999999h",
            "3ms",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
