//! Line counts of a verification: every line is accounted for in exactly one count.
//!
//! `lines = found + missing + different + duplicates + rejected + skipped +
//! unchecked`, always. The reader counts lines, duplicates, and rejected and skipped
//! lines; the checker counts the outcomes of the reads. They count independently, so a
//! correct sum proves that no line is lost.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::pipeline::progress::counts::Counters;
use crate::pipeline::progress::watch::LiveCounters;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// Number of lines by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct VerifyLineCounts {
    /// Lines read.
    pub lines: u64,
    /// Hashes in the table, with every compared attribute.
    pub found: u64,
    /// Hashes that are not in the table.
    pub missing: u64,
    /// Hashes in the table with another value of a compared attribute, or without it.
    pub different: u64,
    /// Hashes that are already among the recent hashes of this input.
    pub duplicates: u64,
    /// Lines that are not a hash of this algorithm.
    pub rejected: u64,
    /// Blank lines, comments, headers, and hashes of other algorithms.
    pub skipped: u64,
    /// Hashes outside the sample, or not read when the run ended.
    pub unchecked: u64,
}

impl VerifyLineCounts {
    /// True if each line is in exactly one count.
    pub fn is_balanced(&self) -> bool {
        let answered = self.found + self.missing + self.different;
        self.lines == answered + self.duplicates + self.rejected + self.skipped + self.unchecked
    }
}

/// Snapshot of the counters of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct VerifyCounts {
    /// Lines by outcome.
    pub line_counts: VerifyLineCounts,
    /// Hashes of other algorithms, among the skipped lines.
    pub other_algorithms: AlgorithmCounts,
    /// Compressed bytes read from the sources.
    pub bytes_read: u64,
    /// Reads from the table.
    pub reads: ReadCounts,
}

/// Reads from the table, and their outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct ReadCounts {
    /// See [`VerifyLineCounts::found`].
    pub found: u64,
    /// See [`VerifyLineCounts::missing`].
    pub missing: u64,
    /// See [`VerifyLineCounts::different`].
    pub different: u64,
    /// Records that reached the checker and have no outcome, or are not in the sample.
    pub unchecked: u64,
    /// BatchGetItem calls sent.
    pub requests: u64,
    /// Keys that DynamoDB returned as unprocessed.
    pub unprocessed: u64,
    /// Calls that DynamoDB throttled as a whole.
    pub throttled: u64,
    /// Calls with at least one key that was in an earlier call.
    pub retries: u64,
    /// Consumed read capacity in RCU: from the response, or from DynamoDB's size formula
    /// for small items if the response has none.
    pub consumed_rcu: f64,
    /// Calls in flight.
    pub in_flight: u64,
}

/// Live counters of a verification.
#[derive(Debug, Default)]
pub struct VerifyCounters {
    /// The reader's counters.
    pub(super) reader: Counters,
    reads: Mutex<ReadCounts>,
}

impl VerifyCounters {
    /// A snapshot of all counters.
    pub fn snapshot(&self) -> VerifyCounts {
        let reads = *self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = self.reader.snapshot();
        VerifyCounts {
            line_counts: VerifyLineCounts {
                lines: reader.line_counts.lines,
                found: reads.found,
                missing: reads.missing,
                different: reads.different,
                duplicates: reader.line_counts.duplicates,
                rejected: reader.line_counts.rejected,
                skipped: reader.line_counts.skipped,
                // The reader counts records that it cannot send to the checker as failed.
                unchecked: reads.unchecked + reader.line_counts.failed,
            },
            other_algorithms: reader.line_counts.other_algorithms,
            bytes_read: reader.bytes_read,
            reads,
        }
    }

    /// Changes the counters. Called once a call or batch, not once a line.
    pub(super) fn update(&self, change: impl FnOnce(&mut ReadCounts)) {
        change(&mut self.reads.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl LiveCounters for VerifyCounters {
    type Counts = VerifyCounts;

    fn counts(&self) -> VerifyCounts {
        self.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_counts_are_balanced_if_each_line_is_in_one_count() {
        let mut line_counts = VerifyLineCounts {
            lines: 28,
            found: 1,
            missing: 2,
            different: 3,
            duplicates: 4,
            rejected: 5,
            skipped: 6,
            unchecked: 7,
        };
        assert!(line_counts.is_balanced());
        line_counts.lines += 1;
        assert!(!line_counts.is_balanced());
    }

    #[test]
    fn a_snapshot_adds_the_counts_of_reader_and_checker() {
        let meters = VerifyCounters::default();
        meters.reader.update(|c| {
            c.line_counts.lines = 10;
            c.line_counts.skipped = 3;
            c.line_counts.failed = 2;
            c.bytes_read = 650;
        });
        meters.update(|a| {
            a.found = 4;
            a.unchecked = 1;
        });
        let counts = meters.snapshot();
        assert!(counts.line_counts.is_balanced(), "{counts:?}");
        assert_eq!((counts.line_counts.unchecked, counts.bytes_read), (3, 650));
    }
}
