//! Whether hashes, or paths, are known: a list, and a table or an API that is asked.
//!
//! [`Lookup`] is what the command `hashferry lookup` runs. Every line of the list gets
//! one answer, a line of JSON, in the order of the list: never fewer, never more.
//!
//! ```text
//! {"input":"9f86…","hash":"9F86…","status":"known","source":"NSRL","type":"known"}
//! {"input":"60303…","hash":"60303…","status":"unknown"}
//! {"input":"x","hash":null,"status":"invalid","reason":"length"}
//! {"input":"2C26…","hash":"2C26…","status":"error","error":"status 500: …"}
//! ```
//!
//! The stages: `reading` takes lines apart (`question`), a bounded channel hands
//! them to the `engine`, which keeps them on its `desk` until they are answered by
//! its `oracle`, a `table` or an `api`, and writes what is answered (`output`).
//! Memory does not grow with the list.
//!
//! A hash is asked for once while it is under way or was answered a short while ago. Of
//! a table each is read once, eventually consistently unless it is told otherwise: an item
//! that was written within the last second may be unknown still.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::human::thousands;
use crate::commands::lookup::answers::Desk;
use crate::commands::lookup::api_backend::ApiOracle;
use crate::commands::lookup::api_options::{API_CONCURRENCY, Api};
use crate::commands::lookup::backend::Oracle;
use crate::commands::lookup::input::{Behind, Input, Reading};
use crate::commands::lookup::options::{GIVE_UP_AFTER, Lookup};
use crate::commands::lookup::outcome::{
    count_unanswered, end, listed, unbalanced, warn_of_none_known,
};
use crate::commands::lookup::output;
use crate::commands::lookup::output::{Answers, Output};
use crate::commands::lookup::prepare::{Prepared, Whom};
use crate::commands::lookup::query::Questions;
use crate::commands::lookup::report::LookupReport;
use crate::commands::lookup::request_state::{Ended, EngineOptions};
use crate::commands::lookup::requester::Engine;
use crate::commands::lookup::table_backend::TableOracle;
use crate::commands::lookup::watch::LookupPlan;
use crate::dynamodb::batch_get::request::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::RawOperation;
use crate::dynamodb::table::Table;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, Pace};
use crate::flow::rate_setting::Rate;
use crate::list::shape::Shapes;
use crate::pipeline::report::Outcome;
use jiff::Timestamp;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Hand-overs of questions that wait between reading and asking.
const HAND_OVERS: usize = 4;

impl Lookup {
    /// Runs to the end; the answers go to the file that the builder was told.
    /// Whatever happens once reading has begun is in the report, a failure too:
    /// see [`LookupReport::outcome`] and [`LookupReport::failure`].
    ///
    /// # Errors
    /// When it cannot begin, or no file was told.
    pub async fn run(self) -> Result<LookupReport> {
        if self.with.output.is_none() {
            return Err(Error::usage("no file for the answers is named").hint("give --output FILE"));
        }
        self.run_somewhere(None::<tokio::io::Sink>).await
    }

