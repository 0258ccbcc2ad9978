//! Request coalescing: hashes of concurrent requests share BatchGetItem calls.
//!
//! [`Reads`] looks each hash of a request up in the cache, waits for a pending read of the
//! same hash, or queues it. One [`TableReader`] reads queued hashes at the table's rate, up to a
//! hundred keys in a call. It sends at once while no call is in flight, else when a call is
//! full or [`LINGER`](crate::commands::serve::table_reader::LINGER) is over. It retries
//! throttled calls and unprocessed keys after a back-off, as long as a request waits for
//! them. A request stops waiting at its timeout.
//!
//! Pending hashes ([`MAX_PENDING`]), calls in flight and the cache are limited. Answers are
//! cached for some time, unknown ones included; failures are not.

use crate::base::hash::Hash;
use crate::commands::serve::metrics::Metrics;
use crate::commands::serve::pending::{
    Found, Inner, MAX_PENDING, Pending, ReadError, ReadOptions, Shared,
};
use crate::commands::serve::table_reader::TableReader;
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::rate_limiter::RateLimiter;
use crate::pipeline::contents::case_detection::CaseDetector;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// See the [module](self). Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reads(Arc<Shared>);

impl Reads {
    /// Creates the front end for requests and the reader of `table`.
    pub(super) fn new<T: BatchGet>(
        table: T,
        questions: CaseDetector,
        rate_limiter: Arc<RateLimiter>,
        metrics: Arc<Metrics>,
        options: ReadOptions,
        backoff: Backoff,
    ) -> (Reads, TableReader<T>) {
        let shared = Arc::new(Shared::new(&options, metrics));
        let asker = TableReader {
            shared: shared.clone(),
            table,
            key_templates: questions,
            rate_limiter,
            concurrency: options.concurrency,
            consistent: options.consistent,
            backoff,
        };
        (Reads(shared), asker)
    }

    /// Looks up `hashes` and returns their results in the same order, at `deadline` at the
    /// latest.
    pub(super) async fn get(&self, hashes: &[Hash], deadline: Instant) -> Vec<Found> {
        let mut found: Vec<Option<Found>> = self.cached(hashes);
        let mut waiting = self.queue(hashes, &mut found);
        for (at, _, answer) in &mut waiting.pending {
            if let Some(receiver) = answer {
                // `timeout_at` polls the answer first, so one that arrived in time counts.
                let answered = receiver.wait_for(Option::is_some);
                let received = tokio::time::timeout_at(deadline, answered).await;
                let received = received.map(|result| result.ok().and_then(|result| result.clone()));
                if let Ok(result) = received {
                    found[*at] = result;
                    *answer = None;
                }
            }
        }
        for (at, first) in std::mem::take(&mut waiting.duplicates) {
            found[at] = found[first].clone();
        }
        drop(waiting);
        let late = || Found::Error(ReadError::Late);
        found.into_iter().map(|f| f.unwrap_or_else(late)).collect()
    }

    fn cached(&self, hashes: &[Hash]) -> Vec<Option<Found>> {
        let Some(cache) = &self.0.cache else {
            return vec![None; hashes.len()];
        };
        let of = |hash| {
            let kept = cache
                .get(hash)
                .filter(|k| k.read_at.elapsed() < self.0.ttl)?;
            Some(kept.fields.map_or(Found::Unknown, Found::Known))
        };
        let found: Vec<_> = hashes.iter().map(of).collect();
        let hits = found.iter().flatten().count();
        self.0.metrics.update(|c| {
            c.cache_hits += hits as u64;
            c.cache_misses += (hashes.len() - hits) as u64;
        });
        found
    }

    /// Queues every hash that is not in `found`, duplicates once.
    fn queue(&self, hashes: &[Hash], found: &mut [Option<Found>]) -> PendingReads<'_> {
        let mut firsts = HashMap::new();
        let (mut distinct, mut same) = (Vec::new(), Vec::new());
        for (at, (hash, _)) in hashes
            .iter()
            .zip(&*found)
            .enumerate()
            .filter(|(_, (_, found))| found.is_none())
        {
            match firsts.entry(*hash) {
                Entry::Occupied(first) => same.push((at, *first.get())),
                Entry::Vacant(first) => {
                    first.insert(at);
                    distinct.push((at, *hash));
                }
            }
        }
        let mut each = Vec::with_capacity(distinct.len());
        let (mut queued, mut joined) = (false, same.len() as u64);
        let mut inner = self.0.inner();
        for (at, hash) in distinct {
            let Inner {
                pending: open,
                queue,
            } = &mut *inner;
            let full = open.len() >= MAX_PENDING;
            let answer = match open.entry(hash) {
                Entry::Occupied(entry) => {
                    joined += 1;
                    entry.get().answer.subscribe()
                }
                Entry::Vacant(_) if full => {
                    found[at] = Some(Found::Error(ReadError::Busy));
                    continue;
                }
                Entry::Vacant(entry) => {
                    queue.push_back(hash);
                    queued = true;
                    entry.insert(Pending::default()).answer.subscribe()
                }
            };
            each.push((at, hash, Some(answer)));
        }
        let open = inner.pending.len() as u64;
        drop(inner);
        if queued {
            self.0.queue_changed.notify_one();
        }
        if !each.is_empty() {
            self.0.metrics.update(|c| {
                c.coalesced += joined;
                c.pending = open;
            });
        }
        PendingReads {
            shared: &self.0,
            pending: each,
            duplicates: same,
        }
    }

    /// Number of requests that wait for `hash`.
    #[cfg(test)]
    pub(super) fn waiter_count(&self, hash: &Hash) -> usize {
        let inner = self.0.inner();
        let open = inner.pending.get(hash);
        open.map_or(0, |o| o.answer.receiver_count())
    }
}

/// Receiver of the result of a pending hash.
type FoundReceiver = watch::Receiver<Option<Found>>;

/// Pending hashes of a request. Dropping it stops waiting for those without a result.
struct PendingReads<'a> {
    shared: &'a Shared,
    /// Index in the request, hash, and receiver; `None` once the result has arrived.
    pending: Vec<(usize, Hash, Option<FoundReceiver>)>,
    /// Indices of duplicates in the request, with the index of their first occurrence.
    duplicates: Vec<(usize, usize)>,
}

impl Drop for PendingReads<'_> {
    fn drop(&mut self) {
        let mut left = Vec::new();
        for (_, hash, answer) in &mut self.pending {
            if answer.take().is_some() {
                left.push(*hash);
            }
        }
        if left.is_empty() {
            return;
        }
        let mut inner = self.shared.inner();
        for hash in left {
            if let Some(entry) = inner.pending.get(&hash)
                && !entry.is_wanted()
                && !entry.in_flight
            {
                inner.pending.remove(&hash);
            }
        }
        // During an outage, requests that time out must not fill the queue.
        let Inner {
            pending: open,
            queue,
        } = &mut *inner;
        if queue.len() > open.len() + open.len() / 8 + 16 {
            let mut seen = HashSet::new();
            queue.retain(|hash| open.contains_key(hash) && seen.insert(*hash));
        }
        let open = inner.pending.len() as u64;
        drop(inner);
        self.shared.metrics.update(|c| c.pending = open);
    }
}

#[cfg(test)]
mod outages;
