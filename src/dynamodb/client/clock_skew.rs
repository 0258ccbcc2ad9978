//! Clock skew of this machine, measured from the service's responses.
//!
//! The rules are the SDK's: each response's `Date` is compared with the middle of its round
//! trip. A call that fails for its time is retried, signed with the corrected time.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// A round trip beyond this says nothing.
/// Source: `aws_runtime::service_clock_skew`.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(15 * 60);

/// The skew that was last seen.
#[derive(Debug, Default)]
pub(super) struct SkewCorrectedClock {
    /// Milliseconds that the service is ahead.
    skew_seconds: AtomicI64,
    /// Nothing is corrected: so the configuration says.
    disabled: bool,
}

impl SkewCorrectedClock {
    pub(super) fn new(disabled: bool) -> Self {
        SkewCorrectedClock {
            skew_seconds: AtomicI64::new(0),
            disabled,
        }
    }

    /// `now` as the service has it.
    pub(super) fn corrected(&self, now: SystemTime) -> SystemTime {
        let ahead = self.skew_seconds.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead.unsigned_abs());
        let corrected = match ahead < 0 {
            true => now.checked_sub(by),
            false => now.checked_add(by),
        };
        corrected.unwrap_or(now)
    }

    /// Learns from an answer: its `Date`, whether a cache gave it, and when the call
    /// was `sent` and the answer `received`.
    pub(super) fn record_response(
        &self,
        date: Option<&str>,
        cached: bool,
        sent: SystemTime,
        received: SystemTime,
    ) {
        let round_trip = received.duration_since(sent).unwrap_or_default();
        if self.disabled || cached || round_trip > MAX_ROUND_TRIP {
            return;
        }
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let Some(server) = date.and_then(|date| SystemTime::try_from(date).ok()) else {
            return;
        };
        let middle = sent + round_trip / 2;
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let ahead = match server.duration_since(middle) {
            Ok(ahead) => millis(ahead),
            Err(behind) => -millis(behind.duration()),
        };
        self.skew_seconds.store(ahead, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-24T10:15:00Z.
    const NOON: &str = "Tue, 24 Nov 2026 10:15:00 GMT";

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_515_300)
    }

    #[test]
    fn a_clock_that_is_off_is_corrected_by_the_answers() {
        const HOUR: Duration = Duration::from_secs(3600);
        let second = Duration::from_secs(1);
        let clock = SkewCorrectedClock::default();
        let (early, late) = (noon() - HOUR, noon() + HOUR);
        assert_eq!(clock.corrected(early), early);
        // The answer comes two seconds later: it was made in the middle.
        clock.record_response(Some(NOON), false, early, early + 2 * second);
        assert_eq!(clock.corrected(early + second), noon());
        clock.record_response(Some(NOON), false, late, late + 2 * second);
        assert_eq!(clock.corrected(late + second), noon());
        clock.record_response(Some(NOON), false, noon(), noon());
        assert_eq!(
            clock.corrected(early),
            early,
            "a clock that is set is believed"
        );
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        let clock = SkewCorrectedClock::default();
        let off = noon() - Duration::from_secs(3600);
        clock.record_response(None, false, off, off);
        clock.record_response(Some("yesterday"), false, off, off);
        clock.record_response(Some(NOON), true, off, off);
        clock.record_response(Some(NOON), false, off, off + 2 * MAX_ROUND_TRIP);
        assert_eq!(clock.corrected(off), off);
        let disabled = SkewCorrectedClock::new(true);
        disabled.record_response(Some(NOON), false, off, off);
        assert_eq!(disabled.corrected(off), off);
    }
}
