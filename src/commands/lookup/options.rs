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

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::human::thousands;
use crate::dynamodb::batch_get::expected::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::RawOperation;
use crate::dynamodb::table;
use crate::dynamodb::table::Table;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, Pace};
use crate::flow::rate_setting::Rate;
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::Normalizer;
use crate::list::shape::Shapes;
use crate::pipeline::contents::either_case::EitherCase;
use crate::pipeline::contents::settings::{Given, Settings};
use crate::pipeline::report::Outcome;
use crate::pipeline::useful::Listed;
use crate::source::sources::Sources;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::commands::lookup::api_backend::{API_CONCURRENCY, Api};
use crate::commands::lookup::builder::LookupBuilder;
use crate::commands::lookup::counts::LookupMeters;
use crate::commands::lookup::report::LookupReport;

use crate::base::run_lock::RunLock;
use crate::commands::lookup::answers::Desk;
use crate::commands::lookup::api_backend::ApiOracle;
use crate::commands::lookup::backend::Oracle;
use crate::commands::lookup::input::{Behind, Input, Reading};
use crate::commands::lookup::output::{Answers, Output};
use crate::commands::lookup::query::Questions;
use crate::commands::lookup::requester::{Ended, Engine, EngineOptions};
use crate::commands::lookup::table_backend::{AskedBy, TableOracle};

/// How long a look-up goes on without a single hash being answered.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// Hashes that an API does not know, without one that it does, from which on a person
/// should know it.
const SUSPICIOUS: u64 = 10;

/// Hand-overs of questions that wait between reading and asking.
const HAND_OVERS: usize = 4;

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The hash is there.
    Known,
    /// It is not.
    Unknown,
    /// The line is no hash of this kind, or no path.
    Invalid,
    /// It could not be found out.
    Error,
}

impl Status {
    /// As it stands in an answer.
    pub fn name(self) -> &'static str {
        match self {
            Status::Known => "known",
            Status::Unknown => "unknown",
            Status::Invalid => "invalid",
            Status::Error => "error",
        }
    }
}

/// What a look-up that is under way can be asked.
#[derive(Debug, Clone, Default)]
pub struct LookupWatch(Arc<WatchInner>);

#[derive(Debug, Default)]
struct WatchInner {
    meters: LookupMeters,
    plan: OnceLock<LookupPlan>,
}

/// What is known once the list is open and the table has answered.
#[derive(Debug, Clone)]
pub struct LookupPlan {
    /// Bytes to read in all, where that is known.
    pub bytes: Option<u64>,
    /// The pace, which knows the rate aimed at now: in read units, or in calls of an API.
    pub pace: Arc<Pace>,
    /// Whether it is an API that is asked.
    pub is_api: bool,
    /// When reading began.
    pub begun: Instant,
}

impl LookupWatch {
    /// The counters.
    pub fn meters(&self) -> &LookupMeters {
        &self.0.meters
    }

    /// The plan, once there is one.
    pub fn plan(&self) -> Option<&LookupPlan> {
        self.0.plan.get()
    }
}

/// A look-up, ready to begin.
///
/// ```no_run
/// # async fn example() -> hashferry::error::Result<()> {
/// use hashferry::Lookup;
///
/// let mut answers = Vec::new();
/// let report = Lookup::builder()
///     .input("s3://my-bucket/evidence/sha256.txt")
///     .table("sha256")
///     .build()
///     .await?
///     .run_to(&mut answers)
///     .await?;
/// assert_eq!(report.lines, report.known + report.unknown, "{report:?}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lookup {
    pub(super) aws: Aws,
    pub(super) sources: Sources,
    pub(super) watch: LookupWatch,
    pub(super) with: LookupBuilder,
    /// Keeps a second run off the file of the answers.
    pub(super) _lock: Option<RunLock>,
}

impl Lookup {
    /// What a look-up can be told.
    pub fn builder() -> LookupBuilder {
        LookupBuilder::default()
    }

