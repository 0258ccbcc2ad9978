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
//! table. [`VerifyBuilder::consistent`](crate::commands::verify::options::VerifyBuilder::consistent) has every key read so at once.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::human::thousands;
use crate::base::record::Record;
use crate::commands::item_options::with_release;
use crate::commands::verify::checker::{Checker, CheckerOptions};
use crate::commands::verify::counts::{VerifyBooks, VerifyMeters};
use crate::commands::verify::finding::{Finding, Problem};
use crate::commands::verify::options::{GIVE_UP_AFTER, Verify, VerifyPlan};
use crate::commands::verify::report::{MAX_REPORTED, ProblemReport, VerifyReport};
use crate::dynamodb::batch_get::expected::AskTemplate;
use crate::dynamodb::batch_get::request::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::RawOperation;
use crate::dynamodb::column_attributes::Columns;
use crate::dynamodb::table::Table;
use crate::flow::backoff::Backoff;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, Pace};
use crate::list::objects::Objects;
use crate::list::opened::Opened;
use crate::list::prefetch::Ahead;
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
use jiff::Timestamp;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many problems are shown in the log.
const SHOWN: u64 = 10;

/// Records of a sample that are handed on at once.
const HAND_OVER: usize = 500;

impl Verify {
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
        self,
        tell: impl FnMut(Problem<'_>) -> Result<()>,
    ) -> Result<VerifyReport> {
        let (events, watch) = (self.with.events.clone(), self.watch.clone());
        let run = Box::pin(self.run_to_end(tell));
        events.during(|| watch.progress(), run).await
    }

    async fn run_to_end(
        mut self,
        mut tell: impl FnMut(Problem<'_>) -> Result<()>,
    ) -> Result<VerifyReport> {
        let look = Box::pin(self.look_for_rules()).await?;
        let with = &self.with;
        let mut report = VerifyReport::begun(&with.table, with.sample, Timestamp::now());
        let begun = Instant::now();
        let (input, prepared) = tokio::select! {
            biased;
            () = with.stop.requested() => {
                report.end(Outcome::Interrupted, None);
                return Ok(report);
            }
            prepared = Box::pin(self.prepare(look)) => prepared?,
        };
        let (pace, target, calls) = self.pace(&prepared);
        let to_come = input.ahead.bytes_to_come();
        let bytes = input
            .opened
            .length()
            .zip(to_come)
            .map(|(first, rest)| first + rest);
        self.watch.set_plan(VerifyPlan {
            bytes,
            pace: pace.clone(),
            begun,
        });
        self.announce(&prepared, target, &calls);

        let meters = self.watch.meters();
        meters.update(|a| a.consumed += prepared.look.read_units);
        let accounts = Accounts::default();
        let shown_case = input.opened.beginning.case.unwrap_or(prepared.case);
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
        let reservoir = match with.sample {
            Sample::All => None,
            Sample::Some(size) => {
                let seed = with.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
                report.seed = Some(seed);
                Some(Reservoir::new(size, seed))
            }
        };
        let check = self.check(input, &prepared, &pace, &accounts, reservoir, tell_all);
        let (checked, read) = Box::pin(check).await;

        let counts = meters.read();
        report.hash = Some(prepared.algorithm.name().to_owned());
        report.target_rcu_per_s = pace.rate();
        report.problems = problems;
        (report.sources, report.further_sources) =
            crate::pipeline::report::sources(accounts.all(), false);
        report.count(&counts, begun.elapsed());
        self.finish(&mut report, prepared, counts.books, checked, read);
        Ok(report)
    }

    /// The pace of reading, the rate it begins with, and the calls in flight as text.
    fn pace(&self, prepared: &Prepared) -> (Arc<Pace>, Option<f64>, String) {
        let with = &self.with;
        let pace = with
            .rate
            .pace(prepared.table.read_capacity(), None)
            .of_reads();
        let target = pace.rate();
        let key_units = match with.consistent {
            true => CONSISTENT_READ_UNITS,
            false => EVENTUAL_READ_UNITS,
        };
        let calls = with
            .concurrency
            .said(target, key_units * MAX_GET_KEYS as f64);
        (Arc::new(pace), target, calls)
    }

    /// Reads the list and checks it, or a sample of it, while the pace follows the
    /// table. Tells how the checker and the reader ended.
    async fn check(
        &self,
        input: Input,
        prepared: &Prepared,
        pace: &Pace,
        accounts: &Accounts,
        reservoir: Option<Reservoir>,
        tell: impl FnMut(Finding) -> Result<()>,
    ) -> (Result<bool>, Result<bool>) {
        let (with, meters) = (&self.with, self.watch.meters());
        let Input { opened, mut ahead } = input;
        let (records, read) = mpsc::channel(HAND_OVERS);
        let (fresh, drawing) = match reservoir {
            None => (read, None),
            Some(reservoir) => {
                let (send, receive) = mpsc::channel(HAND_OVERS);
                (receive, Some((reservoir, read, send)))
            }
        };
        let reader = Reader {
            algorithm: prepared.algorithm,
            distinct: Distinct::InFlight,
            columns: &prepared.columns,
            max_rejects: match with.rejects_known {
                true => MaxRejects::Count(u64::MAX),
                false => with.max_rejects,
            },
            meters: &meters.reading,
            rejects: &prepared.rejects,
            accounts,
            records,
        };
        let checker = Checker {
            table: &prepared.operation,
            table_name: &with.table,
            template: &prepared.template,
            pace,
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
                checker.run(fresh, tell, &with.stop, backoff),
                draw,
                reader.run(Beginning::of(opened), &mut ahead, &with.stop),
            )
        };
        let describe = || async {
            let table =
                crate::dynamodb::describe_table::describe(&self.aws, &with.table, None).await?;
            Ok(table.read_capacity())
        };
        let (checked, (), read) = tokio::select! {
            biased;
            ended = work => ended,
            never = pace.follow(CAPACITY_INTERVAL, describe) => match never {},
        };
        (checked, read)
    }

    /// Enters in the report how the run ended.
    fn finish(
        &self,
        report: &mut VerifyReport,
        prepared: Prepared,
        books: VerifyBooks,
        checked: Result<bool>,
        read: Result<bool>,
    ) {
        let with = &self.with;
        let Prepared {
            table,
            look,
            algorithm,
            case,
            rejects,
            ..
        } = prepared;
        look.hint_at_case(case, &table.name, books.found, books.missing);
        let (failure, to_the_end) = match (checked, read) {
            (Err(e), _) | (_, Err(e)) => (Some(e), false),
            (Ok(checked), Ok(read)) => (None, checked && read),
        };
        let failure = failure.or(rejects.finish().err());
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
    async fn prepare(&self, look: Option<Look>) -> Result<(Input, Prepared)> {
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
        let table = match crate::dynamodb::describe_table::describe(&self.aws, &with.table, None)
            .await
        {
            Err(e) if e.kind() == ErrorKind::Denied => {
                let shown = with.algorithm.or(opened.beginning.algorithm);
                crate::dynamodb::describe_table::assumed(e, &with.table, with.key.clone(), shown)?
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
        let mut attributes = crate::commands::item_options::with_rules(&with.form, given, from)?;
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
        Ok((Input { opened, ahead }, prepared))
    }

    /// Says what is going to happen.
    fn announce(&self, prepared: &Prepared, target: Option<f64>, calls: &str) {
        let Prepared {
            table,
            algorithm,
            template,
            ..
        } = prepared;
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

/// The list: its first source, open, and those to come.
struct Input {
    opened: Opened,
    ahead: Ahead,
}

/// What is known before the first question.
struct Prepared {
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
