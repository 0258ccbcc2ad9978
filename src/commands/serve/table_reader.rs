//! Table reader: sends pending hashes in BatchGetItem calls, at the table's rate.
//!
//! The [dispatcher](crate::flow::dispatcher) composes, pays for, sends and retries the
//! calls, as long as a request waits for their hashes.

use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::ErrorKind;
use crate::base::hash::Hash;
use crate::base::shutdown::Stop;
use crate::commands::serve::pending::{Found, ReadError, Shared};
use crate::dynamodb::batch_get::plain_json::PlainResponse;
use crate::dynamodb::batch_get::request::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::capacity::ConsumedCapacity;
use crate::flow::concurrency::Concurrency;
use crate::flow::dispatcher::{
    CallHandler, CallOutcome, CallSender, DispatchOptions, Dispatcher, Failure, FinishedCall, Input,
};
use crate::flow::rate_limiter::RateLimiter;
use crate::flow::retry_queue::{Batch, Entry, KindOptions, RetryQueue};
use crate::pipeline::contents::case_detection::{CaseDetector, CaseResponse};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Time that a key waits for others to share its call, while calls are in flight.
pub(super) const LINGER: Duration = Duration::from_millis(2);

/// Maximum wait before a retry. It is short because requests time out after 30 s.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Minimum time between two warnings that the table cannot be read.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Minimum size in bytes of a response that can have unprocessed keys because it was full.
/// BatchGetItem ends a response before the item that would exceed 16 MiB.
const FULL_RESPONSE_BYTES: usize = 15 * 1024 * 1024;

/// Ratio of the RCU of the largest item, of 400 KB, to those of the smallest.
const MAX_KEY_UNITS_FACTOR: f64 = 100.0;

/// Reads queued hashes from the table. See [`Reads`](crate::commands::serve::reads::Reads).
#[derive(Debug)]
pub(super) struct TableReader<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) table: T,
    pub(super) key_templates: CaseDetector,
    pub(super) rate_limiter: Arc<RateLimiter>,
    pub(super) concurrency: Concurrency,
    pub(super) consistent: bool,
    pub(super) backoff: Backoff,
}

/// Handler of the responses.
struct ReadHandler<'a> {
    shared: &'a Shared,
    /// RCU of a small item.
    min_key_units: f64,
    /// Recent average RCU of a key.
    key_units: f64,
    last_warning: Option<Instant>,
}

/// The queue of the requests, as input.
struct QueuedKeys<'a>(&'a Shared);

impl Input for QueuedKeys<'_> {
    type Batch = Vec<Hash>;

    async fn recv(&mut self) -> Option<Vec<Hash>> {
        loop {
            let keys = self.0.next_keys(MAX_GET_KEYS);
            if !keys.is_empty() {
                return Some(keys);
            }
            self.0.queue_changed.notified().await;
        }
    }

    fn close(&mut self) {}
}

impl<T: BatchGet + Send + Sync> TableReader<T> {
    /// Runs until dropped.
    pub(super) async fn run(mut self) -> Infallible {
        let min_key_units = match self.consistent {
            true => CONSISTENT_READ_UNITS,
            false => EVENTUAL_READ_UNITS,
        };
        let backoff = self.backoff.fork().with_cap(MAX_WAIT);
        let stop = Stop::new();
        let dispatcher = Dispatcher {
            rate_limiter: &self.rate_limiter,
            stop: &stop,
            options: DispatchOptions {
                concurrency: self.concurrency,
                give_up_after: Duration::MAX,
                read_ahead: MAX_GET_KEYS,
                max_items: MAX_GET_KEYS,
                is_eager: true,
                sends_probes: true,
                error_kind: ErrorKind::Read,
                action: "read from the table".to_owned(),
            },
        };
        let mut handler = ReadHandler {
            shared: &self.shared,
            min_key_units,
            key_units: min_key_units,
            last_warning: None,
        };
        let queue = RetryQueue::new(&[KindOptions {
            max_items: MAX_GET_KEYS,
            linger: LINGER,
        }]);
        let keys = QueuedKeys(&self.shared);
        let result = dispatcher
            .run(queue, &self, &mut handler, keys, &mut (), backoff)
            .await;
        // Unreachable: the input has no end, and no failure is fatal.
        tracing::error!("the table reader has ended: {:?}", result.end);
        std::future::pending().await
    }
}

impl<T: BatchGet + Send + Sync> CallSender<Hash> for TableReader<T> {
    type Response = Result<CaseResponse, CallError>;

