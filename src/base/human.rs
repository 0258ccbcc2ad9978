//! Durations, numbers and times in text and reports.

use crate::base::error::Result;
use jiff::{SignedDuration, Timestamp};
use serde::Serializer;
use std::time::Duration;

/// Formats a duration in seconds: `7.5 s`, `12 min 03 s`, `2 h 05 min`.
pub(crate) fn format_seconds(s: f64) -> String {
    match s {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!(
            "{:.0} h {:02.0} min",
            (s / 3600.0).floor(),
            (s % 3600.0 / 60.0).floor()
        ),
    }
}

/// Formats a number: whole and grouped, except fractions below 100.
pub(crate) fn format_number(x: f64) -> String {
    if x < 100.0 && x.fract() > 0.0 {
        format!("{x:.1}")
    } else {
        // A float of any size converts to a u64: the cast saturates.
        indicatif::HumanCount(x.round() as u64).to_string()
    }
}

pub(crate) fn rounded<S: Serializer>(x: f64, per: f64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64((x * per).round() / per)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) fn tenths<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
    rounded(*x, 10.0, s)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) fn thousandths<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
    rounded(*x, 1000.0, s)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) fn ten_thousandths<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
    rounded(*x, 10_000.0, s)
}

pub(crate) fn to_the_second<S: Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&at.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

/// Parses a duration: `30`, `30s`, `15m`, `2h`, `1h30m`. A bare number is in seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = match text.parse() {
        Ok(seconds) => Some(seconds),
        Err(_) => text.parse::<SignedDuration>().ok().map(|d| d.as_secs_f64()),
    };
    seconds
        .filter(|s| (0.001..=1e9).contains(s))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("expected a time above 0 such as 30s, 15m or 2h, got {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        for (text, ms) in [
            ("30", 30_000),
            ("0.5s", 500),
            ("200ms", 200),
            ("15m", 900_000),
            ("2h", 7_200_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for bad in ["", "0", "-1", "s", "5d", "1e99", "NaN"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
