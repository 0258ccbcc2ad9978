//! Outcomes of lines that need no write, recorded in batches.

use crate::base::record::{Action, Record};
use crate::commands::ingest::watch::Watch;
use crate::pipeline::progress::counts::{LineCounts, LineOutcome};
use crate::pipeline::progress::watermark::WatermarkTracker;
use std::sync::Arc;

/// Counts of records that the resumed run has completed, by source number.
#[derive(Debug, Default)]
pub(super) struct ResumedCounts {
    puts: Vec<(u32, u64)>,
    deletes: Vec<(u32, u64)>,
}

impl ResumedCounts {
    pub(super) fn add(&mut self, record: &Record) {
        let counts = match record.action {
            Action::Put => &mut self.puts,
            Action::Delete => &mut self.deletes,
        };
        let source = record.position.source;
        match counts.last_mut() {
            Some((last, count)) if *last == source => *count += 1,
            // One entry per source, or more if the sources alternate.
            _ => counts.push((source, 1)),
        }
        if counts.len() > 4096 {
            counts.sort_unstable();
            counts.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                kept.1 += if same { later.1 } else { 0 };
                same
            });
        }
    }

    /// Records the outcomes of the added records, by the line counts `earlier` of the resumed
    /// run. Returns their counts.
    pub(super) fn record_outcomes(
        &mut self,
        earlier: LineCounts,
        settling: &mut OutcomeBatcher,
    ) -> LineCounts {
        let count = |counts: &[(u32, u64)]| counts.iter().map(|(_, n)| n).sum::<u64>();
        let (puts, deletes) = (count(&self.puts), count(&self.deletes));
        let written = earlier.written.min(puts);
        let deleted = earlier.deleted.min(deletes);
        let kept = earlier.kept.min(deletes - deleted);
        // DynamoDB rejected the others.
        let mut rejects = [puts - written, deletes - deleted - kept];
        let mut left = [0, kept];
        for (n, (counts, outcome)) in [
            (std::mem::take(&mut self.puts), LineOutcome::Written),
            (std::mem::take(&mut self.deletes), LineOutcome::Deleted),
        ]
        .into_iter()
        .enumerate()
        {
            for (source, count) in counts {
                let rejected = rejects[n].min(count);
                rejects[n] -= rejected;
                let kept = left[n].min(count - rejected);
                left[n] -= kept;
                settling.record(source, LineOutcome::Rejected, rejected);
                settling.record(source, LineOutcome::Kept, kept);
                settling.record(source, outcome, count - rejected - kept);
            }
        }
        LineCounts {
            lines: puts + deletes,
            written,
            deleted,
            kept,
            rejected: puts - written + deletes - deleted - kept,
            ..LineCounts::default()
        }
    }
}

/// Recorder of outcomes. It adds consecutive equal outcomes to the counters at once.
pub(super) struct OutcomeBatcher {
    pub(super) watch: Watch,
    watermark: Arc<WatermarkTracker>,
    current: Option<(u32, LineOutcome)>,
    count: u64,
}

impl OutcomeBatcher {
    pub(super) fn new(watch: Watch, watermark: Arc<WatermarkTracker>) -> OutcomeBatcher {
        OutcomeBatcher {
            watch,
            watermark,
            current: None,
            count: 0,
        }
    }

    pub(super) fn record(&mut self, source: u32, outcome: LineOutcome, count: u64) {
        if self.current != Some((source, outcome)) {
            self.flush();
            self.current = Some((source, outcome));
        }
        self.count += count;
    }

    fn flush(&mut self) {
        let count = std::mem::take(&mut self.count);
        if let Some((source, outcome)) = self.current.filter(|_| count > 0) {
            self.watch
                .counters()
                .update(|c| c.line_counts.record_outcome(outcome, count));
            self.watermark
                .sources()
                .record_outcome(source, outcome, count);
        }
    }
}

impl Drop for OutcomeBatcher {
    fn drop(&mut self) {
        self.flush();
    }
}
