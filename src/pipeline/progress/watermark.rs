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
pub(crate) const MOST_STRETCHES: usize = 16_384;

/// A stretch of the input, from the end of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Its end: the source, the lines before it, the bytes before it.
    pub end: Place,
    /// Its lines, and those of them that the reader has settled.
    pub books: Books,
}

/// What the reader hands to the writer at once: a stretch, and the records in it.
#[derive(Debug)]
pub(crate) struct HandOver {
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
pub(crate) struct LowWater {
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
    pub(crate) fn new(mark: Mark, behind: Behind) -> Self {
        LowWater {
            inner: Mutex::new(Inner {
                mark,
                ..Inner::default()
            }),
            accounts: Accounts::new(behind),
        }
    }

    /// The accounts of the sources.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The mark.
    pub(crate) fn mark(&self) -> Mark {
        self.inner().mark.clone()
    }

    /// Whether no further stretch may be opened before one at the bottom is
    /// settled.
    pub(crate) fn is_full(&self) -> bool {
        self.inner().open.len() >= MOST_STRETCHES
    }

    /// The next stretch: its `records` are now open, and know that they are of it.
    pub(crate) fn open(&self, stretch: Stretch, records: &mut [Record]) {
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
    pub(crate) fn settle<'a>(&self, records: impl IntoIterator<Item = &'a Record>, how: Settled) {
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
mod tests;
