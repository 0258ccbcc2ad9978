//! The write queue: new and unprocessed records, composed into full batches.
//!
//! Unprocessed records, and those of a throttled or failed call, wait out their
//! back-off. Then they are mixed with new ones, so that a retry needs no extra call.
//! One invalid item fails its whole batch. So a batch that DynamoDB finds invalid is
//! bisected until the invalid item stands alone, and the other 24 are written.
//!
//! Pure: instants are arguments, nothing sleeps.

use crate::base::record::{Action, Record};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use tokio::time::Instant;

/// A record with its number of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The record.
    pub record: Record,
    /// Calls that did not write it.
    pub attempts: u32,
}

/// The records of one BatchWriteItem call, with distinct keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Batch {
    /// The records.
    pub entries: Vec<Entry>,
    /// True if it is part of an invalid batch, and must not be mixed with others.
    pub is_bisected: bool,
}

impl Batch {
    /// True if the batch contains the item of `record`.
    fn contains_item(&self, record: &Record) -> bool {
        self.entries.iter().any(|e| e.record.is_same_item(record))
    }
}

/// The waiting records. See the [module](self).
#[derive(Debug)]
pub(crate) struct RetryQueue {
    batch_items: usize,
    fresh: VecDeque<Record>,
    delayed: BinaryHeap<Reverse<Delayed>>,
    bisected: VecDeque<Batch>,
    /// Deletes that need separate calls; `None` if deletes are batched.
    single_deletes: Option<SingleDeletes>,
    arrivals: u64,
    duplicates: Vec<Record>,
}

/// Deletes in separate calls.
#[derive(Debug, Default)]
struct SingleDeletes {
    fresh: VecDeque<Record>,
    delayed: BinaryHeap<Reverse<Delayed>>,
}

#[derive(Debug)]
struct Delayed {
    ready: Instant,
    /// Number of the arrival, which orders records of the same time.
    arrival: u64,
    entry: Entry,
}

impl SingleDeletes {
    /// The next delete that may be sent at `now`; `None` if there is none.
    fn next(&mut self, now: Instant) -> Option<Entry> {
        let is_ready = |Reverse(a): &Reverse<Delayed>| a.ready <= now;
        if self.delayed.peek().is_some_and(is_ready) {
            return self.delayed.pop().map(|Reverse(a)| a.entry);
        }
        let record = self.fresh.pop_front()?;
        Some(Entry {
            record,
            attempts: 0,
        })
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        (self.ready, self.arrival) == (other.ready, other.arrival)
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.ready, self.arrival).cmp(&(other.ready, other.arrival))
    }
}

impl RetryQueue {
    /// Creates an empty queue with batches of `batch_items`.
    pub(crate) fn new(batch_items: usize) -> Self {
        RetryQueue {
            batch_items,
            fresh: VecDeque::new(),
            delayed: BinaryHeap::new(),
            bisected: VecDeque::new(),
            single_deletes: None,
            arrivals: 0,
            duplicates: Vec::new(),
        }
    }

    /// Sends each delete in a separate call.
    #[must_use]
    pub(crate) fn with_single_deletes(mut self) -> Self {
        self.single_deletes = Some(SingleDeletes::default());
        self
    }

    /// Adds new records.
    pub(crate) fn push_fresh(&mut self, records: impl IntoIterator<Item = Record>) {
        let Some(alone) = &mut self.single_deletes else {
            return self.fresh.extend(records);
        };
        for record in records {
            match record.action {
                Action::Delete => alone.fresh.push_back(record),
                Action::Put => self.fresh.push_back(record),
            }
        }
    }

    /// Adds a record to retry, not before `ready`.
    pub(crate) fn push_retry(&mut self, entry: Entry, ready: Instant) {
        self.arrivals += 1;
        let delayed = match &mut self.single_deletes {
            Some(alone) if entry.record.action == Action::Delete => &mut alone.delayed,
            _ => &mut self.delayed,
        };
        delayed.push(Reverse(Delayed {
            ready,
            arrival: self.arrivals,
            entry,
        }));
    }

    /// Splits an invalid batch into two halves to retry. Returns the entry if there is
    /// only one: it is the invalid one.
    pub(crate) fn bisect(&mut self, mut batch: Batch) -> Option<Entry> {
        if batch.entries.len() < 2 {
            return batch.entries.pop();
        }
        let half = batch.entries.split_off(batch.entries.len() / 2);
        self.bisected.push_back(Batch {
            entries: batch.entries,
            is_bisected: true,
        });
        self.bisected.push_back(Batch {
            entries: half,
            is_bisected: true,
        });
        None
    }

    /// Number of records waiting for their first call.
    pub(crate) fn fresh(&self) -> usize {
        self.fresh.len() + self.single_deletes.as_ref().map_or(0, |a| a.fresh.len())
    }

