//! Verification run: reads a list and compares a table with it.
//!
//! [`Verify`] is behind the command `hashferry verify`. It reads the list by the stages
//! of [`ingest`](crate::commands::ingest::options) and draws a
//! [sample](crate::pipeline::sample) if one is requested. It reads each hash from the
//! table and compares the attributes that the caller names. Memory holds only the sample
//! and the records in flight; the run writes nothing.
//!
//! An eventually consistent read costs half as much and may lag behind recent writes. So
//! the run reads each key that way first. It repeats a read that finds a key missing or
//! different, strongly consistently, and only the second result counts.
//! [`VerifyBuilder::consistent`](crate::commands::verify::options::VerifyBuilder::consistent)
//! makes every read strongly consistent.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::human::format_number;
use crate::base::record::Record;
use crate::commands::item_options::with_release_attributes;
use crate::commands::verify::checker::{Checker, CheckerOptions};
use crate::commands::verify::counts::{VerifyCounters, VerifyLineCounts};
use crate::commands::verify::finding::{Finding, UnresolvedFinding};
use crate::commands::verify::options::Verify;
use crate::commands::verify::report::{FindingReport, MAX_REPORTED_FINDINGS, VerifyReport};
use crate::dynamodb::batch_get::expected::GetTemplate;
use crate::dynamodb::batch_get::request::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::PreparedOperation;
use crate::dynamodb::column_attributes::ColumnAttributes;
use crate::dynamodb::table::Table;
use crate::flow::backoff::Backoff;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, RateLimiter};
use crate::list::objects::Objects;
use crate::list::open_list::OpenList;
use crate::list::prefetch::Prefetch;
use crate::pipeline::contents::inspection::Inspection;
use crate::pipeline::contents::settings::{KeyOptions, KeySettings};
use crate::pipeline::dedup::Distinct;
use crate::pipeline::list_check::ListTotals;
use crate::pipeline::progress::sources::SourceTracker;
use crate::pipeline::progress::watch::RunPlan;
use crate::pipeline::progress::watermark::RecordBatch;
use crate::pipeline::reader::{CHANNEL_CAPACITY, Reader, StartPosition};
use crate::pipeline::rejects::{MaxRejects, Rejects};
use crate::pipeline::report::Outcome;
use crate::pipeline::sample::{Reservoir, Sample};
use jiff::Timestamp;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Maximum number of findings in the log.
const MAX_LOGGED_FINDINGS: u64 = 10;

/// Records of a sample in one batch for the checker.
const SAMPLE_BATCH_RECORDS: usize = 500;

impl Verify {
    /// Runs to the end. The report has the first findings;
    /// [`run_with`](Self::run_with) passes all of them to a function.
    ///
    /// # Errors
    /// If the run cannot begin.
    pub async fn run(self) -> Result<VerifyReport> {
        self.run_with(|_| Ok(())).await
    }

