//! The end of a run: its outcome, its report, its last checkpoint.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::commands::ingest::checkpointing::{Keeping, State};
use crate::commands::ingest::options::Ingest;
use crate::flow::rate_limiter::Pace;
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::progress::counts::{Books, Counts};
use crate::pipeline::progress::watermark::{LowWater, Mark};
use crate::pipeline::rejects::Rejects;
use crate::pipeline::report;
use crate::pipeline::report::Report;
use crate::pipeline::useful::Listed;
use crate::pipeline::writer::End;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// What the reading, the writing and the end of a run share.
#[derive(Clone, Copy)]
pub(super) struct Running<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) rejects: &'a Rejects,
    /// The checkpoint that the run resumes.
    pub(super) checkpoint: Option<&'a Checkpoint>,
    /// How the run's own is kept.
    pub(super) keeping: Option<&'a Keeping>,
    pub(super) pace: &'a Pace,
    pub(super) water: &'a Arc<LowWater>,
    /// The deletes that are held back, once it is known that they are.
    pub(super) held_back: &'a OnceLock<u64>,
    /// When writing began.
    pub(super) begun: Instant,
}

impl<'a> Running<'a> {
    /// What a checkpoint of it is made of.
    pub(super) fn state(&self, ingest: &'a Ingest) -> State<'a> {
        State {
            aws: &ingest.aws,
            water: self.water,
            meters: ingest.watch.meters(),
            rejects: self.rejects,
            begun: self.begun,
        }
    }
}

/// How the halves of a run ended.
pub(super) struct Halves {
    /// The writing.
    pub(super) end: End,
    /// The reading: whether it came to the end.
    pub(super) read: Result<bool>,
    /// The failure to save the checkpoint, which ended the run.
    pub(super) unsaved: Option<Error>,
}

/// What the last checkpoint depends on.
struct Outcome {
    ended: Result<Ended>,
    /// Whether the list is without one hash.
    is_useless: bool,
    /// Whether the last source is damaged, and is to be read from its beginning.
    damaged: bool,
}

/// How the writing ended, when nothing failed.
pub(super) enum Ended {
    Complete,
    Rejects,
    Interrupted,
}

impl Ingest {
    /// Draws up the end of a run: its report, what the books have against it, and its last
    /// checkpoint.
    ///
    /// # Errors
    /// When it could not go on, or the books have something against it.
    pub(super) async fn finish(
        &self,
        running: &Running<'_>,
        halves: Halves,
        report: &mut Report,
    ) -> Result<Ended> {
        let with = &self.with;
        let Running { rejects, water, .. } = *running;
        let Halves { end, read, unsaved } = halves;
        let meters = self.watch.meters();
        if self.is_arranged() && !matches!((&end, &read), (End::Complete, Ok(true))) {
            // What was read and not handed to the writer.
            meters.update(|c| c.books.failed += c.books.open());
        }
        let counts = meters.read();
        self.enter(running, &counts, report);
        // Of several sources, one that is mended is then read from its beginning.
        let accounts = water.accounts();
        let damaged = matches!(&read, Err(e) if e.kind() == ErrorKind::Damaged)
            && self.sources.one().is_none()
            && accounts.len() == u64::from(water.mark().source) + 1;
        let (failure, to_the_end) = match (end, read) {
            (End::Failed(e), _) | (_, Err(e)) => (Some(e), false),
            (_, Ok(to_the_end)) => (None, to_the_end),
        };
        let failure = unsaved.or(failure).or(rejects.finish().err());
        let failure = self.audit(&counts, failure);
        let useless = match (&failure, to_the_end && with.refresh.is_none()) {
            (None, true) => self
                .listed(running.algorithm, counts.books)
                .useless(&rejects.shapes(false)),
            _ => None,
        };
        let is_useless = useless.is_some();
        let ended = match failure.or(useless) {
            Some(failure) => Err(failure),
            None if !to_the_end || counts.books.failed > 0 => Ok(Ended::Interrupted),
            None if counts.books.rejected > 0 => Ok(Ended::Rejects),
            None => Ok(Ended::Complete),
        };
        let outcome = Outcome {
            ended,
            is_useless,
            damaged,
        };
        self.last_checkpoint(running, outcome, report).await
    }

