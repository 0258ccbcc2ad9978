//! The low-water mark: below it every line is settled.
//!
//! Batches are acknowledged in any order, and some come back again and again. A
//! run can only be taken up where *everything* before is in the books for good.
//! So what the reader hands over are [stretches](Stretch) of the input, one after
//! another, each with its own books; a record that is written, or settled
//! otherwise, is entered in those of its stretch; and the mark moves up over each
//! stretch at the bottom in which no line is open any more.
//!
//! Memory: a stretch of some 500 lines is 80 bytes, and no more than
//! [`MOST_STRETCHES`] are open above the mark: a reader that is further ahead than
//! that has to wait for the one item that is holding everything up.

use crate::books::Books;
use crate::record::{Place, Record};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Stretches above the mark at most: some 8 million lines, and 1.3 MB.
pub const MOST_STRETCHES: usize = 16_384;

/// A stretch of the input, from the end of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its end: the source, the lines before it, the bytes before it.
    pub end: Place,
    /// Its lines, and those of them that the reader has settled.
    pub books: Books,
}

/// What the reader hands to the writer at once: a stretch, and the records in it.
#[derive(Debug)]
pub struct HandOver {
    /// The stretch.
    pub stretch: Stretch,
    /// Its open lines.
    pub records: Vec<Record>,
}

impl From<Vec<Record>> for HandOver {
    /// Records alone, for one who keeps no mark.
    fn from(records: Vec<Record>) -> Self {
        let end = Place {
            source: 0,
            line: 0,
            byte: 0,
        };
        let books = Books::default();
        HandOver {
            stretch: Stretch { end, books },
            records,
        }
    }
}

/// How a record is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Acknowledged by DynamoDB.
    Written,
    /// Its deletion was acknowledged.
    Deleted,
    /// Found to be on its way already.
    Duplicate,
    /// Refused by DynamoDB for good.
    Rejected,
}

/// Where everything below is settled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// Lines and bytes of each source below the mark; the last is the one that the
    /// mark is in.
    pub sources: Vec<Below>,
    /// The books of all lines below. Nothing in them is open, and nothing failed.
    pub books: Books,
}

/// How much of a source is below the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Below {
    /// Lines.
    pub lines: u64,
    /// Bytes, as the lines have them: of the decoded source.
    pub bytes: u64,
}

/// The mark of a run that is under way: the reader and the writer move it, the
/// checkpoint looks. See the [module](self).
#[derive(Debug, Default)]
pub struct LowWater(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    mark: Mark,
    open: VecDeque<Stretch>,
}

impl LowWater {
    /// Begins at `mark`.
    pub fn new(mark: Mark) -> Self {
        LowWater(Mutex::new(Inner {
            mark,
            open: VecDeque::new(),
        }))
    }

    /// The mark.
    pub fn mark(&self) -> Mark {
        self.inner().mark.clone()
    }

    /// Whether no further stretch may be opened before one at the bottom is
    /// settled.
    pub fn is_full(&self) -> bool {
        self.inner().open.len() >= MOST_STRETCHES
    }

    /// The next stretch: its records are now open.
    pub fn open(&self, stretch: Stretch) {
        let mut inner = self.inner();
        inner.open.push_back(stretch);
        inner.advance();
    }