    /// By which it can be watched.
    pub fn watch(&self) -> LookupWatch {
        self.watch.clone()
    }

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
        let with = &self.with;
        let mut report = self.report(Timestamp::now());
        let begun = Instant::now();
        let prepared = tokio::select! {
            biased;
            () = with.stop.requested() => {
                report.end(Outcome::Interrupted, None);
                return Ok(report);
            }
            prepared = self.prepare() => prepared?,
        };
        report.hash = Some(prepared.algorithm.name().to_owned());
        report.rules = prepared.paths.as_ref().map(|n| n.rules().name());
        match (&with.output, writer) {
            (Some(path), _) => {
                let (path, existing) = (path.clone(), with.existing);
                let place = path.display().to_string();
                let opened = tokio::task::spawn_blocking(move || {
                    crate::commands::lookup::output::open(&path, existing)
                });
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
                self.answer(
                    prepared,
                    Output::new(file, &with.stop),
                    behind,
                    report,
                    begun,
                )
                .await
            }
            (None, Some(writer)) => {
                let output = Output::new(writer, &with.stop);
                self.answer(prepared, output, Behind::default(), report, begun)
                    .await
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

    /// Everything that must be known before the first question.
    async fn prepare(&self) -> Result<Prepared> {
        let with = &self.with;
        if self.sources.has_stdin() {
            tracing::info!("reading standard input");
        }
        let mut input = Input::open(&self.sources, &self.aws, &with.unpack).await?;
        let told = match with.paths {
            Some(_) => Some(Algorithm::Sha256),
            None => with.algorithm,
        };
        let (whom, algorithm, paths) = match &with.api {
            Some(api) => {
                let named = told.or_else(|| api.algorithm());
                let algorithm = match named {
                    Some(algorithm) => algorithm,
                    None => input.algorithm().await?,
                };
                let given = with.paths.as_ref();
                let paths = given.map(GivenRules::normalizer).transpose()?;
                let rules = paths.as_ref().map(AskedBy::of);
                let oracle = api.oracle(algorithm, with.case.unwrap_or_default(), rules)?;
                if !input.is_empty().await? {
                    crate::commands::lookup::api_probe::run(
                        &oracle,
                        api.most_tries(),
                        with.give_up_after,
                    )
                    .await?;
                }
                let whom = Whom::Api(Box::new(oracle), api.most_tries());
                (whom, algorithm, paths)
            }
            None => self.prepare_table(&mut input, told).await?,
        };
        let questions = match &paths {
            Some(normalizer) => Questions::of_paths(normalizer.clone()),
            None => Questions::of_hashes(algorithm)?,
        };
        Ok(Prepared {
            input,
            whom,
            algorithm,
            paths,
            questions,
        })
    }

    /// The table to ask, the algorithm of its hashes, and how paths are normalised for it.
    async fn prepare_table(
        &self,
        input: &mut Input,
        told: Option<Algorithm>,
    ) -> Result<(Whom, Algorithm, Option<Normalizer>)> {
        let with = &self.with;
        let table = match table::describe(&self.aws, &with.table, None).await {
            Err(e) if e.kind() == ErrorKind::Denied => {
                let shown = match (told, &with.key) {
                    (None, None) => Some(input.algorithm().await?),
                    _ => told,
                };
                table::assumed(e, &with.table, with.key.clone(), shown)?
            }
            described => described?,
        };
        let key = &table.schema.partition.name;
        if with.paths.is_some()
            && Algorithm::from_name(key).is_some_and(|named| told != Some(named))
        {
            let what = format!(
                "paths are looked up by their SHA-256, and the partition key of table {} is {key}",
                table.name
            );
            return Err(Error::usage(what).hint("name a table that ingest --paths has made"));
        }
        let look =
            crate::pipeline::contents::scan::look(&self.aws, &table.name, &table.schema.partition)
                .await?;
        look.say(&table, true);
        let given = Given::by_flags(told, with.key.as_ref());
        let algorithm = match look.algorithm_of_table(&table, given)? {
            Some(algorithm) => algorithm,
            None => {
                let shown = input.algorithm().await?;
                look.check_algorithm(shown, given)?;
                shown
            }
        };
        let given = with.paths.as_ref();
        let paths = given.map(|given| look.rules(given, Settings::Flags));
        let paths = paths.transpose()?;
        let oracle = TableOracle {
            table: RawOperation::new(&self.aws, "BatchGetItem", &with.table)?,
            name: with.table.clone(),
            questions: EitherCase::new(
                &with.table,
                &table.schema,
                algorithm,
                look.case(with.case, Settings::Flags)?,
                &with.attributes,
                Settings::Flags,
            )?,
            consistent: with.consistent,
            rules: paths.as_ref().map(AskedBy::of),
        };
        let meters = self.watch.meters();
        meters.update(|c| c.consumed += look.read_units);
        let whom = Whom::Table(Box::new(oracle), Box::new(table));
        Ok((whom, algorithm, paths))
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
        match whom {
            Whom::Api(oracle, tries) => {
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
                tracing::info!(
                    "looking up {what} at {api}: {rate}, up to {concurrency} calls in flight"
                );
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
                Ok(asking.run(&*oracle, &pace, options, output, never).await)
            }
            Whom::Table(oracle, table) => {
                let pace = with.rate.pace(table.read_capacity(), None).of_reads();
                let target = pace.rate();
                let units = match with.consistent {
                    true => CONSISTENT_READ_UNITS,
                    false => EVENTUAL_READ_UNITS,
                };
                let concurrency = with.concurrency;
                let calls = concurrency.said(target, units * MAX_GET_KEYS as f64);
                self.announce(&table, &what, target, &calls);
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
                    let table = table::describe(&self.aws, &with.table, None).await?;
                    Ok(table.read_capacity())
                };
                let follow = pace.follow(CAPACITY_INTERVAL, describe);
                Ok(asking.run(&*oracle, &pace, options, output, follow).await)
            }
        }
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

/// What is known before the first question.
struct Prepared {
    input: Input,
    whom: Whom,
    algorithm: Algorithm,
    /// Of a list of paths.
    paths: Option<Normalizer>,
    questions: Questions,
}

/// Who is asked.
enum Whom {
    Table(Box<TableOracle<RawOperation>>, Box<Table>),
    Api(Box<ApiOracle>, u32),
}

/// A look-up that knows whom it asks.
struct Asking<'a> {
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
        // Set once: a run happens once.
        let _ = self.lookup.watch.0.plan.set(LookupPlan {
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

        // What is not answered is what is left over; that the other columns are counted
        // on their own shows when they are more than the lines.
        meters.update(|c| {
            let b = &mut c.books;
            let answered = b.known + b.unknown + b.invalid + b.error;
            b.unanswered = b.lines.saturating_sub(answered);
        });
        let counts = meters.read();
        if counts.books.known == 0 && counts.books.unknown >= SUSPICIOUS {
            let unknown = thousands(counts.books.unknown as f64);
            match with.api.is_some() {
                true => tracing::warn!(
                    "not one of {unknown} hashes is known: a server can answer like that for a wrong URL, too; look \
                     one up that it must know"
                ),
                false => tracing::warn!(
                    "not one of {unknown} hashes is known: is it the right table? Look one up that it must know"
                ),
            }
        }
        let mut report = self.report;
        report.target_rcu_per_s = pace.rate();
        report.count(&counts, self.begun.elapsed());
        report.closed = matches!(ended, Ended::Enough);
        let complete = matches!((&ended, &read), (Ended::Complete, Ok(true)));
        let failure = match (ended, read) {
            (_, Err(e)) | (Ended::Failed(e), _) => Some(e),
            _ => None,
        };
        let failure = failure.map(|e| self.lookup.how_to_go_on(e));
        let books = counts.books;
        let whole = books.balanced() && (!complete || books.unanswered == 0);
        let failure = match whole {
            true => failure,
            false => Some(Error::new(
                ErrorKind::Internal,
                format!("the books do not balance: {books:?}; this is a fault of hashferry"),
            )),
        };
        let listed = Listed {
            keeps_rejects: false,
            sources: &self.lookup.sources,
            algorithm: self.algorithm,
            lines: books.lines,
            skipped: counts.blank,
            rejected: books.invalid - counts.blank.min(books.invalid),
        };
        let failure = match failure {
            None if complete && !report.closed => {
                let shapes = shapes.into_inner().unwrap_or_else(PoisonError::into_inner);
                listed.useless(&shapes)
            }
            failure => failure,
        };
        let outcome = match &failure {
            Some(_) => Outcome::Failed,
            None if report.closed => Outcome::Complete,
            None if !complete => Outcome::Interrupted,
            None if books.error > 0 => Outcome::Failed,
            None if books.invalid > counts.blank => Outcome::Rejects,
            None => Outcome::Complete,
        };
        report.end(outcome, failure.as_ref());
        if outcome == Outcome::Failed && failure.is_none() {
            let s = if books.error == 1 { "" } else { "s" };
            let (n, error) = (books.error, "\"status\":\"error\"");
            report.failure = Some(format!(
                "{n} line{s} could not be looked up: their answers have {error} and say why"
            ));
            report.hint = Some("look those lines up again".to_owned());
        }
        report
    }
}

impl Lookup {
    /// Says how to go on after a failure, where no more is to be said of it.
    fn how_to_go_on(&self, e: Error) -> Error {
        if e.exit_status() == 2 || e.kind() == ErrorKind::Internal {
            return e;
        }
        let how = match (
            &self.with.output,
            self.with.unordered || self.with.only.is_some(),
        ) {
            (Some(path), false) => format!(
                "the same command with --output {} --resume goes on after the last answer",
                path.display()
            ),
            _ => "with --output FILE, --resume goes on after the last answer".to_owned(),
        };
        let hint = match e.what_to_do() {
            Some(hint) => format!("{hint}; {how}"),
            None => how,
        };
        e.hint(hint)
    }
}
