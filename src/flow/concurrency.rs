//! Maximum number of calls in flight.
//!
//! A call's latency is mostly the round trip, and hardly depends on its size. The calls
//! per second are the calls in flight divided by the latency (Little's law).
//! [`Concurrency::Auto`] inverts that: it calculates the calls in flight from the rate
//! and the observed [`Latency`]. With a rate this is an upper limit, because the token
//! bucket decides when calls start. Without a rate, too many calls would queue at the
//! server and inflate the observed latency. So the minimum latency is used, which our
//! own queueing cannot inflate.

use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of calls in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Concurrency {
    /// Calculated from the rate and the latency.
    #[default]
    Auto,
    /// A fixed number.
    Calls(usize),
}

/// Maximum of `--concurrency`. Each call needs a connection and a body of some
/// kilobytes.
pub(crate) const MAX_CONCURRENCY: usize = 1024;

/// Maximum of [`Concurrency::Auto`]: 40,000 units/s in batches of 25 at 80 ms, in about
/// 10 MB.
pub(crate) const MAX_AUTO_CONCURRENCY: usize = 256;

/// Minimum number of calls with a rate.
const MIN_CALLS: usize = 4;

/// Minimum number of calls without a rate: enough for 100,000 items/s at 5 ms, the
/// latency of a near server.
const MIN_CALLS_UNLIMITED: usize = 32;

/// Assumed rate of a run without one, in capacity units per second: 100,000 items of up
/// to 1 KB. Larger items need fewer calls, because each call is larger.
const UNLIMITED_UNITS_PER_S: f64 = 100_000.0;

/// Minimum latency assumed with a rate, in seconds. It is several times DynamoDB's
/// usual latency, so that a slow period does not lower the rate.
const MIN_LATENCY: f64 = 0.080;

/// Factor on the mean latency that still sustains the rate. A larger one would send a
/// burst after a network outage, which DynamoDB would throttle.
const MEAN_LATENCY_FACTOR: f64 = 2.0;

/// Factor from the minimum to the mean latency: DynamoDB's usual call takes about twice
/// as long as its fastest.
const MIN_LATENCY_FACTOR: f64 = 2.0;

/// Weight of a new call in the moving mean.
const MEAN_WEIGHT: f64 = 1.0 / 16.0;

/// Latency of answered calls, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency(Option<Observed>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Observed {
    min: f64,
    mean: f64,
}

impl Latency {
    /// No observation yet.
    pub const UNKNOWN: Latency = Latency(None);

    /// Adds the latency of an answered call.
    pub fn observe(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.0 = Some(match self.0 {
            None => Observed {
                min: took,
                mean: took,
            },
            Some(Observed { min: least, mean }) => Observed {
                min: least.min(took),
                mean: mean + (took - mean) * MEAN_WEIGHT,
            },
        });
    }
}

/// The concurrency limit of one run, which observes the latency of its calls.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    concurrency: Concurrency,
    latency: Latency,
    /// Time of the first response.
    first_response: Option<Instant>,
}

impl ConcurrencyLimit {
    /// Creates a limit for a run of unknown latency.
    pub(crate) fn new(concurrency: Concurrency) -> Self {
        ConcurrencyLimit {
            concurrency,
            latency: Latency::UNKNOWN,
            first_response: None,
        }
    }

    /// The maximum number of calls in flight. See [`Concurrency::calls`].
    pub(crate) fn calls(&self, rate: Option<f64>, batch_units: f64) -> usize {
        self.concurrency.calls(rate, batch_units, self.latency)
    }

