//! The key queue: keys to read, composed into full batches.
//!
//! Used by [verify](crate::commands::verify::options) and
//! [lookup](crate::commands::lookup::options).
//!
//! Unprocessed keys, and those of a throttled or failed call, wait out their back-off.
//! Then they are requested together with others. A hash that occurs twice in the list
//! may wait twice. DynamoDB rejects a call with a duplicate key, so one of them waits
//! for the next call.
//!
//! Pure: instants are arguments, nothing sleeps.

use crate::base::hash::Hash;
use crate::base::record::Record;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum time that an incomplete batch waits for more keys.
pub(crate) const LINGER: Duration = Duration::from_millis(200);

/// A record with its number of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The record.
    pub record: Record,
    /// Calls that failed to read it.
    pub attempts: u32,
}

/// The keys of one call, distinct and in byte order.
#[derive(Debug)]
pub(crate) struct KeyBatch(pub Vec<Entry>);

impl KeyBatch {
    /// The index of `hash`; `None` if it is not a key of this call.
    pub(crate) fn find(&self, hash: &Hash) -> Option<usize> {
        self.0
            .binary_search_by(|e| e.record.hash.as_bytes().cmp(hash.as_bytes()))
            .ok()
    }
}

#[derive(Debug)]
struct Delayed {
    ready: Instant,
    /// Number of the arrival, which orders keys of the same time.
    arrival: u64,
    entry: Entry,
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

/// The waiting keys. See the [module](self).
#[derive(Debug)]
pub(crate) struct KeyQueue {
    /// Maximum number of keys in a batch.
    max_keys: usize,
    ready: VecDeque<Entry>,
    delayed: BinaryHeap<Reverse<Delayed>>,
    arrivals: u64,
    /// Start of the wait of the keys in `ready` for a batch; `None` if there are none.
    since: Option<Instant>,
}

impl KeyQueue {
    /// Creates an empty queue with batches of at most `max_keys` keys.
    pub(crate) fn new(max_keys: usize) -> KeyQueue {
        KeyQueue {
            max_keys: max_keys.max(1),
            ready: VecDeque::new(),
            delayed: BinaryHeap::new(),
            arrivals: 0,
            since: None,
        }
    }

    /// Adds a record to request at once.
    pub(crate) fn push(&mut self, record: Record, now: Instant) {
        self.since.get_or_insert(now);
        self.ready.push_back(Entry {
            record,
            attempts: 0,
        });
    }

    /// Adds a record to retry, not before `ready`.
    pub(crate) fn push_retry(&mut self, entry: Entry, ready: Instant) {
        self.arrivals += 1;
        self.delayed.push(Reverse(Delayed {
            ready,
            arrival: self.arrivals,
            entry,
        }));
    }

    /// Number of keys that are ready.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Number of keys that wait for a retry.
    pub(crate) fn retries(&self) -> usize {
        self.delayed.len()
    }

    /// Number of all waiting keys.
    pub(crate) fn len(&self) -> usize {
        self.ready() + self.retries()
    }

    /// True if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Time of the next batch if no key is added; `None` if nothing waits.
    pub(crate) fn next_ready(&self) -> Option<Instant> {
        let linger = self.since.map(|since| since + LINGER);
        let retry = self.delayed.peek().map(|Reverse(a)| a.ready);
        linger.into_iter().chain(retry).min()
    }

    /// The next batch at `now`: a full one, one that has waited long enough, or any if
    /// `flush`.
    pub(crate) fn compose(&mut self, now: Instant, flush: bool) -> Option<KeyBatch> {
        while self.delayed.peek().is_some_and(|Reverse(a)| a.ready <= now)
            && let Some(Reverse(a)) = self.delayed.pop()
        {
            self.since.get_or_insert(now);
            // In front of the others, because answers keep the order of the list.
            self.ready.push_front(a.entry);
        }
        let due = self.since.is_some_and(|since| since + LINGER <= now);
        if self.ready.is_empty() || !(flush || due || self.ready.len() >= self.max_keys) {
            return None;
        }
        let count = self.ready.len().min(self.max_keys);
        let mut keys: Vec<Entry> = self.ready.drain(..count).collect();
        keys.sort_unstable_by(|a, b| {
            let hashes = a.record.hash.as_bytes().cmp(b.record.hash.as_bytes());
            hashes.then_with(|| a.record.position.cmp(&b.record.position))
        });
        let left = &mut self.ready;
        keys.dedup_by(|later, kept| {
            let same_key = later.record.hash == kept.record.hash;
            if same_key {
                left.push_front(later.clone());
            }
            same_key
        });
        self.since = (!self.ready.is_empty()).then_some(now);
        Some(KeyBatch(keys))
    }

