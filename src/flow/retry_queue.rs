//! What is to be sent next: records wait here, fresh or handed back, and leave
//! in batches as full as can be.
//!
//! Records that came back unprocessed, or whose call was throttled or broken,
//! wait until their back-off is over and are then mixed with fresh ones, so that
//! a retry costs no call of its own. A batch that DynamoDB refused as invalid is
//! cut in two, and each half again, until the one bad item stands alone: one bad
//! item fails a whole batch there, and the other 24 must not be lost.
//!
//! Pure: instants are arguments, nothing sleeps.

use crate::base::record::{Action, Record};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use tokio::time::Instant;

/// A record on its way, and how often it has been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The record.
    pub record: Record,
    /// Calls that carried it and did not write it.
    pub attempts: u32,
}

/// What one BatchWriteItem call carries: no key twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Batch {
    /// The records.
    pub entries: Vec<Entry>,
    /// Whether it is a part of a batch that was refused, and must not be mixed.
    pub suspect: bool,
}

impl Batch {
    /// Whether a record of the same item is in it.
    fn holds(&self, record: &Record) -> bool {
        self.entries
            .iter()
            .any(|e| e.record.is_of_same_item(record))
    }
}

/// The records that wait. See the [module](self).
#[derive(Debug)]
pub(crate) struct Queue {
    batch_items: usize,
    fresh: VecDeque<Record>,
    again: BinaryHeap<Reverse<Again>>,
    suspects: VecDeque<Batch>,
    /// Deletes that leave alone, each in a call of its own; `None` if deletes leave in
    /// batches.
    alone: Option<Alone>,
    arrivals: u64,
    duplicates: Vec<Record>,
}

/// The deletes that leave alone.
#[derive(Debug, Default)]
struct Alone {
    fresh: VecDeque<Record>,
    again: BinaryHeap<Reverse<Again>>,
}

#[derive(Debug)]
struct Again {
    ready: Instant,
    /// Order of arrival, so that equals leave as they came.
    arrival: u64,
    entry: Entry,
}

impl Alone {
    /// The next delete that may be sent at `now`.
    fn next(&mut self, now: Instant) -> Option<Entry> {
        let is_ready = |Reverse(a): &Reverse<Again>| a.ready <= now;
        if self.again.peek().is_some_and(is_ready) {
            return self.again.pop().map(|Reverse(a)| a.entry);
        }
        let record = self.fresh.pop_front()?;
        Some(Entry {
            record,
            attempts: 0,
        })
    }
}

impl PartialEq for Again {
    fn eq(&self, other: &Self) -> bool {
        (self.ready, self.arrival) == (other.ready, other.arrival)
    }
}

impl Eq for Again {}

impl PartialOrd for Again {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Again {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.ready, self.arrival).cmp(&(other.ready, other.arrival))
    }
}

impl Queue {
    /// An empty queue that makes batches of `batch_items`.
    pub(crate) fn new(batch_items: usize) -> Self {
        Queue {
            batch_items,
            fresh: VecDeque::new(),
            again: BinaryHeap::new(),
            suspects: VecDeque::new(),
            alone: None,
            arrivals: 0,
            duplicates: Vec::new(),
        }
    }

    /// The same, and each delete leaves alone.
    #[must_use]
    pub(crate) fn deletes_alone(mut self) -> Self {
        self.alone = Some(Alone::default());
        self
    }

    /// Adds records that were just read.
    pub(crate) fn push_fresh(&mut self, records: impl IntoIterator<Item = Record>) {
        let Some(alone) = &mut self.alone else {
            return self.fresh.extend(records);
        };
        for record in records {
            match record.action {
                Action::Delete => alone.fresh.push_back(record),
                Action::Put => self.fresh.push_back(record),
            }
        }
    }

    /// Adds a record that must be sent again, not before `ready`.
    pub(crate) fn push_again(&mut self, entry: Entry, ready: Instant) {
        self.arrivals += 1;
        let again = match &mut self.alone {
            Some(alone) if entry.record.action == Action::Delete => &mut alone.again,
            _ => &mut self.again,
        };
        again.push(Reverse(Again {
            ready,
            arrival: self.arrivals,
            entry,
        }));
    }

    /// Takes back a batch that was refused as invalid, in two halves. Returns
    /// the entry when there is only one: it is the bad one.
    pub(crate) fn push_refused(&mut self, mut batch: Batch) -> Option<Entry> {
        if batch.entries.len() < 2 {
            return batch.entries.pop();
        }
        let half = batch.entries.split_off(batch.entries.len() / 2);
        self.suspects.push_back(Batch {
            entries: batch.entries,
            suspect: true,
        });
        self.suspects.push_back(Batch {
            entries: half,
            suspect: true,
        });
        None
    }

