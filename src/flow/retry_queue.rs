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
pub struct Entry {
    /// The record.
    pub record: Record,
    /// Calls that carried it and did not write it.
    pub attempts: u32,
}

/// What one BatchWriteItem call carries: no key twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
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
pub struct Queue {
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
    pub fn new(batch_items: usize) -> Self {
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
    pub fn deletes_alone(mut self) -> Self {
        self.alone = Some(Alone::default());
        self
    }

    /// Adds records that were just read.
    pub fn push_fresh(&mut self, records: impl IntoIterator<Item = Record>) {
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
    pub fn push_again(&mut self, entry: Entry, ready: Instant) {
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
    pub fn push_refused(&mut self, mut batch: Batch) -> Option<Entry> {
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
    pub fn fresh(&self) -> usize {
        self.fresh.len() + self.alone.as_ref().map_or(0, |a| a.fresh.len())
    }

    /// Deletes that wait to leave alone.
    pub fn alone(&self) -> usize {
        self.alone
            .as_ref()
            .map_or(0, |a| a.fresh.len() + a.again.len())
    }

    /// Records that wait to be sent again.
    pub fn again(&self) -> usize {
        let alone = self.alone.as_ref().map_or(0, |a| a.again.len());
        let suspects = self.suspects.iter().map(|b| b.entries.len()).sum::<usize>();
        self.again.len() + alone + suspects
    }

    /// All records that wait.
    pub fn len(&self) -> usize {
        self.fresh() + self.again()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the next record may be sent again.
    pub fn next_ready(&self) -> Option<Instant> {
        let alone = self.alone.as_ref().and_then(|a| a.again.peek());
        let each = [self.again.peek(), alone].into_iter().flatten();
        each.map(|Reverse(a)| a.ready).min()
    }

    /// Fresh records that were found to be on their way already when they were put
    /// together with a record sent again, since this was last asked.
    pub fn take_duplicates(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.duplicates)
    }

    /// The next batch, if there is a full one at `now`, or any when `flush`.
    pub fn compose(&mut self, now: Instant, flush: bool) -> Option<Batch> {
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
    pub fn compose_one(&mut self, batch: Option<Batch>, now: Instant) -> Option<Batch> {
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
    pub fn release(&mut self, now: Instant) {
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
mod tests {
    use super::*;
    use crate::base::hash::Hash;
    use crate::base::record::Place;
    use std::time::Duration;

    fn record(n: u8) -> Record {
        let place = Place {
            source: 0,
            line: u64::from(n),
            byte: 0,
        };
        Record::new(Hash::from_bytes(&[n; 32]).expect("32 bytes"), place)
    }

    fn again(n: u8, attempts: u32) -> Entry {
        Entry {
            record: record(n),
            attempts,
        }
    }

    fn lines(batch: &Batch) -> Vec<u64> {
        batch.entries.iter().map(|e| e.record.place.line).collect()
    }

    #[test]
    fn a_batch_is_full_or_waits_or_is_flushed() {
        let now = Instant::now();
        let mut queue = Queue::new(3);
        queue.push_fresh((1..=4).map(record));
        assert_eq!(lines(&queue.compose(now, false).expect("full")), [1, 2, 3]);
        assert_eq!(queue.compose(now, false), None);
        assert_eq!(lines(&queue.compose(now, true).expect("flushed")), [4]);
        assert_eq!(queue.compose(now, true), None);
    }

    #[test]
    fn records_sent_again_wait_out_their_backoff_and_are_mixed_with_fresh_ones() {
        let now = Instant::now();
        let later = now + Duration::from_millis(10);
        let mut queue = Queue::new(3);
        queue.push_again(again(1, 2), later);
        queue.push_fresh([record(2), record(3)]);
        assert_eq!(queue.compose(now, false), None);
        assert_eq!(queue.next_ready(), Some(later));
        let batch = queue.compose(later, false).expect("full");
        assert_eq!(lines(&batch), [1, 2, 3]);
        assert_eq!(batch.entries[0].attempts, 2);
        assert_eq!(batch.entries[1].attempts, 0);
        assert!(queue.is_empty());
    }

    #[test]
    fn no_key_is_twice_in_a_batch() {
        let now = Instant::now();
        let mut queue = Queue::new(3);
        queue.push_again(again(1, 1), now);
        queue.push_again(again(1, 1), now);
        queue.push_fresh([record(1), record(2)]);
        assert_eq!(lines(&queue.compose(now, true).expect("some")), [1, 2]);
        assert_eq!(
            queue.take_duplicates(),
            [record(1)],
            "the fresh one is on its way already"
        );
        assert_eq!(lines(&queue.compose(now, true).expect("some")), [1]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_refused_batch_is_halved_until_the_bad_item_stands_alone() {
        let now = Instant::now();
        let mut queue = Queue::new(25);
        queue.push_fresh((1..=25).map(record));
        let first = queue.compose(now, true).expect("full");
        assert_eq!(queue.push_refused(first), None);
        let (mut written, mut bad, mut calls) = (Vec::new(), Vec::new(), 0);
        while let Some(batch) = queue.compose(now, false) {
            assert!(batch.suspect);
            calls += 1;
            if lines(&batch).contains(&17) {
                bad.extend(queue.push_refused(batch));
            } else {
                written.extend(lines(&batch));
            }
        }
        written.sort_unstable();
        assert_eq!(written, (1..=25).filter(|n| *n != 17).collect::<Vec<_>>());
        assert_eq!(bad, [again(17, 0)]);
        assert!(calls <= 10, "{calls} calls");
    }

    #[test]
    fn one_record_leaves_alone_and_not_always_the_same() {
        let now = Instant::now();
        let later = now + Duration::from_secs(20);
        let mut queue = Queue::new(3);
        queue.push_fresh((1..=3).map(record));
        let full = queue.compose(now, false);
        assert_eq!(lines(&queue.compose_one(full, now).expect("one")), [1]);
        assert_eq!((queue.fresh(), queue.again()), (0, 2), "two wait on");
        queue.push_again(again(1, 9), later);
        queue.push_fresh([record(4)]);
        let one = |queue: &mut Queue| lines(&queue.compose_one(None, now).expect("one"));
        assert_eq!([0; 4].map(|_| one(&mut queue)), [[2], [3], [4], [1]]);
        assert_eq!(queue.compose_one(None, now), None);
        let suspects = Batch {
            entries: (5..=8).map(|n| again(n, 0)).collect(),
            suspect: true,
        };
        let one = queue.compose_one(Some(suspects), now).expect("one");
        assert!(one.suspect && lines(&one) == [5]);
        assert_eq!(queue.compose_one(Some(one.clone()), now), Some(one));
        let rest = queue.compose(now, false).expect("the others");
        assert!(rest.suspect && lines(&rest) == [6, 7, 8]);
    }

    #[test]
    fn all_that_wait_for_their_backoff_are_released() {
        let now = Instant::now();
        let mut queue = Queue::new(3);
        for n in 1..=3 {
            queue.push_again(again(n, 9), now + Duration::from_secs(u64::from(n)));
        }
        assert_eq!(queue.compose(now, true), None);
        queue.release(now);
        let batch = queue.compose(now, false).expect("full");
        assert_eq!(lines(&batch), [1, 2, 3]);
        assert!(batch.entries.iter().all(|e| e.attempts == 1));
    }

    #[test]
    fn deletes_that_leave_alone_are_mixed_with_nothing_and_wait_out_their_backoff() {
        let now = Instant::now();
        let later = now + Duration::from_millis(10);
        let delete = |n| Record {
            action: Action::Delete,
            ..record(n)
        };
        let mut queue = Queue::new(2).deletes_alone();
        queue.push_fresh([delete(1), record(2), delete(3), record(4)]);
        assert_eq!((queue.fresh(), queue.alone(), queue.len()), (4, 2, 4));
        let first = queue.compose(now, false).expect("a delete");
        assert_eq!(lines(&first), [1]);
        queue.push_again(first.entries[0].clone(), later);
        assert_eq!((queue.again(), queue.next_ready()), (1, Some(later)));
        let mut left = Vec::new();
        while let Some(batch) = queue.compose(now, false) {
            left.push(lines(&batch));
        }
        assert_eq!(left, [vec![3], vec![2, 4]]);
        assert_eq!(lines(&queue.compose(later, false).expect("again")), [1]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_queue_counts_what_it_holds() {
        let now = Instant::now();
        let mut queue = Queue::new(4);
        queue.push_fresh((1..=2).map(record));
        queue.push_again(again(3, 1), now);
        assert_eq!(
            queue.push_refused(Batch {
                entries: vec![again(4, 0), again(5, 0)],
                suspect: false
            }),
            None
        );
        assert_eq!((queue.fresh(), queue.again(), queue.len()), (2, 3, 5));
    }
}
