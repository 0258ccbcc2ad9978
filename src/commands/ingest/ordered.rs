//! A run whose records are put in order before they are written: each hash once of
//! all lists, or only the difference of two.
//!
//! First everything is read, and sorted where it is not in order; by then all books are
//! closed but for the records that are to be written, and it is known how many these
//! are. Then those are handed to the writer in the order of their hashes. A run that is
//! taken up does the first half again and passes over what is settled: the order is the
//! same each time.

use crate::base::error::{Error, ErrorKind, Result};
use crate::commands::ingest::ordered_lists::{Arranged, Lists, broken};
use crate::commands::ingest::settle::{Passed, Settling};
use crate::list::prefetch::Ahead;
use crate::pipeline::diff::{Handing, Side, Step, Walk};
use crate::pipeline::progress::counts::{Books, Settled};
use crate::pipeline::progress::watermark::HandOver;
use crate::pipeline::reader::Beginning;
use tokio::sync::mpsc;

impl Arranged<'_> {
    /// Reads the run's lists, of which `first` is opened already, and hands the records
    /// that are to be written to `records`; says whether it came to the end.
    pub(super) async fn run(
        &self,
        first: Option<(Beginning, Ahead)>,
        records: mpsc::Sender<HandOver>,
    ) -> Result<bool> {
        let with = &self.ingest.with;
        let lists = match &with.refresh {
            None => {
                let sorted = self.sort(0, &self.ingest.sources, first).await?;
                sorted.map(|sorted| Lists::Sorted(Box::new((sorted, None))))
            }
            Some(refresh) => Box::pin(self.difference(refresh, first)).await?,
        };
        let Some(lists) = lists else {
            return Ok(false);
        };
        // They were looked at before they were read: they may have changed in between, and
        // then the place in their order is that of another hash.
        let was = self.earlier.map(|c| &c.behind).filter(|b| b.count() > 0);
        if was.is_some_and(|was| was.digest != self.water.accounts().all().digest) {
            return Err(Error::new(
                ErrorKind::Read,
                "a list has changed since the run that is to be taken up",
            )
            .hint("begin again with --restart, or give that run's list back its place"));
        }
        // Set once: it is all read by now.
        let _ = (self.ingest.watch.0.lines).set(self.ingest.watch.meters().read().books.lines);
        match lists {
            Lists::Sorted(mut lists) => {
                let hand_on = self.hand_on(records);
                let handed = tokio::task::spawn_blocking(move || {
                    let (new, old) = &mut *lists;
                    let old = old.as_mut().map(|old| old.read().map(Side::Sorted));
                    let walk = Walk::new(Side::Sorted(new.read()?), old.transpose()?);
                    hand_on(walk)
                });
                handed.await.map_err(broken)?
            }
            Lists::InOrder => {
                let hand_on = self.hand_on(records);
                let handed = self.again(hand_on).await?;
                Ok(handed.unwrap_or(false))
            }
        }
    }

    /// Hands the records of a walk on, but for those that an earlier run has settled;
    /// false when nobody takes them any more.
    fn hand_on(
        &self,
        records: mpsc::Sender<HandOver>,
    ) -> impl FnOnce(Walk<'_>) -> Result<bool> + Send + 'static {
        let mut settling = Settling::new(self.ingest.watch.clone(), self.water.clone());
        let refresh = self.ingest.with.refresh.as_ref();
        let (is_refresh, delete) = (refresh.is_some(), refresh.is_none_or(|r| r.delete));
        let held_back = self.held_back.get().is_some();
        let skip = self.earlier.and_then(|c| c.sorted).unwrap_or(0);
        let was = self.earlier.map(|c| c.books).unwrap_or_default();
        move |mut walk| {
            // Everything is in the books by now, but for what is to be written.
            let books = settling.watch.meters().read().books;
            let settled = Books {
                lines: books.lines - books.open(),
                ..books
            };
            let mut handing = Handing::new(&records);
            handing.settled(settled);
            let mut passed = Passed::default();
            let mut flushed = false;
            while let Some(step) = walk.next()? {
                // Those of a refresh were counted before.
                let repeats = walk.repeats.drain(..).filter(|_| !is_refresh);
                let mut found = Books::default();
                for source in repeats {
                    settling.enter(source, Settled::Duplicate, 1);
                    found.lines += 1;
                    found.duplicates += 1;
                }
                handing.settled(found);
                let record = match step {
                    Step::Put(record, _) => record,
                    Step::Delete(record) if held_back => {
                        settling.enter(record.place.source, Settled::Kept, 1);
                        handing.settled(Books {
                            lines: 1,
                            kept: 1,
                            ..Books::default()
                        });
                        continue;
                    }
                    Step::Delete(record) if delete => record,
                    Step::Delete(_) | Step::Same(..) => continue,
                };
                if handing.position() < skip {
                    handing.pass();
                    passed.take(&record);
                    continue;
                }
                if !flushed {
                    flushed = true;
                    handing.settled(passed.settle(was, &mut settling));
                    if !handing.flush() {
                        return Ok(false);
                    }
                }
                if !handing.push(record) {
                    return Ok(false);
                }
            }
            if !flushed {
                handing.settled(passed.settle(was, &mut settling));
            }
            Ok(handing.flush())
        }
    }
}
