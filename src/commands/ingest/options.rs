//! The whole: a hash list into a table, with its books.
//!
//! [`Ingest`] is what the command `hashferry ingest` runs, and what a program of
//! your own embeds. It opens the first source, asks for the table, works out the
//! items and the rate, and lets the [reader](crate::pipeline::reader) and the
//! [writer](crate::pipeline::writer) run until both have ended; then it draws up the
//! [`Report`].

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::commands::ingest::checkpointing::Keeping;
use crate::commands::ingest::ordered::Arranged;
use crate::commands::item_options::{with_release, with_rules};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::client::operation::{BatchWrite, RawOperation};
use crate::dynamodb::column_attributes::Columns;
use crate::dynamodb::describe_table;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::scaling::raise;
use crate::dynamodb::scaling::raise::Raise;
use crate::dynamodb::scaling::restore_note;
use crate::dynamodb::scaling::restore_note::Raised;
use crate::dynamodb::table::{Billing, Table};
use crate::flow::backoff::Backoff;
use crate::flow::capacity::Capacity;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, Pace};
use crate::list::objects::Objects;
use crate::list::opened::Opened;
use crate::list::opened::RELEASE;
use crate::list::prefetch::Ahead;
use crate::pipeline::contents::look;
use crate::pipeline::contents::look::{Given, Look, Told};
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::progress::counts::{Books, Counts, Meters};
use crate::pipeline::progress::sources::Account;
use crate::pipeline::progress::watermark::{LowWater, Mark};
use crate::pipeline::reader::{Beginning, HAND_OVERS, Reader};
use crate::pipeline::rejects::Rejects;
use crate::pipeline::report;
use crate::pipeline::report::{Outcome, RaisedReport, Report};
use crate::pipeline::useful::Listed;
use crate::pipeline::writer::{End, Writer, WriterOptions};
use crate::source::sources::Sources;
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::commands::ingest::builder::{GIVE_UP_AFTER, IngestBuilder};

/// The attribute whose value says which list an item is of.
const SOURCE: &str = "source";

/// What a run that is under way can be asked.
#[derive(Debug, Clone, Default)]
pub struct Watch(pub(super) Arc<WatchInner>);

#[derive(Debug, Default)]
pub(super) struct WatchInner {
    meters: Meters,
    plan: OnceLock<Plan>,
    pub(super) lines: OnceLock<u64>,
}

/// What is known once the first source is open and the table has answered.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The hash algorithm.
    pub algorithm: Algorithm,
    /// Bytes to read in all, where that is known.
    pub bytes: Option<u64>,
    /// The pace, which knows the rate aimed at now.
    pub pace: Arc<Pace>,
    /// When writing began.
    pub begun: Instant,
    /// What an earlier run had counted, which this one has taken up.
    pub earlier: Counts,
    /// Whether it is a refresh, whose books have two more columns.
    pub is_refresh: bool,
}

impl Watch {
    /// The counters.
    pub fn meters(&self) -> &Meters {
        &self.0.meters
    }

    /// The plan, once there is one.
    pub fn plan(&self) -> Option<&Plan> {
        self.0.plan.get()
    }

    /// All lines there are, once everything is read and only writing is left.
    pub fn lines(&self) -> Option<u64> {
        self.0.lines.get().copied()
    }
}

/// A run, ready to begin.
///
/// ```no_run
/// # async fn example() -> hashferry::error::Result<()> {
/// use hashferry::{Ingest, attribute::Value};
///
/// let report = Ingest::builder()
///     .source("s3://my-bucket/nsrl/sha256.txt")
///     .table("sha256")
///     .attribute("source", Value::S("NSRL".into()))
///     .build()
///     .await?
///     .run()
///     .await?;
/// assert_eq!(report.exit, 0, "{:?}", report.error);
/// println!("{} of {} lines written", report.written, report.lines);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Ingest {
    pub(super) aws: Aws,
    pub(super) sources: Sources,
    /// The old list of a refresh.
    pub(super) from: Sources,
    pub(super) watch: Watch,
    pub(super) with: IngestBuilder,
}

impl Ingest {
    /// What a run can be told.
    pub fn builder() -> IngestBuilder {
        IngestBuilder::default()
    }