    async fn send(&self, batch: &Batch<Hash>) -> Self::Response {
        let keys: Vec<Hash> = batch.entries.iter().map(|e| e.item).collect();
        self.shared.metrics.update(|c| {
            c.calls += 1;
            c.keys += keys.len() as u64;
        });
        let call = self.key_templates.get(&self.table, &keys, self.consistent);
        call.await
    }
}

impl CallHandler for ReadHandler<'_> {
    type Item = Hash;
    type Input = Vec<Hash>;
    type Response = Result<CaseResponse, CallError>;

    fn full_call_units(&self, _: &RetryQueue<Hash>) -> f64 {
        self.key_units * MAX_GET_KEYS as f64
    }

    fn units(&self, batch: &Batch<Hash>) -> f64 {
        batch.entries.len() as f64 * self.key_units
    }

    fn receive(&mut self, keys: Vec<Hash>, queue: &mut RetryQueue<Hash>, now: Instant) {
        queue.extend(0, keys, now);
    }

    fn count(&self, keys: &Vec<Hash>) -> u64 {
        keys.len() as u64
    }

    fn may_receive(&self, _: usize) -> bool {
        true
    }

    const DROPS_UNWANTED: bool = true;

    fn is_wanted(&mut self, hash: &Hash) -> bool {
        self.shared.is_wanted(hash)
    }

    fn record_in_flight(&self, calls: u64) {
        self.shared.metrics.update(|c| c.calls_in_flight = calls);
    }

    fn handle(
        &mut self,
        call: FinishedCall<Hash>,
        response: Self::Response,
        _: &mut RetryQueue<Hash>,
    ) -> CallOutcome<Hash> {
        let is_full = |r: &CaseResponse| r.bytes >= FULL_RESPONSE_BYTES;
        let full = response.as_ref().is_ok_and(is_full);
        let further = response.as_ref().map_or(0, |r| r.calls.saturating_sub(1));
        let matched = response.and_then(|r| {
            match_items(&call.batch.entries, r.response).map_err(CallError::unrecognised_response)
        });
        match matched {
            Ok(matched) => self.record_success(&call, matched, full, further),
            Err(error) => self.record_failure(call, error),
        }
    }
}

impl ReadHandler<'_> {
    /// Delivers the results and retries unprocessed keys. `full` means that the response
    /// had no room for them; `further` is the number of additional calls.
    fn record_success(
        &mut self,
        call: &FinishedCall<Hash>,
        (found, unread, consumed): MatchedItems,
        full: bool,
        further: u64,
    ) -> CallOutcome<Hash> {
        let each = call.paid / call.batch.entries.len() as f64;
        let read = found.len() as f64;
        let mut outcome = CallOutcome::default();
        if !unread.is_empty() {
            let paid = each * unread.len() as f64;
            // Keys without room in the response were not throttled.
            let throttled = match full {
                true => 0.0,
                false => unread.len() as f64 * self.min_key_units,
            };
            settle_throttling(&mut outcome, paid, throttled, Vec::new());
        }
        if read > 0.0
            && let Some(consumed) = &consumed
        {
            let (before, min) = (self.key_units, self.min_key_units);
            self.key_units = smooth_key_units(before, min, consumed.total, read);
        }
        let consumed_units = consumed.as_ref().map(|c| c.total);
        let units = consumed_units.unwrap_or(read * self.min_key_units);
        for (hash, found) in &found {
            self.shared.resolve(hash, found);
        }
        self.shared.metrics.update(|c| {
            c.calls += further;
            c.unprocessed += unread.len() as u64;
            c.read_units += units;
            c.pending = self.shared.pending();
            c.last_success = Some(Instant::now());
            c.is_failing = false;
        });
        outcome.success = (read > 0.0).then_some((each * read, consumed));
        outcome.retry = unread;
        self.drop_unwanted(&mut outcome.retry);
        outcome
    }

    /// Settles the RCU of a failed call and retries its keys, unless the error is
    /// permanent.
    fn record_failure(&mut self, call: FinishedCall<Hash>, error: CallError) -> CallOutcome<Hash> {
        let FinishedCall { batch, paid } = call;
        let keys = batch.entries;
        let is_throttled = error.class == ErrorClass::Throttled;
        let mut outcome = CallOutcome::default();
        let units = (keys.len() as f64 * self.min_key_units).min(paid);
        match is_throttled {
            true => settle_throttling(&mut outcome, paid, units, error.reasons.clone()),
            false => outcome.refund = paid - units,
        }
        self.shared.metrics.update(|c| {
            c.throttled += u64::from(is_throttled);
            c.failed += u64::from(!is_throttled);
            c.is_failing = true;
        });
        tracing::debug!("a call of {} keys failed: {error}", keys.len());
        // The rate limiter logs throttling.
        let is_due = |at: Instant| at.elapsed() >= WARNING_INTERVAL;
        if !is_throttled && self.last_warning.is_none_or(is_due) {
            self.last_warning = Some(Instant::now());
            tracing::warn!("cannot read the table: {error}");
        }
        match error.class {
            ErrorClass::Permanent | ErrorClass::Invalid => {
                let found = Found::Error(ReadError::Refused(error.code));
                keys.iter()
                    .for_each(|e| self.shared.resolve(&e.item, &found));
            }
            class => {
                outcome.retry = keys;
                self.drop_unwanted(&mut outcome.retry);
                outcome.failure = Some(Failure::Retryable {
                    is_expired: class == ErrorClass::Expired,
                    cause: error.into(),
                });
            }
        }
        outcome
    }

    /// Drops the keys that no request waits for.
    fn drop_unwanted(&self, entries: &mut Vec<Entry<Hash>>) {
        entries.retain(|e| self.shared.is_wanted(&e.item));
    }
}