    /// The same; the answers go to `writer`, unless the builder was told a file.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn run_to<W: AsyncWrite + Unpin>(self, writer: W) -> Result<LookupReport> {
        self.run_somewhere(Some(writer)).await
    }

    async fn run_somewhere<W: AsyncWrite + Unpin>(self, writer: Option<W>) -> Result<LookupReport> {
        let (events, watch) = (self.with.events.clone(), self.watch.clone());
        let run = Box::pin(self.run_to_end(writer));
        events.during(|| watch.progress(), run).await
    }

    async fn run_to_end<W: AsyncWrite + Unpin>(self, writer: Option<W>) -> Result<LookupReport> {
        let with = &self.with;
        let mut report = self.report(Timestamp::now());
        let begun = Instant::now();
        let prepared = tokio::select! {
            biased;
            () = with.stop.requested() => {
                report.end(Outcome::Interrupted, None);
                return Ok(report);
            }
            prepared = Box::pin(self.prepare()) => prepared?,
        };
        report.hash = Some(prepared.algorithm.name().to_owned());
        report.rules = prepared.paths.as_ref().map(|n| n.rules().name());
        match (&with.output, writer) {
            (Some(path), _) => {
                let (path, existing) = (path.clone(), with.existing);
                let place = path.display().to_string();
                let opened = tokio::task::spawn_blocking(move || output::open(&path, existing));
                let Answers {
                    file,
                    lines,
                    tally,
                    past,
                } = opened.await.map_err(|e| {
                    Error::new(ErrorKind::Internal, "cannot open the file for the answers")
                        .because(e)
                })??;
                if lines > 0 {
                    tracing::info!(
                        "{place} has the answers to {} lines: going on after them",
                        thousands(lines as f64)
                    );
                    report.resumed_from = Some(lines);
                    self.watch.meters().update(|c| {
                        c.enter(tally);
                        c.books.lines += lines;
                    });
                }
                let file = tokio::fs::File::from_std(file);
                let behind = Behind {
                    lines,
                    answers: past,
                    place,
                };
                let output = Output::new(file, &with.stop);
                Box::pin(self.answer(prepared, output, behind, report, begun)).await
            }
            (None, Some(writer)) => {
                let output = Output::new(writer, &with.stop);
                let behind = Behind::default();
                Box::pin(self.answer(prepared, output, behind, report, begun)).await
            }
            (None, None) => Err(Error::usage("no place for the answers is named")),
        }
    }

    /// The report, as long as nothing is known.
    fn report(&self, started: Timestamp) -> LookupReport {
        let with = &self.with;
        let table = Some(with.table.as_str()).filter(|t| !t.is_empty());
        let api = with.api.as_ref().map(Api::shown);
        let mut report = LookupReport::begun(table, api, &with.input, started);
        report.output = with.output.as_ref().map(|path| path.display().to_string());
        report
    }

    /// Asks whom there is to ask.
    async fn answer<W: AsyncWrite + Unpin>(
        &self,
        prepared: Prepared,
        output: Output<'_, W>,
        behind: Behind,
        report: LookupReport,
        begun: Instant,
    ) -> Result<LookupReport> {
        let with = &self.with;
        let Prepared {
            input,
            whom,
            algorithm,
            paths,
            questions,
        } = prepared;
        let what = match &paths {
            Some(normalizer) => format!("paths, normalised by the rules {}", normalizer.rules()),
            None => algorithm.to_string(),
        };
        let asking = Asking {
            lookup: self,
            algorithm: Some(algorithm).filter(|_| with.paths.is_none()),
            input,
            questions,
            behind,
            report,
            begun,
        };
        Ok(match whom {
            Whom::Api(oracle, tries) => self.ask_api(&what, &oracle, tries, asking, output).await,
            Whom::Table(oracle, table) => {
                self.ask_table(&what, &oracle, &table, asking, output).await
            }
        })
    }

    /// Asks an API for `what`: a call a hash, which is asked so many `tries`.
    async fn ask_api<W: AsyncWrite + Unpin>(
        &self,
        what: &str,
        oracle: &ApiOracle,
        tries: u32,
        asking: Asking<'_>,
        output: Output<'_, W>,
    ) -> LookupReport {
        let with = &self.with;
        let api = with.api.as_ref().map(Api::shown).unwrap_or_default();
        let limit = match with.rate {
            Rate::Units(calls) => Some(calls),
            _ => None,
        };
        let concurrency = match with.concurrency {
            Concurrency::Calls(calls) => calls,
            Concurrency::Auto => API_CONCURRENCY,
        };
        let rate = match limit {
            Some(calls) => format!("{} calls/s", thousands(calls)),
            None => "as fast as it goes".to_owned(),
        };
        tracing::info!("looking up {what} at {api}: {rate}, up to {concurrency} calls in flight");
        let options = EngineOptions {
            concurrency: Concurrency::Calls(concurrency),
            most: 1,
            units: 1.0,
            tries: Some(tries),
            give_up_after: with.give_up_after.unwrap_or(GIVE_UP_AFTER),
            whom: api,
        };
        let pace = Arc::new(Pace::fixed(limit).of_reads());
        let never = std::future::pending::<Infallible>();
        asking.run(oracle, &pace, options, output, never).await
    }

    /// Asks a table for `what`: many hashes a call, at the pace of its read capacity.
    async fn ask_table<W: AsyncWrite + Unpin>(
        &self,
        what: &str,
        oracle: &TableOracle<RawOperation>,
        table: &Table,
        asking: Asking<'_>,
        output: Output<'_, W>,
    ) -> LookupReport {
        let with = &self.with;
        let pace = with.rate.pace(table.read_capacity(), None).of_reads();
        let target = pace.rate();
        let units = match with.consistent {
            true => CONSISTENT_READ_UNITS,
            false => EVENTUAL_READ_UNITS,
        };
        let concurrency = with.concurrency;
        let calls = concurrency.said(target, units * MAX_GET_KEYS as f64);
        self.announce(table, what, target, &calls);
        let options = EngineOptions {
            concurrency,
            most: MAX_GET_KEYS,
            units,
            tries: None,
            give_up_after: with.give_up_after.unwrap_or(GIVE_UP_AFTER),
            whom: format!("table {}", with.table),
        };
        let pace = Arc::new(pace);
        let describe = || async {
            let table =
                crate::dynamodb::describe_table::describe(&self.aws, &with.table, None).await?;
            Ok(table.read_capacity())
        };
        let follow = pace.follow(CAPACITY_INTERVAL, describe);
        asking.run(oracle, &pace, options, output, follow).await
    }

    /// Says what is going to happen.
    fn announce(&self, table: &Table, what: &str, target: Option<f64>, calls: &str) {
        let rate = match target {
            Some(units) => format!("{} read units/s", thousands(units)),
            None => "as fast as it goes".to_owned(),
        };
        let reads = match self.with.consistent {
            true => "strongly consistent reads",
            false => "eventually consistent reads",
        };
        let key = &table.schema.partition;
        tracing::info!(
            "looking up {what} in table {} {}: key {} ({}); {reads}, {rate}, {calls}",
            table.name,
            self.aws.dynamodb_place(),
            key.name,
            key.kind,
        );
    }
}

