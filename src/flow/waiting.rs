//! Keys that wait to be asked for, and leave in batches as full as can be.
//!
//! A [verification](crate::commands::verify::options) and a [look-up](crate::commands::lookup::options) ask by the same rules.
//!
//! Keys that came back unread, or whose call was throttled or broken, wait until
//! their back-off is over and are then asked for together with others. A hash
//! that stands twice in the list may wait twice; DynamoDB refuses a call that
//! names a key twice, so one of them stays behind for the next.
//!
//! Pure: instants are arguments, nothing sleeps.

use crate::base::hash::Hash;
use crate::base::record::Record;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// How long a batch that is not full waits for more.
pub(crate) const LINGER: Duration = Duration::from_millis(200);

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The record.
    pub record: Record,
    /// How many calls for it were in vain.
    pub attempts: u32,
}

/// The keys of one call, in the order of their bytes, none twice.
#[derive(Debug)]
pub(crate) struct Keys(pub Vec<Entry>);

impl Keys {
    /// Where `hash` stands among them.
    pub(crate) fn find(&self, hash: &Hash) -> Option<usize> {
        self.0
            .binary_search_by(|e| e.record.hash.as_bytes().cmp(hash.as_bytes()))
            .ok()
    }
}

#[derive(Debug)]
struct Again {
    ready: Instant,
    /// Order of arrival, so that equals leave as they came.
    arrival: u64,
    entry: Entry,
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

/// The keys that wait. See the [module](self).
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Keys in a batch at most.
    most: usize,
    now: VecDeque<Entry>,
    again: BinaryHeap<Reverse<Again>>,
    arrivals: u64,
    /// Since when something is in `now` without a batch having left.
    since: Option<Instant>,
}

impl Waiting {
    /// Nothing waits yet; a batch has `most` keys at most.
    pub(crate) fn new(most: usize) -> Waiting {
        Waiting {
            most: most.max(1),
            now: VecDeque::new(),
            again: BinaryHeap::new(),
            arrivals: 0,
            since: None,
        }
    }

    /// Adds a record that can be asked for at once.
    pub(crate) fn push(&mut self, record: Record, now: Instant) {
        self.since.get_or_insert(now);
        self.now.push_back(Entry {
            record,
            attempts: 0,
        });
    }

    /// Adds a record that must be asked for again, not before `ready`.
    pub(crate) fn push_again(&mut self, entry: Entry, ready: Instant) {
        self.arrivals += 1;
        self.again.push(Reverse(Again {
            ready,
            arrival: self.arrivals,
            entry,
        }));
    }

    /// Those that can be asked for at once.
    pub(crate) fn ready(&self) -> usize {
        self.now.len()
    }

    /// Those whose call failed.
    pub(crate) fn again(&self) -> usize {
        self.again.len()
    }

    /// All of them.
    pub(crate) fn len(&self) -> usize {
        self.ready() + self.again()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When there may be a batch, if nothing more comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        let linger = self.since.map(|since| since + LINGER);
        let again = self.again.peek().map(|Reverse(a)| a.ready);
        linger.into_iter().chain(again).min()
    }

    /// The next batch at `now`: a full one, one that has waited long enough, or
    /// any when `flush`.
    pub(crate) fn compose(&mut self, now: Instant, flush: bool) -> Option<Keys> {
        while self.again.peek().is_some_and(|Reverse(a)| a.ready <= now)
            && let Some(Reverse(a)) = self.again.pop()
        {
            self.since.get_or_insert(now);
            // Before the others: what comes later in the list waits for them.
            self.now.push_front(a.entry);
        }
        let due = self.since.is_some_and(|since| since + LINGER <= now);
        if self.now.is_empty() || !(flush || due || self.now.len() >= self.most) {
            return None;
        }
        let count = self.now.len().min(self.most);
        let mut keys: Vec<Entry> = self.now.drain(..count).collect();
        keys.sort_unstable_by(|a, b| {
            let hashes = a.record.hash.as_bytes().cmp(b.record.hash.as_bytes());
            hashes.then_with(|| a.record.place.cmp(&b.record.place))
        });
        let left = &mut self.now;
        keys.dedup_by(|later, kept| {
            let twice = later.record.hash == kept.record.hash;
            if twice {
                left.push_front(later.clone());
            }
            twice
        });
        self.since = (!self.now.is_empty()).then_some(now);
        Some(Keys(keys))
    }

