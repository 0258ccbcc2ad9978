//! State of the send loop: the retry queue, the failures, and the end of the run.

use crate::base::error::Error;
use crate::base::hash::Hash;
use crate::commands::lookup::answers::ReorderBuffer;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::{Concurrency, ConcurrencyLimit};
use crate::flow::key_queue::{Entry, KeyBatch, KeyQueue};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of throttled tries of one hash at an API. Throttling is not a failure of
/// the hash, so it does not count as one of its tries before this limit.
const MAX_THROTTLED_TRIES: u32 = 200;

/// Options of a [`Requester`](crate::commands::lookup::requester::Requester).
#[derive(Debug, Clone)]
pub(super) struct RequesterOptions {
    /// Maximum number of calls in flight.
    pub(super) concurrency: Concurrency,
    /// Maximum number of hashes in a call.
    pub(super) max_keys: usize,
    /// Minimum cost of a hash: in RCU, or in calls of an API.
    pub(super) min_key_cost: f64,
    /// Maximum number of failed tries of a hash; then its answer is an error. `None` if a
    /// hash is retried until the run gives up.
    pub(super) max_tries: Option<u32>,
    /// Maximum time without a reply.
    pub(super) give_up_after: Duration,
    /// Name of the backend for messages: `table sha256`, `https://…`.
    pub(super) target: String,
}

/// End of a run.
#[derive(Debug)]
pub(super) enum RunEnd {
    /// Every line has its answer.
    Complete,
    /// A stop was requested.
    Stopped,
    /// The reader of the answers closed the pipe.
    OutputClosed,
    /// An error ended the run.
    Failed(Error),
}

/// State of the send loop.
pub(super) struct RequesterState {
    pub(super) buffer: ReorderBuffer,
    pub(crate) queue: KeyQueue,
    /// Recent cost of a hash.
    pub(crate) key_cost: f64,
    pub(crate) backoff: Backoff,
    /// The loop sends nothing before this time.
    pub(super) paused_until: Option<Instant>,
    /// Throttled calls in a row.
    pub(super) throttled_in_a_row: u32,
    pub(crate) concurrency_limit: ConcurrencyLimit,
    /// Lower concurrency limit after throttling by an API.
    pub(super) reduced_limit: Option<f64>,
    /// Number of failed tries, of hashes with at least one.
    pub(super) failed_tries: HashMap<Hash, u32>,
    /// Time of the first failure since a hash had a reply.
    pub(crate) stalled_since: Option<Instant>,
    /// True after the first valid response of a look-up.
    pub(super) has_recognised: bool,
    /// Unrecognised responses before it.
    pub(super) unrecognised: u32,
    pub(crate) run_end: Option<RunEnd>,
}

impl RequesterState {
    /// True while the URL may still turn out to be wrong. The loop then delays the answers.
    pub(super) fn may_be_wrong_url(&self) -> bool {
        self.unrecognised > 0 && !self.has_recognised
    }

    /// Counts a try of `entry`. True if it has no tries left.
    pub(super) fn is_out_of_tries(
        &mut self,
        entry: &Entry,
        is_failure: bool,
        max_tries: u32,
    ) -> bool {
        let failed = self.failed_tries.entry(entry.record.hash).or_default();
        *failed += u32::from(is_failure);
        *failed >= max_tries || entry.attempts >= MAX_THROTTLED_TRIES
    }

    /// Composes a call of one hash: the first of `next` if it is `Some`. The other hashes of
    /// `next` return to the queue.
    pub(super) fn compose_one(&mut self, next: Option<KeyBatch>, now: Instant) -> Option<KeyBatch> {
        match next {
            Some(keys) => Some(self.queue.keep_first(keys, now)),
            None => self.queue.compose_one(now),
        }
    }

    /// Returns entries to the queue, with a back-off.
    pub(super) fn requeue(&mut self, mut entries: Vec<Entry>) {
        for e in &mut entries {
            e.attempts += 1;
        }
        let attempts = entries.iter().map(|e| e.attempts).max().unwrap_or(1);
        let ready = Instant::now() + self.backoff.wait(attempts);
        for e in entries {
            self.queue.push_retry(e, ready);
        }
    }
}
