//! The books of a look-up: every line that was read is in exactly one column.
//!
//! `lines = known + unknown + invalid + error + unanswered`, always. A line is in its
//! column once its answer is written, not before. `lines` is counted where they are read,
//! the others where they are written; the sum is a proof, not a definition.

use crate::commands::lookup::status::Status;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// Answers, by what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) known: u64,
    pub(super) unknown: u64,
    pub(super) invalid: u64,
    pub(super) error: u64,
    /// Of the invalid ones, those that are blank, a comment or a header.
    pub(super) blank: u64,
    /// Of the known ones, those of a table that other rules have made.
    pub(super) foreign: u64,
}

impl Tally {
    /// Counts an answer of this status.
    pub(super) fn count(&mut self, status: Status) {
        *match status {
            Status::Known => &mut self.known,
            Status::Unknown => &mut self.unknown,
            Status::Invalid => &mut self.invalid,
            Status::Error => &mut self.error,
        } += 1;
    }
}

/// Where the lines went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct LookupBooks {
    /// Lines read.
    pub lines: u64,
    /// Hashes that are there.
    pub known: u64,
    /// Hashes that are not.
    pub unknown: u64,
    /// Lines that are no hash of this kind, or no path.
    pub invalid: u64,
    /// Hashes of which it could not be found out.
    pub error: u64,
    /// Lines without an answer when the run ended.
    pub unanswered: u64,
}

impl LookupBooks {
    /// Whether each line is in one column.
    pub fn balanced(&self) -> bool {
        let answered = self.known + self.unknown + self.invalid + self.error;
        self.lines == answered + self.unanswered
    }
}

/// What was counted so far, in one value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct LookupCounts {
    /// The books.
    pub books: LookupBooks,
    /// Of the invalid lines, those that are blank, a comment or a header.
    pub blank: u64,
    /// Of the known hashes, those whose item other rules of paths have made.
    pub foreign: u64,
    /// Bytes read from the input, as they lie there.
    pub bytes_read: u64,
    /// Calls sent.
    pub requests: u64,
    /// Keys that DynamoDB left unread.
    pub unprocessed: u64,
    /// Calls refused whole because there were too many.
    pub throttled: u64,
    /// Calls that carried a hash whose call had failed or left it unread.
    pub retries: u64,
    /// Lines answered without a question of their own: the same hash was under way, or
    /// answered a short while ago.
    pub repeated: u64,
    /// Read capacity units consumed; of a table.
    pub consumed: f64,
    /// Calls that are under way.
    pub in_flight: u64,
}

impl LookupCounts {
    pub(super) fn enter(&mut self, tally: Tally) {
        self.books.known += tally.known;
        self.books.unknown += tally.unknown;
        self.books.invalid += tally.invalid;
        self.books.error += tally.error;
        self.blank += tally.blank;
        self.foreign += tally.foreign;
    }
}

/// The counters of a look-up that is under way.
#[derive(Debug, Default)]
pub struct LookupMeters(Mutex<LookupCounts>);

impl LookupMeters {
    /// What has been counted.
    pub fn read(&self) -> LookupCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut LookupCounts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_balance_when_each_line_is_in_one_column() {
        let mut books = LookupBooks {
            lines: 15,
            known: 1,
            unknown: 2,
            invalid: 3,
            error: 4,
            unanswered: 5,
        };
        assert!(books.balanced());
        books.lines += 1;
        assert!(!books.balanced());
    }
}