    /// The records at `places` are settled.
    pub fn settle(&self, places: impl IntoIterator<Item = Place>, how: Settled) {
        let mut inner = self.inner();
        for place in places {
            let before = |s: &Stretch| (s.end.source, s.end.line) < (place.source, place.line);
            let at = inner.open.partition_point(before);
            let Some(stretch) = inner.open.get_mut(at) else {
                continue;
            };
            match how {
                Settled::Written => stretch.books.written += 1,
                Settled::Deleted => stretch.books.deleted += 1,
                Settled::Duplicate => stretch.books.duplicates += 1,
                Settled::Rejected => stretch.books.rejected += 1,
            }
        }
        inner.advance();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn advance(&mut self) {
        while let Some(stretch) = self.open.pop_front_if(|s| s.books.balanced()) {
            self.mark.books += stretch.books;
            let source = stretch.end.source as usize;
            if self.mark.sources.len() <= source {
                self.mark.sources.resize(source + 1, Below::default());
            }
            self.mark.sources[source] = Below {
                lines: stretch.end.line,
                bytes: stretch.end.byte,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(source: u32, line: u64) -> Place {
        Place {
            source,
            line,
            byte: line * 65,
        }
    }

    /// A stretch up to `line` of `lines` lines, of which `skipped` are settled.
    fn stretch(source: u32, line: u64, lines: u64, skipped: u64) -> Stretch {
        Stretch {
            end: place(source, line),
            books: Books {
                lines,
                skipped,
                ..Books::default()
            },
        }
    }

    fn below(water: &LowWater) -> Vec<(u64, u64)> {
        let mark = water.mark();
        mark.sources.iter().map(|b| (b.lines, b.bytes)).collect()
    }

    #[test]
    fn the_mark_moves_only_over_what_is_settled_whatever_the_order() {
        let water = LowWater::default();
        water.open(stretch(0, 3, 3, 1)); // lines 1 to 3, one of them a comment
        water.open(stretch(0, 5, 2, 0)); // lines 4 and 5
        assert!(below(&water).is_empty());
        water.settle([place(0, 4), place(0, 5)], Settled::Written);
        assert!(below(&water).is_empty(), "lines 1 and 3 are open");
        water.settle([place(0, 3)], Settled::Rejected);
        assert!(below(&water).is_empty());
        water.settle([place(0, 1)], Settled::Duplicate);
        assert_eq!(below(&water), [(5, 325)]);
        let books = water.mark().books;
        assert!(books.balanced());
        assert_eq!((books.lines, books.written, books.duplicates), (5, 2, 1));
        assert_eq!((books.rejected, books.skipped), (1, 1));
    }

    #[test]
    fn sources_follow_one_another_and_an_empty_one_counts_too() {
        let water = LowWater::new(Mark {
            sources: vec![Below {
                lines: 2,
                bytes: 130,
            }],
            books: Books {
                lines: 2,
                written: 2,
                ..Books::default()
            },
        });
        water.open(stretch(0, 3, 1, 0));
        water.open(stretch(1, 0, 0, 0));
        water.open(stretch(2, 1, 1, 0));
        water.settle([place(2, 1)], Settled::Written);
        assert_eq!(below(&water), [(2, 130)]);
        water.settle([place(0, 3)], Settled::Written);
        assert_eq!(below(&water), [(3, 195), (0, 0), (1, 65)]);
        assert_eq!(water.mark().books.written, 4);
    }

    #[test]
    fn too_far_ahead_is_said() {
        let water = LowWater::default();
        for line in 1..=MOST_STRETCHES as u64 {
            assert!(!water.is_full());
            water.open(stretch(0, line, 1, 0));
        }
        assert!(water.is_full());
        water.settle([place(0, 1)], Settled::Written);
        assert!(!water.is_full());
    }

    proptest! {
        /// Settled in any order, the mark is at each moment where a plain list of
        /// the lines says.
        #[test]
        fn it_agrees_with_a_plain_list(
            sizes in prop::collection::vec(1u64..6, 1..20),
            order in any::<prop::sample::Index>(),
            seed in any::<u64>(),
        ) {
            let water = LowWater::default();
            let mut ends = vec![0];
            for size in &sizes {
                let end = ends[ends.len() - 1] + size;
                water.open(stretch(0, end, *size, 0));
                ends.push(end);
            }
            let total = ends[ends.len() - 1];
            let mut lines: Vec<u64> = (1..=total).collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut lines);
            lines.truncate(order.index(total as usize + 1));
            let mut open: Vec<bool> = vec![true; total as usize + 1];
            for line in &lines {
                water.settle([place(0, *line)], Settled::Written);
                open[*line as usize] = false;
                let lowest = (1..=total).find(|l| open[*l as usize]).unwrap_or(total + 1) - 1;
                let expected = ends.iter().copied().filter(|e| *e <= lowest).max().unwrap_or(0);
                prop_assert_eq!(water.mark().books.lines, expected);
                prop_assert!(water.mark().books.balanced());
            }
        }
    }
}
