//! The retry queue: new and unprocessed items, composed into full batches.
//!
//! Unprocessed items, and those of a throttled or failed call, wait out their back-off.
//! Then they go before new ones into the next batch, so that a retry needs no extra call.
//! One invalid item fails its whole batch. So a batch that DynamoDB finds invalid is
//! bisected until the invalid item stands alone, and the others are sent.
//!
//! A queue holds one or more kinds of calls, such as batches of puts and single deletes.
//! Items of different kinds never share a call. An earlier kind goes first.
//!
//! Pure: instants are arguments, nothing sleeps.

use crate::base::record::Record;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// An item of a call.
pub(crate) trait QueueItem: Sized {
    /// Removes the entries of a call whose key is in it already. They wait for the next
    /// call. May reorder `entries`.
    fn split_duplicates(entries: &mut Vec<Entry<Self>>) -> Vec<Entry<Self>>;
}

/// An item with its number of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<T> {
    pub(crate) item: T,
    /// Calls that did not process it.
    pub(crate) attempts: u32,
}

impl<T> Entry<T> {
    /// An item that was in no call yet.
    pub(crate) fn fresh(item: T) -> Entry<T> {
        Entry { item, attempts: 0 }
    }
}

/// The items of one call, with distinct keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch<T> {
    /// Kind of the call.
    pub(crate) kind: usize,
    /// The items.
    pub(crate) entries: Vec<Entry<T>>,
    /// True if it is part of an invalid batch, and must not be mixed with others.
    pub(crate) is_bisected: bool,
}

impl QueueItem for Record {
    /// The window removes duplicates among new records, so only a retry can meet one.
    fn split_duplicates(entries: &mut Vec<Entry<Record>>) -> Vec<Entry<Record>> {
        if entries.iter().all(|e| e.attempts == 0) {
            return Vec::new();
        }
        let mut duplicates = Vec::new();
        let mut distinct: Vec<Entry<Record>> = Vec::with_capacity(entries.len());
        for entry in entries.drain(..) {
            match distinct.iter().any(|e| e.item.is_same_item(&entry.item)) {
                true => duplicates.push(entry),
                false => distinct.push(entry),
            }
        }
        *entries = distinct;
        duplicates
    }
}

/// Options of a kind of calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KindOptions {
    /// Maximum number of items in a call.
    pub(crate) max_items: usize,
    /// Maximum time that an incomplete batch waits for more items.
    pub(crate) linger: Duration,
}

/// The waiting items. See the [module](self).
#[derive(Debug)]
pub(crate) struct RetryQueue<T> {
    kinds: Vec<KindQueue<T>>,
    arrivals: u64,
}

/// Waiting items of one kind of calls.
#[derive(Debug)]
struct KindQueue<T> {
    options: KindOptions,
    ready: VecDeque<Entry<T>>,
    delayed: BinaryHeap<Reverse<Delayed<T>>>,
    bisected: VecDeque<Vec<Entry<T>>>,
    /// Time since which items of `ready` have waited without a batch; `None` if there are
    /// none.
    since: Option<Instant>,
    /// Number of calls in flight.
    in_flight: usize,
}

/// An item that waits out its back-off.
#[derive(Debug)]
struct Delayed<T> {
    ready: Instant,
    /// Number of the arrival, which orders items of the same time.
    arrival: u64,
    entry: Entry<T>,
}

impl<T> PartialEq for Delayed<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.ready, self.arrival) == (other.ready, other.arrival)
    }
}

impl<T> Eq for Delayed<T> {}

impl<T> PartialOrd for Delayed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Delayed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.ready, self.arrival).cmp(&(other.ready, other.arrival))
    }
}

