//! Look-up run: reads a list and answers each line from a table or an API.
//!
//! [`Lookup`] is behind the command `hashferry lookup`. Every line of the list gets
//! exactly one answer, a line of JSON, in the order of the list.
//!
//! ```text
//! {"input":"9f86…","hash":"9F86…","status":"known","source":"NSRL","type":"known"}
//! {"input":"60303…","hash":"60303…","status":"unknown"}
//! {"input":"x","hash":null,"status":"invalid","reason":"length"}
//! {"input":"2C26…","hash":"2C26…","status":"error","error":"status 500: …"}
//! ```
//!
//! The stages: `input` reads lines and parses them (`query`). A bounded channel passes the
//! queries to the `requester`. It keeps them in a reorder buffer (`answers`) until its
//! `backend`, a table or an API, replies, and writes the answers (`output`). Memory does
//! not grow with the list.
//!
//! A hash that is pending or recently answered causes no second request. Reads from a table
//! are eventually consistent by default, so an item written within the last second may
//! still be unknown.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::human::format_number;
use crate::commands::lookup::answers::ReorderBuffer;
use crate::commands::lookup::api_backend::ApiBackend;
use crate::commands::lookup::api_options::{API_CONCURRENCY, Api};
use crate::commands::lookup::backend::Backend;
use crate::commands::lookup::input::{Input, InputReader, ResumePoint};
use crate::commands::lookup::options::Lookup;
use crate::commands::lookup::outcome::{
    balance_error, count_unanswered, finish_report, listed, warn_if_none_known,
};
use crate::commands::lookup::output;
use crate::commands::lookup::output::{OpenOutput, Output};
use crate::commands::lookup::prepare::{Prepared, PreparedBackend};
use crate::commands::lookup::query::QueryParser;
use crate::commands::lookup::report::LookupReport;
use crate::commands::lookup::requester::Requester;
use crate::commands::lookup::requester_options::RequesterOptions;
use crate::commands::lookup::table_backend::TableBackend;
use crate::commands::lookup::watch::LookupDetails;
use crate::dynamodb::batch_get::request::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::PreparedOperation;
use crate::dynamodb::table::Table;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::Concurrency;
use crate::flow::dispatcher::RunEnd;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, RateLimiter};
use crate::flow::rate_setting::RateSetting;
use crate::list::shape::Shapes;
use crate::pipeline::progress::watch::RunPlan;
use crate::pipeline::report::Outcome;
use jiff::Timestamp;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Capacity of the channel of queries, in batches.
const CHANNEL_CAPACITY: usize = 4;

impl Lookup {
    /// Runs to the end and writes the answers to the file of
    /// [`LookupBuilder::output`](crate::commands::lookup::options::LookupBuilder::output).
    /// A failure after reading has begun is in the report:
    /// see [`LookupReport::outcome`] and [`LookupReport::failure`].
    ///
    /// # Errors
    /// If the run cannot begin, or if the builder has no file.
    pub async fn run(self) -> Result<LookupReport> {
        if self.options.output.is_none() {
            return Err(
                Error::usage("no file for the answers is given").with_hint("give --output FILE")
            );
        }
        self.run_with_events(None::<tokio::io::Sink>).await
    }

    /// Runs like [`run`](Self::run), but writes the answers to `writer` if the builder has no
    /// file.
    ///
    /// # Errors
    /// If the run cannot begin.
    pub async fn run_to<W: AsyncWrite + Unpin>(self, writer: W) -> Result<LookupReport> {
        self.run_with_events(Some(writer)).await
    }

    async fn run_with_events<W: AsyncWrite + Unpin>(
        self,
        writer: Option<W>,
    ) -> Result<LookupReport> {
        let (events, watch) = (self.options.run.events.clone(), self.watch.clone());
        let run = Box::pin(self.run_to_end(writer));
        events.drive(|| watch.progress(), run).await
    }

