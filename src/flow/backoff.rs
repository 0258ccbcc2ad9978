//! Back-off: the wait before a retry.
//!
//! Exponential with *full jitter*: the wait before attempt n is uniformly random
//! between zero and `base · 2ⁿ⁻¹`, at most `cap`. So clients that were throttled
//! together do not return together. The random generator is injected, which makes tests
//! deterministic.

use std::time::Duration;

/// Base of the back-off. The AWS SDKs use 25–50 ms for DynamoDB (their retry
/// specification 2.1) and 1 s for other services. DynamoDB refills its buckets every
/// second, and the token bucket limits retries, too.
pub(crate) const BASE: Duration = Duration::from_millis(50);

/// Maximum wait: the AWS SDKs' standard.
pub(crate) const CAP: Duration = Duration::from_secs(20);

/// Generator of waits between attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// Creates the back-off with [`BASE`], [`CAP`] and `random`.
    pub(crate) fn new(random: fastrand::Rng) -> Self {
        Backoff {
            base: BASE,
            cap: CAP,
            random,
        }
    }

    /// Sets the maximum wait. Only requests to the API have one below [`CAP`].
    #[cfg(feature = "serve")]
    #[must_use]
    pub(crate) fn with_cap(self, cap: Duration) -> Self {
        Backoff { cap, ..self }
    }

    /// An independent generator of the same waits.
    pub(crate) fn fork(&mut self) -> Self {
        Backoff {
            random: self.random.fork(),
            ..*self
        }
    }

    /// The maximum wait before attempt `attempt` (from 1).
    pub(crate) fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// A random wait before attempt `attempt` (from 1).
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