impl<T: QueueItem> RetryQueue<T> {
    /// Creates an empty queue for `kinds` of calls. A kind is named by its index.
    pub(crate) fn new(kinds: &[KindOptions]) -> Self {
        let kind = |options: &KindOptions| KindQueue {
            options: *options,
            ready: VecDeque::new(),
            delayed: BinaryHeap::new(),
            bisected: VecDeque::new(),
            since: None,
            in_flight: 0,
        };
        RetryQueue {
            kinds: kinds.iter().map(kind).collect(),
            arrivals: 0,
        }
    }

    /// Adds new items for calls of `kind`.
    pub(crate) fn extend(&mut self, kind: usize, items: impl IntoIterator<Item = T>, now: Instant) {
        let queue = &mut self.kinds[kind];
        queue.ready.extend(items.into_iter().map(Entry::fresh));
        queue.restart_linger(now);
    }

    /// Adds an entry to retry, not before `ready`.
    pub(crate) fn push_retry(&mut self, kind: usize, entry: Entry<T>, ready: Instant) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.kinds[kind].delayed.push(Reverse(Delayed {
            ready,
            arrival,
            entry,
        }));
    }

    /// Splits an invalid batch into two halves to retry. Returns the entry if there is
    /// only one: it is the invalid one.
    pub(crate) fn bisect(&mut self, mut batch: Batch<T>) -> Option<Entry<T>> {
        if batch.entries.len() < 2 {
            return batch.entries.pop();
        }
        let half = batch.entries.split_off(batch.entries.len() / 2);
        let bisected = &mut self.kinds[batch.kind].bisected;
        bisected.push_back(batch.entries);
        bisected.push_back(half);
        None
    }

    /// Maximum over all kinds of the items that wait for nothing but a batch.
    pub(crate) fn max_ready(&self) -> usize {
        self.kinds.iter().map(|k| k.ready.len()).max().unwrap_or(0)
    }

    /// Number of items that wait for a retry.
    pub(crate) fn retries(&self) -> usize {
        self.kinds.iter().map(KindQueue::retries).sum()
    }

    /// Number of items that wait for calls of `kind`.
    pub(crate) fn kind_len(&self, kind: usize) -> usize {
        self.kinds[kind].len()
    }

    /// Number of all waiting items.
    pub(crate) fn len(&self) -> usize {
        self.kinds.iter().map(KindQueue::len).sum()
    }

    /// True if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.iter().all(KindQueue::is_empty)
    }

    /// Time of the next batch if no item is added; `None` if nothing waits.
    pub(crate) fn next_ready(&self) -> Option<Instant> {
        self.kinds.iter().filter_map(KindQueue::next_ready).min()
    }

    /// The next batch at `now`: a full one, one that has waited long enough, or any if
    /// `flush`. A kind is flushed only when no later kind has items that may join it.
    pub(crate) fn compose(&mut self, now: Instant, flush: bool) -> Option<Batch<T>> {
        for kind in 0..self.kinds.len() {
            let later = &self.kinds[kind + 1..];
            let may_grow = later.iter().any(|k| !k.is_empty() || k.in_flight > 0);
            let composed = self.kinds[kind].compose(now, flush && !may_grow);
            if let Some((entries, is_bisected)) = composed {
                return Some(Batch {
                    kind,
                    entries,
                    is_bisected,
                });
            }
        }
        None
    }

    /// A batch of one item as a probe, regardless of its back-off. It is the first item of
    /// `batch`, if given; the others keep waiting.
    pub(crate) fn compose_one(
        &mut self,
        batch: Option<Batch<T>>,
        now: Instant,
    ) -> Option<Batch<T>> {
        let Some(mut batch) = batch else {
            return (0..self.kinds.len()).find_map(|kind| self.kinds[kind].pop_one(kind, now));
        };
        let left = batch.entries.split_off(batch.entries.len().min(1));
        let queue = &mut self.kinds[batch.kind];
        if batch.is_bisected && !left.is_empty() {
            queue.bisected.push_front(left);
        } else {
            left.into_iter()
                .rev()
                .for_each(|e| queue.ready.push_front(e));
            queue.restart_linger(now);
        }
        Some(batch)
    }

    /// Records that a call of `kind` was sent.
    pub(crate) fn record_sent(&mut self, kind: usize) {
        self.kinds[kind].in_flight += 1;
    }

    /// Records that a call of `kind` has ended.
    pub(crate) fn record_ended(&mut self, kind: usize) {
        self.kinds[kind].in_flight -= 1;
    }

    /// Ends the back-off of all retries, after an outage that throttled every call.
    pub(crate) fn release_delayed(&mut self, now: Instant) {
        for queue in &mut self.kinds {
            let delayed = std::mem::take(&mut queue.delayed).into_iter();
            queue.delayed = delayed
                .map(|Reverse(mut d)| {
                    d.ready = d.ready.min(now);
                    d.entry.attempts = d.entry.attempts.min(1);
                    Reverse(d)
                })
                .collect();
        }
    }
}

