//! Probing: the size of the next call while a table throttles every call.
//!
//! A full call costs at least 25 units. At the rate that throttling leads to, one would
//! start every 30 s, and a table that has recovered would idle. So a table that has
//! throttled every call for [`PROBE_AFTER`] is probed. A call of one item or key starts
//! every [`PROBE_INTERVAL`], and neither the token bucket nor a back-off delays it. The first
//! success ends the probing.
//!
//! Pure: instants are arguments.

use std::time::Duration;
use tokio::time::Instant;

/// Time of constant throttling before probing starts. DynamoDB refills its buckets
/// every second, so it may throttle everything for almost a second.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(1);

/// Time between two probes.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// Size and time of the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextCall {
    /// A full call, after its units are taken. Check again at the instant, if there is
    /// one.
    Full(Option<Instant>),
    /// One item or key without taking units, from this instant on.
    Probe(Instant),
}

impl NextCall {
    /// True if the call is a probe: one item or key, even if it is in back-off.
    pub(crate) fn is_probe(self) -> bool {
        matches!(self, NextCall::Probe(_))
    }

    /// True if a call may start at `now`.
    pub(crate) fn is_due(self, now: Instant) -> bool {
        match self {
            NextCall::Full(_) => true,
            NextCall::Probe(at) => at <= now,
        }
    }

    /// Time of the next check, if it is after `now`.
    pub(crate) fn next_check(self, now: Instant) -> Option<Instant> {
        let at = match self {
            NextCall::Full(at) => at,
            NextCall::Probe(at) => Some(at),
        };
        at.filter(|at| *at > now)
    }
}

/// State of probing. See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Probe {
    /// Start of the throttling without a success; `None` if the last call succeeded.
    throttled_since: Option<Instant>,
    /// Time of the next probe; `None` if calls are full.
    due: Option<Instant>,
    /// Probes sent since the last success.
    sent: u32,
}

impl Probe {
    /// Records a call that was throttled at least in part. Returns true if it is the
    /// first since a success.
    pub(crate) fn record_throttled(&mut self, now: Instant) -> bool {
        let first = self.throttled_since.is_none();
        self.throttled_since.get_or_insert(now);
        first
    }

    /// Records a call that succeeded at least in part. Returns the number of probes
    /// sent; `None` if there was no probing.
    pub(crate) fn record_success(&mut self) -> Option<u32> {
        self.throttled_since.take()?;
        let sent = std::mem::take(&mut self.sent);
        self.due.take().map(|_| sent)
    }

    /// Starts probing if it is due at `now`. Returns true if it started.
    pub(crate) fn start_if_due(&mut self, now: Instant) -> bool {
        let begins = self.due.is_none()
            && self
                .throttled_since
                .is_some_and(|at| at + PROBE_AFTER <= now);
        if begins {
            self.due = Some(now);
        }
        begins
    }

    /// Size and time of the next call.
    pub(crate) fn next_call(&self) -> NextCall {
        match self.due {
            Some(at) => NextCall::Probe(at),
            None => NextCall::Full(self.throttled_since.map(|at| at + PROBE_AFTER)),
        }
    }

    /// Records a probe sent at `now`. Returns the number of probes since the last
    /// success.
    pub(crate) fn record_sent(&mut self, now: Instant) -> u32 {
        self.sent = self.sent.saturating_add(1);
        self.due = Some(now + PROBE_INTERVAL);
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_second_of_throttling_starts_a_probe_every_half_second() {
        let start = Instant::now();
        let mut probe = Probe::default();
        assert_eq!(probe.next_call(), NextCall::Full(None));
        assert!(probe.record_throttled(start), "the first");
        assert!(!probe.record_throttled(start + 900 * MS));
        assert_eq!(probe.next_call(), NextCall::Full(Some(start + PROBE_AFTER)));
        assert!(!probe.start_if_due(start + 999 * MS));
        let down = start + PROBE_AFTER;
        assert!(probe.start_if_due(down), "without another throttled call");
        assert!(!probe.start_if_due(down), "once");
        for n in 0..10 {
            let at = down + n * PROBE_INTERVAL;
            assert_eq!(probe.next_call(), NextCall::Probe(at));
            assert!(probe.next_call().is_due(at) && !probe.next_call().is_due(at - MS));
            assert_eq!(probe.next_call().next_check(at), None);
            assert_eq!(probe.next_call().next_check(at - MS), Some(at));
            assert_eq!(probe.record_sent(at), n + 1);
            assert!(!probe.record_throttled(at + 5 * MS));
        }
        assert_eq!(probe.record_success(), Some(10));
        assert_eq!(probe.next_call(), NextCall::Full(None));
    }

    #[test]
    fn occasional_success_keeps_calls_full() {
        let start = Instant::now();
        let mut probe = Probe::default();
        assert_eq!(probe.record_success(), None);
        for n in 0..100 {
            let at = start + n * 100 * MS;
            assert_eq!(probe.record_throttled(at), n % 9 == 0);
            assert!(!probe.start_if_due(at));
            assert!(!probe.next_call().is_probe());
            if n % 9 == 8 {
                assert_eq!(probe.record_success(), None);
            }
        }
    }
}
