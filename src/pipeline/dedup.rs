//! Which hashes are repeats of earlier ones, and how far back that is known.

use crate::base::hash::{Algorithm, Hash};
use crate::base::record::Place;
use crate::pipeline::window::Window;
use sha2::{Digest as _, Sha256};

/// How repeats are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Distinct {
    /// Among the last hashes taken: see `window`.
    #[default]
    InFlight,
    /// Of a list that is in the order of its hashes, which is checked: a repeat stands
    /// behind the first of its kind. Takes no memory.
    Sorted,
    /// Of any list, by sorting it on disk first.
    Exact,
}

impl Distinct {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Distinct::InFlight => "in-flight",
            Distinct::Sorted => "sorted",
            Distinct::Exact => "exact",
        }
    }
}

/// What the next hash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Not known.
    New,
    /// Known.
    Repeat,
    /// Before the last one, of which this is the place: the list is not sorted.
    OutOfOrder(Place),
}

/// The hashes that are known.
#[derive(Debug)]
pub(crate) enum Known {
    /// The last ones.
    Window(Box<Window>),
    /// The last one, of a list that is sorted. A run that is taken up begins without:
    /// a repeat at its very seam is written once more, which changes nothing.
    Last(Option<(Hash, Place)>),
}

impl Known {
    /// Nothing is known of hashes of `algorithm` yet; `with_row_keys` when items are known
    /// by a sort key from their rows, too.
    pub(crate) fn new(distinct: Distinct, algorithm: Algorithm, with_row_keys: bool) -> Known {
        let algorithm = match with_row_keys {
            // What is kept is the digest of both.
            true => Algorithm::Sha256,
            false => algorithm,
        };
        match distinct {
            Distinct::Sorted => Known::Last(None),
            // Near repeats need not be sorted.
            Distinct::InFlight | Distinct::Exact => Known::Window(Box::new(Window::new(algorithm))),
        }
    }

    /// Takes the next hash, which stands at `place`, with the sort key that its item takes
    /// from the row; empty where it takes none.
    pub(crate) fn take(&mut self, hash: &Hash, row_key: &[u8], place: Place) -> Seen {
        if !row_key.is_empty() {
            // Both together are what the item is known by.
            let digest = Sha256::new().chain_update(hash.as_bytes());
            let digest = digest.chain_update(row_key).finalize();
            return match Hash::from_bytes(&digest) {
                Some(digest) => self.take(&digest, &[], place),
                None => Seen::New,
            };
        }
        match self {
            Known::Window(window) => match window.take(hash) {
                true => Seen::New,
                false => Seen::Repeat,
            },
            Known::Last(last) => {
                if let Some((before, at)) = last {
                    match hash.as_bytes().cmp(before.as_bytes()) {
                        std::cmp::Ordering::Less => return Seen::OutOfOrder(*at),
                        std::cmp::Ordering::Equal => return Seen::Repeat,
                        std::cmp::Ordering::Greater => {}
                    }
                }
                *last = Some((*hash, place));
                Seen::New
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sorted_list_is_checked_and_its_repeats_are_found() {
        let mut known = Known::new(Distinct::Sorted, Algorithm::Md5, false);
        let mut take = |n: u8, line: u64| {
            let place = Place {
                source: 0,
                line,
                byte: 0,
            };
            known.take(&Hash::from_bytes(&[n; 16]).expect("16 bytes"), &[], place)
        };
        assert_eq!(take(1, 1), Seen::New);
        assert_eq!(take(1, 2), Seen::Repeat);
        assert_eq!(take(9, 3), Seen::New);
        let Seen::OutOfOrder(at) = take(8, 4) else {
            panic!("it is before the one of line 3");
        };
        assert_eq!(at.line, 3);
        assert_eq!(take(0xAB, 5), Seen::New);
    }

    #[test]
    fn with_a_sort_key_from_the_row_both_are_what_is_known() {
        let mut known = Known::new(Distinct::InFlight, Algorithm::Md5, true);
        let hash = Hash::from_bytes(&[1; 16]).expect("16 bytes");
        let place = Place {
            source: 0,
            line: 1,
            byte: 0,
        };
        let seen = [b"a", b"b", b"a"].map(|key| known.take(&hash, key, place));
        assert_eq!(seen, [Seen::New, Seen::New, Seen::Repeat]);
    }
}
