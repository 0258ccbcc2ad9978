//! The whole: a hash list into a table, with its books.
//!
//! [`Ingest`] is what the command `hashferry ingest` runs, and what a program of
//! your own embeds. It opens the first source, asks for the table, works out the
//! items and the rate, and lets the [reader](crate::pipeline::reader) and the
//! [writer](crate::pipeline::writer) run until both have ended; then it draws up the
//! [`Report`].

use crate::base::error::Result;
use crate::commands::ingest::finish::{Ended, Halves, Running};
use crate::commands::ingest::options::{GIVE_UP_AFTER, Ingest};
use crate::commands::ingest::ordered_lists::Arranged;
use crate::commands::ingest::prepare::Prepared;
use crate::dynamodb::column_attributes::Columns;
use crate::dynamodb::describe_table;
use crate::flow::backoff::Backoff;
use crate::flow::rate_limiter::CAPACITY_INTERVAL;
use crate::list::prefetch::Ahead;
use crate::pipeline::progress::watermark::{HandOver, LowWater};
use crate::pipeline::reader::{Beginning, HAND_OVERS, Reader};
use crate::pipeline::report::{Outcome, Report};
use crate::pipeline::writer::{End, Writer, WriterOptions};
use jiff::Timestamp;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl Ingest {
    /// Runs to the end. Whatever happens once writing has begun is in the
    /// report, a failure too: see [`Report::outcome`] and [`Report::error`].
    ///
    /// # Errors
    /// When it cannot begin; then nothing was written.
    pub async fn run(self) -> Result<Report> {
        let (events, watch) = (self.with.events.clone(), self.watch.clone());
        let run = Box::pin(self.run_to_end());
        events.during(|| watch.progress(), run).await
    }

    async fn run_to_end(mut self) -> Result<Report> {
        let look = Box::pin(self.look_for_rules()).await?;
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
            prepared = Box::pin(self.prepare(look)) => prepared?,
        };
        let raised = match (with.raise_to, with.dry_run) {
            (Some(units), false) => Box::pin(self.raise(units, &prepared.table)).await?,
            (Some(_), true) => {
                tracing::info!("dry run: the table is not raised");
                None
            }
            (None, _) => None,
        };
        let before = begun.elapsed();
        let ended = match with.stop.is_requested() {
            true => Ok(Ended::Interrupted),
            false => Box::pin(self.write(prepared, &mut report)).await,
        };
        report.elapsed_s += before.as_secs_f64();
        let restored = match raised {
            Some(raised) => Box::pin(self.restore(raised, &mut report)).await,
            None => Ok(()),
        };
        let (outcome, failure) = match (ended, restored) {
            (Ok(Ended::Interrupted), Ok(())) => (Outcome::Interrupted, None),
            (Ok(Ended::Rejects), Ok(())) => (Outcome::Rejects, None),
            (Ok(Ended::Complete), Ok(())) => (Outcome::Complete, None),
            (Ok(_), Err(e)) => (Outcome::Failed, Some(e)),
            (Err(e), restored) => {
                if let Err(also) = restored {
                    tracing::warn!("{also:#}; {}", also.what_to_do().unwrap_or_default());
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

    /// Reads and writes, and enters what came of it in the report.
    ///
    /// # Errors
    /// When it could not go on, or the books have something against it.
    async fn write(&self, mut prepared: Prepared, report: &mut Report) -> Result<Ended> {
        let with = &self.with;
        if with.raise_to.is_some() && !with.dry_run {
            let described = describe_table::describe(&self.aws, &with.table, None);
            prepared.table = Box::pin(described).await?;
        }
        let begun = Instant::now();
        let template = &prepared.template;
        let pace = Arc::new(Box::pin(self.pace(&prepared.table)).await);
        let target = pace.rate();
        let batch_units = template.write_units() * template.batch_items() as f64;
        let calls = with.concurrency.said(target, batch_units);
        let earlier_counts = self.earlier_counts(&prepared);
        self.set_plan(&prepared, &pace, begun, earlier_counts);
        self.announce(&prepared.table, template, target, &calls);

        let Prepared {
            beginning,
            ahead,
            template,
            columns,
            rejects,
            sink,
            checkpoint,
            keeping,
            ..
        } = prepared;
        let water = Arc::new(match &checkpoint {
            Some(c) if !self.is_arranged() => LowWater::new(c.mark(), c.behind.clone()),
            _ => LowWater::default(),
        });
        if let Some(checkpoint) = &checkpoint {
            self.watch.meters().update(|c| *c = earlier_counts);
            report.resumed_from = Some(checkpoint.books.lines);
        }
        let running = Running {
            algorithm: template.algorithm(),
            rejects: &rejects,
            checkpoint: checkpoint.as_ref(),
            keeping: keeping.as_ref(),
            pace: &pace,
            water: &water,
            held_back: &OnceLock::new(),
            begun,
        };
        let (records, fresh) = mpsc::channel(HAND_OVERS);
        let writer = Writer {
            table: &sink,
            table_name: &with.table,
            template: &template,
            pace: &pace,
            meters: self.watch.meters(),
            water: &water,
            rejects: &rejects,
            options: WriterOptions {
                concurrency: with.concurrency,
                give_up_after: with.give_up_after.unwrap_or(GIVE_UP_AFTER),
            },
        };
        let backoff = Backoff::new(fastrand::Rng::new());
        // Boxed, once a run: a caller's stack holds none of these large futures.
        let read = Box::pin(self.read(&running, &columns, beginning, ahead, records));
        let write = Box::pin(writer.run(fresh, &with.stop, backoff));
        let work = async { tokio::join!(write, read) };
        let halves = Box::pin(self.until_done(&running, work)).await;
        Box::pin(self.finish(&running, halves, report)).await
    }

    /// Reads the sources from `beginning` on, and hands on what is to be written; says
    /// whether it came to the end.
    async fn read(
        &self,
        running: &Running<'_>,
        columns: &Columns,
        beginning: Option<Beginning>,
        mut ahead: Ahead,
        records: mpsc::Sender<HandOver>,
    ) -> Result<bool> {
        let with = &self.with;
        // Without one, all that there is was read by an earlier run.
        let Some(beginning) = beginning else {
            return Ok(true);
        };
        if self.is_arranged() {
            let arranged = Arranged {
                held_back: running.held_back,
                ingest: self,
                algorithm: running.algorithm,
                columns,
                rejects: running.rejects,
                water: running.water,
                earlier: running.checkpoint,
            };
            return Box::pin(arranged.run(Some((beginning, ahead)), records)).await;
        }
        let reader = Reader {
            algorithm: running.algorithm,
            distinct: with.distinct,
            columns,
            max_rejects: with.max_rejects,
            meters: self.watch.meters(),
            rejects: running.rejects,
            accounts: running.water.accounts(),
            records,
        };
        reader.run(beginning, &mut ahead, &with.stop).await
    }

    /// Lets `work`, the writing and the reading, come to its end. Beside it, the rate follows
    /// the table and the checkpoint is saved.
    async fn until_done(
        &self,
        running: &Running<'_>,
        work: impl Future<Output = (End, Result<bool>)>,
    ) -> Halves {
        let with = &self.with;
        let interval = with.capacity_interval.unwrap_or(CAPACITY_INTERVAL);
        let describe = || async {
            let table = describe_table::describe(&self.aws, &with.table, None).await?;
            Ok(self.capacity(&table).await)
        };
        let follow = running.pace.follow(interval, describe);
        let over = CancellationToken::new();
        let state = running.state(self);
        let save = async {
            match running.keeping {
                Some(keeping) => keeping.keep(&state, &over).await,
                None => std::future::pending().await,
            }
        };
        let mut unsaved = None;
        tokio::pin!(work, follow, save);
        let (end, read) = loop {
            tokio::select! {
                biased;
                ended = &mut work => {
                    over.cancel();
                    if running.keeping.is_some() && unsaved.is_none() {
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
        };
        Halves { end, read, unsaved }
    }
}
