//! The options of a run, the run before it begins, and the handle to watch it.
//!
//! A run is set by [`IngestBuilder`], which checks the options and makes an [`Ingest`].
//! A [`Watch`] shows the run to others while it goes on.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::shutdown::Stop;
use crate::commands::ingest::settings::{Keep, Refresh};
use crate::commands::ingest::watch::Watch;
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::Rate;
use crate::list::format::kind::Form;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::counts::Counts;
use crate::pipeline::progress::events::{Event, Events};
use crate::pipeline::rejects::MaxRejects;
use crate::source::decompress::codec::Unpack;
use crate::source::program::ProgramHashes;
use crate::source::sources::{Globs, Named, Sources};
use futures::Stream;
use std::path::PathBuf;
use std::time::Duration;

/// A run, ready to begin.
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
    /// The old list of a refresh.
    pub(super) from: Sources,
    pub(super) watch: Watch,
    pub(super) with: IngestBuilder,
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

    /// The command that it is.
    pub(super) fn command(&self) -> &'static str {
        match self.with.refresh {
            Some(_) => "refresh",
            None => "ingest",
        }
    }

    /// Whether records are put in order before they are written.
    pub(super) fn is_arranged(&self) -> bool {
        self.with.refresh.is_some() || self.with.distinct == Distinct::Exact
    }
}

/// How long a run goes on without a single item being written.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// Seconds of unused capacity that DynamoDB keeps, at best effort.
/// Source: DynamoDB developer guide, burst and adaptive capacity.
pub const MAX_BURST_SECONDS: f64 = 300.0;

impl Refresh {
    /// Begins a refresh from the `old` list; the sources of the builder are the new one.
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

/// What a run is to do. Made by [`Ingest::builder`].
#[derive(Debug, Clone, Default)]
pub struct IngestBuilder {
    pub(super) events: Events<Counts>,
    pub(super) program: Vec<ProgramHashes>,
    pub(super) aws: Option<Aws>,
    pub(super) sources: Vec<String>,
    pub(super) manifests: Vec<String>,
    pub(super) globs: Globs,
    pub(super) unpack: Unpack,
    pub(super) form: Form,
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
    pub(super) rate: Rate,
    pub(super) max_rate: Option<f64>,
    pub(super) burst: f64,
    pub(super) capacity_interval: Option<Duration>,
    pub(super) replica_capacity: Option<f64>,
    pub(super) keep: Keep,
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
    /// The connection to AWS; without one, [`build`](Self::build) makes one by
    /// the standard chain.
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

    /// Which of the objects under a prefix or in a manifest are read. Default: all.
    #[must_use]
    pub fn globs(mut self, globs: Globs) -> Self {
        self.globs = globs;
        self
    }

    /// How the sources are compressed. Default: as the first bytes of each show.
    #[must_use]
    pub fn unpack(mut self, unpack: Unpack) -> Self {
        self.unpack = unpack;
        self
    }

    /// The form of the lists. Default: as the first lines of each show.
    #[must_use]
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// How repeated hashes are found. Default: [`Distinct::InFlight`].
    #[must_use]
    pub fn distinct(mut self, distinct: Distinct) -> Self {
        self.distinct = distinct;
        self
    }

    /// Only the difference between an old list and the sources, the new one: puts what
    /// is new, deletes what is gone.
    #[must_use]
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = Some(refresh);
        self
    }

    /// The table's name. Required.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// The hash algorithm. Without it, the name of the table's partition key
    /// says it, or else the length of the first hash.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// The table's partition key, where it may not be described. Default: named
    /// as the hash algorithm, text.
    #[must_use]
    pub fn key(mut self, key: KeyAttribute) -> Self {
        self.key = Some(key);
        self
    }

    /// The rules of lists of paths, where some are left open: the table's items show those.
    /// Default: all of [`Form::paths`].
    #[must_use]
    pub fn rules(mut self, rules: GivenRules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// The rules of lists of paths, as far as they are given; nothing for lists of hashes.
    pub(super) fn given_rules(&self) -> Option<GivenRules> {
        let normalizer = self.form.paths.clone()?;
        Some(self.rules.clone().unwrap_or_else(|| normalizer.into()))
    }

    /// Upper or lower case of text keys. Default: as a look at the table shows, else upper.
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

    /// Gives every item the release of the NSRL database that is read, as the
    /// attributes `RELEASE`.
    #[must_use]
    pub fn attr_from_version(mut self, from_version: bool) -> Self {
        self.attr_from_version = from_version;
        self
    }

    /// How fast to write. Default: [`Rate::Auto`].
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = rate;
        self
    }

    /// The most that [`Rate::Auto`] and [`Rate::Percent`] may come to, in write
    /// capacity units a second.
    #[must_use]
    pub fn max_rate(mut self, units: f64) -> Self {
        self.max_rate = Some(units);
        self
    }

    /// Seconds of unused capacity that may be spent at the beginning, at most
    /// 300: DynamoDB keeps no more. Default: none.
    #[must_use]
    pub fn burst(mut self, seconds: f64) -> Self {
        self.burst = seconds.clamp(0.0, MAX_BURST_SECONDS);
        self
    }

    /// How often the table is described, while it decides about the rate.
    /// Default: `CAPACITY_INTERVAL`.
    #[must_use]
    pub fn capacity_interval(mut self, interval: Duration) -> Self {
        self.capacity_interval = Some(interval);
        self
    }

    /// Write capacity units a second of each replica, instead of asking there.
    #[must_use]
    pub fn replica_capacity(mut self, units: f64) -> Self {
        self.replica_capacity = Some(units);
        self
    }

