//! A run whose records are put in order before they are written: each hash once of
//! all lists, or only the difference of two.
//!
//! First everything is read, and sorted where it is not in order; by then all books are
//! closed but for the records that are to be written, and it is known how many these
//! are. Then those are handed to the writer in the order of their hashes. A run that is
//! taken up does the first half again and passes over what is settled: the order is the
//! same each time.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::human::thousands;
use crate::base::record::{Action, LANE, Record};
use crate::commands::ingest::options::{Ingest, Watch};
use crate::dynamodb::column_attributes::Columns;
use crate::list::external_sort::sorter::{Sorted, Sorter, SorterOptions, disk_bytes};
use crate::list::objects::Objects;
use crate::list::prefetch::Ahead;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::diff::{Handing, Side, Step, Walk, Whole, sort};
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::progress::counts::{Books, Meters, Settled};
use crate::pipeline::progress::sources::Accounts;
use crate::pipeline::progress::watermark::{HandOver, LowWater};
use crate::pipeline::reader::{Beginning, HAND_OVERS, Reader};
use crate::pipeline::rejects::{MaxRejects, Rejects};
use crate::pipeline::useful::Listed;
use crate::source::sources::Sources;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// The share of the old list that a refresh may change unless it is told otherwise, in
/// percent.
pub const MAX_CHANGE_PERCENT: f64 = 20.0;

/// The difference of two lists instead of one list.
#[derive(Debug, Clone, PartialEq)]
pub struct Refresh {
    /// The sources of the old list, as they are named; those of the run are the new
    /// one's.
    pub from: Vec<String>,
    /// Whether what is gone is deleted.
    pub delete: bool,
    /// How much of the old list may change, in percent; nothing when any change is
    /// confirmed.
    pub max_change: Option<f64>,
    /// Whether what is gone is deleted though the new list has rejected lines: a hash
    /// that cannot be read is then taken for gone.
    pub delete_despite_rejects: bool,
}

impl Ingest {
    /// Checks what must be known before the first write: that temporary files can be
    /// made, and that the old list of a refresh is one.
    pub(super) async fn can_be_arranged(
        &self,
        algorithm: Algorithm,
        columns: &Columns,
    ) -> Result<()> {
        if !self.is_arranged() {
            return Ok(());
        }
        let folder = self.with.unpack.work.path();
        tempfile::tempfile_in(&folder).map_err(|e| {
            Error::usage(format!(
                "cannot make temporary files in {}, where hashes are sorted",
                folder.display()
            ))
            .because(e)
            .hint("name another folder by --work-dir DIR")
        })?;
        // What comes through a pipe comes once.
        if self.with.refresh.is_none() || self.from.has_stdin() {
            return Ok(());
        }
        let with = &self.with;
        let objects = Objects::new(&self.from, &self.aws);
        let mut ahead = Ahead::new(objects, &self.aws, &with.unpack, &with.form);
        if let Some(old) = ahead.next().await? {
            old.parser(&with.form, algorithm, columns.wanted())?;
        }
        Ok(())
    }
}

/// What a run of this kind works with.
pub(super) struct Arranged<'a> {
    pub(super) ingest: &'a Ingest,
    pub(super) algorithm: Algorithm,
    pub(super) columns: &'a Columns,
    pub(super) rejects: &'a Rejects,
    pub(super) water: &'a Arc<LowWater>,
    /// What an earlier run had settled, which is taken up.
    pub(super) earlier: Option<&'a Checkpoint>,
    /// The deletes that are held back, once it is known that they are.
    pub(super) held_back: &'a OnceLock<u64>,
}

/// What is to be walked through in order.
enum Lists {
    /// They were sorted: the new one, and the old one of a refresh.
    Sorted(Box<(Sorted, Option<Sorted>)>),
    /// They lie in order and are read again.
    InOrder,
}

