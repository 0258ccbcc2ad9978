//! Options of a verification, and the handle that watches it.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::shutdown::Stop;
use crate::commands::run_options::{
    ReadOptions, RunOptions, TableOptions, list_attribute_setters, read_setters, run_setters,
    table_setters,
};
use crate::commands::verify::counts::{VerifyCounters, VerifyCounts};
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use crate::list::format::kind::ListOptions;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::progress::events::Event;
use crate::pipeline::progress::watch::RunWatch;
use crate::pipeline::rejects::MaxRejects;
use crate::pipeline::sample::Sample;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::sources::{Globs, Sources};
use std::path::PathBuf;
use std::time::Duration;

/// Options of a verification. [`Verify::builder`] makes one.
#[derive(Debug, Clone, Default)]
pub struct VerifyBuilder {
    pub(super) read: ReadOptions,
    pub(super) table: TableOptions,
    pub(super) run: RunOptions<VerifyCounts>,
    pub(super) sample: Sample,
    pub(super) seed: Option<u64>,
    pub(super) consistent: bool,
    pub(super) rejects_known: bool,
}

impl VerifyBuilder {
    read_setters!();
    table_setters!();
    list_attribute_setters!();
    run_setters!(VerifyCounts);

    /// Creates a builder with these options, and the defaults of all others.
    pub(crate) fn with_options(
        read: ReadOptions,
        table: TableOptions,
        run: RunOptions<VerifyCounts>,
    ) -> Self {
        Self {
            read,
            table,
            run,
            ..Self::default()
        }
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

    /// True if an ingest of the same sources has reported the rejected lines. The run then
    /// only counts them.
    #[must_use]
    pub fn rejects_known(mut self, known: bool) -> Self {
        self.rejects_known = known;
        self
    }

    /// Checks the options. It opens no source and makes no call; without a connection it
    /// loads the AWS configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if an option is missing
    /// or invalid.
    pub async fn build(self) -> Result<Verify> {
        self.table.check_name()?;
        if self.sample == Sample::Some(0) {
            return Err(Error::usage("a sample of 0 hashes is not accepted")
                .with_hint("give a sample of at least 1"));
        }
        let sources = Sources::parse(
            &self.read.sources,
            &self.read.manifests,
            self.read.globs.clone(),
        )?;
        let aws = self.table.connect().await?;
        Ok(Verify {
            aws,
            sources,
            watch: VerifyWatch::default(),
            options: self,
        })
    }
}

/// Handle to a running verification, for its counters, plan and progress.
pub type VerifyWatch = RunWatch<VerifyCounters, ()>;

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
