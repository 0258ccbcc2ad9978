//! Options of a look-up, their checks, and the look-up built from them.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::run_lock::RunLock;
use crate::base::shutdown::Stop;
use crate::commands::lookup::api_options::Api;
use crate::commands::lookup::counts::LookupCounts;
use crate::commands::lookup::output;
use crate::commands::lookup::output::{IfExists, exists_error, is_same_file};
use crate::commands::lookup::status::Status;
use crate::commands::lookup::watch::LookupWatch;
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::progress::events::{Event, Events};
use crate::source::decompress::codec::DecompressOptions;
use crate::source::location::Location;
use crate::source::sources::{Globs, SourceSpec, Sources};
use std::path::PathBuf;
use std::time::Duration;

/// Default maximum time of a look-up without a reply.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// Options of a look-up. [`Lookup::builder`] makes one.
#[derive(Debug, Clone, Default)]
pub struct LookupBuilder {
    pub(super) events: Events<LookupCounts>,
    pub(super) aws: Option<Aws>,
    pub(super) input: String,
    pub(super) unpack: DecompressOptions,
    pub(super) paths: Option<GivenRules>,
    pub(super) table: String,
    pub(super) api: Option<Api>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) key: Option<KeyAttribute>,
    pub(super) case: Option<Case>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) consistent: bool,
    pub(super) rate: RateSetting,
    pub(super) concurrency: Concurrency,
    pub(super) give_up_after: Option<Duration>,
    pub(super) only: Option<Status>,
    pub(super) unordered: bool,
    pub(super) output: Option<PathBuf>,
    pub(super) if_exists: IfExists,
    pub(super) stop: Stop,
}

impl LookupBuilder {
    /// The connection to AWS. Without it, [`build`](Self::build) connects by the standard
    /// credential chain.
    #[must_use]
    pub fn aws(mut self, aws: Aws) -> Self {
        self.aws = Some(aws);
        self
    }

    /// The list to look up: `s3://bucket/key`, `s3://bucket/prefix/`, a local path, or `-`
    /// for standard input. Required.
    #[must_use]
    pub fn input(mut self, input: impl Into<String>) -> Self {
        self.input = input.into();
        self
    }

    /// Compression of the list. Default: detected from its first bytes.
    #[must_use]
    pub fn unpack(mut self, unpack: DecompressOptions) -> Self {
        self.unpack = unpack;
        self
    }

    /// Declares the list to be a list of paths. The look-up normalises them by these rules
    /// and hashes them. The rules are a
    /// [`Normalizer`](crate::list::matchmeta::normalizer::Normalizer), or [`GivenRules`]
    /// whose open rules the look-up reads from the table.
    #[must_use]
    pub fn paths(mut self, rules: impl Into<GivenRules>) -> Self {
        self.paths = Some(rules.into());
        self
    }

    /// Name of the table. Either it or [`api`](Self::api) is required.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// The API. Either it or [`table`](Self::table) is required.
    #[must_use]
    pub fn api(mut self, api: Api) -> Self {
        self.api = Some(api);
        self
    }

    /// The hash algorithm. Default: from the name of the table's partition key or the end of
    /// the API's URL, or else from the length of the first hash.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// The table's partition key, for a table that the caller may not describe. Default:
    /// a text key with the name of the hash algorithm.
    #[must_use]
    pub fn key(mut self, key: KeyAttribute) -> Self {
        self.key = Some(key);
        self
    }

    /// Upper or lower case of text keys in the table, or of the hash in a URL. Default:
    /// detected from the table's items, or else upper.
    #[must_use]
    pub fn case(mut self, case: Case) -> Self {
        self.case = Some(case);
        self
    }

