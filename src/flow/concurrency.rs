//! How many calls may be in flight.
//!
//! A call takes as long as the way to DynamoDB and back, whatever it carries, so
//! what a run can send in a second is the calls in flight divided by that latency
//! (Little's law). [`Concurrency::Auto`] turns it round: from the rate and the
//! [`Latency`] that the run observes, the calls that are needed. It is a bound and
//! no aim where there is a rate, since calls begin when the token bucket lets them.
//! Without a rate, more calls than the latency asks for would only queue up at the
//! server and grow the latency that is observed; hence the least one counts there,
//! which no queue of our own can lengthen.

use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// How many calls may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Concurrency {
    /// As many as the rate and the latency need.
    #[default]
    Auto,
    /// So many.
    Calls(usize),
}

/// The most calls in flight that can be asked for. Each is a connection of its
/// own and a body of some kilobytes.
pub(crate) const MAX_CONCURRENCY: usize = 1024;

/// The most that are chosen by themselves: 40,000 units a second in batches of 25
/// at 80 ms, in some 10 MB.
pub(crate) const MAX_AUTO_CONCURRENCY: usize = 256;

/// The least that a rate is given.
const LEAST_CALLS: usize = 4;

/// The least without a rate: enough for 5 ms at 100,000 items a second, which is
/// what a near server shows before its latency is known.
const LEAST_UNLIMITED: usize = 32;

/// Capacity units a second that a run without a rate is prepared for: 100,000 items of
/// up to 1 KB. Of larger ones fewer, whose calls are larger, too.
const UNLIMITED_UNITS_PER_S: f64 = 100_000.0;

/// The latency that a rate is prepared for at least, in seconds: several times what
/// DynamoDB usually takes, so that a slow spell does not lower the rate.
const LEAST_LATENCY: f64 = 0.080;

/// How far above the mean calls may be without the rate suffering. More would be sent
/// at once after a standstill of the network, and refused.
const SPREAD_OF_MEAN: f64 = 2.0;

/// What the mean is to the least latency: DynamoDB's usual call takes about twice
/// as long as its quickest.
const SPREAD_OF_LEAST: f64 = 2.0;

/// The part of a new call in the mean.
const WEIGHT: f64 = 1.0 / 16.0;

/// What answered calls have taken, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency(Option<Observed>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Observed {
    least: f64,
    mean: f64,
}

impl Latency {
    /// Nothing was observed yet.
    pub const UNKNOWN: Latency = Latency(None);

    /// A call was answered after so long.
    pub fn observe(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.0 = Some(match self.0 {
            None => Observed {
                least: took,
                mean: took,
            },
            Some(Observed { least, mean }) => Observed {
                least: least.min(took),
                mean: mean + (took - mean) * WEIGHT,
            },
        });
    }
}

/// The bound of one run, which observes its calls.
#[derive(Debug)]
pub(crate) struct Bound {
    concurrency: Concurrency,
    latency: Latency,
    /// When the first answer was there.
    warm: Option<Instant>,
}

impl Bound {
    /// Of a run whose latency is not known yet.
    pub(crate) fn new(concurrency: Concurrency) -> Self {
        Bound {
            concurrency,
            latency: Latency::UNKNOWN,
            warm: None,
        }
    }

    /// Calls in flight, at most: see [`Concurrency::calls`].
    pub(crate) fn calls(&self, rate: Option<f64>, batch_units: f64) -> usize {
        self.concurrency.calls(rate, batch_units, self.latency)
    }

    /// A call that was `begun` then has done something by `now`. One that was refused
    /// says nothing of the latency, and neither does one that was begun before the
    /// first answer: it has loaded credentials and made its connection.
    pub(crate) fn took(&mut self, begun: Instant, now: Instant) {
        if begun >= *self.warm.get_or_insert(now) {
            self.latency.observe(now - begun);
        }
    }
}

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Concurrency::Auto);
        }
        text.parse()
            .ok()
            .filter(|n| (1..=MAX_CONCURRENCY).contains(n))
            .map(Concurrency::Calls)
            .ok_or_else(|| {
                format!("expected auto or a number from 1 to {MAX_CONCURRENCY}, got {text:?}")
            })
    }
}

impl Concurrency {
    /// What is said of it at the beginning of a run, when the latency is not known yet.
    pub fn said(self, rate: Option<f64>, batch_units: f64) -> String {
        let calls = self.calls(rate, batch_units, Latency::UNKNOWN);
        match self {
            Concurrency::Auto if calls < MAX_AUTO_CONCURRENCY => {
                format!("up to {calls} calls in flight, {MAX_AUTO_CONCURRENCY} if they are slow")
            }
            _ => format!("up to {calls} calls in flight"),
        }
    }

