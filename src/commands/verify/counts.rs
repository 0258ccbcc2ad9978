//! The books of a verification: every line that was read is in exactly one
//! column.
//!
//! `lines = found + missing + different + duplicates + rejected + skipped +
//! unchecked`, always. The reader counts lines, duplicates, rejected and skipped
//! ones in its own meters; what is asked of the table is counted here, where the
//! answers are looked at. The sum is a proof, not a definition.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::pipeline::progress::counts::Meters;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// Where the lines went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct VerifyBooks {
    /// Lines read.
    pub lines: u64,
    /// In the table, with every attribute that was named.
    pub found: u64,
    /// Not in the table.
    pub missing: u64,
    /// In the table, but an attribute that was named is another or lacking.
    pub different: u64,
    /// Hashes that were taken from this run's input a short while ago.
    pub duplicates: u64,
    /// Lines that are no hash of this kind.
    pub rejected: u64,
    /// Blank lines, comments, headers.
    pub skipped: u64,
    /// Not in the sample, or not answered for when the run ended.
    pub unchecked: u64,
}

impl VerifyBooks {
    /// Whether each line is in one column.
    pub fn balanced(&self) -> bool {
        let answered = self.found + self.missing + self.different;
        self.lines == answered + self.duplicates + self.rejected + self.skipped + self.unchecked
    }
}

/// What was counted so far, in one value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct VerifyCounts {
    /// The books.
    pub books: VerifyBooks,
    /// Of the lines skipped, the hashes of other algorithms.
    pub others: AlgorithmCounts,
    /// Bytes read from the sources, as they lie there.
    pub bytes_read: u64,
    /// What was asked.
    pub asked: Asked,
}

/// What was asked of the table, and what came back.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Asked {
    /// See [`VerifyBooks::found`].
    pub found: u64,
    /// See [`VerifyBooks::missing`].
    pub missing: u64,
    /// See [`VerifyBooks::different`].
    pub different: u64,
    /// Records that reached this half and were not answered for, or left out of
    /// the sample.
    pub unchecked: u64,
    /// BatchGetItem calls sent.
    pub requests: u64,
    /// Keys that DynamoDB left unread.
    pub unprocessed: u64,
    /// Calls that it refused whole for want of capacity.
    pub throttled: u64,
    /// Calls that carried a key whose call had failed or left it unread.
    pub retries: u64,
    /// Read capacity units consumed, as DynamoDB says, or as its size formula
    /// says for small items where it says nothing.
    pub consumed: f64,
    /// Calls that are under way.
    pub in_flight: u64,
}

/// The counters of a verification that is under way.
#[derive(Debug, Default)]
pub struct VerifyMeters {
    /// Those of the reader, which knows of nothing else.
    pub(super) reading: Meters,
    asked: Mutex<Asked>,
}

impl VerifyMeters {
    /// What has been counted.
    pub fn read(&self) -> VerifyCounts {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.reading.read();
        VerifyCounts {
            books: VerifyBooks {
                lines: read.books.lines,
                found: asked.found,
                missing: asked.missing,
                different: asked.different,
                duplicates: read.books.duplicates,
                rejected: read.books.rejected,
                skipped: read.books.skipped,
                // What the reader could not hand on is its `failed`.
                unchecked: asked.unchecked + read.books.failed,
            },
            others: read.books.others,
            bytes_read: read.bytes_read,
            asked,
        }
    }

    /// Counts. Called once a call or a hand-over, not once a line.
    pub(super) fn update(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_balance_when_each_line_is_in_one_column() {
        let mut books = VerifyBooks {
            lines: 28,
            found: 1,
            missing: 2,
            different: 3,
            duplicates: 4,
            rejected: 5,
            skipped: 6,
            unchecked: 7,
        };
        assert!(books.balanced());
        books.lines += 1;
        assert!(!books.balanced());
    }

    #[test]
    fn both_halves_are_in_one_account() {
        let meters = VerifyMeters::default();
        meters.reading.update(|c| {
            c.books.lines = 10;
            c.books.skipped = 3;
            c.books.failed = 2;
            c.bytes_read = 650;
        });
        meters.update(|a| {
            a.found = 4;
            a.unchecked = 1;
        });
        let counts = meters.read();
        assert!(counts.books.balanced(), "{counts:?}");
        assert_eq!((counts.books.unchecked, counts.bytes_read), (3, 650));
    }
}
