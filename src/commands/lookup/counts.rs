//! Line counts of a look-up: every line is accounted for in exactly one count.
//!
//! `lines = known + unknown + invalid + error + unanswered`, always. A line counts as
//! answered once its answer is written, not before. The reader counts `lines`, the writer
//! the answers. They count independently, so a correct sum proves that no line is lost.

use crate::commands::lookup::status::Status;
use crate::pipeline::progress::watch::LiveCounters;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// Number of answers by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AnswerCounts {
    pub(super) known: u64,
    pub(super) unknown: u64,
    pub(super) invalid: u64,
    pub(super) error: u64,
    /// Invalid answers to a blank line, a comment or a header.
    pub(super) blank: u64,
    /// Known answers whose item has other path rules.
    pub(super) other_rules: u64,
}

impl AnswerCounts {
    /// Adds an answer of this status.
    pub(super) fn count(&mut self, status: Status) {
        *match status {
            Status::Known => &mut self.known,
            Status::Unknown => &mut self.unknown,
            Status::Invalid => &mut self.invalid,
            Status::Error => &mut self.error,
        } += 1;
    }
}

/// Number of lines by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct LookupLineCounts {
    /// Lines read.
    pub lines: u64,
    /// Hashes that the backend has.
    pub known: u64,
    /// Hashes that the backend does not have.
    pub unknown: u64,
    /// Lines that are not a hash of this algorithm, or not a path.
    pub invalid: u64,
    /// Hashes whose look-up failed.
    pub error: u64,
    /// Lines without an answer when the run ended.
    pub unanswered: u64,
}

impl LookupLineCounts {
    /// True if each line is in exactly one count.
    pub fn is_balanced(&self) -> bool {
        let answered = self.known + self.unknown + self.invalid + self.error;
        self.lines == answered + self.unanswered
    }
}

/// Snapshot of the counters of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct LookupCounts {
    /// Lines by outcome.
    pub line_counts: LookupLineCounts,
    /// Blank lines, comments and headers, among the invalid lines.
    pub blank: u64,
    /// Hashes whose item has other path rules, among the known hashes.
    pub other_rules: u64,
    /// Compressed bytes read from the input.
    pub bytes_read: u64,
    /// Calls sent.
    pub requests: u64,
    /// Keys that DynamoDB returned as unprocessed.
    pub unprocessed: u64,
    /// Calls that the backend throttled as a whole.
    pub throttled: u64,
    /// Calls with at least one hash that was in an earlier call.
    pub retries: u64,
    /// Lines answered without a request, because their hash was pending or recently
    /// answered.
    pub repeated: u64,
    /// Consumed read capacity in RCU; 0 for an API.
    pub consumed_rcu: f64,
    /// Calls in flight.
    pub in_flight: u64,
}

impl LookupCounts {
    pub(super) fn add_answers(&mut self, answers: AnswerCounts) {
        self.line_counts.known += answers.known;
        self.line_counts.unknown += answers.unknown;
        self.line_counts.invalid += answers.invalid;
        self.line_counts.error += answers.error;
        self.blank += answers.blank;
        self.other_rules += answers.other_rules;
    }
}

/// Live counters of a look-up.
#[derive(Debug, Default)]
pub struct LookupCounters(Mutex<LookupCounts>);

impl LookupCounters {
    /// A snapshot of all counters.
    pub fn snapshot(&self) -> LookupCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut LookupCounts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl LiveCounters for LookupCounters {
    type Counts = LookupCounts;

    fn counts(&self) -> LookupCounts {
        self.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_counts_are_balanced_if_each_line_is_in_one_count() {
        let mut line_counts = LookupLineCounts {
            lines: 15,
            known: 1,
            unknown: 2,
            invalid: 3,
            error: 4,
            unanswered: 5,
        };
        assert!(line_counts.is_balanced());
        line_counts.lines += 1;
        assert!(!line_counts.is_balanced());
    }
}