/// A look-up that knows whom it asks.
pub(super) struct Asking<'a> {
    lookup: &'a Lookup,
    /// Of hashes; `None` for paths.
    algorithm: Option<Algorithm>,
    input: Input,
    questions: Questions,
    behind: Behind,
    report: LookupReport,
    begun: Instant,
}

impl Asking<'_> {
    async fn run<O: Oracle, W: AsyncWrite + Unpin>(
        self,
        oracle: &O,
        pace: &Arc<Pace>,
        options: EngineOptions,
        mut output: Output<'_, W>,
        follow: impl Future<Output = Infallible>,
    ) -> LookupReport {
        let with = &self.lookup.with;
        let meters = self.lookup.watch.meters();
        self.lookup.watch.set_plan(LookupPlan {
            bytes: self.input.length(),
            pace: pace.clone(),
            is_api: with.api.is_some(),
            begun: self.begun,
        });
        let (send, fresh) = mpsc::channel(HAND_OVERS);
        let shapes = Mutex::<Shapes>::default();
        let reading = Reading {
            shapes: &shapes,
            questions: self.questions,
            behind: self.behind,
            meters,
            stop: &with.stop,
            send,
        };
        let engine = Engine {
            oracle,
            pace,
            meters,
            options,
        };
        let desk = Desk::new(with.unordered, with.only);
        let backoff = Backoff::new(fastrand::Rng::new());
        let work = async {
            tokio::join!(
                engine.run(fresh, desk, &mut output, &with.stop, backoff),
                reading.run(self.input),
            )
        };
        let (ended, read) = tokio::select! {
            biased;
            ended = work => ended,
            never = follow => match never {},
        };

        count_unanswered(meters);
        let counts = meters.read();
        warn_of_none_known(&counts.books, with.api.is_some());
        let mut report = self.report;
        report.target_rcu_per_s = pace.rate();
        report.count(&counts, self.begun.elapsed());
        report.closed = matches!(ended, Ended::Enough);
        let complete = matches!((&ended, &read), (Ended::Complete, Ok(true)));
        let failure = match (ended, read) {
            (_, Err(e)) | (Ended::Failed(e), _) => Some(self.lookup.how_to_go_on(e)),
            _ => None,
        };
        let failure = match unbalanced(&counts.books, complete).or(failure) {
            None if complete && !report.closed => {
                let shapes = shapes.into_inner().unwrap_or_else(PoisonError::into_inner);
                listed(self.lookup, self.algorithm, &counts).useless(&shapes)
            }
            failure => failure,
        };
        end(&mut report, &counts, complete, failure.as_ref());
        report
    }
}
