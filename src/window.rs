//! Which hashes were taken a short while ago: the window of `duplicates`.
//!
//! DynamoDB refuses a batch that names one key twice, and a key written twice
//! costs twice. A list that repeats itself mostly repeats neighbours (sorted
//! lists, one row a file name). So the last [`WINDOW`] different hashes taken
//! from the input are remembered, exactly, in a ring: a hash that is among them
//! is a duplicate and is not sent. One that comes again later than that is
//! written again, which changes nothing in the table, and counts as written.
//!
//! Memory: the raw bytes of the ring (2 MiB for SHA-256), and an [index](Index) of
//! 20 bytes an entry. No hash is taken for another: entries are compared whole.

use crate::algorithm::{Algorithm, Hash};
use foldhash::quality::RandomState;
use std::hash::{BuildHasher, Hasher};

/// How many different hashes back a repeated one is recognised. More than four
/// times what can be on its way at once at the highest concurrency, and 2 MiB
/// of memory for SHA-256.
pub const WINDOW: usize = 65_536;

/// The last hashes taken. See the [module](self).
#[derive(Debug)]
pub struct Window {
    ring: Vec<u8>,
    /// The tag of each in the index, so that one that makes room is found again
    /// without looking at it.
    tags: Vec<u32>,
    width: usize,
    capacity: usize,
    next: usize,
    index: Index,
    /// Seeded at random: the lists may come from somebody who would like this
    /// table to be slow.
    hasher: RandomState,
}

impl Window {
    /// A window over the last [`WINDOW`] hashes of `algorithm`.
    pub fn new(algorithm: Algorithm) -> Self {
        Window::with_capacity(algorithm, WINDOW)
    }

    fn with_capacity(algorithm: Algorithm, capacity: usize) -> Self {
        Window {
            ring: Vec::new(),
            tags: Vec::new(),
            width: algorithm.bytes(),
            capacity,
            next: 0,
            index: Index::new(capacity),
            hasher: RandomState::default(),
        }
    }

    /// Takes `hash`; false when it is in the window already.
    pub fn take(&mut self, hash: &Hash) -> bool {
        let key = hash.as_bytes();
        debug_assert_eq!(key.len(), self.width);
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let tag = hasher.finish() as u32;
        let slot = |at: usize| at * self.width..(at + 1) * self.width;
        if self.index.has(tag, |at| &self.ring[slot(at)] == key) {
            return false;
        }
        let at = self.next;
        self.next = (at + 1) % self.capacity;
        if self.tags.len() == self.capacity {
            // The oldest makes room.
            self.index.remove(self.tags[at], at);
            self.ring[slot(at)].copy_from_slice(key);
            self.tags[at] = tag;
        } else {
            self.ring.extend_from_slice(key);
            self.tags.push(tag);
        }
        self.index.insert(tag, at);
        true
    }
}

/// Where in the ring the entries of a tag are: open addressing with linear probing,
/// half full at most.
///
/// A map of a well-kept crate does the same, with its marks and its entries apart.
/// Here, where most of what is asked for is not there and each entry leaves again,
/// they are in one word, and looking for one costs one miss of the cache instead of
/// two: a run spends a twentieth less.
#[derive(Debug)]
struct Index {
    /// The tag, and the place in the ring plus one; nothing is 0.
    words: Vec<u64>,
}

impl Index {
    /// For `capacity` entries at most.
    fn new(capacity: usize) -> Self {
        Index {
            words: vec![0; (capacity * 2).next_power_of_two()],
        }
    }

    /// Where the word stands that is looked for first.
    fn home(&self, tag: u32) -> usize {
        tag as usize & self.mask()
    }

    fn mask(&self) -> usize {
        self.words.len() - 1
    }

    /// Whether there is an entry of `tag` whose place `is_it`.
    fn has(&self, tag: u32, is_it: impl Fn(usize) -> bool) -> bool {
        let mut i = self.home(tag);
        while let Some((other, at)) = read(self.words[i]) {
            if other == tag && is_it(at) {
                return true;
            }
            i = (i + 1) & self.mask();
        }
        false
    }

    /// Enters one that is not there.
    fn insert(&mut self, tag: u32, at: usize) {
        let mut i = self.home(tag);
        while self.words[i] != 0 {
            i = (i + 1) & self.mask();
        }
        self.words[i] = u64::from(tag) << 32 | (at as u64 + 1);
    }

    /// Takes one out, and closes the gap.
    fn remove(&mut self, tag: u32, at: usize) {
        let mask = self.mask();
        let mut gap = self.home(tag);
        while let Some(entry) = read(self.words[gap])
            && entry != (tag, at)
        {
            gap = (gap + 1) & mask;
        }
        let mut i = gap;
        loop {
            i = (i + 1) & mask;
            let Some((tag, _)) = read(self.words[i]) else {
                break;
            };
            // One that would be before its home stays.
            let home = self.home(tag);
            if i.wrapping_sub(home) & mask >= i.wrapping_sub(gap) & mask {
                self.words[gap] = self.words[i];
                gap = i;
            }
        }
        self.words[gap] = 0;
    }
}

/// The tag and the place of a word that is not empty.
fn read(word: u64) -> Option<(u32, usize)> {
    let place = (word as u32).checked_sub(1)?;
    Some(((word >> 32) as u32, place as usize))
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
        let kept = window.index.words.iter().filter(|word| **word != 0);
        assert_eq!(kept.count(), 50);
    }

    #[test]
    fn an_index_whose_entries_all_want_one_place_finds_each() {
        let mut index = Index::new(8);
        // The last place, and around the end.
        for at in 0..8 {
            index.insert(if at < 5 { 15 } else { 0 }, at);
        }
        for gone in [2, 6, 0, 7, 4, 1, 5, 3] {
            let tag = |at| if at < 5 { 15 } else { 0 };
            assert!(index.has(tag(gone), |at| at == gone));
            index.remove(tag(gone), gone);
            assert!(!index.has(tag(gone), |at| at == gone));
        }
        assert!(index.words.iter().all(|word| *word == 0));
    }
}
