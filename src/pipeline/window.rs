//! Which hashes were taken a short while ago: the window of `duplicates`.
//!
//! DynamoDB refuses a batch that names one key twice, and a key written twice
//! costs twice. A list that repeats itself mostly repeats neighbours (sorted
//! lists, one row a file name). So the last [`WINDOW`] different hashes taken
//! from the input are remembered, exactly, in a ring: a hash that is among them
//! is a duplicate and is not sent. One that comes again later than that is
//! written again, which changes nothing in the table, and counts as written.
//!
//! Memory: the raw bytes of the ring (2 MiB for SHA-256), and a code and an index
//! of a few bytes an entry. No hash is taken for another: entries are compared
//! whole.

use crate::base::hash::{Algorithm, Hash};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

/// How many different hashes back a repeated one is recognised. More than four
/// times what can be on its way at once at the highest concurrency, and 2 MiB
/// of memory for SHA-256.
pub(crate) const WINDOW: usize = 65_536;

/// The last hashes taken. See the module.
#[derive(Debug)]
pub struct Window {
    ring: Vec<u8>,
    /// The code of each in the index, so that one that makes room is found again
    /// without looking at it.
    codes: Vec<u64>,
    width: usize,
    capacity: usize,
    next: usize,
    index: HashTable<u32>,
    /// Seeded at random: the lists may come from somebody who would like this
    /// table to be slow.
    hasher: RandomState,
}

impl Window {
    /// A window over the last `WINDOW` hashes of `algorithm`.
    pub fn new(algorithm: Algorithm) -> Self {
        Window::with_capacity(algorithm, WINDOW)
    }

    fn with_capacity(algorithm: Algorithm, capacity: usize) -> Self {
        Window {
            ring: Vec::new(),
            codes: Vec::new(),
            width: algorithm.bytes(),
            capacity,
            next: 0,
            index: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// Takes `hash`; false when it is in the window already.
    pub fn take(&mut self, hash: &Hash) -> bool {
        let key = hash.as_bytes();
        debug_assert_eq!(key.len(), self.width);
        let Window {
            ring,
            codes,
            width,
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
            // The oldest makes room.
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
    fn a_repeated_hash_is_known_as_long_as_it_is_in_the_window() {
        let mut window = Window::with_capacity(Algorithm::Md5, 3);
        assert!(window.take(&md5(1)));
        assert!(!window.take(&md5(1)));
        assert!(window.take(&md5(2)));
        assert!(window.take(&md5(3)));
        assert!(!window.take(&md5(1)), "the third back is still there");
        assert!(window.take(&md5(4)), "pushes 1 out");
        assert!(window.take(&md5(1)), "forgotten");
        assert!(!window.take(&md5(4)));
        assert!(!window.take(&md5(3)));
    }

    #[test]
    fn it_agrees_with_a_plain_list_over_many_turns_of_the_ring() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut window = Window::with_capacity(Algorithm::Md5, 50);
        let mut plain: std::collections::VecDeque<u32> = Default::default();
        for _ in 0..20_000 {
            let n = random.u32(0..100);
            let new = !plain.contains(&n);
            assert_eq!(window.take(&md5(n)), new);
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
