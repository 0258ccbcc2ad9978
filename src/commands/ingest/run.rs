//! A run of ingest: writes a hash list to a table and accounts for every line.
//!
//! The command `hashferry ingest` and embedding programs run an [`Ingest`]. It opens the
//! first source, describes the table, determines items and rate, and runs the
//! [reader](crate::pipeline::reader) and the [writer](crate::pipeline::writer) until both
//! have ended. Then it returns the [`Report`].

use crate::base::error::Result;
use crate::commands::ingest::finish::{Completion, PipelineEnd, RunContext};
use crate::commands::ingest::options::Ingest;
use crate::commands::ingest::ordered_lists::OrderedRun;
use crate::commands::ingest::prepare::PreparedRun;
use crate::dynamodb::column_attributes::ColumnAttributes;
use crate::dynamodb::describe_table;
use crate::flow::backoff::Backoff;
use crate::flow::dispatcher::RunEnd;
use crate::flow::rate_limiter::CAPACITY_INTERVAL;
use crate::list::prefetch::Prefetch;
use crate::pipeline::progress::watermark::{RecordBatch, WatermarkTracker};
use crate::pipeline::reader::{CHANNEL_CAPACITY, Reader, StartPosition};
use crate::pipeline::report::{Outcome, Report};
use crate::pipeline::writer::{Writer, WriterOptions};
use jiff::Timestamp;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl Ingest {
    /// Runs to the end. A failure after writing has begun is in the report: see
    /// [`Report::outcome`] and [`Report::error`].
    ///
    /// # Errors
    /// If the run cannot start; then nothing was written.
    pub async fn run(self) -> Result<Report> {
        let (events, watch) = (self.options.run.events.clone(), self.watch.clone());
        let run = Box::pin(self.run_to_end());
        events.drive(|| watch.progress(), run).await
    }

    async fn run_to_end(mut self) -> Result<Report> {
        let look = Box::pin(self.resolve_path_rules()).await?;
        let options = &self.options;
        let mut report = Report::new(self.command(), &options.table.name, Timestamp::now());
        report.dry_run = options.dry_run;
        let started = Instant::now();
        let prepared = tokio::select! {
            biased;
            () = options.run.stop.requested() => {
                report.finish(Outcome::Interrupted, None);
                return Ok(report);
            }
            prepared = Box::pin(self.prepare(look)) => prepared?,
        };
        let raised = match (options.raise_to, options.dry_run) {
            (Some(units), false) => Box::pin(self.raise(units, &prepared.table)).await?,
            (Some(_), true) => {
                tracing::info!("dry run: the table is not raised");
                None
            }
            (None, _) => None,
        };
        let before = started.elapsed();
        let ended = match options.run.stop.is_requested() {
            true => Ok(Completion::Interrupted),
            false => Box::pin(self.write(prepared, &mut report)).await,
        };
        report.elapsed_s += before.as_secs_f64();
        let restored = match raised {
            Some(raised) => Box::pin(self.restore(raised, &mut report)).await,
            None => Ok(()),
        };
        let (outcome, failure) = match (ended, restored) {
            (Ok(Completion::Interrupted), Ok(())) => (Outcome::Interrupted, None),
            (Ok(Completion::Rejects), Ok(())) => (Outcome::Rejects, None),
            (Ok(Completion::Complete), Ok(())) => (Outcome::Complete, None),
            (Ok(_), Err(e)) => (Outcome::Failed, Some(e)),
            (Err(e), restored) => {
                if let Err(also) = restored {
                    tracing::warn!("{also:#}; {}", also.hint().unwrap_or_default());
                }
                (Outcome::Failed, Some(e))
            }
        };
        report.finish(outcome, failure.as_ref());
        if let Outcome::Complete | Outcome::Rejects = outcome {
            options.read.unpack.work_dir.finish_run();
        }
        Ok(report)
    }

    /// Reads and writes, and fills the report.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    async fn write(&self, mut prepared: PreparedRun, report: &mut Report) -> Result<Completion> {
        let options = &self.options;
        if options.raise_to.is_some() && !options.dry_run {
            let described = describe_table::describe_table(&self.aws, &options.table.name, None);
            prepared.table = Box::pin(described).await?;
        }
        let started = Instant::now();
        let template = &prepared.template;
        let rate_limiter = Arc::new(Box::pin(self.rate_limiter(&prepared.table)).await);
        let target = rate_limiter.rate();
        let batch_units = template.write_units() * template.max_batch_items() as f64;
        let calls = options.run.concurrency.describe(target, batch_units);
        let earlier_counts = self.resumed_counters(&prepared);
        self.set_plan(&prepared, &rate_limiter, started, earlier_counts);
        self.log_start(&prepared.table, template, target, &calls);

        let PreparedRun {
            start,
            prefetch,
            template,
            columns,
            rejects,
            sink,
            checkpoint,
            checkpointing,
            ..
        } = prepared;
        let watermark = Arc::new(match &checkpoint {
            Some(c) if !self.is_ordered() => {
                WatermarkTracker::new(c.watermark(), c.finished.clone())
            }
            _ => WatermarkTracker::default(),
        });
        if let Some(checkpoint) = &checkpoint {
            self.watch.counters().update(|c| *c = earlier_counts);
            report.resumed_from = Some(checkpoint.line_counts.lines);
        }
        let running = RunContext {
            algorithm: template.algorithm(),
            rejects: &rejects,
            checkpoint: checkpoint.as_ref(),
            checkpointing: checkpointing.as_ref(),
            rate_limiter: &rate_limiter,
            watermark: &watermark,
            held_back_deletes: &OnceLock::new(),
            started,
        };
        let (records, fresh) = mpsc::channel(CHANNEL_CAPACITY);
        let writer = Writer {
            table: &sink,
            table_name: &options.table.name,
            template: &template,
            rate_limiter: &rate_limiter,
            counters: self.watch.counters(),
            watermark: &watermark,
            rejects: &rejects,
            options: WriterOptions {
                concurrency: options.run.concurrency,
                give_up_after: options.run.give_up_after,
            },
        };
        let backoff = Backoff::new(fastrand::Rng::new());
        // Boxed once per run, to keep these large futures off the caller's stack.
        let read = Box::pin(self.read(&running, &columns, start, prefetch, records));
        let write = Box::pin(writer.run(fresh, &options.run.stop, backoff));
        let work = async { tokio::join!(write, read) };
        let halves = Box::pin(self.until_done(&running, work)).await;
        Box::pin(self.finish(&running, halves, report)).await
    }

    /// Reads the sources from `start` on and sends their records. Returns true if it
    /// reached the end.
    async fn read(
        &self,
        running: &RunContext<'_>,
        columns: &ColumnAttributes,
        start: Option<StartPosition>,
        mut prefetch: Prefetch,
        records: mpsc::Sender<RecordBatch>,
    ) -> Result<bool> {
        let options = &self.options;
        // An earlier run already read every source.
        let Some(start) = start else {
            return Ok(true);
        };
        if self.is_ordered() {
            let arranged = OrderedRun {
                held_back_deletes: running.held_back_deletes,
                ingest: self,
                algorithm: running.algorithm,
                columns,
                rejects: running.rejects,
                watermark: running.watermark,
                resumed_from: running.checkpoint,
            };
            return Box::pin(arranged.run(Some((start, prefetch)), records)).await;
        }
        let reader = Reader {
            algorithm: running.algorithm,
            distinct: options.distinct,
            columns,
            max_rejects: options.read.max_rejects,
            counters: self.watch.counters(),
            rejects: running.rejects,
            sources: running.watermark.sources(),
            records,
        };
        reader.run(start, &mut prefetch, &options.run.stop).await
    }

    /// Drives `work`, the writer and the reader, to its end. Meanwhile the rate follows the
    /// capacity of the table, and the checkpoint is saved periodically.
    async fn until_done(
        &self,
        running: &RunContext<'_>,
        work: impl Future<Output = (RunEnd, Result<bool>)>,
    ) -> PipelineEnd {
        let options = &self.options;
        let interval = options.capacity_interval.unwrap_or(CAPACITY_INTERVAL);
        let describe = || async {
            let table =
                describe_table::describe_table(&self.aws, &options.table.name, None).await?;
            Ok(self.capacity(&table).await)
        };
        let follow = running.rate_limiter.follow_table(interval, describe);
        let over = CancellationToken::new();
        let state = running.checkpoint_inputs(self);
        let save = async {
            match running.checkpointing {
                Some(checkpointing) => checkpointing.save_periodically(&state, &over).await,
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
                    if running.checkpointing.is_some() && unsaved.is_none() {
                        // Its result is ignored: the final checkpoint is saved below.
                        tokio::select! {
                            biased;
                            _ = &mut save => {}
                            () = options.run.stop.forced() => {}
                        }
                    }
                    break ended;
                }
                never = &mut follow => match never {},
                // Without checkpoints a crash would lose progress, so stop.
                Err(e) = &mut save, if unsaved.is_none() => {
                    unsaved = Some(e);
                    options.run.stop.request();
                }
            }
        };
        PipelineEnd {
            writer_end: end,
            reader_result: read,
            save_error: unsaved,
        }
    }
}
