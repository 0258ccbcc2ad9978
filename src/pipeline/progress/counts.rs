//! Line counts: every line that was read is in exactly one category.
//!
//! `lines = written + duplicates + rejected + skipped + failed`, always. A refresh adds
//! `deleted`, `unchanged` and `kept`. Independent stages count each category where it
//! occurs, and none is derived from the others. So the sum is a proof, not a definition,
//! and [`LineCounts::is_balanced`] can fail.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::pipeline::progress::watch::LiveCounters;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};

/// Line counts by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LineCounts {
    /// Lines read.
    pub lines: u64,
    /// Items acknowledged by DynamoDB.
    pub written: u64,
    /// Hashes that this run has read before, and has written or queued.
    pub duplicates: u64,
    /// Lines that are not a hash of the run's algorithm.
    pub rejected: u64,
    /// Blank lines, comments, headers, and hashes of other algorithms in the same list.
    pub skipped: u64,
    /// Lines read but not acknowledged when the run ended.
    pub failed: u64,
    /// Deletes acknowledged by DynamoDB.
    pub deleted: u64,
    /// Lines of a refresh whose hash is in both lists and needs no call.
    pub unchanged: u64,
    /// Skipped hashes of other algorithms; part of `skipped`.
    #[serde(
        rename = "others",
        default,
        skip_serializing_if = "AlgorithmCounts::is_zero"
    )]
    pub other_algorithms: AlgorithmCounts,
    /// Lines of a refresh whose hash left the list but stays in the table, because its
    /// item has another source or the deletes are held back.
    #[serde(default)]
    pub kept: u64,
}

/// Final outcome of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOutcome {
    /// Acknowledged by DynamoDB.
    Written,
    /// Delete acknowledged by DynamoDB.
    Deleted,
    /// The same item is queued or written already.
    Duplicate,
    /// Permanently rejected by DynamoDB.
    Rejected,
    /// In both lists of a refresh; needs no call.
    Unchanged,
    /// Not deleted: the item has another source, or deletes are held back.
    Kept,
}

impl LineCounts {
    /// Adds `count` lines to the category of `outcome`.
    pub fn record_outcome(&mut self, outcome: LineOutcome, count: u64) {
        *match outcome {
            LineOutcome::Written => &mut self.written,
            LineOutcome::Deleted => &mut self.deleted,
            LineOutcome::Duplicate => &mut self.duplicates,
            LineOutcome::Rejected => &mut self.rejected,
            LineOutcome::Unchanged => &mut self.unchanged,
            LineOutcome::Kept => &mut self.kept,
        } += count;
    }

    /// Number of lines that are in no category yet.
    pub fn unaccounted(&self) -> u64 {
        let settled = self.written + self.deleted + self.unchanged + self.kept + self.failed;
        (self.lines).saturating_sub(settled + self.duplicates + self.rejected + self.skipped)
    }

    /// Subtracts `other`, with a minimum of 0 in each category.
    #[must_use]
    pub fn without(self, other: LineCounts) -> LineCounts {
        LineCounts {
            lines: self.lines.saturating_sub(other.lines),
            written: self.written.saturating_sub(other.written),
            duplicates: self.duplicates.saturating_sub(other.duplicates),
            rejected: self.rejected.saturating_sub(other.rejected),
            skipped: self.skipped.saturating_sub(other.skipped),
            failed: self.failed.saturating_sub(other.failed),
            deleted: self.deleted.saturating_sub(other.deleted),
            unchanged: self.unchanged.saturating_sub(other.unchanged),
            other_algorithms: self.other_algorithms.without(other.other_algorithms),
            kept: self.kept.saturating_sub(other.kept),
        }
    }

    /// True if each line is in exactly one category, and hashes of other algorithms are not
    /// more than the skipped lines.
    pub fn is_balanced(&self) -> bool {
        let settled = self.written + self.deleted + self.unchanged + self.kept;
        let sum = settled + self.duplicates + self.rejected + self.skipped + self.failed;
        self.lines == sum && self.other_algorithms.total() <= self.skipped
    }
}

impl AddAssign for LineCounts {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.written += other.written;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
        if !other.other_algorithms.is_zero() {
            self.other_algorithms += other.other_algorithms;
        }
        self.kept += other.kept;
    }
}

/// Snapshot of a run's counters.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct RunCounters {
    /// Line counts by outcome.
    pub line_counts: LineCounts,
    /// Bytes read from the sources, before decompression.
    pub bytes_read: u64,
    /// BatchWriteItem and DeleteItem calls sent.
    pub requests: u64,
    /// Items that DynamoDB returned unprocessed.
    pub unprocessed: u64,
    /// Calls throttled as a whole.
    pub throttled: u64,
    /// Calls with at least one item that was sent before, for any reason.
    pub retries: u64,
    /// WCU consumed, as DynamoDB reports them, or by its size formula if a response
    /// does not report them.
    pub consumed_wcu: f64,
    /// Calls in flight.
    pub in_flight: u64,
}

/// Live counters of a run: the stages update them, the progress display reads them.
#[derive(Debug, Default)]
pub struct Counters(Mutex<RunCounters>);

impl Counters {
    /// Copies the current values.
    pub fn snapshot(&self) -> RunCounters {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the counters under their lock: once a chunk or call, not once a line.
    pub fn update(&self, change: impl FnOnce(&mut RunCounters)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl LiveCounters for Counters {
    type Counts = RunCounters;

    fn counts(&self) -> RunCounters {
        self.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_counts_balance_if_each_line_is_in_one_category() {
        let mut line_counts = LineCounts {
            lines: 36,
            written: 1,
            duplicates: 2,
            rejected: 3,
            skipped: 4,
            failed: 5,
            deleted: 6,
            unchanged: 7,
            kept: 8,
            ..LineCounts::default()
        };
        assert!(line_counts.is_balanced());
        line_counts += LineCounts {
            lines: 1,
            ..LineCounts::default()
        };
        assert!(!line_counts.is_balanced());
        line_counts += LineCounts {
            written: 1,
            ..LineCounts::default()
        };
        assert!(line_counts.is_balanced());
    }
}
