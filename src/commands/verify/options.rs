//! Whether a table holds what a list says: the list again, and the table asked.
//!
//! [`Verify`] is what the command `hashferry verify` runs. It reads the list by
//! the same stages as [`ingest`](crate::commands::ingest::options) does, draws a
//! [sample](crate::pipeline::sample) where one was asked for, and asks the table for each
//! hash: whether it is there, and whether the attributes that were named are
//! what they must be. Nothing is held of the list but the sample and what is
//! under way; nothing is written.
//!
//! An eventually consistent read costs half and may be behind by some moments.
//! So each key is read that way first, and what is not as it should be once
//! more, strongly consistently: only that second answer counts against the
//! table. [`VerifyBuilder::consistent`] has every key read so at once.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::human::thousands;
use crate::base::record::{Place, Record};
use crate::commands::item_options::with_release;
use crate::dynamodb::batch_get::expected::{
    AskTemplate, CONSISTENT_READ_UNITS, Difference, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::RawOperation;
use crate::dynamodb::column_attributes::Columns;
use crate::dynamodb::table;
use crate::dynamodb::table::Table;
use crate::flow::backoff::Backoff;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, Pace};
use crate::list::objects::Objects;
use crate::list::open::Opened;
use crate::list::prefetch::Ahead;
use crate::pipeline::contents::look;
use crate::pipeline::contents::look::Look;
use crate::pipeline::contents::settings::{Given, Told};
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::sources::Accounts;
use crate::pipeline::progress::watermark::HandOver;
use crate::pipeline::reader::{Beginning, HAND_OVERS, Reader};
use crate::pipeline::rejects::{MaxRejects, Rejects};
use crate::pipeline::report::Outcome;
use crate::pipeline::sample::{Reservoir, Sample};
use crate::pipeline::useful::Listed;
use crate::source::sources::Sources;
use jiff::Timestamp;
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::commands::verify::builder::{GIVE_UP_AFTER, VerifyBuilder};
use crate::commands::verify::counts::VerifyMeters;
use crate::commands::verify::report::{MAX_REPORTED, ProblemReport, VerifyReport};

use crate::commands::verify::checker::{Checker, CheckerOptions};

/// How many problems are shown in the log.
const SHOWN: u64 = 10;

/// Records of a sample that are handed on at once.
const HAND_OVER: usize = 500;

/// What is wrong about a hash of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It is not in the table.
    Missing,
    /// It is, and an attribute is not as it must be.
    Different(Box<Difference>),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let What::Different(difference) = self else {
            return f.write_str("missing");
        };
        let Difference { attribute, found } = &**difference;
        match found {
            Some(found) => write!(f, "different ({attribute} is {found})"),
            None => write!(f, "different (it has no {attribute})"),
        }
    }
}

/// A hash of the list that is not in the table as it should be.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// The hash as text, in the case of the list.
    pub hash: &'a str,
    /// The source it was read from.
    pub source: &'a str,
    /// Its line there, from 1.
    pub line: u64,
    /// Offset of the line's first byte in the decoded source, from 0.
    pub byte: u64,
    /// What is wrong.
    pub what: &'a What,
}

/// The same on its way through the stages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) hash: Hash,
    pub(super) place: Place,
    pub(super) what: What,
}

/// What a verification that is under way can be asked.
#[derive(Debug, Clone, Default)]
pub struct VerifyWatch(Arc<WatchInner>);

#[derive(Debug, Default)]
struct WatchInner {
    meters: VerifyMeters,
    plan: OnceLock<VerifyPlan>,
}

/// What is known once the first source is open and the table has answered.
#[derive(Debug, Clone)]
pub struct VerifyPlan {
    /// Bytes to read in all, where that is known.
    pub bytes: Option<u64>,
    /// The pace, which knows the rate aimed at now, in read units.
    pub pace: Arc<Pace>,
    /// When reading began.
    pub begun: Instant,
}

impl VerifyWatch {
    /// The counters.
    pub fn meters(&self) -> &VerifyMeters {
        &self.0.meters
    }

    /// The plan, once there is one.
    pub fn plan(&self) -> Option<&VerifyPlan> {
        self.0.plan.get()
    }
}

