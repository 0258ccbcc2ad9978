//! Options of a look-up, their checks, and the look-up built from them.

use crate::aws::config::Aws;
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
use crate::commands::run_options::{RunOptions, TableOptions, run_setters, table_setters};
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::progress::events::Event;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::location::Location;
use crate::source::sources::{Globs, SourceSpec, Sources};
use std::path::PathBuf;
use std::time::Duration;

/// Options of a look-up. [`Lookup::builder`] makes one.
#[derive(Debug, Clone, Default)]
pub struct LookupBuilder {
    pub(super) table: TableOptions,
    pub(super) run: RunOptions<LookupCounts>,
    pub(super) input: String,
    pub(super) unpack: DecompressOptions,
    pub(super) paths: Option<GivenRules>,
    pub(super) api: Option<Api>,
    pub(super) consistent: bool,
    pub(super) only: Option<Status>,
    pub(super) unordered: bool,
    pub(super) output: Option<PathBuf>,
    pub(super) if_exists: IfExists,
}

impl LookupBuilder {
    table_setters!();
    run_setters!(LookupCounts);

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

    /// The API. Either it or [`table`](Self::table) is required.
    #[must_use]
    pub fn api(mut self, api: Api) -> Self {
        self.api = Some(api);
        self
    }

    /// True to read the table strongly consistently, at twice the RCU. Default: false.
    #[must_use]
    pub fn consistent(mut self, consistent: bool) -> Self {
        self.consistent = consistent;
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

    /// Checks the options and locks the file for the answers. It opens no list and makes no
    /// call; without a connection it loads the AWS configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if an option is missing or
    /// invalid, or if another run writes to the file.
    pub async fn build(self) -> Result<Lookup> {
        match (self.table.name.is_empty(), &self.api) {
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
        if self.api.is_some() && matches!(self.run.rate, RateSetting::Percent(_)) {
            return Err(Error::usage(
                "a share of an API's rate is not accepted: its maximum is unknown",
            )
            .with_hint("give --rate as a number of calls/s"));
        }
        if self.paths.is_some()
            && let Some(given) = self.table.algorithm.filter(|a| *a != Algorithm::Sha256)
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
        let aws = self.table.connect().await?;
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
