//! The books: every line that was read is in exactly one column.
//!
//! `lines = written + duplicates + rejected + skipped + failed`, always; a refresh has
//! `deleted`, `unchanged` and `kept` beside them. The columns are counted where each thing happens, by stages that do not know each
//! other; none is derived from the others. So the sum is a proof, not a
//! definition, and [`Books::balanced`] can fail.

use crate::base::algorithm_counts::AlgorithmCounts;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};

/// Where the lines went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Books {
    /// Lines read.
    pub lines: u64,
    /// Items acknowledged by DynamoDB.
    pub written: u64,
    /// Hashes that were taken from this run's input already, and are written or
    /// on their way.
    pub duplicates: u64,
    /// Lines that are no hash of this kind.
    pub rejected: u64,
    /// Blank lines, comments, headers, and hashes of other algorithms that the list holds
    /// beside those of the run.
    pub skipped: u64,
    /// Lines read but not acknowledged when the run ended.
    pub failed: u64,
    /// Items whose deletion DynamoDB has acknowledged.
    pub deleted: u64,
    /// Lines of a refresh whose hash needs nothing: it stands in both lists.
    pub unchanged: u64,
    /// Of those skipped, the hashes of other algorithms.
    #[serde(default, skip_serializing_if = "AlgorithmCounts::is_zero")]
    pub others: AlgorithmCounts,
    /// Lines of a refresh whose hash is gone from the list and stays in the table: its
    /// item is of another source, or the deletes are held back.
    #[serde(default)]
    pub kept: u64,
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
    /// Found to need nothing.
    Unchanged,
    /// Not to be deleted after all.
    Kept,
}

impl Books {
    /// Enters `count` lines that are settled.
    pub fn enter(&mut self, how: Settled, count: u64) {
        *match how {
            Settled::Written => &mut self.written,
            Settled::Deleted => &mut self.deleted,
            Settled::Duplicate => &mut self.duplicates,
            Settled::Rejected => &mut self.rejected,
            Settled::Unchanged => &mut self.unchanged,
            Settled::Kept => &mut self.kept,
        } += count;
    }

    /// Lines that are in no column yet.
    pub fn open(&self) -> u64 {
        let settled = self.written + self.deleted + self.unchanged + self.kept + self.failed;
        (self.lines).saturating_sub(settled + self.duplicates + self.rejected + self.skipped)
    }

    /// Takes `other` out.
    #[must_use]
    pub fn without(self, other: Books) -> Books {
        Books {
            lines: self.lines.saturating_sub(other.lines),
            written: self.written.saturating_sub(other.written),
            duplicates: self.duplicates.saturating_sub(other.duplicates),
            rejected: self.rejected.saturating_sub(other.rejected),
            skipped: self.skipped.saturating_sub(other.skipped),
            failed: self.failed.saturating_sub(other.failed),
            deleted: self.deleted.saturating_sub(other.deleted),
            unchanged: self.unchanged.saturating_sub(other.unchanged),
            others: self.others.without(other.others),
            kept: self.kept.saturating_sub(other.kept),
        }
    }

    /// Whether each line is in one column, and no more hashes of other algorithms are
    /// counted than lines skipped.
    pub fn balanced(&self) -> bool {
        let settled = self.written + self.deleted + self.unchanged + self.kept;
        let sum = settled + self.duplicates + self.rejected + self.skipped + self.failed;
        self.lines == sum && self.others.total() <= self.skipped
    }
}

impl AddAssign for Books {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.written += other.written;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
        if !other.others.is_zero() {
            self.others += other.others;
        }
        self.kept += other.kept;
    }
}

/// What was counted so far, in one value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// The books.
    pub books: Books,
    /// Bytes read from the sources, as they lie there.
    pub bytes_read: u64,
    /// BatchWriteItem calls sent.
    pub requests: u64,
    /// Items that DynamoDB handed back unwritten.
    pub unprocessed: u64,
    /// Calls that it refused whole for want of capacity.
    pub throttled: u64,
    /// Calls that carried an item which had been sent before, for any cause.
    pub retries: u64,
    /// Write capacity units consumed, as DynamoDB says, or as its size formula
    /// says where it says nothing.
    pub consumed: f64,
    /// Calls that are under way.
    pub in_flight: u64,
}

/// The counters of a run that is under way: stages add, the display looks.
#[derive(Debug, Default)]
pub struct Meters(Mutex<Counts>);

impl Meters {
    /// What has been counted.
    pub fn read(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts. Called once a chunk or a call, not once a line.
    pub fn update(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_balance_when_each_line_is_in_one_column() {
        let mut books = Books {
            lines: 36,
            written: 1,
            duplicates: 2,
            rejected: 3,
            skipped: 4,
            failed: 5,
            deleted: 6,
            unchanged: 7,
            kept: 8,
            ..Books::default()
        };
        assert!(books.balanced());
        books += Books {
            lines: 1,
            ..Books::default()
        };
        assert!(!books.balanced());
        books += Books {
            written: 1,
            ..Books::default()
        };
        assert!(books.balanced());
    }
}
