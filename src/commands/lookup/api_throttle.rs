//! Reaction to an API that throttles: a pause, fewer calls in flight, and a limit of tries.
//!
//! An API sets its own times for retries, and has no capacity that could be described. So
//! a throttled call pauses all others and halves the calls in flight. Each full round of
//! replies adds one, up to the usual limit.

use crate::base::hash::Hash;
use crate::flow::backoff::Backoff;
use crate::flow::retry_queue::Entry;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of throttled tries of one hash. Throttling is not a failure of the
/// hash, so it does not count as one of its tries before this limit.
const MAX_THROTTLED_TRIES: u32 = 200;

/// State of throttling by an API. See the [module](self).
#[derive(Debug)]
pub(super) struct ApiThrottle {
    /// Maximum number of failed tries of a hash.
    max_tries: u32,
    backoff: Backoff,
    /// No call is sent before this time.
    paused_until: Option<Instant>,
    /// Throttled calls in a row.
    throttled_in_a_row: u32,
    /// Maximum of calls in flight, without throttling.
    usual_limit: usize,
    /// The lower maximum after throttling.
    reduced_limit: Option<f64>,
    /// Number of failed tries, of hashes with at least one.
    failed_tries: HashMap<Hash, u32>,
}

impl ApiThrottle {
    /// The state before the first call.
    pub(super) fn new(max_tries: u32, backoff: Backoff) -> ApiThrottle {
        ApiThrottle {
            max_tries,
            backoff,
            paused_until: None,
            throttled_in_a_row: 0,
            usual_limit: 1,
            reduced_limit: None,
            failed_tries: HashMap::new(),
        }
    }

    /// Time before which no call may be sent.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// The maximum of calls in flight, of which `max` is the usual one.
    pub(super) fn limit_calls(&mut self, max: usize) -> usize {
        self.usual_limit = max;
        self.reduced_limit = self.reduced_limit.filter(|limit| *limit < max as f64);
        self.reduced_limit
            .map_or(max, |limit| (limit as usize).max(1))
    }

    /// Records a call with a reply.
    pub(super) fn record_success(&mut self) {
        self.throttled_in_a_row = 0;
        self.reduced_limit = self.reduced_limit.map(|limit| limit + 1.0 / limit);
    }

    /// Records a throttled call. Calls in flight were sent before the throttling was known,
    /// so it counts once.
    pub(super) fn record_throttled(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|at| at > now) {
            return;
        }
        self.throttled_in_a_row += 1;
        let limit = self.reduced_limit.unwrap_or(self.usual_limit as f64);
        self.reduced_limit = Some((limit / 2.0).max(1.0));
        self.paused_until = Some(now + self.backoff.wait(self.throttled_in_a_row + 2));
    }

    /// Pauses for as long as the API asks for.
    pub(super) fn pause(&mut self, now: Instant, wait: Duration) {
        self.paused_until = self.paused_until.max(now.checked_add(wait));
    }

    /// Counts a try of `entry`. True if it has no tries left.
    pub(super) fn is_out_of_tries(&mut self, entry: &Entry<Hash>, is_failure: bool) -> bool {
        let failed = self.failed_tries.entry(entry.item).or_default();
        *failed += u32::from(is_failure);
        let is_out = *failed >= self.max_tries || entry.attempts >= MAX_THROTTLED_TRIES;
        if is_out {
            self.forget(&entry.item);
        }
        is_out
    }

    /// Forgets the tries of a hash that has a reply.
    pub(super) fn forget(&mut self, hash: &Hash) {
        self.failed_tries.remove(hash);
    }
}