    /// Records that wait for their first call.
    pub(crate) fn fresh(&self) -> usize {
        self.fresh.len() + self.alone.as_ref().map_or(0, |a| a.fresh.len())
    }

    /// Deletes that wait to leave alone.
    pub(crate) fn alone(&self) -> usize {
        self.alone
            .as_ref()
            .map_or(0, |a| a.fresh.len() + a.again.len())
    }

    /// Records that wait to be sent again.
    pub(crate) fn again(&self) -> usize {
        let alone = self.alone.as_ref().map_or(0, |a| a.again.len());
        let suspects = self.suspects.iter().map(|b| b.entries.len()).sum::<usize>();
        self.again.len() + alone + suspects
    }

    /// All records that wait.
    pub(crate) fn len(&self) -> usize {
        self.fresh() + self.again()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the next record may be sent again.
    pub(crate) fn next_ready(&self) -> Option<Instant> {
        let alone = self.alone.as_ref().and_then(|a| a.again.peek());
        let each = [self.again.peek(), alone].into_iter().flatten();
        each.map(|Reverse(a)| a.ready).min()
    }

    /// Fresh records that were found to be on their way already when they were put
    /// together with a record sent again, since this was last asked.
    pub(crate) fn take_duplicates(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.duplicates)
    }

    /// The next batch, if there is a full one at `now`, or any when `flush`.
    pub(crate) fn compose(&mut self, now: Instant, flush: bool) -> Option<Batch> {
        if let Some(batch) = self.suspects.pop_front() {
            return Some(batch);
        }
        if let Some(entry) = self.alone.as_mut().and_then(|alone| alone.next(now)) {
            return Some(Batch {
                entries: vec![entry],
                suspect: false,
            });
        }
        let enough = self.fresh.len() >= self.batch_items
            || self.fresh.len() + self.ready_by(now) >= self.batch_items;
        if !flush && !enough {
            return None;
        }
        let mut batch = Batch {
            entries: Vec::with_capacity(self.batch_items),
            suspect: false,
        };
        let mut twice = Vec::new();
        while batch.entries.len() < self.batch_items
            && self.again.peek().is_some_and(|Reverse(a)| a.ready <= now)
        {
            let Some(Reverse(a)) = self.again.pop() else {
                break;
            };
            if batch.holds(&a.entry.record) {
                twice.push(a);
            } else {
                batch.entries.push(a.entry);
            }
        }
        let returned = batch.entries.len();
        while batch.entries.len() < self.batch_items
            && let Some(record) = self.fresh.pop_front()
        {
            // Fresh ones differ among themselves: the window saw to that. One
            // that is here as a record sent again is on its way already.
            if returned > 0 && batch.holds(&record) {
                self.duplicates.push(record);
            } else {
                batch.entries.push(Entry {
                    record,
                    attempts: 0,
                });
            }
        }
        self.again.extend(twice.into_iter().map(Reverse));
        (!batch.entries.is_empty()).then_some(batch)
    }

    /// One record alone, to see whether it is written, whatever it waits for. It is the
    /// first of `batch` if there is one; the others of that wait on.
    pub(crate) fn compose_one(&mut self, batch: Option<Batch>, now: Instant) -> Option<Batch> {
        let mut batch = match batch.or_else(|| self.suspects.pop_front()) {
            Some(batch) => batch,
            None => Batch {
                entries: vec![self.pop_one(now)?],
                suspect: false,
            },
        };
        let left = batch.entries.split_off(batch.entries.len().min(1));
        if batch.suspect && !left.is_empty() {
            self.suspects.push_front(Batch {
                entries: left,
                suspect: true,
            });
        } else {
            left.into_iter().for_each(|e| self.push_again(e, now));
        }
        Some(batch)
    }

    /// A record that is ready, or else one that is fresh, or else the next one that
    /// will be ready. Not always the same one: its partition alone may be the limit.
    fn pop_one(&mut self, now: Instant) -> Option<Entry> {
        if self.next_ready().is_none_or(|at| at > now)
            && let Some(record) = self.fresh.pop_front()
        {
            return Some(Entry {
                record,
                attempts: 0,
            });
        }
        self.again.pop().map(|Reverse(a)| a.entry)
    }

    /// Ends the back-off of all that wait: they were refused with everything else.
    pub(crate) fn release(&mut self, now: Instant) {
        let again = std::mem::take(&mut self.again).into_iter();
        self.again = again
            .map(|Reverse(mut a)| {
                a.ready = a.ready.min(now);
                a.entry.attempts = a.entry.attempts.min(1);
                Reverse(a)
            })
            .collect();
    }

    /// How many records may be sent again at `now`: counted no further than one
    /// batch needs.
    fn ready_by(&self, now: Instant) -> usize {
        match self.again.peek() {
            Some(Reverse(a)) if a.ready <= now => self
                .again
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
