//! Durations and sizes as people read them.

use std::time::Duration;

/// A step's duration: `0.4s`, `3.2s`, `58s`, `1:24`.
pub fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64() {
        short if short < 9.95 => format!("{short:.1}s"),
        medium if medium < 59.5 => format!("{medium:.0}s"),
        _ => clock(duration),
    }
}

/// A running clock: `0:24`, `12:05`, `1:02:03`.
pub fn clock(duration: Duration) -> String {
    let total = duration.as_secs();
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A size in binary units: `512 B`, `12.3 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Precision beyond 2^53 bytes is of no use to a reader.
    let mut value = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `1 step`, `2 steps`.
pub fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_well() {
        let at = |s: f64| seconds(Duration::from_secs_f64(s));
        assert_eq!(
            [at(0.04), at(9.94), at(9.96), at(59.4), at(59.6), at(84.0)].join(" "),
            "0.0s 9.9s 10s 59s 0:59 1:24"
        );
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1024), bytes(1 << 20), bytes(u64::MAX)].join(" "),
            "0 B 1023 B 1.0 KiB 1.0 MiB 16777216.0 TiB"
        );
    }
}
