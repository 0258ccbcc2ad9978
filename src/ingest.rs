//! The whole: a hash list into a table, with its books.
//!
//! [`Ingest`] is what the command `hashferry ingest` runs, and what a program of
//! your own embeds. It opens the first source, asks for the table, works out the
//! items and the rate, and lets the [reader](crate::reader) and the
//! [writer](crate::writer) run until both have ended; then it draws up the
//! [`Report`].

use crate::algorithm::Algorithm;
use crate::aws::Aws;
use crate::aws::error::CallError;
use crate::aws::operation::{BatchWrite, RawOperation};
use crate::aws::table::{self, Billing, Table};
use crate::backoff::Backoff;
use crate::books::{Counts, Meters};
use crate::capacity::Capacity;
use crate::error::{Error, ErrorKind, Result};
use crate::item::ItemTemplate;
use crate::pace::{CAPACITY_INTERVAL, Pace};
use crate::reader::{HAND_OVERS, Opened, Reader};
use crate::rejects::Rejects;
use crate::report::{Outcome, Report};
use crate::source::Location;
use crate::writer::{End, Writer, WriterOptions};
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio::time::Instant;

mod builder;
#[cfg(test)]
mod scenarios;

pub use builder::{GIVE_UP_AFTER, IngestBuilder, MAX_BURST_SECONDS};

/// What a run that is under way can be asked.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<WatchInner>);

#[derive(Debug, Default)]
struct WatchInner {
    meters: Meters,
    plan: OnceLock<Plan>,
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
    aws: Aws,
    sources: Vec<Location>,
    watch: Watch,
    with: IngestBuilder,
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
    pub async fn run(self) -> Result<Report> {
        let with = &self.with;
        let mut report = Report::begun("ingest", &with.table, Timestamp::now());
        report.dry_run = with.dry_run;
        let begun = Instant::now();
        let prepared = tokio::select! {
            biased;
            () = with.stop.requested() => {
                report.end(Outcome::Interrupted, None);
                return Ok(report);
            }
            prepared = self.prepare() => prepared?,
        };
        let Prepared {
            opened,
            table,
            template,
            rejects,
            sink,
        } = prepared;
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
        let concurrency = with.concurrency.calls(target, batch_units);
        let bytes = match self.sources.len() {
            1 => opened.length(),
            _ => None,
        };
        // Set once: a run happens once.
        let _ = self.watch.0.plan.set(Plan {
            algorithm,
            bytes,
            pace: pace.clone(),
            begun,
        });
        self.announce(&table, &template, target, concurrency);

        let meters = self.watch.meters();
        let (records, fresh) = mpsc::channel(HAND_OVERS);
        let reader = Reader {
            aws: &self.aws,
            algorithm,
            max_rejects: with.max_rejects,
            meters,
            rejects: &rejects,
            records,
        };
        let writer = Writer {
            table: &sink,
            table_name: &with.table,
            template: &template,
            pace: &pace,
            meters,
            rejects: &rejects,
            options: WriterOptions {
                concurrency,
                give_up_after: with.give_up_after.unwrap_or(GIVE_UP_AFTER),
            },
        };
        let backoff = Backoff::new(fastrand::Rng::new());
        let work = async {
            tokio::join!(
                writer.run(fresh, &with.stop, backoff),
                reader.run(opened, &self.sources[1..], &mut report.sources, &with.stop),
            )
        };
        let interval = with.capacity_interval.unwrap_or(CAPACITY_INTERVAL);
        let describe = || async {
            Ok(self
                .capacity(&table::describe(&self.aws, &with.table, None).await?)
                .await)
        };
        let (end, read) = tokio::select! {
            biased;
            ended = work => ended,
            never = pace.follow(interval, describe) => match never {},
        };

        let counts = meters.read();
        report.hash = Some(algorithm.name().to_owned());
        report.target_wcu_per_s = pace.rate();
        report.count(&counts, begun.elapsed());
        if with.dry_run {
            report.requests = 0;
        }
        let (failure, to_the_end) = match (end, read) {
            (End::Failed(e), _) | (_, Err(e)) => (Some(e), false),
            (_, Ok(to_the_end)) => (None, to_the_end),
        };
        let failure = self.audit(&counts, failure.or(rejects.finish().err()));
        let outcome = match &failure {
            Some(_) => Outcome::Failed,
            None if !to_the_end || counts.books.failed > 0 => Outcome::Interrupted,
            None if counts.books.rejected > 0 => Outcome::Rejects,
            None => Outcome::Complete,
        };
        report.end(outcome, failure.as_ref());
        Ok(report)
    }