    /// A batch of one key as a probe, regardless of its back-off. It is a ready retry,
    /// or else a new key, or else the next retry. The choice varies, because one
    /// partition alone may be the limit.
    pub(crate) fn compose_one(&mut self, now: Instant) -> Option<KeyBatch> {
        let ready = self.delayed.peek().is_some_and(|Reverse(a)| a.ready <= now);
        let fresh = if ready { None } else { self.ready.pop_front() };
        let one = fresh.or_else(|| Some(self.delayed.pop()?.0.entry));
        one.map(|entry| KeyBatch(vec![entry]))
    }

    /// Keeps the first of `keys`; the others go back to the queue.
    pub(crate) fn keep_first(&mut self, mut keys: KeyBatch, now: Instant) -> KeyBatch {
        let left = keys.0.split_off(keys.0.len().min(1));
        for entry in left.into_iter().rev() {
            self.since.get_or_insert(now);
            self.ready.push_front(entry);
        }
        keys
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::record::Position;

    fn record(hash: u8, line: u64) -> Record {
        let place = Position {
            source: 0,
            line,
            byte: 0,
        };
        Record::new(Hash::from_bytes(&[hash; 16]).expect("16 bytes"), place)
    }

    fn lines(keys: Option<KeyBatch>) -> Vec<u64> {
        let keys = keys.map_or_else(Vec::new, |k| k.0);
        keys.iter().map(|e| e.record.position.line).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_full_or_lingered_or_flushed() {
        let start = Instant::now();
        let mut waiting = KeyQueue::new(100);
        assert_eq!((waiting.next_ready(), waiting.is_empty()), (None, true));
        for n in 0..150 {
            waiting.push(record(n, u64::from(n)), start);
        }
        assert_eq!(
            lines(waiting.compose(start, false)),
            (0..100).collect::<Vec<_>>()
        );
        assert!(waiting.compose(start, false).is_none());
        assert_eq!(waiting.next_ready(), Some(start + LINGER));
        let before = start + LINGER - Duration::from_millis(1);
        assert!(waiting.compose(before, false).is_none());
        assert_eq!(
            lines(waiting.compose(start + LINGER, false)),
            (100..150).collect::<Vec<_>>()
        );
        waiting.push(record(7, 7), start);
        assert_eq!(lines(waiting.compose(start, true)), [7]);
        assert!(waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn retries_wait_out_their_backoff_and_join_other_keys() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut waiting = KeyQueue::new(100);
        let failed = Entry {
            record: record(9, 1),
            attempts: 1,
        };
        waiting.push_retry(failed.clone(), later);
        assert!(waiting.compose(start, true).is_none());
        assert_eq!(waiting.next_ready(), Some(later));
        waiting.push(record(3, 2), later);
        let keys = waiting.compose(later, true).expect("a batch");
        assert_eq!(
            keys.0.iter().map(|e| e.attempts).collect::<Vec<_>>(),
            [0, 1]
        );
        assert_eq!(keys.find(&failed.record.hash), Some(1));
        assert_eq!(keys.find(&record(4, 0).hash), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_has_one_key_and_the_key_varies() {
        let start = Instant::now();
        let later = start + Duration::from_secs(20);
        let mut waiting = KeyQueue::new(3);
        (1..=3).for_each(|n| waiting.push(record(n, u64::from(n)), start));
        let full = waiting.compose(start, false).expect("full");
        let one = waiting.keep_first(full, start);
        assert_eq!((lines(Some(one)), waiting.ready()), (vec![1], 2));
        for (hash, ready) in [(1, later), (4, start)] {
            let entry = Entry {
                record: record(hash, u64::from(hash)),
                attempts: 9,
            };
            waiting.push_retry(entry, ready);
        }
        let left = [0; 5].map(|_| lines(waiting.compose_one(start)));
        assert_eq!(left, [vec![4], vec![2], vec![3], vec![1], vec![]]);
    }

    #[tokio::test(start_paused = true)]
    async fn release_ends_the_backoff_of_all_retries() {
        let start = Instant::now();
        let mut waiting = KeyQueue::new(3);
        for n in 1..=3 {
            let entry = Entry {
                record: record(n, u64::from(n)),
                attempts: 9,
            };
            waiting.push_retry(entry, start + Duration::from_secs(u64::from(n)));
        }
        assert!(waiting.compose(start, true).is_none());
        waiting.release_delayed(start);
        let keys = waiting.compose(start, true).expect("all");
        assert_eq!(keys.0.iter().map(|e| e.attempts).sum::<u32>(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn batches_have_distinct_keys_and_lose_none() {
        let start = Instant::now();
        let mut waiting = KeyQueue::new(100);
        for line in 0..10 {
            waiting.push(record((line % 4) as u8, line), start);
        }
        let mut batches = Vec::new();
        while let Some(keys) = waiting.compose(start, true) {
            let hashes: std::collections::HashSet<_> =
                keys.0.iter().map(|e| e.record.hash).collect();
            assert_eq!(hashes.len(), keys.0.len());
            batches.push(keys.0.len());
        }
        assert_eq!(batches, [4, 4, 2]);
    }
}
