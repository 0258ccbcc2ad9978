//! What the next call may be while a table accepts nothing.
//!
//! A full call costs 25 units and more. At the rate that refusals lead to, one would
//! leave every half a minute, and a table that accepts again would be left alone
//! meanwhile. So a table that has refused every call for [`PATIENCE`] is probed: a
//! call of one item or key leaves every [`INTERVAL`], and neither the token bucket
//! nor a back-off delays it. The first acceptance ends that.
//!
//! Pure: instants are arguments.

use std::time::Duration;
use tokio::time::Instant;

/// How long every call is refused before the table is probed. DynamoDB refills its
/// buckets every second: nothing may be accepted for most of one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The time from one probe to the next.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// What the next call may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// As large as it can be, once it is paid for. Another look is due at the
    /// instant, where there is one.
    Full(Option<Instant>),
    /// One item or key, without paying, from this instant on.
    Probe(Instant),
}

impl Turn {
    /// Whether the call is a probe: one item or key, whatever that waits for.
    pub(crate) fn is_probe(self) -> bool {
        matches!(self, Turn::Probe(_))
    }

    /// Whether a call may leave at `now`.
    pub(crate) fn is_due(self, now: Instant) -> bool {
        match self {
            Turn::Full(_) => true,
            Turn::Probe(at) => at <= now,
        }
    }

    /// When the next look is due, if that is after `now`.
    pub(crate) fn wake(self, now: Instant) -> Option<Instant> {
        let at = match self {
            Turn::Full(at) => at,
            Turn::Probe(at) => Some(at),
        };
        at.filter(|at| *at > now)
    }
}

/// Whether anything is accepted. See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Probe {
    /// Since when calls have been refused and none accepted.
    refused: Option<Instant>,
    /// When the next probe is due; nothing while calls are full.
    due: Option<Instant>,
    /// Probes sent since the last acceptance.
    sent: u32,
}

impl Probe {
    /// A call was refused, all of it or in part. Says whether it is the first since
    /// one was accepted.
    pub(crate) fn refused(&mut self, now: Instant) -> bool {
        let first = self.refused.is_none();
        self.refused.get_or_insert(now);
        first
    }

    /// A call was accepted, all of it or in part. Says how many probes it took;
    /// nothing when there was no need of one.
    pub(crate) fn accepted(&mut self) -> Option<u32> {
        self.refused.take()?;
        let sent = std::mem::take(&mut self.sent);
        self.due.take().map(|_| sent)
    }

    /// Whether probing begins at `now`.
    pub(crate) fn begins(&mut self, now: Instant) -> bool {
        let begins = self.due.is_none() && self.refused.is_some_and(|at| at + PATIENCE <= now);
        if begins {
            self.due = Some(now);
        }
        begins
    }

    /// What the next call may be.
    pub(crate) fn turn(&self) -> Turn {
        match self.due {
            Some(at) => Turn::Probe(at),
            None => Turn::Full(self.refused.map(|at| at + PATIENCE)),
        }
    }

    /// A probe leaves at `now`. Says how many have, since the last acceptance.
    pub(crate) fn sent(&mut self, now: Instant) -> u32 {
        self.sent = self.sent.saturating_add(1);
        self.due = Some(now + INTERVAL);
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_second_of_refusals_leads_to_a_probe_every_half_a_second() {
        let start = Instant::now();
        let mut probe = Probe::default();
        assert_eq!(probe.turn(), Turn::Full(None));
        assert!(probe.refused(start), "the first");
        assert!(!probe.refused(start + 900 * MS));
        assert_eq!(probe.turn(), Turn::Full(Some(start + PATIENCE)));
        assert!(!probe.begins(start + 999 * MS));
        let down = start + PATIENCE;
        assert!(probe.begins(down), "without another refusal");
        assert!(!probe.begins(down), "once");
        for n in 0..10 {
            let at = down + n * INTERVAL;
            assert_eq!(probe.turn(), Turn::Probe(at));
            assert!(probe.turn().is_due(at) && !probe.turn().is_due(at - MS));
            assert_eq!(probe.turn().wake(at), None);
            assert_eq!(probe.turn().wake(at - MS), Some(at));
            assert_eq!(probe.sent(at), n + 1);
            assert!(!probe.refused(at + 5 * MS));
        }
        assert_eq!(probe.accepted(), Some(10));
        assert_eq!(probe.turn(), Turn::Full(None));
    }

    #[test]
    fn an_acceptance_in_between_keeps_calls_full() {
        let start = Instant::now();
        let mut probe = Probe::default();
        assert_eq!(probe.accepted(), None);
        for n in 0..100 {
            let at = start + n * 100 * MS;
            assert_eq!(probe.refused(at), n % 9 == 0);
            assert!(!probe.begins(at));
            assert!(!probe.turn().is_probe());
            if n % 9 == 8 {
                assert_eq!(probe.accepted(), None);
            }
        }
    }
}
