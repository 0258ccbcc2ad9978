//! The low-water mark: below it every line is settled.
//!
//! Batches are acknowledged in any order, and some come back again and again. A
//! run can only be taken up where *everything* before is in the books for good.
//! So what the reader hands over are [stretches](Stretch) of the input, one after
//! another, each with its own books; a record that is written, or settled
//! otherwise, is entered in those of its stretch; and the mark moves up over each
//! stretch at the bottom in which no line is open any more.
//!
//! Memory: a stretch of some 500 lines is 208 bytes, and no more than
//! [`MOST_STRETCHES`] are open above the mark: a reader that is further ahead than
//! that has to wait for the one item that is holding everything up.

use crate::base::record::{Place, Record};
use crate::pipeline::progress::counts::{Books, Settled};
use crate::pipeline::progress::sources::{Accounts, Behind};
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

/// Where everything below is settled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// The number of the source that it is in.
    pub source: u32,
    /// How much of that source is below.
    pub below: Below,
    /// The books of the lines of that source below.
    pub here: Books,
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

/// The mark of a run that is under way, and the [accounts](Accounts) of its sources:
/// the reader and the writer move them, the checkpoint looks. See the [module](self).
#[derive(Debug, Default)]
pub struct LowWater {
    inner: Mutex<Inner>,
    accounts: Accounts,
}

#[derive(Debug, Default)]
struct Inner {
    mark: Mark,
    open: VecDeque<Stretch>,
    /// The number of the first that is open.
    first: u64,
}

impl LowWater {
    /// Begins at `mark`, with the sources `behind` it.
    pub fn new(mark: Mark, behind: Behind) -> Self {
        LowWater {
            inner: Mutex::new(Inner {
                mark,
                ..Inner::default()
            }),
            accounts: Accounts::new(behind),
        }
    }

    /// The accounts of the sources.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
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

    /// The next stretch: its `records` are now open, and know that they are of it.
    pub fn open(&self, stretch: Stretch, records: &mut [Record]) {
        let mut inner = self.inner();
        let number = inner.first + inner.open.len() as u64;
        for record in records {
            record.stretch = number;
        }
        inner.open.push_back(stretch);
        let source = inner.advance();
        drop(inner);
        self.accounts.close_below(source);
    }

