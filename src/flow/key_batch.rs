//! Keys of one read call: distinct, in byte order, found by their hash.
//!
//! A hash that occurs twice in a list may wait twice. DynamoDB rejects a call with a
//! duplicate key, so one of them waits for the next call.

use crate::base::hash::Hash;
use crate::flow::retry_queue::{Entry, QueueItem};
use std::time::Duration;

/// Maximum time that an incomplete call waits for more keys.
pub(crate) const LINGER: Duration = Duration::from_millis(200);

/// An item that is read by its hash.
pub(crate) trait ReadKey {
    fn hash(&self) -> &Hash;
}

impl ReadKey for Hash {
    fn hash(&self) -> &Hash {
        self
    }
}

impl<T: ReadKey> QueueItem for T {
    fn split_duplicates(entries: &mut Vec<Entry<T>>) -> Vec<Entry<T>> {
        entries.sort_unstable_by(|a, b| a.item.hash().as_bytes().cmp(b.item.hash().as_bytes()));
        let is_same = |a: &Entry<T>, b: &Entry<T>| a.item.hash() == b.item.hash();
        if !entries.windows(2).any(|pair| is_same(&pair[0], &pair[1])) {
            return Vec::new();
        }
        let mut duplicates = Vec::new();
        let mut distinct: Vec<Entry<T>> = Vec::with_capacity(entries.len());
        for entry in entries.drain(..) {
            match distinct.last().is_some_and(|last| is_same(last, &entry)) {
                true => duplicates.push(entry),
                false => distinct.push(entry),
            }
        }
        *entries = distinct;
        duplicates
    }
}

/// Index of `hash` in the entries of a call; `None` if it is not a key of this call.
pub(crate) fn find_key<T: ReadKey>(entries: &[Entry<T>], hash: &Hash) -> Option<usize> {
    entries
        .binary_search_by(|e| e.item.hash().as_bytes().cmp(hash.as_bytes()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::retry_queue::{KindOptions, RetryQueue};
    use std::time::Duration;
    use tokio::time::Instant;

    fn hash(n: u8) -> Hash {
        Hash::from_bytes(&[n; 16]).expect("16 bytes")
    }

    #[test]
    fn calls_have_distinct_keys_in_byte_order_and_lose_none() {
        let now = Instant::now();
        let kind = KindOptions {
            max_items: 100,
            linger: Duration::from_millis(200),
        };
        let mut queue = RetryQueue::new(&[kind]);
        queue.extend(0, [3, 1, 2, 0, 1, 2, 3, 0, 1, 1].map(hash), now);
        let mut calls = Vec::new();
        while let Some(batch) = queue.compose(now, true) {
            assert_eq!(
                find_key(&batch.entries, &hash(1)),
                batch.entries.iter().position(|e| e.item == hash(1))
            );
            assert_eq!(find_key(&batch.entries, &hash(9)), None);
            calls.push(
                batch
                    .entries
                    .iter()
                    .map(|e| e.item.as_bytes()[0])
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(
            calls,
            [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![1], vec![1]]
        );
    }
}
