//! End of a run: outcome, report, final checkpoint.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::commands::ingest::checkpointing::{CheckpointInputs, Checkpointing};
use crate::commands::ingest::options::Ingest;
use crate::flow::dispatcher::RunEnd;
use crate::flow::rate_limiter::RateLimiter;
use crate::pipeline::list_check::ListTotals;
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::progress::counts::{LineCounts, RunCounters};
use crate::pipeline::progress::watermark::{Watermark, WatermarkTracker};
use crate::pipeline::rejects::Rejects;
use crate::pipeline::report;
use crate::pipeline::report::Report;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// Context shared by the reader, the writer and the end of a run.
#[derive(Clone, Copy)]
pub(super) struct RunContext<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) rejects: &'a Rejects,
    /// Checkpoint that the run resumes; `None` for a new run.
    pub(super) checkpoint: Option<&'a Checkpoint>,
    /// Checkpointing of this run; `None` if it is off.
    pub(super) checkpointing: Option<&'a Checkpointing>,
    pub(super) rate_limiter: &'a RateLimiter,
    pub(super) watermark: &'a Arc<WatermarkTracker>,
    /// Number of deletes held back; set only if they are.
    pub(super) held_back_deletes: &'a OnceLock<u64>,
    /// Start time of reading and writing.
    pub(super) started: Instant,
}

impl<'a> RunContext<'a> {
    /// Inputs of a checkpoint of the run.
    pub(super) fn checkpoint_inputs(&self, ingest: &'a Ingest) -> CheckpointInputs<'a> {
        CheckpointInputs {
            aws: &ingest.aws,
            watermark: self.watermark,
            counters: ingest.watch.counters(),
            rejects: self.rejects,
            started: self.started,
        }
    }
}

/// Results of reader and writer.
pub(super) struct PipelineEnd {
    pub(super) writer_end: RunEnd,
    /// Result of the reader: true if it reached the end.
    pub(super) reader_result: Result<bool>,
    /// Error of the checkpoint save that ended the run; `None` if no save failed.
    pub(super) save_error: Option<Error>,
}

/// Final state of a run, which decides on the final checkpoint.
struct FinalState {
    completion: Result<Completion>,
    /// True if the list has no hash.
    has_no_hash: bool,
    /// True if the last source is damaged; a resumed run reads it from its start.
    is_damaged: bool,
}

/// End of a run without an error.
pub(super) enum Completion {
    Complete,
    Rejects,
    Interrupted,
}

impl Ingest {
    /// Finishes a run: fills its report, checks its line counts, and saves or removes its
    /// checkpoint.
    ///
    /// # Errors
    /// If reader, writer or a save failed, if the list has no hash, or if the line counts
    /// do not balance.
    pub(super) async fn finish(
        &self,
        running: &RunContext<'_>,
        halves: PipelineEnd,
        report: &mut Report,
    ) -> Result<Completion> {
        let options = &self.options;
        let RunContext {
            rejects, watermark, ..
        } = *running;
        let PipelineEnd {
            writer_end: end,
            reader_result: read,
            save_error: unsaved,
        } = halves;
        let counters = self.watch.counters();
        if self.is_ordered() && !matches!((&end, &read), (RunEnd::Complete, Ok(true))) {
            // Lines that were read but not sent to the writer.
            counters.update(|c| c.line_counts.failed += c.line_counts.unaccounted());
        }
        let counts = counters.snapshot();
        self.fill_report(running, &counts, report);
        // With several sources, the user can replace the damaged one, and the resumed run
        // reads it from its start.
        let sources = watermark.sources();
        let damaged = matches!(&read, Err(e) if e.kind() == ErrorKind::Damaged)
            && self.sources.single().is_none()
            && sources.len() == u64::from(watermark.watermark().source) + 1;
        let (failure, to_the_end) = match (end, read) {
            (RunEnd::Failed(e), _) | (_, Err(e)) => (Some(e), false),
            (_, Ok(to_the_end)) => (None, to_the_end),
        };
        let failure = unsaved.or(failure).or(rejects.flush().err());
        let failure = self.check_counts(&counts, failure);
        let useless = match (&failure, to_the_end && options.refresh.is_none()) {
            (None, true) => self
                .list_totals(running.algorithm, counts.line_counts)
                .no_hash_error(&rejects.shapes(false)),
            _ => None,
        };
        let is_useless = useless.is_some();
        let ended = match failure.or(useless) {
            Some(failure) => Err(failure),
            None if !to_the_end || counts.line_counts.failed > 0 => Ok(Completion::Interrupted),
            None if counts.line_counts.rejected > 0 => Ok(Completion::Rejects),
            None => Ok(Completion::Complete),
        };
        let outcome = FinalState {
            completion: ended,
            has_no_hash: is_useless,
            is_damaged: damaged,
        };
        self.save_final_checkpoint(running, outcome, report).await
    }

