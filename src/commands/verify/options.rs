//! Options of a verification, and the handle that watches it.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::shutdown::Stop;
use crate::commands::verify::counts::{VerifyCounters, VerifyCounts};
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_limiter::RateLimiter;
use crate::flow::rate_setting::RateSetting;
use crate::list::format::kind::ListOptions;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::progress::events::{Event, Events, Progress};
use crate::pipeline::rejects::MaxRejects;
use crate::pipeline::sample::Sample;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::sources::{Globs, Sources};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// Default maximum time of a verification without a key being read.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// Options of a verification. [`Verify::builder`] makes one.
#[derive(Debug, Clone, Default)]
pub struct VerifyBuilder {
    pub(super) events: Events<VerifyCounts>,
    pub(super) aws: Option<Aws>,
    pub(super) sources: Vec<String>,
    pub(super) manifests: Vec<String>,
    pub(super) globs: Globs,
    pub(super) unpack: DecompressOptions,
    pub(super) form: ListOptions,
    pub(super) table: String,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) key: Option<KeyAttribute>,
    pub(super) case: Option<Case>,
    pub(super) rules: Option<GivenRules>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) attributes_from: Vec<AttributeFrom>,
    pub(super) attr_from_version: bool,
    pub(super) sample: Sample,
    pub(super) seed: Option<u64>,
    pub(super) consistent: bool,
    pub(super) rate: RateSetting,
    pub(super) concurrency: Concurrency,
    pub(super) give_up_after: Option<Duration>,
    pub(super) rejects: Option<PathBuf>,
    pub(super) max_rejects: MaxRejects,
    pub(super) rejects_known: bool,
    pub(super) stop: Stop,
}

impl VerifyBuilder {
    /// The connection to AWS. Without it, [`build`](Self::build) connects by the standard
    /// credential chain.
    #[must_use]
    pub fn aws(mut self, aws: Aws) -> Self {
        self.aws = Some(aws);
        self
    }

    /// The table's partition key, for a table that the caller may not describe. Default:
    /// a text key with the name of the hash algorithm.
    #[must_use]
    pub fn key(mut self, key: KeyAttribute) -> Self {
        self.key = Some(key);
        self
    }

    /// Adds a source: `s3://bucket/key`, `s3://bucket/prefix/` (every object under it,
    /// in key order), a local path, or `-` for standard input. The run reads several
    /// sources one after another.
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

    /// Filter for the objects under a prefix or in a manifest. Default: all.
    #[must_use]
    pub fn globs(mut self, globs: Globs) -> Self {
        self.globs = globs;
        self
    }

    /// Compression of the sources. Default: detected from the first bytes of each.
    #[must_use]
    pub fn unpack(mut self, unpack: DecompressOptions) -> Self {
        self.unpack = unpack;
        self
    }

    /// Format of the lists. Default: detected from the first lines of each.
    #[must_use]
    pub fn form(mut self, form: ListOptions) -> Self {
        self.form = form;
        self
    }

    /// The table's name. Required.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// The hash algorithm. Default: from the name of the table's partition key, or else
    /// from the length of the first hash.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// The rules for lists of paths. If some are left open, the run reads them from the
    /// table's items. Default: all rules of [`ListOptions::paths`].
    #[must_use]
    pub fn rules(mut self, rules: GivenRules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// The given rules for lists of paths. `None` if the lists are lists of hashes.
    pub(super) fn given_rules(&self) -> Option<GivenRules> {
        let normalizer = self.form.path_normalizer.clone()?;
        Some(self.rules.clone().unwrap_or_else(|| normalizer.into()))
    }

    /// Upper or lower case of text keys in the table. Default: detected from the table's
    /// items, or else upper.
    #[must_use]
    pub fn case(mut self, case: Case) -> Self {
        self.case = Some(case);
        self
    }

    /// Adds an attribute that every item must have. The run compares no other attributes.
    /// The sort key, if the table has one, must be among them.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: Value) -> Self {
        self.attributes.push(Attribute {
            name: name.into(),
            value,
        });
        self
    }

    /// Adds an attribute whose value must equal a column of the item's row. The run does
    /// not compare it if the column is empty.
    #[must_use]
    pub fn attribute_from(mut self, from: AttributeFrom) -> Self {
        self.attributes_from.push(from);
        self
    }

    /// True if every item must have the release of the NSRL database, in the attributes
    /// `version`, `set` and `release_date`.
    #[must_use]
    pub fn attr_from_version(mut self, from_version: bool) -> Self {
        self.attr_from_version = from_version;
        self
    }

    /// Number of hashes to check. Default: [`Sample::All`].
    #[must_use]
    pub fn sample(mut self, sample: Sample) -> Self {
        self.sample = sample;
        self
    }

    /// Seed of the sample. The same seed draws the same lines of the same list. Default:
    /// random.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// True to make every read strongly consistent, at twice the RCU. Default: false; the
    /// run then repeats only reads that find a key missing or different.
    #[must_use]
    pub fn consistent(mut self, consistent: bool) -> Self {
        self.consistent = consistent;
        self
    }

