//! How long to wait before a call is sent again.
//!
//! Exponential with *full jitter*: the wait before the n-th try is drawn evenly
//! from nothing to `base · 2ⁿ⁻¹`, never more than `cap`. Clients that were
//! refused together must not come back together. Chance is injected, so that a
//! test can say exactly what happens.

use std::time::Duration;

/// First step of the back-off. The AWS SDKs' own base is 25–50 ms for DynamoDB
/// (their retry specification 2.1), 1 s for other services: DynamoDB refills
/// its buckets every second, and the token bucket paces the retry besides.
pub(crate) const BASE: Duration = Duration::from_millis(50);

/// Longest wait of the back-off: the AWS SDKs' standard maximum.
pub(crate) const CAP: Duration = Duration::from_secs(20);

/// Waits between tries.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// The back-off of this program, with chance from `random`.
    pub(crate) fn new(random: fastrand::Rng) -> Self {
        Backoff {
            base: BASE,
            cap: CAP,
            random,
        }
    }

    /// The longest that the wait before try `attempt` (from 1) can be.
    pub(crate) fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// The wait before try `attempt` (from 1).
    pub(crate) fn wait(&mut self, attempt: u32) -> Duration {
        self.ceiling(attempt).mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let backoff = Backoff::new(fastrand::Rng::with_seed(1));
        let ms: Vec<_> = (1..=11).map(|n| backoff.ceiling(n).as_millis()).collect();
        assert_eq!(
            ms,
            [
                50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 20000, 20000
            ]
        );
        assert_eq!(backoff.ceiling(u32::MAX), CAP);
    }

    #[test]
    fn waits_fill_the_whole_range_below_the_ceiling() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(7));
        let waits: Vec<_> = (0..1000).map(|_| backoff.wait(4)).collect();
        let ceiling = backoff.ceiling(4);
        assert!(waits.iter().all(|w| *w <= ceiling));
        for tenth in 0..10 {
            let (low, high) = (ceiling * tenth / 10, ceiling * (tenth + 1) / 10);
            assert!(
                waits.iter().any(|w| *w >= low && *w < high),
                "nothing in tenth {tenth}"
            );
        }
    }
}