    /// One key alone, to see whether it is read, whatever it waits for. One that is
    /// ready, or else one that was never asked for, or else the next one that will be
    /// ready. Not always the same one: its partition alone may be the limit.
    pub(crate) fn compose_one(&mut self, now: Instant) -> Option<Keys> {
        let ready = self.again.peek().is_some_and(|Reverse(a)| a.ready <= now);
        let fresh = if ready { None } else { self.now.pop_front() };
        let one = fresh.or_else(|| Some(self.again.pop()?.0.entry));
        one.map(|entry| Keys(vec![entry]))
    }

    /// The first of `keys` alone; the others wait on.
    pub(crate) fn keep_one(&mut self, mut keys: Keys, now: Instant) -> Keys {
        let left = keys.0.split_off(keys.0.len().min(1));
        for entry in left.into_iter().rev() {
            self.since.get_or_insert(now);
            self.now.push_front(entry);
        }
        keys
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::record::Place;

    fn record(hash: u8, line: u64) -> Record {
        let place = Place {
            source: 0,
            line,
            byte: 0,
        };
        Record::new(Hash::from_bytes(&[hash; 16]).expect("16 bytes"), place)
    }

    fn lines(keys: Option<Keys>) -> Vec<u64> {
        let keys = keys.map_or_else(Vec::new, |k| k.0);
        keys.iter().map(|e| e.record.place.line).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_full_or_have_waited_or_are_the_last() {
        let start = Instant::now();
        let mut waiting = Waiting::new(100);
        assert_eq!((waiting.next(), waiting.is_empty()), (None, true));
        for n in 0..150 {
            waiting.push(record(n, u64::from(n)), start);
        }
        assert_eq!(
            lines(waiting.compose(start, false)),
            (0..100).collect::<Vec<_>>()
        );
        assert!(waiting.compose(start, false).is_none());
        assert_eq!(waiting.next(), Some(start + LINGER));
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
    async fn what_failed_waits_its_time_and_goes_with_others() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut waiting = Waiting::new(100);
        let failed = Entry {
            record: record(9, 1),
            attempts: 1,
        };
        waiting.push_again(failed.clone(), later);
        assert!(waiting.compose(start, true).is_none());
        assert_eq!(waiting.next(), Some(later));
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
    async fn one_key_leaves_alone_and_not_always_the_same() {
        let start = Instant::now();
        let later = start + Duration::from_secs(20);
        let mut waiting = Waiting::new(3);
        (1..=3).for_each(|n| waiting.push(record(n, u64::from(n)), start));
        let full = waiting.compose(start, false).expect("full");
        let one = waiting.keep_one(full, start);
        assert_eq!((lines(Some(one)), waiting.ready()), (vec![1], 2));
        for (hash, ready) in [(1, later), (4, start)] {
            let entry = Entry {
                record: record(hash, u64::from(hash)),
                attempts: 9,
            };
            waiting.push_again(entry, ready);
        }
        let left = [0; 5].map(|_| lines(waiting.compose_one(start)));
        assert_eq!(left, [vec![4], vec![2], vec![3], vec![1], vec![]]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_wait_for_their_backoff_are_released() {
        let start = Instant::now();
        let mut waiting = Waiting::new(3);
        for n in 1..=3 {
            let entry = Entry {
                record: record(n, u64::from(n)),
                attempts: 9,
            };
            waiting.push_again(entry, start + Duration::from_secs(u64::from(n)));
        }
        assert!(waiting.compose(start, true).is_none());
        waiting.release(start);
        let keys = waiting.compose(start, true).expect("all");
        assert_eq!(keys.0.iter().map(|e| e.attempts).sum::<u32>(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn no_batch_names_a_key_twice_and_none_is_lost() {
        let start = Instant::now();
        let mut waiting = Waiting::new(100);
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
