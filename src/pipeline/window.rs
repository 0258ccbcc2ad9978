//! Window over the latest hashes of the input, to find duplicates.
//!
//! DynamoDB rejects a batch with the same key twice, and a key written twice costs
//! twice. Duplicates are mostly neighbours (sorted lists, one row per file name). So a
//! ring remembers the last [`WINDOW_HASHES`] different hashes exactly. A hash in the ring
//! is a duplicate and is not sent. A duplicate of a hash that has left the ring is written
//! again, which changes nothing in the table, and counts as written.
//!
//! Memory: the raw bytes of the ring (2 MiB for SHA-256), and a code and an index of a
//! few bytes per entry. Entries are compared in full, so there are no false duplicates.

use crate::base::hash::{Algorithm, Hash};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

/// Number of different hashes in the window: more than four times the items in flight at
/// the highest concurrency, and 2 MiB of memory for SHA-256.
pub(crate) const WINDOW_HASHES: usize = 65_536;

/// The last hashes of the input. See the module.
#[derive(Debug)]
pub struct Window {
    ring: Vec<u8>,
    /// Index code of each hash, to remove the oldest without hashing it again.
    codes: Vec<u64>,
    hash_bytes: usize,
    capacity: usize,
    next: usize,
    index: HashTable<u32>,
    /// Random seed: a hostile list must not be able to slow the index down.
    hasher: RandomState,
}

impl Window {
    /// A window over the last `WINDOW_HASHES` hashes of `algorithm`.
    pub fn new(algorithm: Algorithm) -> Self {
        Window::with_capacity(algorithm, WINDOW_HASHES)
    }

    fn with_capacity(algorithm: Algorithm, capacity: usize) -> Self {
        Window {
            ring: Vec::new(),
            codes: Vec::new(),
            hash_bytes: algorithm.bytes(),
            capacity,
            next: 0,
            index: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// Inserts `hash`; returns false if it is in the window already.
    pub fn insert(&mut self, hash: &Hash) -> bool {
        let key = hash.as_bytes();
        debug_assert_eq!(key.len(), self.hash_bytes);
        let Window {
            ring,
            codes,
            hash_bytes: width,
            index,
            ..
        } = self;
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let code = hasher.finish();
        let slot = |at: u32| &ring[at as usize * *width..(at as usize + 1) * *width];
        if index.find(code, |&at| slot(at) == key).is_some() {
            return false;
        }
        let at = self.next;
        self.next = (at + 1) % self.capacity;
        if codes.len() == self.capacity {
            // Remove the oldest.
            if let Ok(entry) = index.find_entry(codes[at], |&other| other == at as u32) {
                entry.remove();
            }
            ring[at * *width..(at + 1) * *width].copy_from_slice(key);
            codes[at] = code;
        } else {
            ring.extend_from_slice(key);
            codes.push(code);
        }
        index.insert_unique(code, at as u32, |&at| codes[at as usize]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn md5(n: u32) -> Hash {
        let mut raw = [0xAA; 16];
        raw[..4].copy_from_slice(&n.to_be_bytes());
        Hash::from_bytes(&raw).expect("16 bytes")
    }

    #[test]
    fn a_duplicate_is_found_as_long_as_the_hash_is_in_the_window() {
        let mut window = Window::with_capacity(Algorithm::Md5, 3);
        assert!(window.insert(&md5(1)));
        assert!(!window.insert(&md5(1)));
        assert!(window.insert(&md5(2)));
        assert!(window.insert(&md5(3)));
        assert!(!window.insert(&md5(1)), "the third back is still there");
        assert!(window.insert(&md5(4)), "pushes 1 out");
        assert!(window.insert(&md5(1)), "forgotten");
        assert!(!window.insert(&md5(4)));
        assert!(!window.insert(&md5(3)));
    }

    #[test]
    fn the_window_agrees_with_a_plain_list_over_many_turns_of_the_ring() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut window = Window::with_capacity(Algorithm::Md5, 50);
        let mut plain: std::collections::VecDeque<u32> = Default::default();
        for _ in 0..20_000 {
            let n = random.u32(0..100);
            let new = !plain.contains(&n);
            assert_eq!(window.insert(&md5(n)), new);
            if new {
                plain.push_back(n);
                if plain.len() > 50 {
                    plain.pop_front();
                }
            }
        }
        assert_eq!(window.index.len(), 50);
    }
}