    /// Runs to the end, and passes each finding to `on_finding` in the order of the list.
    /// A failure after reading has begun is in the report:
    /// see [`VerifyReport::outcome`] and [`VerifyReport::error`].
    ///
    /// # Errors
    /// If the run cannot begin. An error from `on_finding` ends the run and is in the
    /// report.
    pub async fn run_with(
        self,
        on_finding: impl FnMut(Finding<'_>) -> Result<()>,
    ) -> Result<VerifyReport> {
        let (events, watch) = (self.options.run.events.clone(), self.watch.clone());
        let run = Box::pin(self.run_to_end(on_finding));
        events.drive(|| watch.progress(), run).await
    }

    async fn run_to_end(
        mut self,
        mut on_finding: impl FnMut(Finding<'_>) -> Result<()>,
    ) -> Result<VerifyReport> {
        let look = Box::pin(self.resolve_path_rules()).await?;
        let options = &self.options;
        let mut report = VerifyReport::new(&options.table.name, options.sample, Timestamp::now());
        let started = Instant::now();
        let (input, prepared) = tokio::select! {
            biased;
            () = options.run.stop.requested() => {
                report.finish(Outcome::Interrupted, None);
                return Ok(report);
            }
            prepared = Box::pin(self.prepare(look)) => prepared?,
        };
        let (rate_limiter, target, calls) = self.rate_limiter(&prepared);
        let following_bytes = input.prefetch.remaining_bytes();
        let bytes = input
            .opened
            .length()
            .zip(following_bytes)
            .map(|(first, rest)| first + rest);
        self.watch.set_plan(RunPlan {
            total_bytes: bytes,
            rate_limiter: rate_limiter.clone(),
            started,
            details: (),
        });
        self.log_start(&prepared, target, &calls);

        let counters = self.watch.counters();
        counters.update(|a| a.consumed_rcu += prepared.look.consumed_rcu);
        let sources = SourceTracker::default();
        let shown_case = input.opened.detected.case.unwrap_or(prepared.case);
        let mut reported = Vec::new();
        let mut logged = 0;
        let resolve_finding = |finding: UnresolvedFinding| {
            let UnresolvedFinding {
                hash,
                position,
                kind,
            } = finding;
            let finding = Finding {
                hash: &hash.to_hex(shown_case),
                source: &sources.name(position.source),
                line: position.line,
                byte: position.byte,
                kind: &kind,
            };
            log_finding(&finding, &mut logged);
            if reported.len() < MAX_REPORTED_FINDINGS {
                reported.push(FindingReport::from_finding(&finding));
            }
            on_finding(finding)
        };
        let reservoir = match options.sample {
            Sample::All => None,
            Sample::Some(size) => {
                let seed = options.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
                report.seed = Some(seed);
                Some(Reservoir::new(size, seed))
            }
        };
        let check = self.check(
            input,
            &prepared,
            &rate_limiter,
            &sources,
            reservoir,
            resolve_finding,
        );
        let (checked, read) = Box::pin(check).await;

        let counts = counters.snapshot();
        report.hash = Some(prepared.algorithm.name().to_owned());
        report.target_rcu_per_s = rate_limiter.rate();
        report.problems = reported;
        (report.sources, report.further_sources) =
            crate::pipeline::report::source_reports(sources.final_progress(), false);
        report.set_counts(&counts, started.elapsed());
        self.finish(&mut report, prepared, counts.line_counts, checked, read);
        Ok(report)
    }

    /// The rate limiter of the reads, its initial rate, and the concurrency as text.
    fn rate_limiter(&self, prepared: &Prepared) -> (Arc<RateLimiter>, Option<f64>, String) {
        let options = &self.options;
        let rate_limiter = options
            .run
            .rate
            .rate_limiter(prepared.table.read_capacity(), None)
            .for_reads();
        let target = rate_limiter.rate();
        let key_rcu = match options.consistent {
            true => CONSISTENT_READ_UNITS,
            false => EVENTUAL_READ_UNITS,
        };
        let calls = options
            .run
            .concurrency
            .describe(target, key_rcu * MAX_GET_KEYS as f64);
        (Arc::new(rate_limiter), target, calls)
    }

    /// Reads the list and checks it, or a sample of it, while the rate limiter follows the
    /// table's capacity. Returns the results of the checker and of the reader: true if
    /// they came to the end.
    async fn check(
        &self,
        input: Input,
        prepared: &Prepared,
        rate_limiter: &RateLimiter,
        sources: &SourceTracker,
        reservoir: Option<Reservoir>,
        on_finding: impl FnMut(UnresolvedFinding) -> Result<()>,
    ) -> (Result<bool>, Result<bool>) {
        let (options, counters) = (&self.options, self.watch.counters());
        let Input {
            opened,
            prefetch: mut ahead,
        } = input;
        let (records, read) = mpsc::channel(CHANNEL_CAPACITY);
        let (fresh, drawing) = match reservoir {
            None => (read, None),
            Some(reservoir) => {
                let (send, receive) = mpsc::channel(CHANNEL_CAPACITY);
                (receive, Some((reservoir, read, send)))
            }
        };
        let reader = Reader {
            algorithm: prepared.algorithm,
            distinct: Distinct::InFlight,
            columns: &prepared.columns,
            max_rejects: match options.rejects_known {
                true => MaxRejects::Count(u64::MAX),
                false => options.read.max_rejects,
            },
            counters: &counters.reader,
            rejects: &prepared.rejects,
            sources,
            records,
        };
        let checker = Checker {
            table: &prepared.operation,
            table_name: &options.table.name,
            template: &prepared.template,
            rate_limiter,
            counters,
            options: CheckerOptions {
                concurrency: options.run.concurrency,
                consistent: options.consistent,
                give_up_after: options.run.give_up_after,
            },
        };
        let draw = async {
            if let Some((reservoir, read, send)) = drawing {
                draw_sample(reservoir, read, send, counters).await;
            }
        };
        let backoff = Backoff::new(fastrand::Rng::new());
        let work = async {
            tokio::join!(
                checker.run(fresh, on_finding, &options.run.stop, backoff),
                draw,
                reader.run(
                    StartPosition::at_start(opened),
                    &mut ahead,
                    &options.run.stop
                ),
            )
        };
        let describe = || async {
            let table = crate::dynamodb::describe_table::describe_table(
                &self.aws,
                &options.table.name,
                None,
            )
            .await?;
            Ok(table.read_capacity())
        };
        let (checked, (), read) = tokio::select! {
            biased;
            ended = work => ended,
            never = rate_limiter.follow_table(CAPACITY_INTERVAL, describe) => match never {},
        };
        (checked, read)
    }

    /// Sets the outcome and the error of the report.
    fn finish(
        &self,
        report: &mut VerifyReport,
        prepared: Prepared,
        line_counts: VerifyLineCounts,
        checked: Result<bool>,
        read: Result<bool>,
    ) {
        let options = &self.options;
        let Prepared {
            table,
            look,
            algorithm,
            case,
            rejects,
            ..
        } = prepared;
        look.warn_about_case(case, &table.name, line_counts.found, line_counts.missing);
        let (failure, complete) = match (checked, read) {
            (Err(e), _) | (_, Err(e)) => (Some(e), false),
            (Ok(checked), Ok(read)) => (None, checked && read),
        };
        let failure = failure.or(rejects.flush().err());
        let failure = match line_counts.is_balanced() {
            true => failure,
            false => Some(Error::new(
                ErrorKind::Internal,
                format!(
                    "the line counts do not balance: {line_counts:?}; this is a fault of hashferry"
                ),
            )),
        };
        let listed = ListTotals {
            keeps_rejects: true,
            sources: &self.sources,
            algorithm: Some(algorithm).filter(|_| options.read.form.path_normalizer.is_none()),
            lines: line_counts.lines,
            skipped: line_counts.skipped,
            rejected: line_counts.rejected,
        };
        let failure = match failure {
            None if complete => listed.no_hash_error(&rejects.shapes(false)),
            failure => failure,
        };
        let outcome = match &failure {
            Some(_) => Outcome::Failed,
            None if !complete => Outcome::Interrupted,
            None if line_counts.missing + line_counts.different > 0 => Outcome::Mismatch,
            None if line_counts.rejected > 0 => Outcome::Rejects,
            None => Outcome::Complete,
        };
        report.finish(outcome, failure.as_ref());
        if !matches!(outcome, Outcome::Failed | Outcome::Interrupted) {
            options.read.unpack.work_dir.finish_run();
        }
    }

    /// Reads from the table's items the path rules that the caller leaves open.
    async fn resolve_path_rules(&mut self) -> Result<Option<Inspection>> {
        let (options, given) = (&self.options, self.options.read.given_rules());
        let (key, stop) = (options.table.key.as_ref(), &options.run.stop);
        let (rules, look) = crate::pipeline::contents::rules::rules_for(
            &self.aws,
            &options.table.name,
            key,
            given.as_ref(),
            stop,
        )
        .await?;
        self.options.read.form.path_normalizer =
            rules.or(self.options.read.form.path_normalizer.take());
        Ok(look)
    }

    /// Opens the list and describes the table, before the first read.
    async fn prepare(&self, look: Option<Inspection>) -> Result<(Input, Prepared)> {
        let options = &self.options;
        if self.sources.has_stdin() {
            tracing::info!("reading standard input");
        }
        let objects = Objects::new(&self.sources, &self.aws);
        let mut ahead = Prefetch::new(objects, &self.aws, &options.read.unpack, &options.read.form);
        let Some(opened) = ahead.next().await? else {
            return Err(Error::usage(
                "there is nothing to read: the sources name no object",
            ));
        };
        let table = match crate::dynamodb::describe_table::describe_table(
            &self.aws,
            &options.table.name,
            None,
        )
        .await
        {
            Err(e) if e.kind() == ErrorKind::Denied => {
                let shown = options.table.algorithm.or(opened.detected.algorithm);
                crate::dynamodb::describe_table::assume_table(
                    e,
                    &options.table.name,
                    options.table.key.clone(),
                    shown,
                )?
            }
            described => described?,
        };
        let mut look = match look {
            Some(look) => look,
            None => {
                crate::pipeline::contents::scan::inspect(
                    &self.aws,
                    &table.name,
                    &table.schema.partition,
                )
                .await?
            }
        };
        look.log(&table, true);
        let given = KeyOptions::from_flags(options.table.algorithm, options.table.key.as_ref());
        let algorithm = opened.algorithm_for(&table, &look, given, &options.read.form)?;
        let (given, from) = (&options.table.attributes, &options.table.attributes_from);
        let mut attributes =
            crate::commands::item_options::with_rule_attributes(&options.read.form, given, from)?;
        if options.table.attr_from_version {
            let (sources, unpack) = (&self.sources, &options.read.unpack);
            attributes =
                with_release_attributes(&attributes, from, &opened, sources, &self.aws, unpack)
                    .await?;
        }
        let settings = KeySettings {
            algorithm,
            case: options.table.case,
            attributes: &attributes,
        };
        let case = opened
            .case_for(&self.aws, &table, &mut look, settings, &options.read.form)
            .await?;
        let template = GetTemplate::with_columns(
            &options.table.name,
            &table.schema,
            algorithm,
            case,
            &attributes,
            &options.table.attributes_from,
        )?;
        let columns = ColumnAttributes::new(
            &options.table.name,
            &table.schema,
            &options.table.attributes_from,
            0,
        )?;
        opened.parser(&options.read.form, algorithm, columns.column_names())?;
        let rejects = match options.rejects_known {
            true => Rejects::counted_only(),
            false => Rejects::new(options.read.rejects.as_deref())?,
        };
        let operation = PreparedOperation::new(&self.aws, "BatchGetItem", &options.table.name)?;
        let prepared = Prepared {
            table,
            look,
            algorithm,
            case,
            template,
            columns,
            rejects,
            operation,
        };
        Ok((
            Input {
                opened,
                prefetch: ahead,
            },
            prepared,
        ))
    }

    /// Logs the settings of the run.
    fn log_start(&self, prepared: &Prepared, target: Option<f64>, calls: &str) {
        let Prepared {
            table,
            algorithm,
            template,
            ..
        } = prepared;
        let rate = match target {
            Some(rcu) => format!("{} RCU/s", format_number(rcu)),
            None => "no rate limit".to_owned(),
        };
        let names: Vec<&str> = template.compared().collect();
        let compared = match names.is_empty() {
            true => "compared: the key only".to_owned(),
            false => format!("compared: {}", names.join(", ")),
        };
        let sample = match self.options.sample {
            Sample::All => String::new(),
            Sample::Some(n) => format!(" a sample of {}", format_number(n as f64)),
        };
        let reads = match self.options.consistent {
            true => "strongly consistent reads",
            false => "eventually consistent reads",
        };
        let key = &table.schema.partition;
        tracing::info!(
            "verifying{sample} {algorithm} against table {} {}: key {} ({}), {compared}; {reads}, \
             {rate}, {calls}",
            table.name,
            self.aws.describe_dynamodb(),
            key.name,
            key.kind,
        );
    }
}

/// The list: its first source, open, and the sources after it.
struct Input {
    opened: OpenList,
    prefetch: Prefetch,
}

/// The list's and the table's properties, known before the first read.
struct Prepared {
    table: Table,
    look: Inspection,
    algorithm: Algorithm,
    case: Case,
    template: GetTemplate,
    columns: ColumnAttributes,
    rejects: Rejects,
    operation: PreparedOperation,
}

/// Draws a sample of all records from `read`, then sends it to the checker, in order.
async fn draw_sample(
    mut reservoir: Reservoir,
    mut read: mpsc::Receiver<RecordBatch>,
    send: mpsc::Sender<RecordBatch>,
    counters: &VerifyCounters,
) {
    while let Some(batch) = read.recv().await {
        let offered = batch
            .records
            .into_iter()
            .map(|r| u64::from(reservoir.offer(r)));
        let left_out: u64 = offered.sum();
        counters.update(|a| a.unchecked += left_out);
    }
    let mut drawn = reservoir.into_records().into_iter();
    while drawn.len() > 0 {
        let part: Vec<Record> = drawn.by_ref().take(SAMPLE_BATCH_RECORDS).collect();
        if let Err(unsent) = send.send(part.into()).await {
            // The checker has stopped.
            let left = (unsent.0.records.len() + drawn.len()) as u64;
            return counters.update(|a| a.unchecked += left);
        }
    }
}

/// Logs a finding, unless [`MAX_LOGGED_FINDINGS`] are logged already.
fn log_finding(finding: &Finding<'_>, logged: &mut u64) {
    *logged += 1;
    if *logged > MAX_LOGGED_FINDINGS {
        return;
    }
    let Finding {
        hash,
        source,
        line,
        kind,
        ..
    } = finding;
    tracing::warn!("{hash} is {kind}: {source}, line {line}");
    if *logged == MAX_LOGGED_FINDINGS {
        tracing::warn!("further findings are counted, not shown");
    }
}