    /// Observes a call that started at `begun` and succeeded at `now`. Throttled calls
    /// say nothing about latency. Neither do calls that started before the first
    /// response, because they loaded credentials and opened connections.
    pub(crate) fn observe(&mut self, begun: Instant, now: Instant) {
        if begun >= *self.first_response.get_or_insert(now) {
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
    /// Describes the limit at the start of a run, when the latency is unknown.
    pub fn describe(self, rate: Option<f64>, batch_units: f64) -> String {
        let calls = self.calls(rate, batch_units, Latency::UNKNOWN);
        match self {
            Concurrency::Auto if calls < MAX_AUTO_CONCURRENCY => {
                format!("up to {calls} calls in flight, {MAX_AUTO_CONCURRENCY} if they are slow")
            }
            _ => format!("up to {calls} calls in flight"),
        }
    }

    /// The maximum number of calls in flight. `rate` is in capacity units per second
    /// (`None` for no limit), `batch_units` the cost of a batch, `latency` the observed
    /// latency.
    pub fn calls(self, rate: Option<f64>, batch_units: f64, latency: Latency) -> usize {
        let observed = latency.0;
        let batch_units = batch_units.max(1.0);
        let (needed, minimum) = match (self, rate) {
            (Concurrency::Calls(n), _) => return n.max(1),
            (Concurrency::Auto, None) => {
                let latency = observed.map_or(0.0, |o| o.min * MIN_LATENCY_FACTOR);
                (
                    UNLIMITED_UNITS_PER_S / batch_units * latency,
                    MIN_CALLS_UNLIMITED,
                )
            }
            (Concurrency::Auto, Some(rate)) => {
                let latency = observed.map_or(0.0, |o| o.mean * MEAN_LATENCY_FACTOR);
                let latency = latency.max(MIN_LATENCY);
                (rate / batch_units * latency, MIN_CALLS)
            }
        };
        // A float of any size converts to a usize: the cast saturates.
        (needed.ceil() as usize).clamp(minimum, MAX_AUTO_CONCURRENCY)
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
    fn the_limit_follows_the_rate_within_its_range() {
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
    fn the_limit_grows_with_the_latency() {
        let calls = |rate, took| Concurrency::Auto.calls(rate, 25.0, always(took));
        // By Little's law 40,000 items a second need 10 calls at 6.25 ms, and 80 at 50 ms.
        assert_eq!(calls(Some(40_000.0), 5 * MS), 128);
        assert_eq!(calls(Some(40_000.0), 50 * MS), 160);
        assert_eq!(calls(Some(10_000.0), 50 * MS), 40);
        assert_eq!(calls(None, MS / 10), 32);
        assert_eq!(calls(None, 5 * MS), 40);
        assert_eq!(calls(None, 25 * MS), 200);
        assert_eq!(calls(None, 50 * MS), 256);
        // Calls of 100 units: a quarter as many, but at least the minimum.
        let heavy = Concurrency::Auto.calls(None, 100.0, always(25 * MS));
        assert_eq!(heavy, 50);
        assert_eq!(Concurrency::Auto.calls(None, 1e9, always(25 * MS)), 32);
    }

    #[test]
    fn without_a_rate_queueing_does_not_raise_the_limit() {
        let mut latency = always(2 * MS);
        for _ in 0..1000 {
            latency.observe(100 * MS);
        }
        assert_eq!(Concurrency::Auto.calls(None, 25.0, latency), 32);
        // With a rate, the token bucket limits the calls.
        assert_eq!(Concurrency::Auto.calls(Some(5_000.0), 25.0, latency), 40);
    }

    #[test]
    fn one_slow_call_moves_the_mean_by_its_weight() {
        let mut latency = always(10 * MS);
        latency.observe(970 * MS);
        // 10 + 960 / 16 = 70 ms, and twice that is 140 ms.
        assert_eq!(Concurrency::Auto.calls(Some(10_000.0), 25.0, latency), 56);
    }

    #[test]
    fn calls_begun_before_the_first_response_are_not_observed() {
        let begun = Instant::now();
        let mut bound = ConcurrencyLimit::new(Concurrency::Auto);
        for cold in [300, 310, 320] {
            bound.observe(begun, begun + cold * MS);
        }
        assert_eq!(bound.calls(None, 25.0), 32);
        bound.observe(begun + 300 * MS, begun + 325 * MS);
        assert_eq!(bound.calls(None, 25.0), 200);
    }
}
