//! Options of a look-up: what its caller sets, their checks, and the look-up made of them.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::run_lock::RunLock;
use crate::base::shutdown::Stop;
use crate::commands::lookup::api_options::Api;
use crate::commands::lookup::counts::LookupCounts;
use crate::commands::lookup::output;
use crate::commands::lookup::output::{Existing, already_there, is_same_file};
use crate::commands::lookup::status::Status;
use crate::commands::lookup::watch::LookupWatch;
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::Rate;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::progress::events::{Event, Events};
use crate::source::decompress::codec::Unpack;
use crate::source::location::Location;
use crate::source::sources::{Globs, Named, Sources};
use std::path::PathBuf;
use std::time::Duration;

/// How long a look-up goes on without a single hash being answered.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// What a look-up is to do. Made by [`Lookup::builder`].
#[derive(Debug, Clone, Default)]
pub struct LookupBuilder {
    pub(super) events: Events<LookupCounts>,
    pub(super) aws: Option<Aws>,
    pub(super) input: String,
    pub(super) unpack: Unpack,
    pub(super) paths: Option<GivenRules>,
    pub(super) table: String,
    pub(super) api: Option<Api>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) key: Option<KeyAttribute>,
    pub(super) case: Option<Case>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) consistent: bool,
    pub(super) rate: Rate,
    pub(super) concurrency: Concurrency,
    pub(super) give_up_after: Option<Duration>,
    pub(super) only: Option<Status>,
    pub(super) unordered: bool,
    pub(super) output: Option<PathBuf>,
    pub(super) existing: Existing,
    pub(super) stop: Stop,
}

impl LookupBuilder {
    /// The connection to AWS; without one, [`build`](Self::build) makes one by
    /// the standard chain.
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

    /// How the list is compressed. Default: as its first bytes show.
    #[must_use]
    pub fn unpack(mut self, unpack: Unpack) -> Self {
        self.unpack = unpack;
        self
    }

    /// The list is one of paths, which are normalised by these rules and hashed: a
    /// [`Normalizer`](crate::list::matchmeta::normalizer::Normalizer), or [`GivenRules`], where the table
    /// shows what they leave open.
    #[must_use]
    pub fn paths(mut self, rules: impl Into<GivenRules>) -> Self {
        self.paths = Some(rules.into());
        self
    }

    /// The table to ask. It or [`api`](Self::api) is required.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// The API to ask.
    #[must_use]
    pub fn api(mut self, api: Api) -> Self {
        self.api = Some(api);
        self
    }

    /// The hash algorithm. Without it, the name of the table's partition key
    /// says it, or the end of the API's URL, or else the length of the first hash.
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

    /// Upper or lower case of text keys in the table, or of the hash in a URL. Default: as
    /// a look at the table shows, else upper.
    #[must_use]
    pub fn case(mut self, case: Case) -> Self {
        self.case = Some(case);
        self
    }

    /// The sort key of the items that are asked for, where the table has one.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: Value) -> Self {
        self.attributes.push(Attribute {
            name: name.into(),
            value,
        });
        self
    }

    /// Whether a table is read strongly consistently, at twice the read units.
    #[must_use]
    pub fn consistent(mut self, consistent: bool) -> Self {
        self.consistent = consistent;
        self
    }

    /// How fast to ask: a table in read capacity units a second, an API in calls a
    /// second. Default: [`Rate::Auto`], what the table can take, or no limit.
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

    /// How long to go on without a single hash being answered. Default:
    /// `GIVE_UP_AFTER`.
    #[must_use]
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.give_up_after = Some(limit);
        self
    }

    /// Write only answers of this status; the others are counted.
    #[must_use]
    pub fn only(mut self, status: Status) -> Self {
        self.only = Some(status);
        self
    }

    /// Write answers as they come, not in the order of the list.
    #[must_use]
    pub fn unordered(mut self, unordered: bool) -> Self {
        self.unordered = unordered;
        self
    }

    /// A file for the answers, and what to do when it is there.
    #[must_use]
    pub fn output(mut self, path: impl Into<PathBuf>, existing: Existing) -> Self {
        self.output = Some(path.into());
        self.existing = existing;
        self
    }

    /// A handle by which the look-up can be stopped.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Has `tell` receive the events of the run: its start, its progress each interval,
    /// its end. It is called between two steps of the run, so it returns soon; a program
    /// that needs longer sends the event on by a channel.
    #[must_use]
    pub fn on_event(mut self, tell: impl Fn(Event<LookupCounts>) + Send + Sync + 'static) -> Self {
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
    pub async fn build(self) -> Result<Lookup> {
        match (self.table.is_empty(), &self.api) {
            (true, None) => {
                return Err(Error::usage("neither a table nor an API is named")
                    .hint("give --table NAME or --api URL"));
            }
            (false, Some(_)) => {
                return Err(Error::usage("a table and an API are named: one is asked"));
            }
            _ => {}
        }
        if self.api.is_some() && matches!(self.rate, Rate::Percent(_)) {
            return Err(Error::usage("a share of an API's rate is not known")
                .hint("give --rate as a number of calls a second"));
        }
        if self.paths.is_some()
            && let Some(told) = self.algorithm.filter(|a| *a != Algorithm::Sha256)
        {
            return Err(Error::usage(format!(
                "paths are hashed by sha256, not by {told}"
            )));
        }
        if self.existing == Existing::Resume && (self.unordered || self.only.is_some()) {
            let what = "a run can be taken up only when every line has its answer, in order";
            return Err(Error::usage(what).hint("leave out --resume, or --unordered and --only"));
        }
        let sources = Sources::read(std::slice::from_ref(&self.input), &[], Globs::default())?;
        let mut lock = None;
        if let Some(path) = &self.output {
            lock = output::lock(path)?;
            if self.existing == Existing::Refuse && path.exists() {
                return Err(already_there(path));
            }
            for named in &sources.named {
                if let Named::One(Location::File(input)) = named
                    && is_same_file(input, path)
                {
                    let what = format!(
                        "{} is the list itself: its answers go elsewhere",
                        path.display()
                    );
                    return Err(Error::usage(what));
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
            with: self,
        })
    }
}

/// A look-up, ready to begin.
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
    pub(super) with: LookupBuilder,
    /// Keeps a second run off the file of the answers.
    pub(super) _lock: Option<RunLock>,
}

impl Lookup {
    /// What a look-up can be told.
    pub fn builder() -> LookupBuilder {
        LookupBuilder::default()
    }

    /// By which it can be watched.
    pub fn watch(&self) -> LookupWatch {
        self.watch.clone()
    }
}
