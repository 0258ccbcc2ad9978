//! Hashes that many ask for at once → as few BatchGetItem calls as they need.
//!
//! [`Reads`] is what a request asks: it looks into the cache, joins whoever asks the
//! table for the same hash already, and else queues it. One [`Asker`] behind it
//! takes what has queued up, a hundred keys at a time, at the pace of the table: at
//! once while no call is in flight, else when a call is full or [`LINGER`](crate::commands::serve::table_reader::LINGER) is over.
//! What is throttled or left unread is asked for again after a back-off, for as long
//! as somebody waits for it: who has waited for too long leaves, and a hash that
//! nobody waits for any more is not asked for.
//!
//! Bounded are the hashes that are waited for ([`MAX_WAITING`]), the calls in flight
//! and the cache. What the table said is remembered for some time, be it that a hash
//! is unknown; a failure is not.

use crate::base::hash::Hash;
use crate::commands::serve::metrics::Metrics;
use crate::commands::serve::pending::{
    Found, Inner, MAX_WAITING, Open, ReadOptions, Shared, Trouble,
};
use crate::commands::serve::table_reader::Asker;
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::rate_limiter::Pace;
use crate::pipeline::contents::either_case::EitherCase;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// See the [module](self). Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reads(Arc<Shared>);

impl Reads {
    /// Both ends: what is asked, and what asks `table`.
    pub(super) fn new<T: BatchGet>(
        table: T,
        questions: EitherCase,
        pace: Arc<Pace>,
        metrics: Arc<Metrics>,
        options: ReadOptions,
        backoff: Backoff,
    ) -> (Reads, Asker<T>) {
        let shared = Arc::new(Shared::new(&options, metrics));
        let asker = Asker {
            shared: shared.clone(),
            table,
            questions,
            pace,
            concurrency: options.concurrency,
            consistent: options.consistent,
            backoff,
        };
        (Reads(shared), asker)
    }

    /// What the table says of each of `hashes`, in their order, by `deadline` at the
    /// latest.
    pub(super) async fn get(&self, hashes: &[Hash], deadline: Instant) -> Vec<Found> {
        let mut found: Vec<Option<Found>> = self.cached(hashes);
        let mut waiting = self.queue(hashes, &mut found);
        for (at, _, answer) in &mut waiting.each {
            if let Some(receiver) = answer {
                // One that came in time counts, however late it is looked at.
                let answered = receiver.wait_for(Option::is_some);
                let came = tokio::time::timeout_at(deadline, answered).await;
                let came = came.map(|told| told.ok().and_then(|told| told.clone()));
                if let Ok(told) = came {
                    found[*at] = told;
                    *answer = None;
                }
            }
        }
        for (at, first) in std::mem::take(&mut waiting.same) {
            found[at] = found[first].clone();
        }
        drop(waiting);
        let late = || Found::Error(Trouble::Late);
        found.into_iter().map(|f| f.unwrap_or_else(late)).collect()
    }

    fn cached(&self, hashes: &[Hash]) -> Vec<Option<Found>> {
        let Some(cache) = &self.0.cache else {
            return vec![None; hashes.len()];
        };
        let of = |hash| {
            let kept = cache.get(hash).filter(|k| k.at.elapsed() < self.0.ttl)?;
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

    /// Queues those that are not `found`, each once.
    fn queue(&self, hashes: &[Hash], found: &mut [Option<Found>]) -> Waiting<'_> {
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
        let now = Instant::now();
        let mut inner = self.0.inner();
        for (at, hash) in distinct {
            let Inner { open, queue } = &mut *inner;
            let full = open.len() >= MAX_WAITING;
            let answer = match open.entry(hash) {
                Entry::Occupied(entry) => {
                    joined += 1;
                    entry.get().answer.subscribe()
                }
                Entry::Vacant(_) if full => {
                    found[at] = Some(Found::Error(Trouble::Busy));
                    continue;
                }
                Entry::Vacant(entry) => {
                    queue.push_back((hash, now));
                    queued = true;
                    entry.insert(Open::default()).answer.subscribe()
                }
            };
            each.push((at, hash, Some(answer)));
        }
        let open = inner.open.len() as u64;
        drop(inner);
        if queued {
            self.0.came.notify_one();
        }
        if !each.is_empty() {
            self.0.metrics.update(|c| {
                c.joined += joined;
                c.waiting = open;
            });
        }
        Waiting {
            shared: &self.0,
            each,
            same,
        }
    }

    /// How many wait for `hash`.
    #[cfg(test)]
    pub(super) fn waiting_for(&self, hash: &Hash) -> usize {
        let inner = self.0.inner();
        let open = inner.open.get(hash);
        open.map_or(0, |o| o.answer.receiver_count())
    }
}

/// What the table says of a hash, once it has.
type Answer = watch::Receiver<Option<Found>>;

/// What a request waits for. What has not come when it is dropped is left to others.
struct Waiting<'a> {
    shared: &'a Shared,
    /// Where in the request, what, and the answer until it has come.
    each: Vec<(usize, Hash, Option<Answer>)>,
    /// Where in the request what is asked for there comes again, and where it is first.
    same: Vec<(usize, usize)>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut left = Vec::new();
        for (_, hash, answer) in &mut self.each {
            if answer.take().is_some() {
                left.push(*hash);
            }
        }
        if left.is_empty() {
            return;
        }
        let mut inner = self.shared.inner();
        for hash in left {
            if let Some(entry) = inner.open.get(&hash)
                && !entry.is_wanted()
                && !entry.asked
            {
                inner.open.remove(&hash);
            }
        }
        // Whoever comes and goes while nothing can be asked must not fill it.
        let Inner { open, queue } = &mut *inner;
        if queue.len() > open.len() + open.len() / 8 + 16 {
            let mut seen = HashSet::new();
            queue.retain(|(hash, _)| open.contains_key(hash) && seen.insert(*hash));
        }
        let open = inner.open.len() as u64;
        drop(inner);
        self.shared.metrics.update(|c| c.waiting = open);
    }
}

#[cfg(test)]
mod outages;