impl<T: QueueItem> KindQueue<T> {
    fn retries(&self) -> usize {
        self.delayed.len() + self.bisected.iter().map(Vec::len).sum::<usize>()
    }

    fn len(&self) -> usize {
        self.ready.len() + self.retries()
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.delayed.is_empty() && self.bisected.is_empty()
    }

    fn restart_linger(&mut self, now: Instant) {
        if !self.ready.is_empty() {
            self.since.get_or_insert(now);
        }
    }

    fn next_ready(&self) -> Option<Instant> {
        let linger = self.since.map(|since| since + self.options.linger);
        let retry = self.delayed.peek().map(|Reverse(d)| d.ready);
        linger.into_iter().chain(retry).min()
    }

    /// The next batch, and whether it is part of a bisected one.
    fn compose(&mut self, now: Instant, flush: bool) -> Option<(Vec<Entry<T>>, bool)> {
        if let Some(entries) = self.bisected.pop_front() {
            return Some((entries, true));
        }
        self.collect_retries(now);
        let max_items = self.options.max_items;
        let due = self
            .since
            .is_some_and(|since| since + self.options.linger <= now);
        if self.ready.is_empty() || !(flush || due || self.ready.len() >= max_items) {
            return None;
        }
        let mut entries = Vec::with_capacity(self.ready.len().min(max_items));
        entries.extend(self.ready.drain(..self.ready.len().min(max_items)));
        let duplicates = T::split_duplicates(&mut entries);
        duplicates
            .into_iter()
            .rev()
            .for_each(|e| self.ready.push_front(e));
        self.since = None;
        self.restart_linger(now);
        Some((entries, false))
    }

    /// Moves the retries that are due to the front of `ready`.
    fn collect_retries(&mut self, now: Instant) {
        let mut due = Vec::new();
        while self.delayed.peek().is_some_and(|Reverse(d)| d.ready <= now)
            && let Some(Reverse(d)) = self.delayed.pop()
        {
            due.push(d.entry);
        }
        due.into_iter().rev().for_each(|e| self.ready.push_front(e));
        self.restart_linger(now);
    }

    /// One item for a call of this kind, `kind`: part of a bisected batch, or a retry that is
    /// due, or a new item, or the next retry. The choice varies, because one partition
    /// alone may be the limit.
    fn pop_one(&mut self, kind: usize, now: Instant) -> Option<Batch<T>> {
        if let Some(mut entries) = self.bisected.pop_front() {
            let left = entries.split_off(1);
            if !left.is_empty() {
                self.bisected.push_front(left);
            }
            return Some(Batch {
                kind,
                entries,
                is_bisected: true,
            });
        }
        let is_due = self.delayed.peek().is_some_and(|Reverse(d)| d.ready <= now);
        let next = if is_due { None } else { self.ready.pop_front() };
        let entry = next.or_else(|| Some(self.delayed.pop()?.0.entry))?;
        if self.ready.is_empty() {
            self.since = None;
        }
        Some(Batch {
            kind,
            entries: vec![entry],
            is_bisected: false,
        })
    }
}

#[cfg(test)]
mod tests;