    /// The sort key of the items, if the table has one.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: Value) -> Self {
        self.attributes.push(Attribute {
            name: name.into(),
            value,
        });
        self
    }

    /// True to read the table strongly consistently, at twice the RCU. Default: false.
    #[must_use]
    pub fn consistent(mut self, consistent: bool) -> Self {
        self.consistent = consistent;
        self
    }

    /// Target rate: of a table in RCU/s, of an API in calls/s. Default:
    /// [`RateSetting::Auto`], which is the table's read capacity, or no limit for an API.
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

    /// Maximum time without a reply; then the run fails. Default: 15 minutes.
    #[must_use]
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.give_up_after = Some(limit);
        self
    }

    /// Writes only answers of this status, and only counts the others.
    #[must_use]
    pub fn only(mut self, status: Status) -> Self {
        self.only = Some(status);
        self
    }

    /// True to write answers as they arrive, not in the order of the list.
    #[must_use]
    pub fn unordered(mut self, unordered: bool) -> Self {
        self.unordered = unordered;
        self
    }

    /// File for the answers, and the action if it exists already.
    #[must_use]
    pub fn output(mut self, path: impl Into<PathBuf>, if_exists: IfExists) -> Self {
        self.output = Some(path.into());
        self.if_exists = if_exists;
        self
    }

    /// Handle that stops the look-up.
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
        receiver: impl Fn(Event<LookupCounts>) + Send + Sync + 'static,
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

    /// Checks the options and locks the file for the answers. It opens no list and makes no
    /// call; without a connection it loads the AWS configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if an option is missing or
    /// invalid, or if another run writes to the file.
    pub async fn build(self) -> Result<Lookup> {
        match (self.table.is_empty(), &self.api) {
            (true, None) => {
                return Err(Error::usage("neither a table nor an API is given")
                    .with_hint("give --table NAME or --api URL"));
            }
            (false, Some(_)) => {
                return Err(Error::usage("both a table and an API are given")
                    .with_hint("give either --table or --api"));
            }
            _ => {}
        }
        if self.api.is_some() && matches!(self.rate, RateSetting::Percent(_)) {
            return Err(Error::usage(
                "a share of an API's rate is not accepted: its maximum is unknown",
            )
            .with_hint("give --rate as a number of calls/s"));
        }
        if self.paths.is_some()
            && let Some(given) = self.algorithm.filter(|a| *a != Algorithm::Sha256)
        {
            return Err(Error::usage(format!(
                "paths are hashed by sha256, not by {given}"
            )));
        }
        if self.if_exists == IfExists::Resume && (self.unordered || self.only.is_some()) {
            let problem = "a look-up can resume only if the file has every answer, in order";
            return Err(
                Error::usage(problem).with_hint("leave out --resume, or --unordered and --only")
            );
        }
        let sources = Sources::parse(std::slice::from_ref(&self.input), &[], Globs::default())?;
        let mut lock = None;
        if let Some(path) = &self.output {
            lock = output::lock(path)?;
            if self.if_exists == IfExists::Fail && path.exists() {
                return Err(exists_error(path));
            }
            for named in &sources.specs {
                if let SourceSpec::Single(Location::File(input)) = named
                    && is_same_file(input, path)
                {
                    let problem = format!("{} is the list itself", path.display());
                    return Err(Error::usage(problem).with_hint("give --output another file"));
                }
            }
        }
        let aws = match &self.aws {
            Some(aws) => aws.clone(),
            None => Aws::load(&AwsOptions::default()).await?,
        };
        Ok(Lookup {
            aws,
            sources,
            watch: LookupWatch::default(),
            _lock: lock,
            options: self,
        })
    }
}

/// A look-up, ready to run.
///
/// ```no_run
/// # async fn example() -> hashferry::Result<()> {
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
    pub(super) options: LookupBuilder,
    /// Prevents a second run from writing to the same file.
    pub(super) _lock: Option<RunLock>,
}

impl Lookup {
    /// A builder with the default options.
    pub fn builder() -> LookupBuilder {
        LookupBuilder::default()
    }

    /// A handle to the run's live counters.
    pub fn watch(&self) -> LookupWatch {
        self.watch.clone()
    }
}
