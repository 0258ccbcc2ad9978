//! Options of a verification, and the handle by which it is watched.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::shutdown::Stop;
use crate::commands::verify::counts::{VerifyCounts, VerifyMeters};
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_limiter::Pace;
use crate::flow::rate_setting::Rate;
use crate::list::format::kind::Form;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::progress::events::{Event, Events, Progress};
use crate::pipeline::rejects::MaxRejects;
use crate::pipeline::sample::Sample;
use crate::source::decompress::codec::Unpack;
use crate::source::sources::{Globs, Sources};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// How long a verification goes on without a single key being answered.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// What a verification is to do. Made by [`Verify::builder`].
#[derive(Debug, Clone, Default)]
pub struct VerifyBuilder {
    pub(super) events: Events<VerifyCounts>,
    pub(super) aws: Option<Aws>,
    pub(super) sources: Vec<String>,
    pub(super) manifests: Vec<String>,
    pub(super) globs: Globs,
    pub(super) unpack: Unpack,
    pub(super) form: Form,
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
    pub(super) rate: Rate,
    pub(super) concurrency: Concurrency,
    pub(super) give_up_after: Option<Duration>,
    pub(super) rejects: Option<PathBuf>,
    pub(super) max_rejects: MaxRejects,
    pub(super) rejects_known: bool,
    pub(super) stop: Stop,
}

impl VerifyBuilder {
    /// The connection to AWS; without one, [`build`](Self::build) makes one by
    /// the standard chain.
    #[must_use]
    pub fn aws(mut self, aws: Aws) -> Self {
        self.aws = Some(aws);
        self
    }

    /// The table's partition key, where it may not be described. Default: named
    /// as the hash algorithm, text.
    #[must_use]
    pub fn key(mut self, key: KeyAttribute) -> Self {
        self.key = Some(key);
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

    /// Upper or lower case of text keys in the table. Default: as a look at it shows, else
    /// upper.
    #[must_use]
    pub fn case(mut self, case: Case) -> Self {
        self.case = Some(case);
        self
    }

    /// Adds an attribute that every item must have. What is not named is not
    /// judged; a table with a sort key takes it from one of these.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: Value) -> Self {
        self.attributes.push(Attribute {
            name: name.into(),
            value,
        });
        self
    }

    /// Adds an attribute that each item must have as the column of its row has it.
    /// A column that is empty is not judged.
    #[must_use]
    pub fn attribute_from(mut self, from: AttributeFrom) -> Self {
        self.attributes_from.push(from);
        self
    }

    /// Every item must name the release of the NSRL database that is read, by the
    /// attributes `RELEASE`.
    #[must_use]
    pub fn attr_from_version(mut self, from_version: bool) -> Self {
        self.attr_from_version = from_version;
        self
    }

    /// How much of the list to check. Default: [`Sample::All`].
    #[must_use]
    pub fn sample(mut self, sample: Sample) -> Self {
        self.sample = sample;
        self
    }

    /// Draws the sample by this seed instead of a random one: the same seed
    /// draws the same lines of the same list.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Whether to read strongly consistently at once, at twice the read units.
    /// Default: no; what an eventually consistent read does not find as it
    /// should be is read again that way all the same.
    #[must_use]
    pub fn consistent(mut self, consistent: bool) -> Self {
        self.consistent = consistent;
        self
    }

    /// How fast to read, in read capacity units a second. Default:
    /// [`Rate::Auto`].
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = rate;
        self
    }

    /// Calls in flight. Default: [`Concurrency::Auto`].
    #[must_use]
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// How long to go on without a single key being answered. Default:
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

    /// Whether the rejected lines are known from an ingest of the same sources:
    /// they are counted, and neither shown nor judged again.
    #[must_use]
    pub fn rejects_known(mut self, known: bool) -> Self {
        self.rejects_known = known;
        self
    }

    /// A handle by which the verification can be stopped.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Has `tell` receive the events of the run: its start, its progress each interval,
    /// its end. It is called between two steps of the run, so it returns soon; a program
    /// that needs longer sends the event on by a channel.
    #[must_use]
    pub fn on_event(mut self, tell: impl Fn(Event<VerifyCounts>) + Send + Sync + 'static) -> Self {
        self.events.tell(tell);
        self
    }

    /// The time between two events of progress: [`EVENT_INTERVAL`](crate::pipeline::progress::events::EVENT_INTERVAL)
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
    pub async fn build(self) -> Result<Verify> {
        if self.table.is_empty() {
            return Err(Error::usage("no table is named").hint("give --table NAME"));
        }
        if self.sample == Sample::Some(0) {
            return Err(Error::usage("a sample of none says nothing"));
        }
        let sources = Sources::read(&self.sources, &self.manifests, self.globs.clone())?;
        let aws = match &self.aws {
            Some(aws) => aws.clone(),
            None => Aws::load(&AwsOptions::default()).await?,
        };
        Ok(Verify {
            aws,
            sources,
            watch: VerifyWatch::default(),
            with: self,
        })
    }
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

    /// How far the verification is; `None` before it has begun.
    pub fn progress(&self) -> Option<Progress<VerifyCounts>> {
        let plan = self.plan()?;
        let counts = self.meters().read();
        Some(Progress::new(
            plan.begun.elapsed(),
            plan.bytes,
            plan.pace.rate(),
            counts,
        ))
    }

    /// The plan, once there is one.
    pub fn plan(&self) -> Option<&VerifyPlan> {
        self.0.plan.get()
    }

    /// Sets the plan.
    pub(super) fn set_plan(&self, plan: VerifyPlan) {
        // Set once: a run happens once.
        let _ = self.0.plan.set(plan);
    }
}

/// A verification, ready to begin.
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
}