    /// Sets the counters and the sources in the report.
    fn fill_report(&self, running: &RunContext<'_>, counts: &RunCounters, report: &mut Report) {
        (report.sources, report.further_sources) =
            report::source_reports(running.watermark.sources().final_progress(), true);
        report.deletes_held_back = running.held_back_deletes.get().copied();
        report.hash = Some(running.algorithm.name().to_owned());
        report.target_wcu_per_s = running.rate_limiter.rate();
        let earlier = running
            .checkpointing
            .map_or(Duration::ZERO, |k| k.earlier_elapsed);
        report.set_counts(counts, earlier + running.started.elapsed());
        if self.options.dry_run {
            report.requests = 0;
        }
    }

    /// Saves the final checkpoint, or removes it if there is nothing to resume.
    async fn save_final_checkpoint(
        &self,
        running: &RunContext<'_>,
        outcome: FinalState,
        report: &mut Report,
    ) -> Result<Completion> {
        let options = &self.options;
        let FinalState {
            completion: ended,
            has_no_hash: is_useless,
            is_damaged: damaged,
        } = outcome;
        let Some(checkpointing) = running.checkpointing else {
            return ended;
        };
        // A list without a hash leaves nothing to resume.
        if is_useless || matches!(ended, Ok(Completion::Complete | Completion::Rejects)) {
            checkpointing.store.remove(&self.aws).await?;
            return ended;
        }
        if checkpointing.store.is_lost() {
            // Another run has taken it over, so leave it unchanged.
            return ended;
        }
        let mark = running.watermark.watermark();
        if self.is_ordered() && mark == Watermark::default() {
            // Nothing was sent to the writer. The checkpoint of a resumed run is still
            // valid; without one there is nothing to resume.
            match running.checkpoint.is_some() || ended.is_ok() {
                true => report.checkpoint = Some(checkpointing.store.location().to_string()),
                false => {
                    if let Err(e) = checkpointing.store.remove(&self.aws).await {
                        tracing::warn!("{e:#}");
                    }
                }
            }
            return ended;
        }
        report.checkpoint = Some(checkpointing.store.location().to_string());
        // On a forced stop, the previous checkpoint is still valid.
        let state = running.checkpoint_inputs(self);
        let saved = tokio::select! {
            biased;
            saved = checkpointing.save_final(&state, &mark, damaged) => saved,
            () = options.run.stop.forced() => Ok(()),
        };
        match (ended, saved) {
            (Err(e), Err(also)) => {
                tracing::warn!("{also:#}: the previous checkpoint is older but still valid");
                Err(e)
            }
            (Ok(_), Err(e)) => Err(e),
            (ended, Ok(())) => ended,
        }
    }

    fn list_totals(&self, algorithm: Algorithm, line_counts: LineCounts) -> ListTotals<'_> {
        ListTotals {
            keeps_rejects: true,
            sources: &self.sources,
            algorithm: Some(algorithm).filter(|_| self.options.read.form.path_normalizer.is_none()),
            lines: line_counts.lines,
            skipped: line_counts.skipped,
            rejected: line_counts.rejected,
        }
    }

    /// Checks the line counts. Returns `failure`, or the error of a failed check.
    fn check_counts(&self, counts: &RunCounters, failure: Option<Error>) -> Option<Error> {
        let line_counts = counts.line_counts;
        if !line_counts.is_balanced() {
            let what = format!(
                "the line counts do not balance: {line_counts:?}; this is a fault of hashferry"
            );
            return Some(Error::new(ErrorKind::Internal, what));
        }
        let done = line_counts.written + line_counts.deleted;
        if failure.is_none() && counts.requests > 0 && done == 0 && line_counts.failed == 0 {
            let what = format!(
                "DynamoDB reported every item for table {} as invalid",
                self.options.table.name
            );
            return Some(Error::new(ErrorKind::Write, what).with_hint(
                "check that --type, --source, --desc and --attr fit the table and its indexes, \
                 and --key the table",
            ));
        }
        failure
    }
}