    /// Calls in flight, at most, for `rate` capacity units a second (nothing: as fast
    /// as can be), a batch costing `batch_units`, at the `latency` observed.
    pub fn calls(self, rate: Option<f64>, batch_units: f64, latency: Latency) -> usize {
        let observed = latency.0;
        let batch_units = batch_units.max(1.0);
        let (needed, least) = match (self, rate) {
            (Concurrency::Calls(n), _) => return n.max(1),
            (Concurrency::Auto, None) => {
                let latency = observed.map_or(0.0, |o| o.least * SPREAD_OF_LEAST);
                (
                    UNLIMITED_UNITS_PER_S / batch_units * latency,
                    LEAST_UNLIMITED,
                )
            }
            (Concurrency::Auto, Some(rate)) => {
                let latency = observed.map_or(0.0, |o| o.mean * SPREAD_OF_MEAN);
                let latency = latency.max(LEAST_LATENCY);
                (rate / batch_units * latency, LEAST_CALLS)
            }
        };
        // Saturates: a float of any size becomes a usize.
        (needed.ceil() as usize).clamp(least, MAX_AUTO_CONCURRENCY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn always(took: Duration) -> Latency {
        let mut latency = Latency::UNKNOWN;
        latency.observe(took);
        latency
    }

    #[test]
    fn it_follows_the_rate_within_bounds() {
        let auto = |rate| Concurrency::Auto.calls(rate, 25.0, Latency::UNKNOWN);
        assert_eq!(auto(Some(5.0)), 4);
        assert_eq!(auto(Some(10_000.0)), 32);
        assert_eq!(auto(Some(40_000.0)), 128);
        assert_eq!(auto(Some(1e300)), 256);
        assert_eq!(auto(None), 32);
        assert_eq!(
            "7".parse::<Concurrency>()
                .map(|c| c.calls(None, 25.0, always(MS))),
            Ok(7)
        );
        for bad in ["0", "-1", "x", "1025", ""] {
            assert!(bad.parse::<Concurrency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn it_hides_the_latency() {
        let of = |rate, took| Concurrency::Auto.calls(rate, 25.0, always(took));
        // By Little's law 40,000 items a second need 10 calls at 6.25 ms, and 80 at 50 ms.
        assert_eq!(of(Some(40_000.0), 5 * MS), 128);
        assert_eq!(of(Some(40_000.0), 50 * MS), 160);
        assert_eq!(of(Some(10_000.0), 50 * MS), 40);
        assert_eq!(of(None, MS / 10), 32);
        assert_eq!(of(None, 5 * MS), 40);
        assert_eq!(of(None, 25 * MS), 200);
        assert_eq!(of(None, 50 * MS), 256);
        // Calls of a hundred units: a quarter of them, and no fewer than ever.
        let heavy = Concurrency::Auto.calls(None, 100.0, always(25 * MS));
        assert_eq!(heavy, 50);
        assert_eq!(Concurrency::Auto.calls(None, 1e9, always(25 * MS)), 32);
    }

    #[test]
    fn without_a_rate_a_queue_of_our_own_does_not_feed_itself() {
        let mut latency = always(2 * MS);
        for _ in 0..1000 {
            latency.observe(100 * MS);
        }
        assert_eq!(Concurrency::Auto.calls(None, 25.0, latency), 32);
        // With a rate the token bucket bounds it.
        assert_eq!(Concurrency::Auto.calls(Some(5_000.0), 25.0, latency), 40);
    }

    #[test]
    fn one_slow_call_moves_the_mean_by_its_part() {
        let mut latency = always(10 * MS);
        latency.observe(970 * MS);
        // 10 + 960 / 16 = 70 ms, of which twice are 140.
        assert_eq!(Concurrency::Auto.calls(Some(10_000.0), 25.0, latency), 56);
    }

    #[test]
    fn what_was_begun_before_the_first_answer_says_nothing() {
        let begun = Instant::now();
        let mut bound = Bound::new(Concurrency::Auto);
        for cold in [300, 310, 320] {
            bound.took(begun, begun + cold * MS);
        }
        assert_eq!(bound.calls(None, 25.0), 32);
        bound.took(begun + 300 * MS, begun + 325 * MS);
        assert_eq!(bound.calls(None, 25.0), 200);
    }
}
