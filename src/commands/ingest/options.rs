//! Options of a run, and the run built from them.
//!
//! An [`IngestBuilder`] checks the options and builds an [`Ingest`]. A [`Watch`] gives its
//! live counters.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::shutdown::Stop;
use crate::commands::ingest::settings::{CheckpointMode, Refresh};
use crate::commands::ingest::watch::Watch;
use crate::commands::run_options::{
    ReadOptions, RunOptions, TableOptions, list_attribute_setters, read_setters, run_setters,
    table_setters,
};
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use crate::list::format::kind::ListOptions;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::counts::RunCounters;
use crate::pipeline::progress::events::Event;
use crate::pipeline::rejects::MaxRejects;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::program::ProgramHashes;
use crate::source::sources::{Globs, SourceSpec, Sources};
use futures::Stream;
use std::path::PathBuf;
use std::time::Duration;

/// A run, ready to start.
///
/// ```no_run
/// # async fn example() -> hashferry::Result<()> {
/// use hashferry::{Ingest, Value};
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
    /// Old list of a refresh; empty otherwise.
    pub(super) old_sources: Sources,
    pub(super) watch: Watch,
    pub(super) options: IngestBuilder,
}

impl Ingest {
    /// A builder with default options.
    pub fn builder() -> IngestBuilder {
        IngestBuilder::default()
    }

    /// A handle to the run's live counters.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    pub(super) fn command(&self) -> &'static str {
        match self.options.refresh {
            Some(_) => "refresh",
            None => "ingest",
        }
    }

    /// True if records are written in the order of their hashes.
    pub(super) fn is_ordered(&self) -> bool {
        self.options.refresh.is_some() || self.options.distinct == Distinct::Exact
    }
}

/// Maximum seconds of unused capacity that DynamoDB retains for bursts, without guarantee.
/// Source: DynamoDB developer guide, burst and adaptive capacity.
pub const MAX_BURST_SECONDS: f64 = 300.0;

impl Refresh {
    /// A builder of a refresh from the `old` list; the sources of the builder are the new
    /// list.
    ///
    /// ```no_run
    /// # async fn example() -> hashferry::Result<()> {
    /// let report = hashferry::Refresh::builder("s3://my-bucket/nsrl/2026-09.txt")
    ///     .source("s3://my-bucket/nsrl/2026-12.txt")
    ///     .delete(true)
    ///     .table("sha256")
    ///     .build()
    ///     .await?
    ///     .run()
    ///     .await?;
    /// println!("{} written, {:?} deleted", report.written, report.deleted);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(old: impl Into<String>) -> IngestBuilder {
        Ingest::builder().refresh(Refresh::new(old))
    }
}

/// Builder of an [`Ingest`], from [`Ingest::builder`].
#[derive(Debug, Clone, Default)]
pub struct IngestBuilder {
    pub(super) read: ReadOptions,
    pub(super) table: TableOptions,
    pub(super) run: RunOptions<RunCounters>,
    pub(super) program_hashes: Vec<ProgramHashes>,
    pub(super) distinct: Distinct,
    pub(super) refresh: Option<Refresh>,
    pub(super) max_rate: Option<f64>,
    pub(super) burst: f64,
    pub(super) capacity_interval: Option<Duration>,
    pub(super) replica_capacity: Option<f64>,
    pub(super) checkpoint: CheckpointMode,
    pub(super) save_interval: Option<Duration>,
    pub(super) restart: bool,
    pub(super) raise_to: Option<u64>,
    pub(super) raise_note: Option<PathBuf>,
    pub(super) dry_run: bool,
}

impl IngestBuilder {
    read_setters!();
    table_setters!();
    list_attribute_setters!();
    run_setters!(RunCounters);

    /// Creates a builder with these options, and the defaults of all others.
    pub(crate) fn with_options(
        read: ReadOptions,
        table: TableOptions,
        run: RunOptions<RunCounters>,
    ) -> Self {
        Self {
            read,
            table,
            run,
            ..Self::default()
        }
    }

    /// Sets the method of finding duplicates. Default: [`Distinct::InFlight`].
    #[must_use]
    pub fn distinct(mut self, distinct: Distinct) -> Self {
        self.distinct = distinct;
        self
    }