    async fn run_to_end<W: AsyncWrite + Unpin>(self, writer: Option<W>) -> Result<LookupReport> {
        let options = &self.options;
        let mut report = self.new_report(Timestamp::now());
        let started = Instant::now();
        let prepared = tokio::select! {
            biased;
            () = options.run.stop.requested() => {
                report.finish(Outcome::Interrupted, None);
                return Ok(report);
            }
            prepared = Box::pin(self.prepare()) => prepared?,
        };
        report.hash = Some(prepared.algorithm.name().to_owned());
        report.rules = prepared.paths.as_ref().map(|n| n.rules().name());
        match (&options.output, writer) {
            (Some(path), _) => {
                let (path, if_exists) = (path.clone(), options.if_exists);
                let name = path.display().to_string();
                let opened = tokio::task::spawn_blocking(move || output::open(&path, if_exists));
                let OpenOutput {
                    file,
                    lines,
                    counts,
                    previous,
                } = opened.await.map_err(|e| {
                    Error::new(ErrorKind::Internal, "cannot open the file for the answers")
                        .with_source(e)
                })??;
                if lines > 0 {
                    tracing::info!(
                        "{name} has the answers to {} lines: resuming after them",
                        format_number(lines as f64)
                    );
                    report.resumed_from = Some(lines);
                    self.watch.counters().update(|c| {
                        c.add_answers(counts);
                        c.line_counts.lines += lines;
                    });
                }
                let file = tokio::fs::File::from_std(file);
                let resume = ResumePoint {
                    lines,
                    previous,
                    output_name: name,
                };
                let output = Output::new(file, &options.run.stop);
                Box::pin(self.run_queries(prepared, output, resume, report, started)).await
            }
            (None, Some(writer)) => {
                let output = Output::new(writer, &options.run.stop);
                let resume = ResumePoint::default();
                Box::pin(self.run_queries(prepared, output, resume, report, started)).await
            }
            (None, None) => Err(Error::usage("no output for the answers is given")),
        }
    }

    /// The report before the first line is read.
    fn new_report(&self, started: Timestamp) -> LookupReport {
        let options = &self.options;
        let table = Some(options.table.name.as_str()).filter(|t| !t.is_empty());
        let api = options.api.as_ref().map(Api::display_url);
        let mut report = LookupReport::new(table, api, &options.input, started);
        report.output = options
            .output
            .as_ref()
            .map(|path| path.display().to_string());
        report
    }

    /// Runs the queries on the prepared backend.
    async fn run_queries<W: AsyncWrite + Unpin>(
        &self,
        prepared: Prepared,
        output: Output<'_, W>,
        resume: ResumePoint,
        report: LookupReport,
        started: Instant,
    ) -> Result<LookupReport> {
        let options = &self.options;
        let Prepared {
            input,
            backend,
            algorithm,
            paths,
            parser,
        } = prepared;
        let subject = match &paths {
            Some(normalizer) => format!("paths, normalised by the rules {}", normalizer.rules()),
            None => algorithm.to_string(),
        };
        let run = PreparedRun {
            lookup: self,
            algorithm: Some(algorithm).filter(|_| options.paths.is_none()),
            input,
            parser,
            resume,
            report,
            started,
        };
        Ok(match backend {
            PreparedBackend::Api(api, max_tries) => {
                self.ask_api(&subject, &api, max_tries, run, output).await
            }
            PreparedBackend::Table(backend, table) => {
                self.ask_table(&subject, &backend, &table, run, output)
                    .await
            }
        })
    }

    /// Looks up hashes in an API, one a call, with at most `max_tries` tries of each.
    /// `subject` names them in the log.
    async fn ask_api<W: AsyncWrite + Unpin>(
        &self,
        subject: &str,
        backend: &ApiBackend,
        max_tries: u32,
        run: PreparedRun<'_>,
        output: Output<'_, W>,
    ) -> LookupReport {
        let options = &self.options;
        let api = options
            .api
            .as_ref()
            .map(Api::display_url)
            .unwrap_or_default();
        let limit = match options.run.rate {
            RateSetting::Units(calls) => Some(calls),
            _ => None,
        };
        let concurrency = match options.run.concurrency {
            Concurrency::Calls(calls) => calls,
            Concurrency::Auto => API_CONCURRENCY,
        };
        let rate = match limit {
            Some(calls) => format!("{} calls/s", format_number(calls)),
            None => "no rate limit".to_owned(),
        };
        tracing::info!(
            "looking up {subject} at {api}: {rate}, up to {concurrency} calls in flight"
        );
        let requester_options = RequesterOptions {
            concurrency: Concurrency::Calls(concurrency),
            max_keys: 1,
            min_key_cost: 1.0,
            max_tries: Some(max_tries),
            give_up_after: options.run.give_up_after,
            target: api,
        };
        let rate_limiter = Arc::new(RateLimiter::fixed(limit).for_reads());
        let never = std::future::pending::<Infallible>();
        run.run(backend, &rate_limiter, requester_options, output, never)
            .await
    }