/// How a list is read.
struct Reading<'a> {
    lane: u32,
    distinct: Distinct,
    meters: &'a Meters,
    rejects: &'a Rejects,
    accounts: &'a Accounts,
    max_rejects: MaxRejects,
}

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
            Some(refresh) => self.difference(refresh, first).await?,
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

    /// The two lists of a refresh, once it is known what their difference comes to, and
    /// that it may be made. Nothing when the run was stopped.
    async fn difference(
        &self,
        refresh: &Refresh,
        first: Option<(Beginning, Ahead)>,
    ) -> Result<Option<Lists>> {
        let ingest = self.ingest;
        let once = ingest.sources.has_stdin() || ingest.from.has_stdin();
        let told = ingest.with.distinct;
        if told != Distinct::Exact && !once {
            // It is read again: what is opened is of no use here.
            drop(first);
            match self.in_order(refresh).await {
                Err(e) if e.kind() == ErrorKind::Unsorted && told == Distinct::InFlight => {
                    tracing::info!("{e}: sorting both lists on disk");
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
            return self.sorted(refresh, None).await;
        }
        self.sorted(refresh, first).await
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
        let tally = self.both(of_run(1), of_run(0), tally).await?;
        match tally {
            Some(tally) => self.may(refresh, tally).map(|()| true),
            None => Ok(false),
        }
    }

    /// Walks through both lists, which lie in order and were counted before.
    async fn again<T: Send + 'static>(
        &self,
        walk: impl FnOnce(Walk<'_>) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (meters, rejects) = (Meters::default(), Rejects::known());
        let accounts = Accounts::again(self.water.accounts());
        let quiet = |lane| Reading {
            lane,
            distinct: Distinct::Sorted,
            meters: &meters,
            rejects: &rejects,
            accounts: &accounts,
            max_rejects: MaxRejects::Count(u64::MAX),
        };
        self.both(quiet(1), quiet(0), walk).await
    }

    /// Reads the new and the old list side by side, and walks through them as they come.
    async fn both<T: Send + 'static>(
        &self,
        new: Reading<'_>,
        old: Reading<'_>,
        walk: impl FnOnce(Walk<'_>) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (to_new, from_new) = mpsc::channel(HAND_OVERS);
        let (to_old, from_old) = mpsc::channel(HAND_OVERS);
        let whole = [Arc::<Whole>::default(), Arc::default()];
        let new_side = Side::stream(from_new, whole[0].clone());
        let old_side = Side::stream(from_old, whole[1].clone());
        let walked = tokio::task::spawn_blocking(move || walk(Walk::new(new_side, Some(old_side))));
        let [new_whole, old_whole] = &whole;
        let read = async |how, sources, to: mpsc::Sender<HandOver>, whole: &Whole| {
            let read = self.read(how, sources, None, to.clone()).await;
            if let Ok(true) = read {
                whole.set();
            }
            // Only now the stream ends.
            drop(to);
            read
        };
        let (new, old, walked) = tokio::join!(
            read(new, &self.ingest.sources, to_new, new_whole),
            read(old, &self.ingest.from, to_old, old_whole),
            walked,
        );
        let walked = walked.map_err(broken)?;
        // Where a list was not read to its end, that is why the walk was not either.
        let (new, old) = (new?, old?);
        match new && old {
            true => walked.map(Some),
            false => Ok(None),
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

    /// Reads and sorts a list; nothing when the run was stopped.
    async fn sort(
        &self,
        lane: u32,
        sources: &Sources,
        first: Option<(Beginning, Ahead)>,
    ) -> Result<Option<Sorted>> {
        let folder = self.ingest.with.unpack.work.path();
        let length = first
            .as_ref()
            .and_then(|(b, rest)| Some(b.opened.text_length()? + rest.bytes_to_come()?));
        let width = self.algorithm.bytes() as u64;
        // A line of text has two digits a byte, and its end.
        let needs = length.map(|bytes| disk_bytes(self.algorithm, bytes / (width * 2 + 1), 0));
        let needs = needs.map_or_else(
            || format!("{} bytes a hash", disk_bytes(self.algorithm, 1, 0)),
            |needs| {
                format!(
                    "some {}, as far as can be told",
                    indicatif::HumanBytes(needs)
                )
            },
        );
        tracing::info!(
            "sorting in {}: it takes up to twice {needs}, and what items take from their rows",
            folder.display()
        );
        let sorter = Sorter::new(self.algorithm, SorterOptions::in_folder(folder));
        let (to, from) = mpsc::channel(HAND_OVERS);
        let sorting = tokio::task::spawn_blocking(move || sort(from, sorter));
        let reading = Reading {
            lane,
            distinct: Distinct::Exact,
            meters: self.ingest.watch.meters(),
            rejects: self.rejects,
            accounts: self.water.accounts(),
            max_rejects: self.ingest.with.max_rejects,
        };
        let (read, sorted) = tokio::join!(self.read(reading, sources, first, to), sorting);
        let sorted = sorted.map_err(broken)??;
        if !read? {
            return Ok(None);
        }
        self.settle(&sorted);
        tracing::info!(
            "{} hashes are sorted, with {} on disk",
            thousands(sorted.entries() as f64),
            indicatif::HumanBytes(sorted.disk_bytes()),
        );
        Ok(Some(sorted))
    }

    /// Enters the repeats that were found while sorting.
    fn settle(&self, sorted: &Sorted) {
        let mut settling = Settling::new(self.ingest.watch.clone(), self.water.clone());
        for (source, count) in sorted.dropped() {
            settling.enter(*source, Settled::Duplicate, *count);
        }
    }

    /// Reads a list to `to`; false when the run was stopped.
    async fn read(
        &self,
        how: Reading<'_>,
        sources: &Sources,
        first: Option<(Beginning, Ahead)>,
        to: mpsc::Sender<HandOver>,
    ) -> Result<bool> {
        let ingest = self.ingest;
        let (beginning, mut ahead) = match first {
            Some(first) => first,
            None => {
                let objects = Objects::new(sources, &ingest.aws);
                let with = &ingest.with;
                let mut ahead = Ahead::new(objects, &ingest.aws, &with.unpack, &with.form);
                let opened = tokio::select! {
                    biased;
                    () = with.stop.requested() => return Ok(false),
                    opened = ahead.next() => opened?,
                };
                let Some(opened) = opened else {
                    return Err(Error::usage(
                        "there is nothing to read: the sources name no object",
                    ));
                };
                (Beginning::of(opened), ahead)
            }
        };
        let reader = Reader {
            algorithm: self.algorithm,
            distinct: how.distinct,
            columns: self.columns,
            max_rejects: how.max_rejects,
            meters: how.meters,
            rejects: how.rejects,
            accounts: how.accounts,
            records: to,
        };
        let beginning = Beginning {
            number: how.lane * LANE,
            ..beginning
        };
        reader.run(beginning, &mut ahead, &ingest.with.stop).await
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

fn broken(e: tokio::task::JoinError) -> Error {
    Error::new(
        ErrorKind::Internal,
        "putting the hashes in order broke down; this is a fault of hashferry",
    )
    .because(e)
}

/// Records that an earlier run has settled, by the number of their source.
#[derive(Debug, Default)]
struct Passed {
    puts: Vec<(u32, u64)>,
    deletes: Vec<(u32, u64)>,
}

impl Passed {
    fn take(&mut self, record: &Record) {
        let counts = match record.action {
            Action::Put => &mut self.puts,
            Action::Delete => &mut self.deletes,
        };
        let source = record.place.source;
        match counts.last_mut() {
            Some((last, count)) if *last == source => *count += 1,
            // As many entries as sources, or they alternate: then some more.
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

    /// Enters them as an earlier run, of which these `were` the books, has settled them.
    fn settle(&mut self, were: Books, settling: &mut Settling) -> Books {
        let count = |counts: &[(u32, u64)]| counts.iter().map(|(_, n)| n).sum::<u64>();
        let (puts, deletes) = (count(&self.puts), count(&self.deletes));
        let written = were.written.min(puts);
        let deleted = were.deleted.min(deletes);
        let kept = were.kept.min(deletes - deleted);
        // What was neither was refused by DynamoDB.
        let mut refused = [puts - written, deletes - deleted - kept];
        let mut left = [0, kept];
        for (n, (counts, how)) in [
            (std::mem::take(&mut self.puts), Settled::Written),
            (std::mem::take(&mut self.deletes), Settled::Deleted),
        ]
        .into_iter()
        .enumerate()
        {
            for (source, count) in counts {
                let rejected = refused[n].min(count);
                refused[n] -= rejected;
                let kept = left[n].min(count - rejected);
                left[n] -= kept;
                settling.enter(source, Settled::Rejected, rejected);
                settling.enter(source, Settled::Kept, kept);
                settling.enter(source, how, count - rejected - kept);
            }
        }
        Books {
            lines: puts + deletes,
            written,
            deleted,
            kept,
            rejected: puts - written + deletes - deleted - kept,
            ..Books::default()
        }
    }
}

/// Enters settled lines in the meters and the accounts, many at once.
struct Settling {
    watch: Watch,
    water: Arc<LowWater>,
    now: Option<(u32, Settled)>,
    count: u64,
}

impl Settling {
    fn new(watch: Watch, water: Arc<LowWater>) -> Settling {
        Settling {
            watch,
            water,
            now: None,
            count: 0,
        }
    }

    fn enter(&mut self, source: u32, how: Settled, count: u64) {
        if self.now != Some((source, how)) {
            self.flush();
            self.now = Some((source, how));
        }
        self.count += count;
    }

    fn flush(&mut self) {
        let count = std::mem::take(&mut self.count);
        if let Some((source, how)) = self.now.filter(|_| count > 0) {
            self.watch.meters().update(|c| c.books.enter(how, count));
            self.water.accounts().settle(source, how, count);
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.flush();
    }
}
