//! Watermark: the position before which every line is accounted for.
//!
//! DynamoDB acknowledges batches in any order, and some items need many retries. A run
//! can resume only at a position before which *every* line has its final outcome. So the
//! reader sends consecutive [segments](Segment) of the input, each with its own line
//! counts. The outcome of a record is counted in its segment. The watermark advances
//! over each leading segment whose lines all have an outcome.
//!
//! Memory: a segment of some 500 lines takes 216 bytes, and at most [`MAX_PENDING_SEGMENTS`]
//! are pending after the watermark. A reader further ahead waits for the item that
//! blocks the watermark.

use crate::base::record::{Position, Record};
use crate::pipeline::progress::counts::{LineCounts, LineOutcome};
use crate::pipeline::progress::sources::{FinishedSources, SourceTracker};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of segments after the watermark: some 8 million lines, 3.5 MB.
pub(crate) const MAX_PENDING_SEGMENTS: usize = 16_384;

/// A segment of the input, from the end of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// End of the segment: source, and the lines and bytes of that source before it.
    pub end: Position,
    /// Lines of the segment, and the outcomes known so far.
    pub line_counts: LineCounts,
}

/// A batch that the reader sends to the writer: a segment and its records.
#[derive(Debug)]
pub(crate) struct RecordBatch {
    /// The segment.
    pub segment: Segment,
    /// Records of the lines that have no outcome yet.
    pub records: Vec<Record>,
}

impl From<Vec<Record>> for RecordBatch {
    /// Records alone, for a receiver without a watermark.
    fn from(records: Vec<Record>) -> Self {
        let end = Position {
            source: 0,
            line: 0,
            byte: 0,
        };
        let line_counts = LineCounts::default();
        RecordBatch {
            segment: Segment { end, line_counts },
            records,
        }
    }
}

/// The position before which every line has its final outcome.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watermark {
    /// Number of the source that the watermark is in.
    pub source: u32,
    /// Offset of the watermark in that source.
    pub offset: Offset,
    /// Counts of the lines of that source before the watermark.
    pub source_line_counts: LineCounts,
    /// Counts of all lines before the watermark; balanced, with `failed` at 0.
    pub line_counts: LineCounts,
}

/// Offset of the watermark in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offset {
    /// Lines before it.
    pub lines: u64,
    /// Bytes before it, in the decompressed text.
    pub bytes: u64,
}

/// Watermark of a running run, and the [progress](SourceTracker) of its sources. The reader
/// and the writer advance them, the checkpoint reads them. See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct WatermarkTracker {
    state: Mutex<State>,
    sources: SourceTracker,
}

#[derive(Debug, Default)]
struct State {
    watermark: Watermark,
    pending: VecDeque<Segment>,
    /// Number of the first pending segment.
    first: u64,
}

impl WatermarkTracker {
    /// Starts at the watermark `mark`, after the finished sources `behind`.
    pub(crate) fn new(mark: Watermark, behind: FinishedSources) -> Self {
        WatermarkTracker {
            state: Mutex::new(State {
                watermark: mark,
                ..State::default()
            }),
            sources: SourceTracker::new(behind),
        }
    }

    /// Progress of the sources.
    pub(crate) fn sources(&self) -> &SourceTracker {
        &self.sources
    }

    /// The current watermark.
    pub(crate) fn watermark(&self) -> Watermark {
        self.state().watermark.clone()
    }

    /// True if the maximum number of segments is pending.
    pub(crate) fn is_full(&self) -> bool {
        self.state().pending.len() >= MAX_PENDING_SEGMENTS
    }

    /// Adds the next segment, and sets its number in its `records`.
    pub(crate) fn start_segment(&self, segment: Segment, records: &mut [Record]) {
        let mut inner = self.state();
        let number = inner.first + inner.pending.len() as u64;
        for record in records {
            record.segment = number;
        }
        inner.pending.push_back(segment);
        let source = inner.advance();
        drop(inner);
        self.sources.finish_before(source);
    }

    /// Counts the `outcome` of `records`.
    pub(crate) fn record_outcome<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
        outcome: LineOutcome,
    ) {
        let mut inner = self.state();
        // Usually all records have the same source, so count per source.
        let (mut source, mut count) = (0, 0);
        for record in records {
            if record.position.source != source {
                self.sources.record_outcome(source, outcome, count);
                (source, count) = (record.position.source, 0);
            }
            count += 1;
            let at = record.segment.checked_sub(inner.first);
            let at = at.and_then(|at| usize::try_from(at).ok());
            if let Some(segment) = at.and_then(|at| inner.pending.get_mut(at)) {
                segment.line_counts.record_outcome(outcome, 1);
            }
        }
        self.sources.record_outcome(source, outcome, count);
        let source = inner.advance();
        drop(inner);
        self.sources.finish_before(source);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Advances the watermark; returns the number of the source it is in.
    fn advance(&mut self) -> u32 {
        while let Some(segment) = self.pending.pop_front_if(|s| s.line_counts.is_balanced()) {
            self.first += 1;
            let mark = &mut self.watermark;
            if segment.end.source != mark.source {
                mark.source = segment.end.source;
                mark.source_line_counts = LineCounts::default();
            }
            mark.line_counts += segment.line_counts;
            mark.source_line_counts += segment.line_counts;
            mark.offset = Offset {
                lines: segment.end.line,
                bytes: segment.end.byte,
            };
        }
        self.watermark.source
    }
}

#[cfg(test)]
mod tests;
