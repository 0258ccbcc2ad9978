//! Options of a run, and the run built from them.
//!
//! An [`IngestBuilder`] checks the options and builds an [`Ingest`]. A [`Watch`] gives its
//! live counters.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::shutdown::Stop;
use crate::commands::ingest::settings::{CheckpointMode, Refresh};
use crate::commands::ingest::watch::Watch;
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use crate::list::format::kind::ListOptions;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::counts::RunCounters;
use crate::pipeline::progress::events::{Event, Events};
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

/// Default maximum time without a single written item.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

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
    pub(super) events: Events<RunCounters>,
    pub(super) program_hashes: Vec<ProgramHashes>,
    pub(super) aws: Option<Aws>,
    pub(super) sources: Vec<String>,
    pub(super) manifests: Vec<String>,
    pub(super) globs: Globs,
    pub(super) unpack: DecompressOptions,
    pub(super) form: ListOptions,
    pub(super) distinct: Distinct,
    pub(super) refresh: Option<Refresh>,
    pub(super) table: String,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) key: Option<KeyAttribute>,
    pub(super) case: Option<Case>,
    pub(super) rules: Option<GivenRules>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) attributes_from: Vec<AttributeFrom>,
    pub(super) attr_from_version: bool,
    pub(super) rate: RateSetting,
    pub(super) max_rate: Option<f64>,
    pub(super) burst: f64,
    pub(super) capacity_interval: Option<Duration>,
    pub(super) replica_capacity: Option<f64>,
    pub(super) checkpoint: CheckpointMode,
    pub(super) save_interval: Option<Duration>,
    pub(super) restart: bool,
    pub(super) raise_to: Option<u64>,
    pub(super) raise_note: Option<PathBuf>,
    pub(super) concurrency: Concurrency,
    pub(super) give_up_after: Option<Duration>,
    pub(super) rejects: Option<PathBuf>,
    pub(super) max_rejects: MaxRejects,
    pub(super) dry_run: bool,
    pub(super) stop: Stop,
}

impl IngestBuilder {
    /// Sets the connection to AWS. Default: [`build`](Self::build) loads one from the
    /// standard credential and region chain.
    #[must_use]
    pub fn aws(mut self, aws: Aws) -> Self {
        self.aws = Some(aws);
        self
    }

