//! Difference of two lists: its size, and the check against `--max-change`.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::format_number;
use crate::commands::ingest::ordered_lists::{ListReadOptions, Lists, OrderedRun, task_failed};
use crate::commands::ingest::outcome_batcher::OutcomeBatcher;
use crate::commands::ingest::settings::Refresh;
use crate::list::prefetch::Prefetch;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::diff::{Change, MergeDiff, SortedInput};
use crate::pipeline::list_check::ListTotals;
use crate::pipeline::progress::counts::{LineCounts, LineOutcome};
use crate::pipeline::reader::StartPosition;

/// Size of a difference.
#[derive(Debug, Clone, Copy, Default)]
struct ChangeCounts {
    puts: u64,
    deletes: u64,
    /// Hashes in both lists, without a change.
    unchanged: u64,
    /// All hashes of the old list.
    old_hashes: u64,
}

impl OrderedRun<'_> {
    /// Reads both lists of a refresh and checks their difference. `None` if the run was
    /// stopped.
    pub(super) async fn difference(
        &self,
        refresh: &Refresh,
        first: Option<(StartPosition, Prefetch)>,
    ) -> Result<Option<Lists>> {
        let ingest = self.ingest;
        let once = ingest.sources.has_read_once() || ingest.old_sources.has_read_once();
        let distinct = ingest.options.distinct;
        if distinct != Distinct::Exact && !once {
            // Close the first source: both lists are opened again.
            drop(first);
            match Box::pin(self.count_in_order(refresh)).await {
                Err(e) if e.kind() == ErrorKind::Unsorted && distinct == Distinct::InFlight => {
                    tracing::info!("{e:#}: sorting both lists on disk");
                    self.ingest
                        .watch
                        .counters()
                        .update(|c| c.line_counts = LineCounts::default());
                    self.ingest.watch.counters().update(|c| c.bytes_read = 0);
                    self.watermark.sources().reset();
                    self.rejects.reset()?;
                }
                ended => return Ok(ended?.then_some(Lists::InOrder)),
            }
            return Box::pin(self.sort_both(refresh, None)).await;
        }
        Box::pin(self.sort_both(refresh, first)).await
    }

    /// Reads both lists, which must be sorted by hash, and checks their difference. Returns
    /// false if the run was stopped.
    async fn count_in_order(&self, refresh: &Refresh) -> Result<bool> {
        let tally = self.change_counter(refresh.delete);
        let options = |lane| ListReadOptions {
            list_index: lane,
            distinct: Distinct::Sorted,
            counters: self.ingest.watch.counters(),
            rejects: self.rejects,
            sources: self.watermark.sources(),
            max_rejects: self.ingest.options.read.max_rejects,
        };
        let tally = Box::pin(self.read_both(options(1), options(0), tally)).await?;
        match tally {
            Some(tally) => self.check_change(refresh, tally).map(|()| true),
            None => Ok(false),
        }
    }

    /// Sorts both lists on disk and checks their difference. `None` if the run was stopped.
    async fn sort_both(
        &self,
        refresh: &Refresh,
        first: Option<(StartPosition, Prefetch)>,
    ) -> Result<Option<Lists>> {
        let Some(mut old) = self.sort(0, &self.ingest.old_sources, None).await? else {
            return Ok(None);
        };
        let Some(mut new) = self.sort(1, &self.ingest.sources, first).await? else {
            return Ok(None);
        };
        let tally = self.change_counter(refresh.delete);
        let counted = tokio::task::spawn_blocking(move || {
            let walk = MergeDiff::new(
                SortedInput::Sorted(new.read()?),
                Some(SortedInput::Sorted(old.read()?)),
            );
            let tally = tally(walk)?;
            Ok::<_, Error>((tally, new, old))
        });
        let (tally, new, old) = counted.await.map_err(task_failed)??;
        self.check_change(refresh, tally)?;
        Ok(Some(Lists::Sorted(Box::new((new, Some(old))))))
    }

    /// A function that counts the changes of a difference, and the lines without a change.
    fn change_counter(
        &self,
        delete: bool,
    ) -> impl FnOnce(MergeDiff<'_>) -> Result<ChangeCounts> + Send + 'static {
        let mut settling = OutcomeBatcher::new(self.ingest.watch.clone(), self.watermark.clone());
        move |mut walk| {
            let mut tally = ChangeCounts::default();
            while let Some(step) = walk.next()? {
                match step {
                    Change::Put(_, old) => {
                        tally.puts += 1;
                        if let Some(old) = old {
                            tally.old_hashes += 1;
                            settling.record(old.source, LineOutcome::Unchanged, 1);
                        }
                    }
                    Change::Delete(_) if delete => {
                        tally.deletes += 1;
                        tally.old_hashes += 1;
                    }
                    Change::Delete(record) => {
                        tally.old_hashes += 1;
                        settling.record(record.position.source, LineOutcome::Unchanged, 1);
                    }
                    Change::Same(new, old) => {
                        tally.unchanged += 1;
                        tally.old_hashes += 1;
                        settling.record(new.source, LineOutcome::Unchanged, 1);
                        settling.record(old.source, LineOutcome::Unchanged, 1);
                    }
                }
                for source in walk.duplicates.drain(..) {
                    settling.record(source, LineOutcome::Duplicate, 1);
                }
            }
            Ok(tally)
        }
    }

    /// Logs the size of a difference and checks it against the maximum.
    fn check_change(&self, refresh: &Refresh, tally: ChangeCounts) -> Result<()> {
        let ChangeCounts {
            puts,
            deletes,
            unchanged: same,
            old_hashes: old,
        } = tally;
        let n = |n: u64| format_number(n as f64);
        self.check_lists()?;
        if puts + deletes == 0 {
            tracing::info!(
                "nothing to write: the {} hashes of both lists are the same",
                n(same)
            );
            return Ok(());
        }
        let share = (puts + deletes) as f64 * 100.0 / old.max(1) as f64;
        let change = format!(
            "{} hashes to put and {} to delete, {} in both lists: {share:.1} % of the old list changes",
            n(puts),
            n(deletes),
            n(same),
        );
        match refresh.max_change {
            // An earlier run that wrote anything has passed this check. One that was killed
            // before its first write has not: its checkpoint is at the start.
            Some(max) if share > max && !self.earlier_run_wrote() => Err(Error::new(
                ErrorKind::Input,
                format!("{change}, but --max-change allows {max} %; nothing was written"),
            )
            .with_hint(
                "check that these are the right lists; --confirm allows any change, --max-change P% sets the \
                 maximum, and ingest is for the first list of a table",
            )),
            _ => {
                tracing::info!("{change}");
                self.hold_back_deletes(refresh, deletes);
                Ok(())
            }
        }
    }

    /// Checks that both lists have hashes; only the old list may be empty. A new list without
    /// hashes would delete everything.
    fn check_lists(&self) -> Result<()> {
        let ingest = self.ingest;
        for (second, sources, name) in [
            (false, &ingest.old_sources, "the old list"),
            (true, &ingest.sources, "the new list"),
        ] {
            let line_counts = self.watermark.sources().line_counts(second);
            if line_counts.lines == 0 && !second {
                continue;
            }
            let listed = ListTotals {
                keeps_rejects: true,
                sources,
                algorithm: Some(self.algorithm)
                    .filter(|_| ingest.options.read.form.path_normalizer.is_none()),
                lines: line_counts.lines,
                skipped: line_counts.skipped,
                rejected: line_counts.rejected,
            };
            let useless = listed.no_hash_error(&self.rejects.shapes(second));
            let empty = || {
                (line_counts.lines == 0).then(|| Error::new(ErrorKind::Input, "it has no lines"))
            };
            if let Some(e) = useless.or_else(empty) {
                return Err(e.in_source(&format!("{name} has no hashes; nothing was written")));
            }
        }
        Ok(())
    }

    /// Holds back the `deletes` if the new list has rejected lines: their hashes may still be
    /// in the list.
    fn hold_back_deletes(&self, refresh: &Refresh, deletes: u64) {
        let rejected = self.watermark.sources().line_counts(true).rejected;
        if deletes == 0 || rejected == 0 || refresh.delete_despite_rejects {
            return;
        }
        // Cannot fail: a run has one difference.
        let _ = self.held_back_deletes.set(deletes);
        let n = |n: u64| format_number(n as f64);
        tracing::warn!(
            "{} deletes are held back: {} lines of the new list are rejected, and their hashes may still be \
             in the list. Correct these lines and run this again, or give --delete-despite-rejects",
            n(deletes),
            n(rejected)
        );
    }

    /// True if the resumed run has written anything.
    fn earlier_run_wrote(&self) -> bool {
        self.resumed_from.is_some_and(|c| c.finished.count() > 0)
    }
}