    /// By which the run can be watched.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Runs to the end. Whatever happens once writing has begun is in the
    /// report, a failure too: see [`Report::outcome`] and [`Report::error`].
    ///
    /// # Errors
    /// When it cannot begin; then nothing was written.
    pub async fn run(mut self) -> Result<Report> {
        let look = self.look_for_rules().await?;
        let with = &self.with;
        let mut report = Report::begun(self.command(), &with.table, Timestamp::now());
        report.dry_run = with.dry_run;
        let begun = Instant::now();
        let prepared = tokio::select! {
            biased;
            () = with.stop.requested() => {
                report.end(Outcome::Interrupted, None);
                return Ok(report);
            }
            prepared = self.prepare(look) => prepared?,
        };
        let raised = match (with.raise_to, with.dry_run) {
            (Some(units), false) => self.raise(units, &prepared.table).await?,
            (Some(_), true) => {
                tracing::info!("dry run: the table is not raised");
                None
            }
            (None, _) => None,
        };
        let before = begun.elapsed();
        let ended = match with.stop.is_requested() {
            true => Ok(Ended::Interrupted),
            false => self.write(prepared, &mut report).await,
        };
        report.elapsed_s += before.as_secs_f64();
        let restored = match raised {
            Some(raised) => self.restore(raised, &mut report).await,
            None => Ok(()),
        };
        let (outcome, failure) = match (ended, restored) {
            (Ok(Ended::Interrupted), Ok(())) => (Outcome::Interrupted, None),
            (Ok(Ended::Rejects), Ok(())) => (Outcome::Rejects, None),
            (Ok(Ended::Complete), Ok(())) => (Outcome::Complete, None),
            (Ok(_), Err(e)) => (Outcome::Failed, Some(e)),
            (Err(e), restored) => {
                if let Err(also) = restored {
                    tracing::warn!("{also}; {}", also.what_to_do().unwrap_or_default());
                }
                (Outcome::Failed, Some(e))
            }
        };
        report.end(outcome, failure.as_ref());
        if let Outcome::Complete | Outcome::Rejects = outcome {
            with.unpack.work.done();
        }
        Ok(report)
    }

    /// Takes the rules of a list of paths that are left open from the table's items.
    async fn look_for_rules(&mut self) -> Result<Option<Look>> {
        let (with, given) = (&self.with, self.with.given_rules());
        let (key, stop) = (with.key.as_ref(), &with.stop);
        let (rules, look) =
            look::rules_for(&self.aws, &with.table, key, given.as_ref(), stop).await?;
        self.with.form.paths = rules.or(self.with.form.paths.take());
        Ok(look)
    }