    /// Number of waiting deletes that need separate calls.
    pub(crate) fn single_deletes(&self) -> usize {
        self.single_deletes
            .as_ref()
            .map_or(0, |a| a.fresh.len() + a.delayed.len())
    }

    /// Number of records waiting for a retry.
    pub(crate) fn retries(&self) -> usize {
        let alone = self.single_deletes.as_ref().map_or(0, |a| a.delayed.len());
        let suspects = self.bisected.iter().map(|b| b.entries.len()).sum::<usize>();
        self.delayed.len() + alone + suspects
    }

    /// Number of all waiting records.
    pub(crate) fn len(&self) -> usize {
        self.fresh() + self.retries()
    }

    /// True if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Time of the next retry; `None` if there is none.
    pub(crate) fn next_ready(&self) -> Option<Instant> {
        let alone = self.single_deletes.as_ref().and_then(|a| a.delayed.peek());
        let each = [self.delayed.peek(), alone].into_iter().flatten();
        each.map(|Reverse(a)| a.ready).min()
    }

    /// Takes the new records whose item was already in their batch, as a retry.
    pub(crate) fn take_duplicates(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.duplicates)
    }

    /// The next batch: a full one at `now`, or any if `flush`.
    pub(crate) fn compose(&mut self, now: Instant, flush: bool) -> Option<Batch> {
        if let Some(batch) = self.bisected.pop_front() {
            return Some(batch);
        }
        if let Some(entry) = self
            .single_deletes
            .as_mut()
            .and_then(|alone| alone.next(now))
        {
            return Some(Batch {
                entries: vec![entry],
                is_bisected: false,
            });
        }
        let enough = self.fresh.len() >= self.batch_items
            || self.fresh.len() + self.count_ready(now) >= self.batch_items;
        if !flush && !enough {
            return None;
        }
        let mut batch = Batch {
            entries: Vec::with_capacity(self.batch_items),
            is_bisected: false,
        };
        let mut same_key = Vec::new();
        while batch.entries.len() < self.batch_items
            && self.delayed.peek().is_some_and(|Reverse(a)| a.ready <= now)
        {
            let Some(Reverse(a)) = self.delayed.pop() else {
                break;
            };
            if batch.contains_item(&a.entry.record) {
                same_key.push(a);
            } else {
                batch.entries.push(a.entry);
            }
        }
        let retries = batch.entries.len();
        while batch.entries.len() < self.batch_items
            && let Some(record) = self.fresh.pop_front()
        {
            // The window has removed duplicates among new records. One that equals a
            // retry in this batch is already being written.
            if retries > 0 && batch.contains_item(&record) {
                self.duplicates.push(record);
            } else {
                batch.entries.push(Entry {
                    record,
                    attempts: 0,
                });
            }
        }
        self.delayed.extend(same_key.into_iter().map(Reverse));
        (!batch.entries.is_empty()).then_some(batch)
    }

    /// A batch of one record as a probe, regardless of its back-off. It is the first
    /// record of `batch`, if given; the others keep waiting.
    pub(crate) fn compose_one(&mut self, batch: Option<Batch>, now: Instant) -> Option<Batch> {
        let mut batch = match batch.or_else(|| self.bisected.pop_front()) {
            Some(batch) => batch,
            None => Batch {
                entries: vec![self.pop_one(now)?],
                is_bisected: false,
            },
        };
        let left = batch.entries.split_off(batch.entries.len().min(1));
        if batch.is_bisected && !left.is_empty() {
            self.bisected.push_front(Batch {
                entries: left,
                is_bisected: true,
            });
        } else {
            left.into_iter().for_each(|e| self.push_retry(e, now));
        }
        Some(batch)
    }

    /// A ready retry, or else a new record, or else the next retry. The choice varies,
    /// because one partition alone may be the limit.
    fn pop_one(&mut self, now: Instant) -> Option<Entry> {
        if self.next_ready().is_none_or(|at| at > now)
            && let Some(record) = self.fresh.pop_front()
        {
            return Some(Entry {
                record,
                attempts: 0,
            });
        }
        self.delayed.pop().map(|Reverse(a)| a.entry)
    }

    /// Ends the back-off of all retries, after an outage that throttled every call.
    pub(crate) fn release_delayed(&mut self, now: Instant) {
        let delayed = std::mem::take(&mut self.delayed).into_iter();
        self.delayed = delayed
            .map(|Reverse(mut a)| {
                a.ready = a.ready.min(now);
                a.entry.attempts = a.entry.attempts.min(1);
                Reverse(a)
            })
            .collect();
    }

    /// Number of retries ready at `now`, counted up to one batch.
    fn count_ready(&self, now: Instant) -> usize {
        match self.delayed.peek() {
            Some(Reverse(a)) if a.ready <= now => self
                .delayed
                .iter()
                .filter(|Reverse(a)| a.ready <= now)
                .take(self.batch_items)
                .count(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