    /// Looks up hashes in a table, many a call, at the rate of its read capacity. `subject`
    /// names them in the log.
    async fn ask_table<W: AsyncWrite + Unpin>(
        &self,
        subject: &str,
        backend: &TableBackend<PreparedOperation>,
        table: &Table,
        run: PreparedRun<'_>,
        output: Output<'_, W>,
    ) -> LookupReport {
        let options = &self.options;
        let rate_limiter = options
            .run
            .rate
            .rate_limiter(table.read_capacity(), None)
            .for_reads();
        let target = rate_limiter.rate();
        let key_rcu = match options.consistent {
            true => CONSISTENT_READ_UNITS,
            false => EVENTUAL_READ_UNITS,
        };
        let concurrency = options.run.concurrency;
        let calls = concurrency.describe(target, key_rcu * MAX_GET_KEYS as f64);
        self.log_start(table, subject, target, &calls);
        let requester_options = RequesterOptions {
            concurrency,
            max_keys: MAX_GET_KEYS,
            min_key_cost: key_rcu,
            max_tries: None,
            give_up_after: options.run.give_up_after,
            target: format!("table {}", options.table.name),
        };
        let rate_limiter = Arc::new(rate_limiter);
        let describe = || async {
            let table = crate::dynamodb::describe_table::describe_table(
                &self.aws,
                &options.table.name,
                None,
            )
            .await?;
            Ok(table.read_capacity())
        };
        let follow = rate_limiter.follow_table(CAPACITY_INTERVAL, describe);
        run.run(backend, &rate_limiter, requester_options, output, follow)
            .await
    }

    /// Logs the settings of the run.
    fn log_start(&self, table: &Table, subject: &str, target: Option<f64>, calls: &str) {
        let rate = match target {
            Some(rcu) => format!("{} RCU/s", format_number(rcu)),
            None => "no rate limit".to_owned(),
        };
        let reads = match self.options.consistent {
            true => "strongly consistent reads",
            false => "eventually consistent reads",
        };
        let key = &table.schema.partition;
        tracing::info!(
            "looking up {subject} in table {} {}: key {} ({}); {reads}, {rate}, {calls}",
            table.name,
            self.aws.describe_dynamodb(),
            key.name,
            key.kind,
        );
    }
}

/// A look-up whose backend is prepared.
pub(super) struct PreparedRun<'a> {
    lookup: &'a Lookup,
    /// Hash algorithm. `None` if the list is a list of paths.
    algorithm: Option<Algorithm>,
    input: Input,
    parser: QueryParser,
    resume: ResumePoint,
    report: LookupReport,
    started: Instant,
}

impl PreparedRun<'_> {
    async fn run<O: Backend, W: AsyncWrite + Unpin>(
        self,
        backend: &O,
        rate_limiter: &Arc<RateLimiter>,
        requester_options: RequesterOptions,
        mut output: Output<'_, W>,
        follow: impl Future<Output = Infallible>,
    ) -> LookupReport {
        let options = &self.lookup.options;
        let counters = self.lookup.watch.counters();
        self.lookup.watch.set_plan(RunPlan {
            total_bytes: self.input.length(),
            rate_limiter: rate_limiter.clone(),
            started: self.started,
            details: LookupDetails {
                is_api: options.api.is_some(),
            },
        });
        let (send, fresh) = mpsc::channel(CHANNEL_CAPACITY);
        let shapes = Mutex::<Shapes>::default();
        let reader = InputReader {
            shapes: &shapes,
            parser: self.parser,
            resume: self.resume,
            counters,
            stop: &options.run.stop,
            send,
        };
        let requester = Requester {
            backend,
            rate_limiter,
            counters,
            options: requester_options,
        };
        let buffer = ReorderBuffer::new(options.unordered, options.only);
        let backoff = Backoff::new(fastrand::Rng::new());
        let work = async {
            tokio::join!(
                requester.run(fresh, buffer, &mut output, &options.run.stop, backoff),
                reader.run(self.input),
            )
        };
        let (ended, read) = tokio::select! {
            biased;
            ended = work => ended,
            never = follow => match never {},
        };

        count_unanswered(counters);
        let counts = counters.snapshot();
        warn_if_none_known(&counts.line_counts, options.api.is_some());
        let mut report = self.report;
        report.target_rcu_per_s = rate_limiter.rate();
        report.set_counts(&counts, self.started.elapsed());
        report.closed = matches!(ended, RunEnd::OutputClosed);
        let complete = matches!((&ended, &read), (RunEnd::Complete, Ok(true)));
        let failure = match (ended, read) {
            (_, Err(e)) | (RunEnd::Failed(e), _) => Some(self.lookup.with_resume_hint(e)),
            _ => None,
        };
        let failure = match balance_error(&counts.line_counts, complete).or(failure) {
            None if complete && !report.closed => {
                let shapes = shapes.into_inner().unwrap_or_else(PoisonError::into_inner);
                listed(self.lookup, self.algorithm, &counts).no_hash_error(&shapes)
            }
            failure => failure,
        };
        finish_report(&mut report, &counts, complete, failure.as_ref());
        report
    }
}