/// Records `throttled` of the `paid` RCU as throttled and refunds the rest. Throttled keys
/// count as small items, since their size is unknown.
fn settle_throttling(
    outcome: &mut CallOutcome<Hash>,
    paid: f64,
    throttled: f64,
    reasons: Vec<(String, String)>,
) {
    let throttled = throttled.min(paid);
    outcome.throttled = (throttled > 0.0).then_some((throttled, reasons));
    outcome.refund = paid - throttled;
}

/// Updates the average RCU of a key after `read` keys took `total` RCU. The weight grows with
/// the number of keys; the largest item limits the result.
fn smooth_key_units(before: f64, least: f64, total: f64, read: f64) -> f64 {
    let now = total / read.max(1.0);
    let weight = 0.5 * (read / MAX_GET_KEYS as f64).min(1.0);
    let after = before + (now - before) * weight;
    after.clamp(least, least * MAX_KEY_UNITS_FACTOR)
}

/// Results, unprocessed keys and consumed capacity of a call.
type MatchedItems = (
    Vec<(Hash, Found)>,
    Vec<Entry<Hash>>,
    Option<ConsumedCapacity>,
);

/// Matches the items of `answer` to `keys`.
///
/// # Errors
/// A description of the first inconsistency of the response.
fn match_items(keys: &[Entry<Hash>], answer: PlainResponse) -> Result<MatchedItems, String> {
    let mut items: HashMap<Hash, String> = HashMap::with_capacity(answer.items.len());
    for item in answer.items {
        if items.insert(item.hash, item.fields).is_some() {
            return Err("the response has an item twice".to_owned());
        }
    }
    let asked_again = answer.unprocessed.len();
    let unread: HashSet<Hash> = answer.unprocessed.into_iter().collect();
    if unread.len() < asked_again {
        return Err("a key is unprocessed twice".to_owned());
    }
    let mut found = Vec::with_capacity(keys.len());
    let mut left = Vec::with_capacity(unread.len());
    for entry in keys {
        let hash = &entry.item;
        match (items.remove(hash), unread.contains(hash)) {
            (Some(fields), false) => found.push((*hash, Found::Known(fields.into()))),
            (None, false) => found.push((*hash, Found::Unknown)),
            (None, true) => left.push(entry.clone()),
            (Some(_), true) => return Err("a key was read and is unprocessed".to_owned()),
        }
    }
    if !items.is_empty() || left.len() < unread.len() {
        return Err("the response has a key that was not requested".to_owned());
    }
    Ok((found, left, answer.consumed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_rcu_follows_full_calls_more_than_one_large_item() {
        let after = smooth_key_units(0.5, 0.5, 50.0, 1.0);
        assert!((0.5..1.0).contains(&after), "{after}");
        let mut units = 0.5;
        for _ in 0..10 {
            units = smooth_key_units(units, 0.5, 400.0, 100.0);
        }
        assert!((3.9..=4.0).contains(&units), "{units}");
        for _ in 0..20 {
            units = smooth_key_units(units, 0.5, 1e9, 100.0);
        }
        assert_eq!(units, 50.0);
        assert_eq!(smooth_key_units(0.5, 0.5, 0.0, 100.0), 0.5);
    }
}
