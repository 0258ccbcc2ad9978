//! Runs that write records in the order of their hashes: each hash of all lists once, or
//! the difference of two lists.
//!
//! First the run reads everything, and sorts it if necessary. Then every line has an
//! outcome except the records to write, whose number is known. After that it sends these
//! records to the writer in the order of their hashes. A resumed run repeats the first
//! part and skips the records that are written: the order is the same each time.

use crate::base::error::{Error, ErrorKind, Result};
use crate::commands::ingest::ordered_lists::{Lists, OrderedRun, task_failed};
use crate::commands::ingest::outcome_batcher::{OutcomeBatcher, ResumedCounts};
use crate::list::prefetch::Prefetch;
use crate::pipeline::diff::{Change, MergeDiff, SegmentSender, SortedInput};
use crate::pipeline::progress::counts::{LineCounts, LineOutcome};
use crate::pipeline::progress::watermark::RecordBatch;
use crate::pipeline::reader::StartPosition;
use tokio::sync::mpsc;

impl OrderedRun<'_> {
    /// Reads the lists of the run and sends the records to write to `records`. `first` is
    /// the list that is open already. Returns true if it reached the end.
    pub(super) async fn run(
        &self,
        first: Option<(StartPosition, Prefetch)>,
        records: mpsc::Sender<RecordBatch>,
    ) -> Result<bool> {
        let options = &self.ingest.options;
        let lists = match &options.refresh {
            None => {
                let sorted = self.sort(0, &self.ingest.sources, first).await?;
                sorted.map(|sorted| Lists::Sorted(Box::new((sorted, None))))
            }
            Some(refresh) => Box::pin(self.difference(refresh, first)).await?,
        };
        let Some(lists) = lists else {
            return Ok(false);
        };
        // The lists may have changed between the check and the read. A position in hash
        // order would then be that of another hash.
        let expected = self
            .resumed_from
            .map(|c| &c.finished)
            .filter(|b| b.count() > 0);
        if expected.is_some_and(|e| e.digest != self.watermark.sources().final_progress().digest) {
            return Err(Error::new(
                ErrorKind::Read,
                "a list has changed since the run that is to be resumed",
            )
            .with_hint("give --restart to begin again, or restore the sources of that run"));
        }
        let watch = &self.ingest.watch;
        watch.set_total_lines(watch.counters().snapshot().line_counts.lines);
        match lists {
            Lists::Sorted(mut lists) => {
                let send = self.record_sender(records);
                let sent = tokio::task::spawn_blocking(move || {
                    let (new, old) = &mut *lists;
                    let old = old.as_mut().map(|old| old.read().map(SortedInput::Sorted));
                    let walk = MergeDiff::new(SortedInput::Sorted(new.read()?), old.transpose()?);
                    send(walk)
                });
                sent.await.map_err(task_failed)?
            }
            Lists::InOrder => {
                let send = self.record_sender(records);
                let sent = self.read_again(send).await?;
                Ok(sent.unwrap_or(false))
            }
        }
    }

    /// A function that sends the records to write, except those that the resumed run has
    /// completed. It returns false if the channel is closed.
    fn record_sender(
        &self,
        records: mpsc::Sender<RecordBatch>,
    ) -> impl FnOnce(MergeDiff<'_>) -> Result<bool> + Send + 'static {
        let mut settling = OutcomeBatcher::new(self.ingest.watch.clone(), self.watermark.clone());
        let refresh = self.ingest.options.refresh.as_ref();
        let (is_refresh, delete) = (refresh.is_some(), refresh.is_none_or(|r| r.delete));
        let held_back = self.held_back_deletes.get().is_some();
        let skip = self
            .resumed_from
            .and_then(|c| c.sorted_position)
            .unwrap_or(0);
        let earlier = self.resumed_from.map(|c| c.line_counts).unwrap_or_default();
        move |mut walk| {
            // By now every line has an outcome except those to write.
            let line_counts = settling.watch.counters().snapshot().line_counts;
            let settled = LineCounts {
                lines: line_counts.lines - line_counts.unaccounted(),
                ..line_counts
            };
            let mut handing = SegmentSender::new(&records);
            handing.add_settled(settled);
            let mut passed = ResumedCounts::default();
            let mut flushed = false;
            while let Some(step) = walk.next()? {
                // A refresh has counted its duplicates in the first part.
                let duplicates = walk.duplicates.drain(..).filter(|_| !is_refresh);
                let mut found = LineCounts::default();
                for source in duplicates {
                    settling.record(source, LineOutcome::Duplicate, 1);
                    found.lines += 1;
                    found.duplicates += 1;
                }
                handing.add_settled(found);
                let record = match step {
                    Change::Put(record, _) => record,
                    Change::Delete(record) if held_back => {
                        settling.record(record.position.source, LineOutcome::Kept, 1);
                        handing.add_settled(LineCounts {
                            lines: 1,
                            kept: 1,
                            ..LineCounts::default()
                        });
                        continue;
                    }
                    Change::Delete(record) if delete => record,
                    Change::Delete(_) | Change::Same(..) => continue,
                };
                if handing.position() < skip {
                    handing.skip();
                    passed.add(&record);
                    continue;
                }
                if !flushed {
                    flushed = true;
                    handing.add_settled(passed.record_outcomes(earlier, &mut settling));
                    if !handing.flush() {
                        return Ok(false);
                    }
                }
                if !handing.push(record) {
                    return Ok(false);
                }
            }
            if !flushed {
                handing.add_settled(passed.record_outcomes(earlier, &mut settling));
            }
            Ok(handing.flush())
        }
    }
}