    /// Where to keep the checkpoint, by which a run that did not come to its end is
    /// taken up. Default: [`Keep::Usual`].
    #[must_use]
    pub fn checkpoint(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Time between two savings of the checkpoint. Default:
    /// `SAVE_INTERVAL`.
    #[must_use]
    pub fn save_interval(mut self, interval: Duration) -> Self {
        self.save_interval = Some(interval);
        self
    }

    /// Begins again, whatever checkpoint there is.
    #[must_use]
    pub fn restart(mut self, restart: bool) -> Self {
        self.restart = restart;
        self
    }

    /// Raises the table's provisioned write capacity to so many units a second
    /// before the first write, with that of the indexes that the items feed, and
    /// brings it back at the end, whatever that is: see `raise`.
    #[must_use]
    pub fn raise_to(mut self, units: u64) -> Self {
        self.raise_to = Some(units);
        self
    }

    /// Where the note of a raised table lies, by which it can be brought back
    /// when this process is killed. Default: `note::place`.
    #[must_use]
    pub fn raise_note(mut self, path: impl Into<PathBuf>) -> Self {
        self.raise_note = Some(path.into());
        self
    }

    /// Calls in flight. Default: [`Concurrency::Auto`].
    #[must_use]
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// How long to go on without a single item being written. Default:
    /// `GIVE_UP_AFTER`.
    #[must_use]
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.give_up_after = Some(limit);
        self
    }

    /// A file for rejected lines, as JSON lines.
    #[must_use]
    pub fn rejects(mut self, path: impl Into<PathBuf>) -> Self {
        self.rejects = Some(path.into());
        self
    }

    /// How many rejected lines to bear. Default: one in ten.
    #[must_use]
    pub fn max_rejects(mut self, max: MaxRejects) -> Self {
        self.max_rejects = max;
        self
    }

    /// Does everything but the writes.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// A handle by which the run can be stopped.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Whether a refresh deletes the items whose hashes the new list lacks. Without a
    /// refresh it changes nothing.
    #[must_use]
    pub fn delete(mut self, delete: bool) -> Self {
        if let Some(refresh) = &mut self.refresh {
            refresh.delete = delete;
        }
        self
    }

    /// Adds hashes that the program has: those of `hashes`, a line each, in their order.
    /// They come after the named sources, and the run keeps no checkpoint. Where taking
    /// the next one blocks, make it a [stream](Self::hash_stream).
    #[must_use]
    pub fn hashes<I>(self, hashes: I) -> Self
    where
        I: IntoIterator<Item = Hash>,
        I::IntoIter: Send + 'static,
    {
        self.hash_stream(futures::stream::iter(hashes.into_iter().map(Ok)))
    }

    /// Adds the hashes of a stream, up to its end. An error of the stream ends the run as
    /// a source does that cannot be read to its end:
    /// [`ErrorKind::Read`](crate::base::error::ErrorKind::Read).
    #[must_use]
    pub fn hash_stream<S>(mut self, hashes: S) -> Self
    where
        S: Stream<Item = std::io::Result<Hash>> + Send + 'static,
    {
        self.program.push(ProgramHashes::new(hashes));
        self
    }

    /// Has `tell` receive the events of the run: its start, its progress each interval,
    /// its end. It is called between two steps of the run, so it returns soon; a program
    /// that needs longer sends the event on by a channel.
    #[must_use]
    pub fn on_event(mut self, tell: impl Fn(Event<Counts>) + Send + Sync + 'static) -> Self {
        self.events.tell(tell);
        self
    }

    /// The time between two events of progress: [`EVENT_INTERVAL`](crate::options::EVENT_INTERVAL)
    /// where nobody says, a millisecond at least.
    #[must_use]
    pub fn event_interval(mut self, interval: Duration) -> Self {
        self.events.every(interval);
        self
    }

    /// Checks what was given. Nothing is asked or opened yet, but for the
    /// configuration when there is no connection.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when something is missing or makes no sense.
    pub async fn build(self) -> Result<Ingest> {
        if self.table.is_empty() {
            return Err(Error::usage("no table is named").hint("give --table NAME"));
        }
        let single = |names: &[String]| {
            let mut named = names.iter().map(|name| Named::read(name));
            named.all(|n| !matches!(n, Ok(Named::Prefix { .. })))
        };
        // Of a refresh, the patterns choose among the objects of either list: what is not
        // among the new ones must not be among the old ones.
        let (mut globs, mut globs_from) = (self.globs.clone(), Globs::default());
        if self.refresh.as_ref().is_some_and(|r| !single(&r.from)) {
            globs_from = self.globs.clone();
            if single(&self.sources) && self.manifests.is_empty() {
                globs = Globs::default();
            }
        }
        let sources = match self.sources.is_empty() && self.manifests.is_empty() {
            true if !self.program.is_empty() => Sources::default(),
            _ => Sources::read(&self.sources, &self.manifests, globs)?,
        };
        let sources = sources.with_program(&self.program);
        let from = match &self.refresh {
            Some(refresh) => Sources::read(&refresh.from, &[], globs_from)?,
            None => Sources::default(),
        };
        if sources.has_stdin() && from.has_stdin() {
            return Err(Error::usage(
                "standard input (-) is named twice, and can be read once",
            ));
        }
        if let Some(max) = self.max_rate.filter(|m| !(m.is_finite() && *m > 0.0)) {
            return Err(Error::usage(format!(
                "a maximum rate of {max} write units a second is none"
            )));
        }
        if self.raise_to == Some(0) {
            return Err(Error::usage(
                "a table cannot be raised to no write units at all",
            ));
        }
        let aws = match &self.aws {
            Some(aws) => aws.clone(),
            None => Aws::load(&AwsOptions::default()).await?,
        };
        Ok(Ingest {
            aws,
            sources,
            from,
            watch: Watch::default(),
            with: self,
        })
    }
}