    /// The command that it is.
    fn command(&self) -> &'static str {
        match self.with.refresh {
            Some(_) => "refresh",
            None => "ingest",
        }
    }

    /// Whether records are put in order before they are written.
    pub(super) fn is_arranged(&self) -> bool {
        self.with.refresh.is_some() || self.with.distinct == Distinct::Exact
    }

    /// Raises the table for this run.
    async fn raise(&self, units: u64, table: &Table) -> Result<Option<Raise>> {
        let with = &self.with;
        let note = match &with.raise_note {
            Some(path) => path.clone(),
            None => restore_note::place(&self.aws, &with.table)?,
        };
        let raised = raise::raise(
            &self.aws,
            table,
            units,
            &self.attribute_names(table),
            note,
            &with.stop,
        )
        .await?;
        if let Some(raised) = &raised {
            tracing::info!(
                "should this process be killed, hashferry capacity --table {} --restore {} brings the table back",
                with.table,
                raised.note().display()
            );
        }
        Ok(raised)
    }

    /// Brings the table back, and enters that in the report.
    async fn restore(&self, raised: Raise, report: &mut Report) -> Result<()> {
        let parts = raised.parts().to_vec();
        let restored = raised.restore(&self.aws, &self.with.stop).await;
        let entry = |p: Raised| RaisedReport {
            index: p.index,
            from_wcu: p.write_units,
            to_wcu: p.raised_to,
            restored: restored.is_ok(),
        };
        report.raised = parts.into_iter().map(entry).collect();
        restored
    }

    /// Reads and writes, and enters what came of it in the report.
    ///
    /// # Errors
    /// When it could not go on, or the books have something against it.
    async fn write(&self, prepared: Prepared, report: &mut Report) -> Result<Ended> {
        let with = &self.with;
        let Prepared {
            beginning,
            mut ahead,
            mut table,
            template,
            columns,
            rejects,
            sink,
            checkpoint,
            keeping,
        } = prepared;
        if with.raise_to.is_some() && !with.dry_run {
            table = describe_table::describe(&self.aws, &with.table, None).await?;
        }
        let begun = Instant::now();
        let algorithm = template.algorithm();
        let capacity = self.capacity(&table).await;
        let pace = match with.dry_run {
            true => Pace::fixed(None),
            false => with.rate.pace(capacity, with.max_rate),
        };
        pace.grant(with.burst);
        let target = pace.rate();
        let pace = Arc::new(pace);
        let batch_units = template.write_units() * template.batch_items() as f64;
        let calls = with.concurrency.said(target, batch_units);
        let first = beginning.as_ref().map(|b| &b.opened);
        let behind = first.map_or(0, Opened::behind);
        let length = first.map_or(Some(0), Opened::length);
        let to_come = ahead
            .bytes_to_come()
            .filter(|_| beginning.as_ref().is_none_or(|b| b.number == 0));
        // Of a refresh, the length of the old list is not known yet.
        let bytes = length.zip(to_come).filter(|_| with.refresh.is_none());
        let bytes = bytes.map(|(first, rest)| first + rest);
        let mut earlier_counts = checkpoint
            .as_ref()
            .map(|c| c.counts(behind))
            .unwrap_or_default();
        if self.is_arranged() {
            // All of it is read again.
            earlier_counts.books = Books::default();
            earlier_counts.bytes_read = 0;
        }
        // Set once: a run happens once.
        let _ = self.watch.0.plan.set(Plan {
            algorithm,
            bytes,
            pace: pace.clone(),
            begun,
            earlier: earlier_counts,
            is_refresh: with.refresh.is_some(),
        });
        self.announce(&table, &template, target, &calls);

        let meters = self.watch.meters();
        let water = Arc::new(match &checkpoint {
            Some(c) if !self.is_arranged() => LowWater::new(c.mark(), c.behind.clone()),
            _ => LowWater::default(),
        });
        if let Some(checkpoint) = &checkpoint {
            meters.update(|c| *c = earlier_counts);
            report.resumed_from = Some(checkpoint.books.lines);
        }
        let state = crate::commands::ingest::checkpointing::State {
            aws: &self.aws,
            water: &water,
            meters,
            rejects: &rejects,
            begun,
        };
        let (records, fresh) = mpsc::channel(HAND_OVERS);
        let reader = Reader {
            algorithm,
            distinct: with.distinct,
            columns: &columns,
            max_rejects: with.max_rejects,
            meters,
            rejects: &rejects,
            accounts: water.accounts(),
            records: records.clone(),
        };
        let held_back = OnceLock::new();
        let arranged = Arranged {
            held_back: &held_back,
            ingest: self,
            algorithm,
            columns: &columns,
            rejects: &rejects,
            water: &water,
            earlier: checkpoint.as_ref(),
        };
        let writer = Writer {
            table: &sink,
            table_name: &with.table,
            template: &template,
            pace: &pace,
            meters,
            water: &water,
            rejects: &rejects,
            options: WriterOptions {
                concurrency: with.concurrency,
                give_up_after: with.give_up_after.unwrap_or(GIVE_UP_AFTER),
            },
        };
        let backoff = Backoff::new(fastrand::Rng::new());
        let interval = with.capacity_interval.unwrap_or(CAPACITY_INTERVAL);
        let describe = || async {
            Ok(self
                .capacity(&describe_table::describe(&self.aws, &with.table, None).await?)
                .await)
        };
        let follow = pace.follow(interval, describe);
        let over = CancellationToken::new();
        let save = async {
            match &keeping {
                Some(keeping) => keeping.keep(&state, &over).await,
                None => std::future::pending().await,
            }
        };
        let mut unsaved = None;
        let (end, read) = {
            let work = async {
                let read = async move {
                    match beginning {
                        Some(beginning) if self.is_arranged() => {
                            drop(reader);
                            arranged.run(Some((beginning, ahead)), records).await
                        }
                        Some(beginning) => {
                            drop(records);
                            reader.run(beginning, &mut ahead, &with.stop).await
                        }
                        // All that there is was read by an earlier run.
                        None => Ok(true),
                    }
                };
                tokio::join!(writer.run(fresh, &with.stop, backoff), read)
            };
            tokio::pin!(work, follow, save);
            loop {
                tokio::select! {
                    biased;
                    ended = &mut work => {
                        over.cancel();
                        if keeping.is_some() && unsaved.is_none() {
                            // What comes of it no longer matters: the last word follows.
                            tokio::select! {
                                biased;
                                _ = &mut save => {}
                                () = with.stop.insisted() => {}
                            }
                        }
                        break ended;
                    }
                    never = &mut follow => match never {},
                    // Going on without it would be going on blind.
                    Err(e) = &mut save, if unsaved.is_none() => {
                        unsaved = Some(e);
                        with.stop.request();
                    }
                }
            }
        };

        if self.is_arranged() && !matches!((&end, &read), (End::Complete, Ok(true))) {
            // What was read and not handed to the writer.
            meters.update(|c| c.books.failed += c.books.open());
        }
        let counts = meters.read();
        (report.sources, report.further_sources) = report::sources(water.accounts().all(), true);
        report.deletes_held_back = held_back.get().copied();
        report.hash = Some(algorithm.name().to_owned());
        report.target_wcu_per_s = pace.rate();
        let earlier = keeping.as_ref().map_or(Duration::ZERO, |k| k.earlier);
        report.count(&counts, earlier + begun.elapsed());
        if with.dry_run {
            report.requests = 0;
        }
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
                .listed(algorithm, counts.books)
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
        let Some(keeping) = &keeping else {
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
        let mark = water.mark();
        if self.is_arranged() && mark == Mark::default() {
            // Nothing was handed on. What an earlier run has left is as far as it was;
            // without one there is nothing that could be taken up.
            match checkpoint.is_some() || ended.is_ok() {
                true => report.checkpoint = Some(keeping.store.place().to_string()),
                false => {
                    if let Err(e) = keeping.store.remove(&self.aws).await {
                        tracing::warn!("{e}");
                    }
                }
            }
            return ended;
        }
        report.checkpoint = Some(keeping.store.place().to_string());
        // Told to stop at once: what was saved last is true, too.
        let saved = tokio::select! {
            biased;
            saved = keeping.save_last(&state, &mark, damaged) => saved,
            () = with.stop.insisted() => Ok(()),
        };
        match (ended, saved) {
            (Err(e), Err(also)) => {
                tracing::warn!("{also}: what was saved before is older, and still true");
                Err(e)
            }
            (Ok(_), Err(e)) => Err(e),
            (ended, Ok(())) => ended,
        }
    }

    /// Everything that must be known before the first write.
    async fn prepare(&self, look: Option<Look>) -> Result<Prepared> {
        let with = &self.with;
        if self.sources.has_stdin() || self.from.has_stdin() {
            tracing::info!("reading standard input");
        }
        let objects = Objects::new(&self.sources, &self.aws);
        let mut ahead = Ahead::new(objects, &self.aws, &with.unpack, &with.form);
        let Some(opened) = ahead.next().await? else {
            return Err(Error::usage(
                "there is nothing to read: the sources name no object",
            ));
        };
        // For a table that a local DynamoDB is to make: its name says more than a list that
        // may be a wrong one.
        let named = with.algorithm.or(Algorithm::from_name(&with.table));
        let make_for = named.or(opened.beginning.algorithm);
        let table = match describe_table::describe(&self.aws, &with.table, make_for).await {
            Err(e) if e.kind() == ErrorKind::Denied && with.raise_to.is_none() => {
                describe_table::assumed(e, &with.table, with.key.clone(), make_for)?
            }
            described => described?,
        };
        let mut look = match look {
            Some(look) => look,
            None => {
                crate::pipeline::contents::scan::look(
                    &self.aws,
                    &table.name,
                    &table.schema.partition,
                )
                .await?
            }
        };
        look.say(&table, false);
        let given = Given::by_flags(with.algorithm, with.key.as_ref());
        let algorithm = opened.algorithm_for(&table, &look, given, &with.form)?;
        let (given, from) = (&with.attributes, &with.attributes_from);
        let mut attributes = with_rules(&with.form, given, from)?;
        if with.attr_from_version {
            let (sources, unpack) = (&self.sources, &with.unpack);
            attributes =
                with_release(&attributes, from, &opened, sources, &self.aws, unpack).await?;
        }
        let told = Told {
            algorithm,
            case: with.case,
            attributes: &attributes,
        };
        let case = opened
            .case_for(&self.aws, &table, &mut look, told, &with.form)
            .await?;
        let mut template = ItemTemplate::with_columns(
            &with.table,
            &table.schema,
            algorithm,
            case,
            &attributes,
            &with.attributes_from,
        )?;
        if let (Some(refresh), Some(owner)) =
            (&with.refresh, attributes.iter().find(|a| a.name == SOURCE))
            && refresh.delete
        {
            template = template.deleting_only(&with.table, &table.schema, owner);
        }
        if self.is_arranged() || with.distinct == Distinct::Sorted {
            refuse_row_key(&table, &with.attributes_from)?;
        }
        let columns = Columns::new(
            &with.table,
            &table.schema,
            &with.attributes_from,
            template.item_bytes(),
        )?;
        // What its columns lack must be known before the first write.
        opened.parser(&with.form, algorithm, columns.wanted())?;
        self.can_be_arranged(algorithm, &columns).await?;
        let (keeping, checkpoint) =
            match self.keeping(&opened.identity(), &table, &template).await? {
                Some((keeping, checkpoint)) => (Some(keeping), checkpoint),
                None => (None, None),
            };
        let beginning = match (&checkpoint, &keeping) {
            (Some(checkpoint), Some(_)) if self.is_arranged() => {
                self.all_unchanged(checkpoint).await?;
                Some(Beginning::of(opened))
            }
            (Some(checkpoint), Some(keeping)) => {
                let (beginning, rest) = self
                    .take_up(checkpoint, keeping.store.place(), algorithm)
                    .await?;
                ahead = rest;
                beginning
            }
            _ => Some(Beginning::of(opened)),
        };
        let rejects = match (&checkpoint, &with.rejects) {
            (Some(checkpoint), Some(path)) => {
                let mark = checkpoint.mark();
                // Lines that are read again are rejected again.
                let below = |object, line| {
                    !self.is_arranged() && (object, line) <= (mark.source, mark.below.lines)
                };
                Rejects::take_up(path, below)?
            }
            (_, path) => Rejects::new(path.as_deref())?,
        };
        let sink = match with.dry_run {
            true => Sink::Nowhere,
            false => Sink::Table {
                batches: RawOperation::new(&self.aws, "BatchWriteItem", &with.table)?,
                deletes: match template.deletes_alone() {
                    true => Some(RawOperation::new(&self.aws, "DeleteItem", &with.table)?),
                    false => None,
                },
            },
        };
        if let (Some(keeping), None, Some(beginning)) = (&keeping, &checkpoint, &beginning) {
            // What cannot be saved must be known before the first write.
            let (water, meters) = (LowWater::default(), Meters::default());
            let account = Account {
                source: beginning.opened.identity(),
                read: 0,
                books: Books::default(),
            };
            water.accounts().begin(0, account);
            let state = crate::commands::ingest::checkpointing::State {
                aws: &self.aws,
                water: &water,
                meters: &meters,
                rejects: &rejects,
                begun: Instant::now(),
            };
            keeping.save(&state, &water.mark()).await.map_err(|e| {
                let hint = e.what_to_do().unwrap_or_default().to_owned();
                Error::usage("nothing was written").because(e).hint(hint)
            })?;
        }
        if let (Some(keeping), Some(checkpoint)) = (&keeping, &checkpoint) {
            keeping.store.claim(checkpoint, &self.aws).await?;
        }
        Ok(Prepared {
            beginning,
            ahead,
            table,
            template,
            columns,
            rejects,
            sink,
            checkpoint,
            keeping,
        })
    }

    /// What the table takes of this run's items: itself, the indexes that they
    /// feed, its replicas.
    async fn capacity(&self, table: &Table) -> Capacity {
        let with = &self.with;
        let mut replicas = Vec::new();
        for region in table.replicas.iter().filter(|r| *r != self.aws.region()) {
            let units = match (with.replica_capacity, table.billing) {
                (Some(told), _) => Some(told),
                // On-demand replicas have no capacity to be asked for.
                (None, Billing::OnDemand { .. }) => None,
                (None, _) => {
                    match describe_table::in_region(&self.aws, region, &table.name).await {
                        Ok(units) => units,
                        Err(e) => {
                            let what = "its capacity is not known: --replica-capacity N tells it";
                            tracing::warn!("the replica in {region} cannot be asked ({e}); {what}");
                            None
                        }
                    }
                }
            };
            replicas.extend(units.map(|u| (region.clone(), u)));
        }
        table.capacity(&self.attribute_names(table), &replicas)
    }

    /// The attributes that every item of this run has, its key included.
    fn attribute_names<'a>(&'a self, table: &'a Table) -> Vec<&'a str> {
        let names = self.with.attributes.iter().map(|a| a.name.as_str());
        let of_rows = self.with.attributes_from.iter().map(|a| a.name.as_str());
        let of_release = match self.with.attr_from_version {
            true => &RELEASE[..],
            false => &[],
        };
        names
            .chain(of_rows)
            .chain(of_release.iter().map(|(name, _)| *name))
            .chain(self.with.form.rule_names())
            .chain([table.schema.partition.name.as_str()])
            .collect()
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

    /// Says what is going to happen.
    fn announce(&self, table: &Table, template: &ItemTemplate, target: Option<f64>, calls: &str) {
        let rate = match target {
            Some(units) => format!("{} write units/s", crate::base::human::thousands(units)),
            None => "as fast as it goes".to_owned(),
        };
        let key = &table.schema.partition;
        let own = match template.from().is_empty() {
            true => "",
            false => " without what it takes from its row",
        };
        let dry = if self.with.dry_run {
            ", dry run: nothing is sent"
        } else {
            ""
        };
        if template.deletes_alone() {
            let dry = match self.with.dry_run {
                true => "; a dry run does not ask, and counts all of them as deleted",
                false => "",
            };
            tracing::info!(
                "deleting only items whose source is that of this run, one call each: others are kept{dry}"
            );
        }
        tracing::info!(
            "writing {} to table {} {}: key {} ({}), {} bytes and {} write unit{} an item{own}, \
             {rate}, {calls}{dry}",
            template.algorithm(),
            table.name,
            self.aws.dynamodb_place(),
            key.name,
            key.kind,
            template.item_bytes(),
            template.write_units(),
            if template.write_units() > 1.0 {
                "s"
            } else {
                ""
            },
        );
    }
}

/// A sort key from a column goes with the hash: there is more than one item a hash.
fn refuse_row_key(table: &Table, from: &[AttributeFrom]) -> Result<()> {
    let sort = table.schema.sort.as_ref();
    match sort.filter(|key| from.iter().any(|a| a.name == key.name)) {
        None => Ok(()),
        Some(key) => Err(Error::usage(format!(
            "the sort key {:?} of table {} is taken from a column, so that a hash may have several items, and \
             each hash is to be taken once",
            key.name, table.name
        ))
        .hint("leave --distinct out; a refresh needs a table without such a key")),
    }
}

/// How the writing ended, when nothing failed.
enum Ended {
    Complete,
    Rejects,
    Interrupted,
}

/// What is known before the first write.
struct Prepared {
    /// Nothing when an earlier run has read everything.
    beginning: Option<Beginning>,
    ahead: Ahead,
    table: Table,
    template: ItemTemplate,
    columns: Columns,
    rejects: Rejects,
    sink: Sink,
    /// The one that the run is taken up by.
    checkpoint: Option<Checkpoint>,
    /// How the run's own is kept.
    keeping: Option<Keeping>,
}

/// Where batches go.
#[derive(Debug)]
enum Sink {
    Table {
        batches: RawOperation,
        /// Of a refresh that deletes items of one source alone.
        deletes: Option<RawOperation>,
    },
    /// A dry run.
    Nowhere,
}

impl BatchWrite for Sink {
    async fn batch_write(&self, body: Bytes) -> Result<Bytes, CallError> {
        match self {
            Sink::Table { batches, .. } => batches.batch_write(body).await,
            Sink::Nowhere => Ok(Bytes::from_static(br#"{"UnprocessedItems":{}}"#)),
        }
    }

    async fn delete_item(&self, body: Bytes) -> Result<Bytes, CallError> {
        match self {
            Sink::Table {
                deletes: Some(operation),
                ..
            } => operation.send(body).await,
            Sink::Table { .. } => Err(CallError::strange_answer("no DeleteItem was prepared")),
            Sink::Nowhere => Ok(Bytes::from_static(b"{}")),
        }
    }
}