/// A verification, ready to begin.
///
/// ```no_run
/// # async fn example() -> hashferry::error::Result<()> {
/// use hashferry::{Verify, attribute::Value, sample::Sample};
///
/// let report = Verify::builder()
///     .source("s3://my-bucket/nsrl/sha256.txt")
///     .table("sha256")
///     .attribute("source", Value::S("NSRL".into()))
///     .sample(Sample::Some(10_000))
///     .build()
///     .await?
///     .run()
///     .await?;
/// assert_eq!(report.missing + report.different, 0, "{:?}", report.problems);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Verify {
    pub(super) aws: Aws,
    pub(super) sources: Sources,
    pub(super) watch: VerifyWatch,
    pub(super) with: VerifyBuilder,
}

impl Verify {
    /// What a verification can be told.
    pub fn builder() -> VerifyBuilder {
        VerifyBuilder::default()
    }

    /// By which it can be watched.
    pub fn watch(&self) -> VerifyWatch {
        self.watch.clone()
    }

    /// Runs to the end. The first problems are in the report; see
    /// [`run_with`](Self::run_with) for all of them.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn run(self) -> Result<VerifyReport> {
        self.run_with(|_| Ok(())).await
    }

    /// Runs to the end, and tells each problem in the order of the list.
    /// Whatever happens once reading has begun is in the report, a failure too:
    /// see [`VerifyReport::outcome`] and [`VerifyReport::error`].
    ///
    /// # Errors
    /// When it cannot begin. What `tell` returns ends the run and is in the
    /// report.
    pub async fn run_with(
        mut self,
        mut tell: impl FnMut(Problem<'_>) -> Result<()>,
    ) -> Result<VerifyReport> {
        let look = self.look_for_rules().await?;
        let with = &self.with;
        let mut report = VerifyReport::begun(&with.table, with.sample, Timestamp::now());
        let begun = Instant::now();
        let prepared = tokio::select! {
            biased;
            () = with.stop.requested() => {
                report.end(Outcome::Interrupted, None);
                return Ok(report);
            }
            prepared = self.prepare(look) => prepared?,
        };
        let Prepared {
            opened,
            mut ahead,
            table,
            look,
            algorithm,
            case,
            template,
            columns,
            rejects,
            operation,
        } = prepared;
        let pace = with.rate.pace(table.read_capacity(), None).of_reads();
        let target = pace.rate();
        let pace = Arc::new(pace);
        let key_units = match with.consistent {
            true => CONSISTENT_READ_UNITS,
            false => EVENTUAL_READ_UNITS,
        };
        let calls = with
            .concurrency
            .said(target, key_units * MAX_GET_KEYS as f64);
        let to_come = ahead.bytes_to_come();
        let bytes = opened
            .length()
            .zip(to_come)
            .map(|(first, rest)| first + rest);
        // Set once: a run happens once.
        let _ = self.watch.0.plan.set(VerifyPlan {
            bytes,
            pace: pace.clone(),
            begun,
        });
        self.announce(&table, algorithm, &template, target, &calls);

        let meters = self.watch.meters();
        meters.update(|a| a.consumed += look.read_units);
        let accounts = Accounts::default();
        let shown_case = opened.beginning.case.unwrap_or(case);
        let mut problems = Vec::new();
        let mut shown = 0;
        let tell_all = |finding: Finding| {
            let Finding { hash, place, what } = finding;
            let problem = Problem {
                hash: &hash.to_hex(shown_case),
                source: &accounts.name(place.source),
                line: place.line,
                byte: place.byte,
                what: &what,
            };
            show(&problem, &mut shown);
            if problems.len() < MAX_REPORTED {
                problems.push(ProblemReport::of(&problem));
            }
            tell(problem)
        };

        let (records, read) = mpsc::channel(HAND_OVERS);
        let (fresh, drawing) = match with.sample {
            Sample::All => (read, None),
            Sample::Some(size) => {
                let seed = with.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
                report.seed = Some(seed);
                let (send, receive) = mpsc::channel(HAND_OVERS);
                (receive, Some((Reservoir::new(size, seed), read, send)))
            }
        };
        let reader = Reader {
            algorithm,
            distinct: Distinct::InFlight,
            columns: &columns,
            max_rejects: match with.rejects_known {
                true => MaxRejects::Count(u64::MAX),
                false => with.max_rejects,
            },
            meters: &meters.reading,
            rejects: &rejects,
            accounts: &accounts,
            records,
        };
        let checker = Checker {
            table: &operation,
            table_name: &with.table,
            template: &template,
            pace: &pace,
            meters,
            options: CheckerOptions {
                concurrency: with.concurrency,
                consistent: with.consistent,
                give_up_after: with.give_up_after.unwrap_or(GIVE_UP_AFTER),
            },
        };
        let draw = async {
            if let Some((reservoir, read, send)) = drawing {
                draw(reservoir, read, send, meters).await;
            }
        };
        let backoff = Backoff::new(fastrand::Rng::new());
        let work = async {
            tokio::join!(
                checker.run(fresh, tell_all, &with.stop, backoff),
                draw,
                reader.run(Beginning::of(opened), &mut ahead, &with.stop),
            )
        };
        let describe = || async {
            let table = table::describe(&self.aws, &with.table, None).await?;
            Ok(table.read_capacity())
        };
        let (checked, (), read) = tokio::select! {
            biased;
            ended = work => ended,
            never = pace.follow(CAPACITY_INTERVAL, describe) => match never {},
        };

        let counts = meters.read();
        report.hash = Some(algorithm.name().to_owned());
        report.target_rcu_per_s = pace.rate();
        report.problems = problems;
        (report.sources, report.further_sources) =
            crate::pipeline::report::sources(accounts.all(), false);
        report.count(&counts, begun.elapsed());
        look.hint_at_case(case, &table.name, counts.books.found, counts.books.missing);
        let (failure, to_the_end) = match (checked, read) {
            (Err(e), _) | (_, Err(e)) => (Some(e), false),
            (Ok(checked), Ok(read)) => (None, checked && read),
        };
        let failure = failure.or(rejects.finish().err());
        let books = counts.books;
        let failure = match books.balanced() {
            true => failure,
            false => Some(Error::new(
                ErrorKind::Internal,
                format!("the books do not balance: {books:?}; this is a fault of hashferry"),
            )),
        };
        let listed = Listed {
            keeps_rejects: true,
            sources: &self.sources,
            algorithm: Some(algorithm).filter(|_| with.form.paths.is_none()),
            lines: books.lines,
            skipped: books.skipped,
            rejected: books.rejected,
        };
        let failure = match failure {
            None if to_the_end => listed.useless(&rejects.shapes(false)),
            failure => failure,
        };
        let outcome = match &failure {
            Some(_) => Outcome::Failed,
            None if !to_the_end => Outcome::Interrupted,
            None if books.missing + books.different > 0 => Outcome::Mismatch,
            None if books.rejected > 0 => Outcome::Rejects,
            None => Outcome::Complete,
        };
        report.end(outcome, failure.as_ref());
        if !matches!(outcome, Outcome::Failed | Outcome::Interrupted) {
            with.unpack.work.done();
        }
        Ok(report)
    }

    /// Takes the rules of a list of paths that are left open from the table's items.
    async fn look_for_rules(&mut self) -> Result<Option<Look>> {
        let (with, given) = (&self.with, self.with.given_rules());
        let (key, stop) = (with.key.as_ref(), &with.stop);
        let (rules, look) = crate::pipeline::contents::rules::rules_for(
            &self.aws,
            &with.table,
            key,
            given.as_ref(),
            stop,
        )
        .await?;
        self.with.form.paths = rules.or(self.with.form.paths.take());
        Ok(look)
    }

    /// Everything that must be known before the first question.
    async fn prepare(&self, look: Option<Look>) -> Result<Prepared> {
        let with = &self.with;
        if self.sources.has_stdin() {
            tracing::info!("reading standard input");
        }
        let objects = Objects::new(&self.sources, &self.aws);
        let mut ahead = Ahead::new(objects, &self.aws, &with.unpack, &with.form);
        let Some(opened) = ahead.next().await? else {
            return Err(Error::usage(
                "there is nothing to read: the sources name no object",
            ));
        };
        let table = match table::describe(&self.aws, &with.table, None).await {
            Err(e) if e.kind() == ErrorKind::Denied => {
                let shown = with.algorithm.or(opened.beginning.algorithm);
                table::assumed(e, &with.table, with.key.clone(), shown)?
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
        look.say(&table, true);
        let given = Given::by_flags(with.algorithm, with.key.as_ref());
        let algorithm = opened.algorithm_for(&table, &look, given, &with.form)?;
        let (given, from) = (&with.attributes, &with.attributes_from);
        let mut attributes = with.form.with_rules(given, from)?;
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
        let template = AskTemplate::with_columns(
            &with.table,
            &table.schema,
            algorithm,
            case,
            &attributes,
            &with.attributes_from,
        )?;
        let columns = Columns::new(&with.table, &table.schema, &with.attributes_from, 0)?;
        opened.parser(&with.form, algorithm, columns.wanted())?;
        let rejects = match with.rejects_known {
            true => Rejects::known(),
            false => Rejects::new(with.rejects.as_deref())?,
        };
        let operation = RawOperation::new(&self.aws, "BatchGetItem", &with.table)?;
        Ok(Prepared {
            opened,
            ahead,
            table,
            look,
            algorithm,
            case,
            template,
            columns,
            rejects,
            operation,
        })
    }

    /// Says what is going to happen.
    fn announce(
        &self,
        table: &Table,
        algorithm: Algorithm,
        template: &AskTemplate,
        target: Option<f64>,
        calls: &str,
    ) {
        let rate = match target {
            Some(units) => format!("{} read units/s", thousands(units)),
            None => "as fast as it goes".to_owned(),
        };
        let names: Vec<&str> = template.compared().collect();
        let compared = match names.is_empty() {
            true => "nothing but the key is compared".to_owned(),
            false => format!("compared: {}", names.join(", ")),
        };
        let sample = match self.with.sample {
            Sample::All => String::new(),
            Sample::Some(n) => format!(" a sample of {}", thousands(n as f64)),
        };
        let reads = match self.with.consistent {
            true => "strongly consistent reads",
            false => "eventually consistent reads",
        };
        let key = &table.schema.partition;
        tracing::info!(
            "verifying{sample} {algorithm} against table {} {}: key {} ({}), {compared}; {reads}, \
             {rate}, {calls}",
            table.name,
            self.aws.dynamodb_place(),
            key.name,
            key.kind,
        );
    }
}

/// What is known before the first question.
struct Prepared {
    opened: Opened,
    ahead: Ahead,
    table: Table,
    look: Look,
    algorithm: Algorithm,
    case: Case,
    template: AskTemplate,
    columns: Columns,
    rejects: Rejects,
    operation: RawOperation,
}

/// Draws a sample of all records from `read`, then hands it on, in order.
async fn draw(
    mut reservoir: Reservoir,
    mut read: mpsc::Receiver<HandOver>,
    send: mpsc::Sender<HandOver>,
    meters: &VerifyMeters,
) {
    while let Some(handed) = read.recv().await {
        let offered = handed
            .records
            .into_iter()
            .map(|r| u64::from(reservoir.offer(r)));
        let left_out: u64 = offered.sum();
        meters.update(|a| a.unchecked += left_out);
    }
    let mut drawn = reservoir.into_records().into_iter();
    while drawn.len() > 0 {
        let part: Vec<Record> = drawn.by_ref().take(HAND_OVER).collect();
        if let Err(refused) = send.send(part.into()).await {
            // The run was stopped.
            let left = (refused.0.records.len() + drawn.len()) as u64;
            return meters.update(|a| a.unchecked += left);
        }
    }
}

/// Shows the first problems in the log.
fn show(problem: &Problem<'_>, shown: &mut u64) {
    *shown += 1;
    if *shown > SHOWN {
        return;
    }
    let Problem {
        hash,
        source,
        line,
        what,
        ..
    } = problem;
    tracing::warn!("{hash} is {what}: {source}, line {line}");
    if *shown == SHOWN {
        tracing::warn!("further ones are counted, not shown");
    }
}