    /// Adds a source: `s3://bucket/key`, `s3://bucket/prefix/` (every object under it,
    /// in key order), a local path, or `-` for standard input. Several are read one
    /// after another.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.sources.push(source.into());
        self
    }

    /// Adds a list of sources: a file or an object with one `s3://bucket/key` or path a
    /// line, or the `manifest.json` of an S3 inventory.
    #[must_use]
    pub fn manifest(mut self, manifest: impl Into<String>) -> Self {
        self.manifests.push(manifest.into());
        self
    }

    /// Selects objects under a prefix or in a manifest. Default: all.
    #[must_use]
    pub fn globs(mut self, globs: Globs) -> Self {
        self.globs = globs;
        self
    }

    /// Sets the compression of the sources. Default: detected from the first bytes of each.
    #[must_use]
    pub fn unpack(mut self, unpack: DecompressOptions) -> Self {
        self.unpack = unpack;
        self
    }

    /// Sets the format of the lists. Default: detected from the first lines of each.
    #[must_use]
    pub fn form(mut self, form: ListOptions) -> Self {
        self.form = form;
        self
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

    /// Sets the name of the table. Required.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Sets the hash algorithm. Default: by the name of the table's partition key, else by
    /// the length of its keys or of the first hash.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Sets the table's partition key, if DescribeTable is denied. Default: a string with
    /// the name of the hash algorithm.
    #[must_use]
    pub fn key(mut self, key: KeyAttribute) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the rules for lists of paths. If some are left open, the run reads them from the
    /// table's items. Default: all rules of [`ListOptions::paths`].
    #[must_use]
    pub fn rules(mut self, rules: GivenRules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// The given rules of lists of paths; `None` for lists of hashes.
    pub(super) fn given_rules(&self) -> Option<GivenRules> {
        let normalizer = self.form.path_normalizer.clone()?;
        Some(self.rules.clone().unwrap_or_else(|| normalizer.into()))
    }

    /// Sets the case of text keys. Default: detected from the table's items, else upper.
    #[must_use]
    pub fn case(mut self, case: Case) -> Self {
        self.case = Some(case);
        self
    }

    /// Adds an attribute that every item gets.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: Value) -> Self {
        self.attributes.push(Attribute {
            name: name.into(),
            value,
        });
        self
    }

    /// Adds an attribute that each item takes from a column of its row.
    #[must_use]
    pub fn attribute_from(mut self, from: AttributeFrom) -> Self {
        self.attributes_from.push(from);
        self
    }

    /// Adds the release of the NSRL database to every item, as the attributes `version`, `set`
    /// and `release_date`.
    #[must_use]
    pub fn attr_from_version(mut self, from_version: bool) -> Self {
        self.attr_from_version = from_version;
        self
    }

    /// Sets the target rate. Default: [`RateSetting::Auto`].
    #[must_use]
    pub fn rate(mut self, rate: RateSetting) -> Self {
        self.rate = rate;
        self
    }

    /// Sets the maximum rate for [`RateSetting::Auto`] and [`RateSetting::Percent`], in WCU/s.
    /// Default: no maximum.
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

    /// Sets the number of calls in flight. Default: [`Concurrency::Auto`].
    #[must_use]
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sets the maximum time without a single written item. Default: 15 minutes.
    #[must_use]
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.give_up_after = Some(limit);
        self
    }

    /// Sets a file for rejected lines, as JSON lines. Default: the first ten go to the log.
    #[must_use]
    pub fn rejects(mut self, path: impl Into<PathBuf>) -> Self {
        self.rejects = Some(path.into());
        self
    }

    /// Sets the maximum of rejected lines. Default: 10 percent.
    #[must_use]
    pub fn max_rejects(mut self, max: MaxRejects) -> Self {
        self.max_rejects = max;
        self
    }

    /// Does everything except the writes.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets a handle that can stop the run.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
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

    /// Sets a callback for the events of the run: its start, its progress each interval, its
    /// end. The run calls it between two steps, so it must return quickly. A program that
    /// needs longer can forward the event through a channel.
    #[must_use]
    pub fn on_event(
        mut self,
        callback: impl Fn(Event<RunCounters>) + Send + Sync + 'static,
    ) -> Self {
        self.events.set_callback(callback);
        self
    }

    /// Sets the time between two progress events, at least 1 ms. Default:
    /// [`EVENT_INTERVAL`](crate::pipeline::progress::events::EVENT_INTERVAL).
    #[must_use]
    pub fn event_interval(mut self, interval: Duration) -> Self {
        self.events.set_interval(interval);
        self
    }

    /// Checks the options and builds the run. It opens no source and makes no call; without a
    /// connection it loads the AWS configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if an option is missing or
    /// invalid.
    pub async fn build(self) -> Result<Ingest> {
        if self.table.is_empty() {
            return Err(Error::usage("no table is given").with_hint("give --table NAME"));
        }
        let single = |names: &[String]| {
            let mut named = names.iter().map(|name| SourceSpec::parse(name));
            named.all(|n| !matches!(n, Ok(SourceSpec::Prefix { .. })))
        };
        // The patterns of a refresh select objects of both lists. An object that only the old
        // list has would otherwise count as deleted.
        let (mut globs, mut globs_from) = (self.globs.clone(), Globs::default());
        if self.refresh.as_ref().is_some_and(|r| !single(&r.from)) {
            globs_from = self.globs.clone();
            if single(&self.sources) && self.manifests.is_empty() {
                globs = Globs::default();
            }
        }
        let sources = match self.sources.is_empty() && self.manifests.is_empty() {
            true if !self.program_hashes.is_empty() => Sources::default(),
            _ => Sources::parse(&self.sources, &self.manifests, globs)?,
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
        let aws = match &self.aws {
            Some(aws) => aws.clone(),
            None => Aws::load(&AwsOptions::default()).await?,
        };
        Ok(Ingest {
            aws,
            sources,
            old_sources: from,
            watch: Watch::default(),
            options: self,
        })
    }
}