    /// Everything that must be known before the first write.
    async fn prepare(&self) -> Result<Prepared> {
        let with = &self.with;
        if self.sources[0] == Location::Stdin {
            tracing::info!("reading standard input");
        }
        let opened = Opened::open(&self.sources[0], &self.aws).await?;
        // For a table that a local DynamoDB is to make.
        let shown = with.algorithm.or(opened.beginning.algorithm);
        let make_for = shown.or(Algorithm::from_name(&with.table));
        let table = table::describe(&self.aws, &with.table, make_for).await?;
        let algorithm = opened.algorithm(with.algorithm, Some(&table.schema.partition.name))?;
        let template = ItemTemplate::new(
            &with.table,
            &table.schema,
            algorithm,
            with.case,
            &with.attributes,
        )?;
        let names = self.sources.iter().map(ToString::to_string).collect();
        let rejects = Rejects::new(with.rejects.as_deref(), names)?;
        let sink = match with.dry_run {
            true => Sink::Nowhere,
            false => Sink::Table(RawOperation::new(&self.aws, "BatchWriteItem", &with.table)?),
        };
        Ok(Prepared {
            opened,
            table,
            template,
            rejects,
            sink,
        })
    }

    /// What the table takes of this run's items: itself, the indexes that they
    /// feed, its replicas.
    async fn capacity(&self, table: &Table) -> Capacity {
        let with = &self.with;
        let mut names: Vec<&str> = with.attributes.iter().map(|a| a.name.as_str()).collect();
        names.push(&table.schema.partition.name);
        let mut replicas = Vec::new();
        for region in table.replicas.iter().filter(|r| *r != self.aws.region()) {
            let units = match (with.replica_capacity, table.billing) {
                (Some(told), _) => Some(told),
                // On-demand replicas have no capacity to be asked for.
                (None, Billing::OnDemand { .. }) => None,
                (None, _) => match table::in_region(&self.aws, region, &table.name).await {
                    Ok(units) => units,
                    Err(e) => {
                        let what = "its capacity is not known: --replica-capacity N tells it";
                        tracing::warn!("the replica in {region} cannot be asked ({e}); {what}");
                        None
                    }
                },
            };
            replicas.extend(units.map(|u| (region.clone(), u)));
        }
        table.capacity(&names, &replicas)
    }

    /// What the books have against the run, when nothing else has.
    fn audit(&self, counts: &Counts, failure: Option<Error>) -> Option<Error> {
        let books = counts.books;
        if !books.balanced() {
            let what = format!("the books do not balance: {books:?}; this is a fault of hashferry");
            return Some(Error::new(ErrorKind::Internal, what));
        }
        if failure.is_none() && counts.requests > 0 && books.written == 0 && books.failed == 0 {
            let what = format!("DynamoDB refused every item for table {}", self.with.table);
            return Some(Error::new(ErrorKind::Write, what).hint(
                "the attributes (--type, --source, --desc, --attr) do not fit the table or its \
                 indexes",
            ));
        }
        failure
    }

    /// Says what is going to happen.
    fn announce(
        &self,
        table: &Table,
        template: &ItemTemplate,
        target: Option<f64>,
        concurrency: usize,
    ) {
        let rate = match target {
            Some(units) => format!("{} write units/s", crate::report::thousands(units)),
            None => "as fast as it goes".to_owned(),
        };
        let key = &table.schema.partition;
        let dry = if self.with.dry_run {
            ", dry run: nothing is sent"
        } else {
            ""
        };
        tracing::info!(
            "writing {} to table {} {}: key {} ({}), {} bytes and {} write unit{} an item, \
             {rate}, up to {concurrency} calls in flight{dry}",
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

/// What is known before the first write.
struct Prepared {
    opened: Opened,
    table: Table,
    template: ItemTemplate,
    rejects: Rejects,
    sink: Sink,
}

/// Where batches go.
#[derive(Debug)]
enum Sink {
    Table(RawOperation),
    /// A dry run.
    Nowhere,
}

impl BatchWrite for Sink {
    async fn batch_write(&self, body: Bytes) -> Result<Bytes, CallError> {
        match self {
            Sink::Table(operation) => operation.batch_write(body).await,
            Sink::Nowhere => Ok(Bytes::from_static(br#"{"UnprocessedItems":{}}"#)),
        }
    }
}
