//! Table reader: sends pending hashes in BatchGetItem calls, at the table's rate.

use crate::aws::error::{CallError, ErrorClass};
use crate::base::hash::Hash;
use crate::commands::serve::pending::{Found, Inner, ReadError, Shared};
use crate::dynamodb::batch_get::plain_json::PlainResponse;
use crate::dynamodb::batch_get::request::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::capacity::ConsumedCapacity;
use crate::flow::concurrency::{Concurrency, ConcurrencyLimit};
use crate::flow::rate_limiter::RateLimiter;
use crate::pipeline::contents::case_detection::{CaseDetector, CaseResponse};
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, HashMap, HashSet};
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

/// State of the reader's loop.
struct State {
    pub(crate) backoff: Backoff,
    /// Keys that wait for a retry, by the time of the retry.
    retries: BTreeMap<(Instant, u64), Vec<Hash>>,
    number: u64,
    /// RCU of a small item.
    min_key_units: f64,
    /// Recent average RCU of a key.
    pub(crate) key_units: f64,
    /// Maximum number of calls in flight.
    pub(crate) concurrency_limit: ConcurrencyLimit,
    last_warning: Option<Instant>,
}

/// One call.
struct Call {
    keys: Vec<Hash>,
    /// RCU taken from the rate limiter for the call.
    reserved_rcu: f64,
    started: Instant,
}

