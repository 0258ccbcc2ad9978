//! The difference of two lists: how much it changes, and whether it may be made.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::thousands;
use crate::commands::ingest::ordered_lists::{Arranged, Lists, Reading, broken};
use crate::commands::ingest::settings::Refresh;
use crate::commands::ingest::settle::Settling;
use crate::list::prefetch::Ahead;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::diff::{Side, Step, Walk};
use crate::pipeline::progress::counts::{Books, Settled};
use crate::pipeline::reader::Beginning;
use crate::pipeline::useful::Listed;

/// What a difference comes to.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    puts: u64,
    deletes: u64,
    /// Hashes that stand in both lists, alike.
    same: u64,
    /// Hashes of the old list.
    old: u64,
}

impl Arranged<'_> {
    /// The two lists of a refresh, once it is known what their difference comes to, and
    /// that it may be made. Nothing when the run was stopped.
    pub(super) async fn difference(
        &self,
        refresh: &Refresh,
        first: Option<(Beginning, Ahead)>,
    ) -> Result<Option<Lists>> {
        let ingest = self.ingest;
        let once = ingest.sources.have_read_once() || ingest.from.have_read_once();
        let told = ingest.with.distinct;
        if told != Distinct::Exact && !once {
            // It is read again: what is opened is of no use here.
            drop(first);
            match Box::pin(self.in_order(refresh)).await {
                Err(e) if e.kind() == ErrorKind::Unsorted && told == Distinct::InFlight => {
                    tracing::info!("{e:#}: sorting both lists on disk");
                    self.ingest
                        .watch
                        .meters()
                        .update(|c| c.books = Books::default());
                    self.ingest.watch.meters().update(|c| c.bytes_read = 0);
                    self.water.accounts().reset();
                    self.rejects.reset()?;
                }
                ended => return Ok(ended?.then_some(Lists::InOrder)),
            }
            return Box::pin(self.sorted(refresh, None)).await;
        }
        Box::pin(self.sorted(refresh, first)).await
    }

    /// Reads both lists, which must be in order, and finds out what their difference
    /// comes to; false when the run was stopped.
    async fn in_order(&self, refresh: &Refresh) -> Result<bool> {
        let tally = self.tally(refresh.delete);
        let of_run = |lane| Reading {
            lane,
            distinct: Distinct::Sorted,
            meters: self.ingest.watch.meters(),
            rejects: self.rejects,
            accounts: self.water.accounts(),
            max_rejects: self.ingest.with.max_rejects,
        };
        let tally = Box::pin(self.both(of_run(1), of_run(0), tally)).await?;
        match tally {
            Some(tally) => self.may(refresh, tally).map(|()| true),
            None => Ok(false),
        }
    }

    /// Sorts both lists, and finds out what their difference comes to.
    async fn sorted(
        &self,
        refresh: &Refresh,
        first: Option<(Beginning, Ahead)>,
    ) -> Result<Option<Lists>> {
        let Some(mut old) = self.sort(0, &self.ingest.from, None).await? else {
            return Ok(None);
        };
        let Some(mut new) = self.sort(1, &self.ingest.sources, first).await? else {
            return Ok(None);
        };
        let tally = self.tally(refresh.delete);
        let counted = tokio::task::spawn_blocking(move || {
            let walk = Walk::new(Side::Sorted(new.read()?), Some(Side::Sorted(old.read()?)));
            let tally = tally(walk)?;
            Ok::<_, Error>((tally, new, old))
        });
        let (tally, new, old) = counted.await.map_err(broken)??;
        self.may(refresh, tally)?;
        Ok(Some(Lists::Sorted(Box::new((new, Some(old))))))
    }

    /// Counts what a difference comes to, and enters the lines that need nothing.
    fn tally(&self, delete: bool) -> impl FnOnce(Walk<'_>) -> Result<Tally> + Send + 'static {
        let mut settling = Settling::new(self.ingest.watch.clone(), self.water.clone());
        move |mut walk| {
            let mut tally = Tally::default();
            while let Some(step) = walk.next()? {
                match step {
                    Step::Put(_, old) => {
                        tally.puts += 1;
                        if let Some(old) = old {
                            tally.old += 1;
                            settling.enter(old.source, Settled::Unchanged, 1);
                        }
                    }
                    Step::Delete(_) if delete => {
                        tally.deletes += 1;
                        tally.old += 1;
                    }
                    Step::Delete(record) => {
                        tally.old += 1;
                        settling.enter(record.place.source, Settled::Unchanged, 1);
                    }
                    Step::Same(new, old) => {
                        tally.same += 1;
                        tally.old += 1;
                        settling.enter(new.source, Settled::Unchanged, 1);
                        settling.enter(old.source, Settled::Unchanged, 1);
                    }
                }
                for source in walk.repeats.drain(..) {
                    settling.enter(source, Settled::Duplicate, 1);
                }
            }
            Ok(tally)
        }
    }

    /// Says what a difference comes to, and whether it may be made.
    fn may(&self, refresh: &Refresh, tally: Tally) -> Result<()> {
        let Tally {
            puts,
            deletes,
            same,
            old,
        } = tally;
        let n = |n: u64| thousands(n as f64);
        self.are_lists()?;
        if puts + deletes == 0 {
            tracing::info!(
                "nothing is to be written: {} hashes are in both lists, and nothing else is",
                n(same)
            );
            return Ok(());
        }
        let share = (puts + deletes) as f64 * 100.0 / old.max(1) as f64;
        let what = format!(
            "{} hashes to put and {} to delete, {} in both lists: {share:.1} % of the old one changes",
            n(puts),
            n(deletes),
            n(same),
        );
        match refresh.max_change {
            // An earlier run that has handed anything on was let through; one that was
            // killed before leaves a checkpoint too, at the very beginning.
            Some(most) if share > most && !self.was_let_through() => Err(Error::new(
                ErrorKind::Input,
                format!("{what}, and --max-change lets {most} % pass; nothing was written"),
            )
            .hint(
                "check that these are the lists that you mean; --confirm makes any change, --max-change P% \
                 says how large one may be, and ingest is for the first list of a table",
            )),
            _ => {
                tracing::info!("{what}");
                self.hold_back(refresh, deletes);
                Ok(())
            }
        }
    }

    /// Refuses lists without one hash: of such a new one everything would be gone.
    fn are_lists(&self) -> Result<()> {
        let ingest = self.ingest;
        for (second, sources, name) in [
            (false, &ingest.from, "the old list"),
            (true, &ingest.sources, "the new list"),
        ] {
            let books = self.water.accounts().books(second);
            if books.lines == 0 && !second {
                continue;
            }
            let listed = Listed {
                keeps_rejects: true,
                sources,
                algorithm: Some(self.algorithm).filter(|_| ingest.with.form.paths.is_none()),
                lines: books.lines,
                skipped: books.skipped,
                rejected: books.rejected,
            };
            let useless = listed.useless(&self.rejects.shapes(second));
            let empty =
                || (books.lines == 0).then(|| Error::new(ErrorKind::Input, "it has no lines"));
            if let Some(e) = useless.or_else(empty) {
                return Err(e.of(&format!("{name} is none, and nothing was written")));
            }
        }
        Ok(())
    }

    /// Holds back the `deletes` where the new list has lines that cannot be read: their
    /// hashes are not known to be gone.
    fn hold_back(&self, refresh: &Refresh, deletes: u64) {
        let rejected = self.water.accounts().books(true).rejected;
        if deletes == 0 || rejected == 0 || refresh.delete_despite_rejects {
            return;
        }
        // Set once: a run has one difference.
        let _ = self.held_back.set(deletes);
        let n = |n: u64| thousands(n as f64);
        tracing::warn!(
            "{} deletes are held back: {} lines of the new list are rejected, and their hashes are not \
             known to be gone. Correct these lines and run this again, or give --delete-despite-rejects",
            n(deletes),
            n(rejected)
        );
    }

    /// Whether an earlier run, which is taken up, came as far as to write.
    fn was_let_through(&self) -> bool {
        self.earlier.is_some_and(|c| c.behind.count() > 0)
    }
}