    /// `records` are settled.
    pub fn settle<'a>(&self, records: impl IntoIterator<Item = &'a Record>, how: Settled) {
        let mut inner = self.inner();
        // Mostly all are of one source.
        let (mut source, mut count) = (0, 0);
        for record in records {
            if record.place.source != source {
                self.accounts.settle(source, how, count);
                (source, count) = (record.place.source, 0);
            }
            count += 1;
            let at = record.stretch.checked_sub(inner.first);
            let at = at.and_then(|at| usize::try_from(at).ok());
            if let Some(stretch) = at.and_then(|at| inner.open.get_mut(at)) {
                stretch.books.enter(how, 1);
            }
        }
        self.accounts.settle(source, how, count);
        let source = inner.advance();
        drop(inner);
        self.accounts.close_below(source);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Moves the mark; the source that it is in then.
    fn advance(&mut self) -> u32 {
        while let Some(stretch) = self.open.pop_front_if(|s| s.books.balanced()) {
            self.first += 1;
            let mark = &mut self.mark;
            if stretch.end.source != mark.source {
                mark.source = stretch.end.source;
                mark.here = Books::default();
            }
            mark.books += stretch.books;
            mark.here += stretch.books;
            mark.below = Below {
                lines: stretch.end.line,
                bytes: stretch.end.byte,
            };
        }
        self.mark.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Hash;
    use crate::list::identity::Identity;
    use crate::pipeline::progress::sources::Account;
    use crate::source::version::ObjectVersion;
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

    fn below(water: &LowWater) -> (u32, u64, u64) {
        let mark = water.mark();
        (mark.source, mark.below.lines, mark.below.bytes)
    }

    /// Opens a stretch, with a record for each of its lines.
    fn open(water: &LowWater, stretch: Stretch) -> Vec<Record> {
        let Place { source, line, .. } = stretch.end;
        let lines = line - stretch.books.lines + 1..=line;
        let hash = Hash::from_bytes(&[1]).expect("a byte");
        let mut records: Vec<Record> = lines.map(|l| Record::new(hash, place(source, l))).collect();
        water.open(stretch, &mut records);
        records
    }

    #[test]
    fn the_mark_moves_only_over_what_is_settled_whatever_the_order() {
        let water = LowWater::default();
        let first = open(&water, stretch(0, 3, 3, 1)); // lines 1 to 3, the second a comment
        let second = open(&water, stretch(0, 5, 2, 0)); // lines 4 and 5
        assert_eq!(below(&water), (0, 0, 0));
        water.settle(&second, Settled::Written);
        assert_eq!(below(&water), (0, 0, 0), "lines 1 and 3 are open");
        water.settle([&first[2]], Settled::Rejected);
        assert_eq!(below(&water), (0, 0, 0));
        water.settle([&first[0]], Settled::Duplicate);
        assert_eq!(below(&water), (0, 5, 325));
        let books = water.mark().books;
        assert!(books.balanced());
        assert_eq!((books.lines, books.written, books.duplicates), (5, 2, 1));
        assert_eq!((books.rejected, books.skipped), (1, 1));
        assert_eq!(water.mark().here, books);
    }

    #[test]
    fn sources_follow_one_another_and_an_empty_one_counts_too() {
        let books = Books {
            lines: 2,
            written: 2,
            ..Books::default()
        };
        let mark = Mark {
            below: Below {
                lines: 2,
                bytes: 130,
            },
            here: books,
            books,
            ..Mark::default()
        };
        let water = LowWater::new(mark, Behind::default());
        for (n, uri) in (0..).zip(["a", "b", "c"]) {
            let account = Account {
                source: Identity::from(ObjectVersion {
                    uri: uri.into(),
                    ..ObjectVersion::default()
                }),
                read: 0,
                books: Books::default(),
            };
            water.accounts().begin(n, account);
        }
        let first = open(&water, stretch(0, 3, 1, 0));
        open(&water, stretch(1, 0, 0, 0));
        let last = open(&water, stretch(2, 1, 1, 0));
        water.settle(&last, Settled::Written);
        assert_eq!(below(&water), (0, 2, 130));
        assert_eq!(water.accounts().behind().count(), 0);
        water.settle(&first, Settled::Written);
        assert_eq!(below(&water), (2, 1, 65));
        let mark = water.mark();
        assert_eq!((mark.books.written, mark.here.written), (4, 1));
        // Those that are behind are closed, with what was written of each.
        let behind = water.accounts().behind();
        let written: Vec<u64> = behind.kept.iter().map(|a| a.books.written).collect();
        assert_eq!(written, [1, 0]);
    }

    #[test]
    fn too_far_ahead_is_said() {
        let water = LowWater::default();
        let mut first = Vec::new();
        for line in 1..=MOST_STRETCHES as u64 {
            assert!(!water.is_full());
            let records = open(&water, stretch(0, line, 1, 0));
            if line == 1 {
                first = records;
            }
        }
        assert!(water.is_full());
        water.settle(&first, Settled::Written);
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
            let mut records = Vec::new();
            for size in &sizes {
                let end = ends[ends.len() - 1] + size;
                records.extend(open(&water, stretch(0, end, *size, 0)));
                ends.push(end);
            }
            let total = ends[ends.len() - 1];
            fastrand::Rng::with_seed(seed).shuffle(&mut records);
            records.truncate(order.index(total as usize + 1));
            let mut is_open: Vec<bool> = vec![true; total as usize + 1];
            for record in &records {
                water.settle([record], Settled::Written);
                is_open[record.place.line as usize] = false;
                let lowest = (1..=total).find(|l| is_open[*l as usize]).unwrap_or(total + 1) - 1;
                let expected = ends.iter().copied().filter(|e| *e <= lowest).max().unwrap_or(0);
                prop_assert_eq!(water.mark().books.lines, expected);
                prop_assert!(water.mark().books.balanced());
            }
        }
    }
}