    /// Writes only the difference between an old list and the sources, the new list: puts
    /// added hashes, and deletes removed ones if [`Refresh::delete`] is set.
    #[must_use]
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = Some(refresh);
        self
    }

    /// Sets the maximum rate for [`RateSetting::Auto`] and [`RateSetting::Percent`], in WCU/s. Default: no
    /// maximum.
    #[must_use]
    pub fn max_rate(mut self, units: f64) -> Self {
        self.max_rate = Some(units);
        self
    }

    /// Sets the seconds of unused capacity to spend at the start, at most
    /// [`MAX_BURST_SECONDS`]. Default: 0.
    #[must_use]
    pub fn burst(mut self, seconds: f64) -> Self {
        self.burst = seconds.clamp(0.0, MAX_BURST_SECONDS);
        self
    }

    /// Sets the interval of DescribeTable calls while the rate follows the table. Default:
    /// 10 seconds.
    #[must_use]
    pub fn capacity_interval(mut self, interval: Duration) -> Self {
        self.capacity_interval = Some(interval);
        self
    }

    /// Sets the capacity of each replica, in WCU/s. Default: from DescribeTable in each region.
    #[must_use]
    pub fn replica_capacity(mut self, units: f64) -> Self {
        self.replica_capacity = Some(units);
        self
    }

    /// Sets the location of the checkpoint, from which a later run resumes. Default:
    /// [`CheckpointMode::Default`].
    #[must_use]
    pub fn checkpoint(mut self, keep: CheckpointMode) -> Self {
        self.checkpoint = keep;
        self
    }

    /// Sets the time between two saves of the checkpoint. Default: 4 seconds.
    #[must_use]
    pub fn save_interval(mut self, interval: Duration) -> Self {
        self.save_interval = Some(interval);
        self
    }

    /// Ignores an existing checkpoint and starts from the beginning.
    #[must_use]
    pub fn restart(mut self, restart: bool) -> Self {
        self.restart = restart;
        self
    }

    /// Raises the provisioned write capacity of the table and of its indexes that contain
    /// the items to `units` WCU/s before the first write. The run restores it when it ends,
    /// also after a failure.
    #[must_use]
    pub fn raise_to(mut self, units: u64) -> Self {
        self.raise_to = Some(units);
        self
    }

    /// Sets the path of the restore note of a raised table. With it the table can be
    /// restored if this process is killed. Default: a file in the user's state folder.
    #[must_use]
    pub fn raise_note(mut self, path: impl Into<PathBuf>) -> Self {
        self.raise_note = Some(path.into());
        self
    }

    /// Does everything except the writes.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Deletes the items of hashes that are not in the new list of a refresh. No effect
    /// without a refresh.
    #[must_use]
    pub fn delete(mut self, delete: bool) -> Self {
        if let Some(refresh) = &mut self.refresh {
            refresh.delete = delete;
        }
        self
    }

    /// Adds hashes of the program, one line each, in their order. They come after the named
    /// sources, and the run has no checkpoint. If the iterator blocks, use a
    /// [stream](Self::hash_stream) instead.
    #[must_use]
    pub fn hashes<I>(self, hashes: I) -> Self
    where
        I: IntoIterator<Item = Hash>,
        I::IntoIter: Send + 'static,
    {
        self.hash_stream(futures::stream::iter(hashes.into_iter().map(Ok)))
    }

    /// Adds the hashes of a stream, up to its end. An error of the stream fails the run with
    /// [`ErrorKind::Read`](crate::base::error::ErrorKind::Read).
    #[must_use]
    pub fn hash_stream<S>(mut self, hashes: S) -> Self
    where
        S: Stream<Item = std::io::Result<Hash>> + Send + 'static,
    {
        self.program_hashes.push(ProgramHashes::new(hashes));
        self
    }

    /// Checks the options and builds the run. It makes no call yet, except to load a
    /// connection to AWS if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if an option is missing or
    /// invalid.
    pub async fn build(self) -> Result<Ingest> {
        self.table.check_name()?;
        let single = |names: &[String]| {
            let mut named = names.iter().map(|name| SourceSpec::parse(name));
            named.all(|n| !matches!(n, Ok(SourceSpec::Prefix { .. })))
        };
        // The patterns of a refresh select objects of both lists. An object that only the old
        // list has would otherwise count as deleted.
        let (mut globs, mut globs_from) = (self.read.globs.clone(), Globs::default());
        if self.refresh.as_ref().is_some_and(|r| !single(&r.from)) {
            globs_from = self.read.globs.clone();
            if single(&self.read.sources) && self.read.manifests.is_empty() {
                globs = Globs::default();
            }
        }
        let sources = match self.read.sources.is_empty() && self.read.manifests.is_empty() {
            true if !self.program_hashes.is_empty() => Sources::default(),
            _ => Sources::parse(&self.read.sources, &self.read.manifests, globs)?,
        };
        let sources = sources.with_program(&self.program_hashes);
        let from = match &self.refresh {
            Some(refresh) => Sources::parse(&refresh.from, &[], globs_from)?,
            None => Sources::default(),
        };
        if sources.has_stdin() && from.has_stdin() {
            return Err(Error::usage(
                "standard input (-) is given twice, but can be read only once",
            ));
        }
        if let Some(max) = self.max_rate.filter(|m| !(m.is_finite() && *m > 0.0)) {
            return Err(Error::usage(format!(
                "the maximum rate must be above 0 WCU/s, got {max}"
            )));
        }
        if self.raise_to == Some(0) {
            return Err(Error::usage(
                "the capacity to raise a table to must be above 0 WCU/s",
            ));
        }
        let aws = self.table.connect().await?;
        Ok(Ingest {
            aws,
            sources,
            old_sources: from,
            watch: Watch::default(),
            options: self,
        })
    }
}