    /// Enters what was counted in the report.
    fn enter(&self, running: &Running<'_>, counts: &Counts, report: &mut Report) {
        (report.sources, report.further_sources) =
            report::sources(running.water.accounts().all(), true);
        report.deletes_held_back = running.held_back.get().copied();
        report.hash = Some(running.algorithm.name().to_owned());
        report.target_wcu_per_s = running.pace.rate();
        let earlier = running.keeping.map_or(Duration::ZERO, |k| k.earlier);
        report.count(counts, earlier + running.begun.elapsed());
        if self.with.dry_run {
            report.requests = 0;
        }
    }

    /// Saves the checkpoint for the last time, or removes it where nothing is to be resumed.
    async fn last_checkpoint(
        &self,
        running: &Running<'_>,
        outcome: Outcome,
        report: &mut Report,
    ) -> Result<Ended> {
        let with = &self.with;
        let Outcome {
            ended,
            is_useless,
            damaged,
        } = outcome;
        let Some(keeping) = running.keeping else {
            return ended;
        };
        // Of a list without one hash there is nothing to go on with.
        if is_useless || matches!(ended, Ok(Ended::Complete | Ended::Rejects)) {
            keeping.store.remove(&self.aws).await?;
            return ended;
        }
        if keeping.store.is_lost() {
            // It is another run's: nothing of it is changed, and nothing is to be resumed.
            return ended;
        }
        let mark = running.water.mark();
        if self.is_arranged() && mark == Mark::default() {
            // Nothing was handed on. What an earlier run has left is as far as it was;
            // without one there is nothing that could be taken up.
            match running.checkpoint.is_some() || ended.is_ok() {
                true => report.checkpoint = Some(keeping.store.place().to_string()),
                false => {
                    if let Err(e) = keeping.store.remove(&self.aws).await {
                        tracing::warn!("{e:#}");
                    }
                }
            }
            return ended;
        }
        report.checkpoint = Some(keeping.store.place().to_string());
        // Told to stop at once: what was saved last is true, too.
        let state = running.state(self);
        let saved = tokio::select! {
            biased;
            saved = keeping.save_last(&state, &mark, damaged) => saved,
            () = with.stop.insisted() => Ok(()),
        };
        match (ended, saved) {
            (Err(e), Err(also)) => {
                tracing::warn!("{also:#}: what was saved before is older, and still true");
                Err(e)
            }
            (Ok(_), Err(e)) => Err(e),
            (ended, Ok(())) => ended,
        }
    }

    /// What was read of the list.
    fn listed(&self, algorithm: Algorithm, books: Books) -> Listed<'_> {
        Listed {
            keeps_rejects: true,
            sources: &self.sources,
            algorithm: Some(algorithm).filter(|_| self.with.form.paths.is_none()),
            lines: books.lines,
            skipped: books.skipped,
            rejected: books.rejected,
        }
    }

    /// What the books have against the run, when nothing else has.
    fn audit(&self, counts: &Counts, failure: Option<Error>) -> Option<Error> {
        let books = counts.books;
        if !books.balanced() {
            let what = format!("the books do not balance: {books:?}; this is a fault of hashferry");
            return Some(Error::new(ErrorKind::Internal, what));
        }
        let done = books.written + books.deleted;
        if failure.is_none() && counts.requests > 0 && done == 0 && books.failed == 0 {
            let what = format!("DynamoDB refused every item for table {}", self.with.table);
            return Some(Error::new(ErrorKind::Write, what).hint(
                "the attributes (--type, --source, --desc, --attr) do not fit the table or its \
                 indexes, or --key not the table",
            ));
        }
        failure
    }
}