impl<T: BatchGet + Send + Sync> TableReader<T> {
    /// Runs until dropped.
    pub(super) async fn run(mut self) -> Infallible {
        let least = match self.consistent {
            true => CONSISTENT_READ_UNITS,
            false => EVENTUAL_READ_UNITS,
        };
        let mut s = State {
            backoff: std::mem::replace(&mut self.backoff, Backoff::new(fastrand::Rng::new())),
            retries: BTreeMap::new(),
            number: 0,
            min_key_units: least,
            key_units: least,
            concurrency_limit: ConcurrencyLimit::new(self.concurrency),
            last_warning: None,
        };
        let this = &self;
        let mut in_flight = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            let turn = this.rate_limiter.next_call(now);
            this.requeue_due(&mut s, turn.is_probe(), now);
            let queued = this.shared.queued();
            let call_units = s.key_units * MAX_GET_KEYS as f64;
            let room = in_flight.len()
                < s.concurrency_limit
                    .calls(this.rate_limiter.rate(), call_units);
            let (count, since) = queued.unwrap_or((0, now));
            let most = if turn.is_probe() { 1 } else { MAX_GET_KEYS };
            let count = count.min(most);
            let due = count == most || in_flight.is_empty() || since + LINGER <= now;
            let may_send = count > 0 && room && due && turn.is_due(now);
            let units = count as f64 * s.key_units;
            let next_try = s.retries.keys().next().map(|(at, _)| *at);
            let lingering = (count > 0 && room && !due).then_some(since + LINGER);
            let wake = [next_try, lingering, turn.next_check(now)];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                biased;
                Some((call, answer)) = in_flight.next(), if !in_flight.is_empty() => {
                    this.shared.metrics.update(|c| c.calls_in_flight = in_flight.len() as u64);
                    this.handle_response(&mut s, call, answer);
                }
                () = this.rate_limiter.take(turn, units), if may_send => {
                    let keys = this.shared.next_keys(count);
                    if keys.is_empty() {
                        // No request waits for these keys any more. A probe takes no units.
                        if !turn.is_probe() {
                            this.rate_limiter.refund(units);
                        }
                        continue;
                    }
                    in_flight.push(this.send(keys, units));
                    this.shared.metrics.update(|c| c.calls_in_flight = in_flight.len() as u64);
                }
                () = this.shared.queue_changed.notified() => {}
                () = sleep_until(wake), if wake.is_some() => {}
            }
        }
    }

    /// Moves due retries to the front of the queue. While the table is `probed`, moves all
    /// retries to its end, so that probes try different keys.
    fn requeue_due(&self, s: &mut State, probed: bool, now: Instant) {
        while let Some(entry) = s.retries.first_entry()
            && (probed || entry.key().0 <= now)
        {
            let hashes = entry.remove();
            let mut inner = self.shared.inner();
            let Inner {
                pending: open,
                queue,
            } = &mut *inner;
            for hash in hashes {
                if let Some(entry) = open.get_mut(&hash) {
                    entry.in_flight = false;
                    // Backdated, so that the retry does not linger.
                    let queued = (hash, now - LINGER);
                    match probed {
                        true => queue.push_back(queued),
                        false => queue.push_front(queued),
                    }
                }
            }
        }
    }

    /// Sends one call, for which `paid` RCU were taken.
    async fn send(&self, keys: Vec<Hash>, paid: f64) -> (Call, Result<CaseResponse, CallError>) {
        self.shared.metrics.update(|c| {
            c.calls += 1;
            c.keys += keys.len() as u64;
        });
        let begun = Instant::now();
        let answer = self.key_templates.get(&self.table, &keys, self.consistent);
        let answer = answer.await;
        (
            Call {
                keys,
                reserved_rcu: paid,
                started: begun,
            },
            answer,
        )
    }

    /// Handles the response to `call`.
    fn handle_response(&self, s: &mut State, call: Call, answer: Result<CaseResponse, CallError>) {
        let full = answer
            .as_ref()
            .is_ok_and(|a| a.bytes >= FULL_RESPONSE_BYTES);
        let further = answer.as_ref().map_or(0, |a| a.calls.saturating_sub(1));
        let answer = answer.and_then(|a| {
            match_items(&call.keys, a.response).map_err(CallError::unrecognised_response)
        });
        match answer {
            Ok(sorted) => self.record_success(s, &call, sorted, full, further),
            Err(error) => self.record_failure(s, call, error),
        }
    }

    /// Delivers the results and schedules retries of unprocessed keys. `full` means that the
    /// response had no room for them; `further` is the number of additional calls.
    fn record_success(
        &self,
        s: &mut State,
        call: &Call,
        sorted: MatchedItems,
        full: bool,
        further: u64,
    ) {
        let (found, unread, consumed) = sorted;
        let each = call.reserved_rcu / call.keys.len() as f64;
        // Throttling first: the success below must count as the latest result.
        if !unread.is_empty() {
            let paid = each * unread.len() as f64;
            // Keys without room in the response were not throttled.
            let refused = if full {
                0.0
            } else {
                unread.len() as f64 * s.min_key_units
            };
            self.settle_throttling(paid, refused, &[]);
        }
        if !found.is_empty() {
            s.concurrency_limit.observe(call.started, Instant::now());
            let read = found.len() as f64;
            if self
                .rate_limiter
                .record_success(each * read, consumed.as_ref())
            {
                self.requeue_due(s, true, Instant::now());
            }
            if let Some(consumed) = &consumed {
                s.key_units = smooth_key_units(s.key_units, s.min_key_units, consumed.total, read);
            }
        }
        let units = consumed.map_or(found.len() as f64 * s.min_key_units, |c| c.total);
        for (hash, found) in &found {
            self.shared.resolve(hash, found);
        }
        let open = self.shared.inner().pending.len() as u64;
        self.shared.metrics.update(|c| {
            c.calls += further;
            c.unprocessed += unread.len() as u64;
            c.read_units += units;
            c.pending = open;
            c.last_success = Some(Instant::now());
            c.is_failing = false;
        });
        self.schedule_retry(s, unread);
    }

    /// Settles the RCU of a failed call and schedules a retry of its keys, unless the error
    /// is permanent.
    fn record_failure(&self, s: &mut State, call: Call, error: CallError) {
        let Call {
            keys,
            reserved_rcu: paid,
            ..
        } = call;
        let throttled = error.class == ErrorClass::Throttled;
        let units = (keys.len() as f64 * s.min_key_units).min(paid);
        match throttled {
            true => self.settle_throttling(paid, units, &error.reasons),
            false => self.refund(paid - units),
        }
        self.shared.metrics.update(|c| {
            c.throttled += u64::from(throttled);
            c.failed += u64::from(!throttled);
            c.is_failing = true;
        });
        tracing::debug!("a call of {} keys failed: {error}", keys.len());
        // The rate limiter logs throttling.
        if !throttled
            && s.last_warning
                .is_none_or(|at| at.elapsed() >= WARNING_INTERVAL)
        {
            s.last_warning = Some(Instant::now());
            tracing::warn!("cannot read the table: {error}");
        }
        match error.class {
            ErrorClass::Permanent | ErrorClass::Invalid => {
                let found = Found::Error(ReadError::Refused(error.code));
                keys.iter()
                    .for_each(|hash| self.shared.resolve(hash, &found));
            }
            _ => self.schedule_retry(s, keys),
        }
    }

    /// Records `refused` of the `paid` RCU as throttled and refunds the rest. Throttled keys
    /// count as small items, since their size is unknown.
    fn settle_throttling(&self, paid: f64, refused: f64, reasons: &[(String, String)]) {
        let refused = refused.min(paid);
        if refused > 0.0 {
            self.rate_limiter.record_throttled(refused, reasons);
        }
        self.refund(paid - refused);
    }

    fn refund(&self, units: f64) {
        if units > 0.0 {
            self.rate_limiter.refund(units);
        }
    }

    /// Schedules a retry of `keys` after a back-off.
    fn schedule_retry(&self, s: &mut State, keys: Vec<Hash>) {
        let mut inner = self.shared.inner();
        let mut tries = 0;
        let mut wanted = Vec::with_capacity(keys.len());
        for hash in keys {
            let Some(entry) = inner.pending.get_mut(&hash) else {
                continue;
            };
            if entry.is_wanted() {
                entry.tries = entry.tries.saturating_add(1);
                tries = tries.max(entry.tries);
                wanted.push(hash);
            } else {
                inner.pending.remove(&hash);
            }
        }
        drop(inner);
        if !wanted.is_empty() {
            let wait = s.backoff.wait(tries).min(MAX_WAIT);
            s.number += 1;
            s.retries.insert((Instant::now() + wait, s.number), wanted);
        }
    }
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
type MatchedItems = (Vec<(Hash, Found)>, Vec<Hash>, Option<ConsumedCapacity>);

/// Matches the items of `answer` to `keys`.
///
/// # Errors
/// A description of the first inconsistency of the response.
fn match_items(keys: &[Hash], answer: PlainResponse) -> Result<MatchedItems, String> {
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
    for hash in keys {
        match (items.remove(hash), unread.contains(hash)) {
            (Some(fields), false) => found.push((*hash, Found::Known(fields.into()))),
            (None, false) => found.push((*hash, Found::Unknown)),
            (None, true) => left.push(*hash),
            (Some(_), true) => return Err("a key was read and is unprocessed".to_owned()),
        }
    }
    if !items.is_empty() || left.len() < unread.len() {
        return Err("the response has a key that was not requested".to_owned());
    }
    Ok((found, left, answer.consumed))
}

/// Waits until `at`; never returns if it is `None`.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
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