    /// Target rate of reading in RCU/s. Default: [`RateSetting::Auto`].
    #[must_use]
    pub fn rate(mut self, rate: RateSetting) -> Self {
        self.rate = rate;
        self
    }

    /// Maximum number of calls in flight. Default: [`Concurrency::Auto`].
    #[must_use]
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Maximum time without a key being read; then the run fails. Default: 15 minutes.
    #[must_use]
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.give_up_after = Some(limit);
        self
    }

    /// File for rejected lines, as JSON lines.
    #[must_use]
    pub fn rejects(mut self, path: impl Into<PathBuf>) -> Self {
        self.rejects = Some(path.into());
        self
    }

    /// Maximum number or share of rejected lines; above it the run fails. Default: one in ten.
    #[must_use]
    pub fn max_rejects(mut self, max: MaxRejects) -> Self {
        self.max_rejects = max;
        self
    }

    /// True if an ingest of the same sources has reported the rejected lines. The run then
    /// only counts them.
    #[must_use]
    pub fn rejects_known(mut self, known: bool) -> Self {
        self.rejects_known = known;
        self
    }

    /// Handle that stops the verification.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Function that receives the events of the run: its start, its progress each
    /// interval, its end. The run waits for the function, so it must return soon; a slow
    /// receiver forwards the events over a channel.
    #[must_use]
    pub fn on_event(
        mut self,
        receiver: impl Fn(Event<VerifyCounts>) + Send + Sync + 'static,
    ) -> Self {
        self.events.set_callback(receiver);
        self
    }

    /// Time between two progress events, at least 1 ms. Default:
    /// [`EVENT_INTERVAL`](crate::pipeline::progress::events::EVENT_INTERVAL).
    #[must_use]
    pub fn event_interval(mut self, interval: Duration) -> Self {
        self.events.set_interval(interval);
        self
    }

    /// Checks the options. It opens no source and makes no call; without a connection it
    /// loads the AWS configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if an option is missing
    /// or invalid.
    pub async fn build(self) -> Result<Verify> {
        if self.table.is_empty() {
            return Err(Error::usage("no table is given").with_hint("give --table NAME"));
        }
        if self.sample == Sample::Some(0) {
            return Err(Error::usage("a sample of 0 hashes is not accepted")
                .with_hint("give a sample of at least 1"));
        }
        let sources = Sources::parse(&self.sources, &self.manifests, self.globs.clone())?;
        let aws = match &self.aws {
            Some(aws) => aws.clone(),
            None => Aws::load(&AwsOptions::default()).await?,
        };
        Ok(Verify {
            aws,
            sources,
            watch: VerifyWatch::default(),
            options: self,
        })
    }
}

/// Handle to the live counters of a verification.
#[derive(Debug, Clone, Default)]
pub struct VerifyWatch(Arc<WatchInner>);

#[derive(Debug, Default)]
struct WatchInner {
    counters: VerifyCounters,
    plan: OnceLock<VerifyPlan>,
}

/// Properties of a run, known once the first source is open and the table is described.
#[derive(Debug, Clone)]
pub struct VerifyPlan {
    /// Compressed bytes of all sources. `None` if a length is unknown.
    pub total_bytes: Option<u64>,
    /// The rate limiter, with the target rate in RCU/s.
    pub rate_limiter: Arc<RateLimiter>,
    /// Start of reading.
    pub started: Instant,
}

impl VerifyWatch {
    /// The live counters.
    pub fn counters(&self) -> &VerifyCounters {
        &self.0.counters
    }

    /// Progress of the verification. `None` if reading has not begun.
    pub fn progress(&self) -> Option<Progress<VerifyCounts>> {
        let plan = self.plan()?;
        let counts = self.counters().snapshot();
        Some(Progress::new(
            plan.started.elapsed(),
            plan.total_bytes,
            plan.rate_limiter.rate(),
            counts,
        ))
    }

    /// The properties of the run. `None` if reading has not begun.
    pub fn plan(&self) -> Option<&VerifyPlan> {
        self.0.plan.get()
    }

    /// Sets the properties of the run.
    pub(super) fn set_plan(&self, plan: VerifyPlan) {
        // A run starts once, so the value is never set twice.
        let _ = self.0.plan.set(plan);
    }
}

/// A verification, ready to run.
///
/// ```no_run
/// # async fn example() -> hashferry::Result<()> {
/// use hashferry::{Value, Verify, options::Sample};
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
    pub(super) options: VerifyBuilder,
}

impl Verify {
    /// A builder with the default options.
    pub fn builder() -> VerifyBuilder {
        VerifyBuilder::default()
    }

    /// A handle to the run's live counters.
    pub fn watch(&self) -> VerifyWatch {
        self.watch.clone()
    }
}
