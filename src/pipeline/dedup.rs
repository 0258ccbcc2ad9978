//! Detection of duplicates: hashes that occurred earlier in the input.

use crate::base::hash::{Algorithm, Hash};
use crate::base::record::Position;
use crate::pipeline::window::Window;
use sha2::{Digest as _, Sha256};

/// Method of finding duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Distinct {
    /// Compares with the last 65,536 different hashes: see `window`.
    #[default]
    InFlight,
    /// Compares with the last hash only, and checks that the list is sorted by hash. Needs
    /// no memory.
    Sorted,
    /// Finds every duplicate of any list, by sorting it on disk first.
    Exact,
}

impl Distinct {
    /// Name of the method on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Distinct::InFlight => "in-flight",
            Distinct::Sorted => "sorted",
            Distinct::Exact => "exact",
        }
    }
}

/// Verdict on the next hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not seen before.
    New,
    Duplicate,
    /// Less than the previous hash, whose position this is: the list is not sorted.
    OutOfOrder(Position),
}

/// State of duplicate detection.
#[derive(Debug)]
pub(crate) enum Dedup {
    /// The last hashes.
    Window(Box<Window>),
    /// The last hash of a sorted list. A resumed run starts without one, so it may write a
    /// duplicate at that point again, which changes nothing.
    LastHash(Option<(Hash, Position)>),
}

impl Dedup {
    /// An empty state for hashes of `algorithm`. Set `with_row_keys` if the items also
    /// have a sort key from their rows.
    pub(crate) fn new(distinct: Distinct, algorithm: Algorithm, with_row_keys: bool) -> Dedup {
        let algorithm = match with_row_keys {
            // The state keeps the SHA-256 of hash and sort key.
            true => Algorithm::Sha256,
            false => algorithm,
        };
        match distinct {
            Distinct::Sorted => Dedup::LastHash(None),
            // Dropping near duplicates early saves sorting them.
            Distinct::InFlight | Distinct::Exact => Dedup::Window(Box::new(Window::new(algorithm))),
        }
    }

    /// Checks the next hash, at position `place`, and remembers it. `row_key` is the sort
    /// key that the item takes from its row; empty if there is none.
    pub(crate) fn check(&mut self, hash: &Hash, row_key: &[u8], place: Position) -> Verdict {
        if !row_key.is_empty() {
            // The item is identified by hash and sort key together.
            let digest = Sha256::new().chain_update(hash.as_bytes());
            let digest = digest.chain_update(row_key).finalize();
            return match Hash::from_bytes(&digest) {
                Some(digest) => self.check(&digest, &[], place),
                None => Verdict::New,
            };
        }
        match self {
            Dedup::Window(window) => match window.insert(hash) {
                true => Verdict::New,
                false => Verdict::Duplicate,
            },
            Dedup::LastHash(last) => {
                if let Some((before, at)) = last {
                    match hash.as_bytes().cmp(before.as_bytes()) {
                        std::cmp::Ordering::Less => return Verdict::OutOfOrder(*at),
                        std::cmp::Ordering::Equal => return Verdict::Duplicate,
                        std::cmp::Ordering::Greater => {}
                    }
                }
                *last = Some((*hash, place));
                Verdict::New
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_sorted_list_duplicates_are_found_and_a_wrong_order_is_detected() {
        let mut known = Dedup::new(Distinct::Sorted, Algorithm::Md5, false);
        let mut take = |n: u8, line: u64| {
            let place = Position {
                source: 0,
                line,
                byte: 0,
            };
            known.check(&Hash::from_bytes(&[n; 16]).expect("16 bytes"), &[], place)
        };
        assert_eq!(take(1, 1), Verdict::New);
        assert_eq!(take(1, 2), Verdict::Duplicate);
        assert_eq!(take(9, 3), Verdict::New);
        let Verdict::OutOfOrder(at) = take(8, 4) else {
            panic!("it is less than the hash of line 3");
        };
        assert_eq!(at.line, 3);
        assert_eq!(take(0xAB, 5), Verdict::New);
    }

    #[test]
    fn with_a_sort_key_from_the_row_only_the_same_pair_is_a_duplicate() {
        let mut known = Dedup::new(Distinct::InFlight, Algorithm::Md5, true);
        let hash = Hash::from_bytes(&[1; 16]).expect("16 bytes");
        let place = Position {
            source: 0,
            line: 1,
            byte: 0,
        };
        let seen = [b"a", b"b", b"a"].map(|key| known.check(&hash, key, place));
        assert_eq!(seen, [Verdict::New, Verdict::New, Verdict::Duplicate]);
    }
}
