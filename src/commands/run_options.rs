//! Options that several commands share: what to read, which table, how to run.
//!
//! Each group is a plain struct, with a macro for its setters. A builder contains the
//! groups and invokes their macros, so every setter is written once.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::shutdown::Stop;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use crate::list::format::kind::ListOptions;
use crate::list::matchmeta::given::GivenRules;
use crate::pipeline::progress::events::Events;
use crate::pipeline::rejects::MaxRejects;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::sources::Globs;
use std::path::PathBuf;
use std::time::Duration;

/// Default maximum time without a success.
const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// What to read.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadOptions {
    pub(crate) sources: Vec<String>,
    pub(crate) manifests: Vec<String>,
    pub(crate) globs: Globs,
    pub(crate) unpack: DecompressOptions,
    pub(crate) form: ListOptions,
    pub(crate) rules: Option<GivenRules>,
    pub(crate) rejects: Option<PathBuf>,
    pub(crate) max_rejects: MaxRejects,
}

/// Which table, and which items.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableOptions {
    pub(crate) aws: Option<Aws>,
    pub(crate) name: String,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) key: Option<KeyAttribute>,
    pub(crate) case: Option<Case>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) attributes_from: Vec<AttributeFrom>,
    pub(crate) attr_from_version: bool,
}

/// How to run, with the counts `C` in its events.
#[derive(Debug, Clone)]
pub(crate) struct RunOptions<C> {
    pub(crate) rate: RateSetting,
    pub(crate) concurrency: Concurrency,
    pub(crate) give_up_after: Duration,
    pub(crate) stop: Stop,
    pub(crate) events: Events<C>,
}

impl<C> Default for RunOptions<C> {
    fn default() -> Self {
        RunOptions {
            rate: RateSetting::default(),
            concurrency: Concurrency::default(),
            give_up_after: GIVE_UP_AFTER,
            stop: Stop::default(),
            events: Events::default(),
        }
    }
}

impl ReadOptions {
    /// The given rules of lists of paths; `None` for lists of hashes.
    pub(crate) fn given_rules(&self) -> Option<GivenRules> {
        let normalizer = self.form.path_normalizer.clone()?;
        Some(self.rules.clone().unwrap_or_else(|| normalizer.into()))
    }
}

impl TableOptions {
    /// Checks that a table is given.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if none is.
    pub(crate) fn check_name(&self) -> Result<()> {
        match self.name.is_empty() {
            true => Err(Error::usage("no table is given").with_hint("give --table NAME")),
            false => Ok(()),
        }
    }

    /// The given connection, or a new one by the standard credential and region chain.
    ///
    /// # Errors
    /// As [`Aws::load`].
    pub(crate) async fn connect(&self) -> Result<Aws> {
        match &self.aws {
            Some(aws) => Ok(aws.clone()),
            None => Aws::load(&AwsOptions::default()).await,
        }
    }
}

/// Setters of [`ReadOptions`], for a builder that has them in the field `read`.
macro_rules! read_setters {
    () => {
        /// Adds a source: `s3://bucket/key`, `s3://bucket/prefix/` (every object under it,
        /// in key order), a local path, or `-` for standard input. Several are read one
        /// after another.
        #[must_use]
        pub fn source(mut self, source: impl Into<String>) -> Self {
            self.read.sources.push(source.into());
            self
        }

        /// Adds a list of sources: a file or an object with one `s3://bucket/key` or path a
        /// line, or the `manifest.json` of an S3 inventory.
        #[must_use]
        pub fn manifest(mut self, manifest: impl Into<String>) -> Self {
            self.read.manifests.push(manifest.into());
            self
        }

        /// Selects objects under a prefix or in a manifest. Default: all.
        #[must_use]
        pub fn globs(mut self, globs: Globs) -> Self {
            self.read.globs = globs;
            self
        }

        /// Sets the compression of the sources. Default: detected from the first bytes of
        /// each.
        #[must_use]
        pub fn unpack(mut self, unpack: DecompressOptions) -> Self {
            self.read.unpack = unpack;
            self
        }

        /// Sets the format of the lists. Default: detected from the first lines of each.
        #[must_use]
        pub fn form(mut self, form: ListOptions) -> Self {
            self.read.form = form;
            self
        }

        /// Sets the given rules of lists of paths; the table's items complete them.
        /// Default: all rules of [`ListOptions::paths`].
        #[must_use]
        pub fn rules(mut self, rules: GivenRules) -> Self {
            self.read.rules = Some(rules);
            self
        }

        /// Sets a file for rejected lines, as JSON lines. Default: the first ten go to the
        /// log.
        #[must_use]
        pub fn rejects(mut self, path: impl Into<PathBuf>) -> Self {
            self.read.rejects = Some(path.into());
            self
        }

        /// Sets the maximum number or share of rejected lines; above it the run fails.
        /// Default: 10 percent.
        #[must_use]
        pub fn max_rejects(mut self, max: MaxRejects) -> Self {
            self.read.max_rejects = max;
            self
        }
    };
}

/// Setters of [`TableOptions`] that all commands have, for a builder that has them in the
/// field `table`.
macro_rules! table_setters {
    () => {
        /// Sets the connection to AWS. Default: [`build`](Self::build) loads one from the
        /// standard credential and region chain.
        #[must_use]
        pub fn aws(mut self, aws: Aws) -> Self {
            self.table.aws = Some(aws);
            self
        }

        /// Sets the name of the table. Required, except for a look-up by an API.
        #[must_use]
        pub fn table(mut self, table: impl Into<String>) -> Self {
            self.table.name = table.into();
            self
        }

        /// Sets the hash algorithm. Default: from the name of the table's partition key
        /// (or the end of an API's URL), else from the length of the first hash.
        #[must_use]
        pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
            self.table.algorithm = Some(algorithm);
            self
        }

        /// Sets the table's partition key, needed if DescribeTable is denied. Default: a
        /// string with the name of the hash algorithm.
        #[must_use]
        pub fn key(mut self, key: KeyAttribute) -> Self {
            self.table.key = Some(key);
            self
        }

        /// Sets the case of text keys, or of the hash in an API's URL. Default: detected
        /// from the table's items, else upper.
        #[must_use]
        pub fn case(mut self, case: Case) -> Self {
            self.table.case = Some(case);
            self
        }

        /// Adds an attribute of every item: one to write, or one that a verification
        /// compares. The sort key, if the table has one, must be among them.
        #[must_use]
        pub fn attribute(mut self, name: impl Into<String>, value: Value) -> Self {
            self.table.attributes.push(Attribute {
                name: name.into(),
                value,
            });
            self
        }
    };
}

/// Setters of [`TableOptions`] for attributes that come from the list.
macro_rules! list_attribute_setters {
    () => {
        /// Adds an attribute that each item takes from a column of its row. A verification
        /// does not compare it if the column is empty.
        #[must_use]
        pub fn attribute_from(mut self, from: AttributeFrom) -> Self {
            self.table.attributes_from.push(from);
            self
        }

        /// Adds the release of the NSRL database to every item, as the attributes
        /// `version`, `set` and `release_date`.
        #[must_use]
        pub fn attr_from_version(mut self, from_version: bool) -> Self {
            self.table.attr_from_version = from_version;
            self
        }
    };
}

/// Setters of [`RunOptions`], for a builder that has them in the field `run`.
macro_rules! run_setters {
    ($counts:ty) => {
        /// Sets the target rate: in WCU/s of writes, RCU/s of reads, or calls/s of an API.
        /// Default: [`RateSetting::Auto`], the table's capacity, or no limit for an API.
        #[must_use]
        pub fn rate(mut self, rate: RateSetting) -> Self {
            self.run.rate = rate;
            self
        }

        /// Sets the maximum number of calls in flight. Default: [`Concurrency::Auto`].
        #[must_use]
        pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
            self.run.concurrency = concurrency;
            self
        }

        /// Sets the maximum time without a success; then the run fails. Default: 15
        /// minutes.
        #[must_use]
        pub fn give_up_after(mut self, limit: Duration) -> Self {
            self.run.give_up_after = limit;
            self
        }

        /// Sets a handle that can stop the run.
        #[must_use]
        pub fn stop(mut self, stop: Stop) -> Self {
            self.run.stop = stop;
            self
        }

        /// Sets a callback for the events of the run: its start, its progress each
        /// interval, its end. The run calls it between two steps, so it must return
        /// quickly. A program that needs longer can forward the event through a channel.
        #[must_use]
        pub fn on_event(
            mut self,
            callback: impl Fn(Event<$counts>) + Send + Sync + 'static,
        ) -> Self {
            self.run.events.set_callback(callback);
            self
        }

        /// Sets the time between two progress events, at least 1 ms. Default:
        /// [`EVENT_INTERVAL`](crate::pipeline::progress::events::EVENT_INTERVAL).
        #[must_use]
        pub fn event_interval(mut self, interval: Duration) -> Self {
            self.run.events.set_interval(interval);
            self
        }
    };
}

pub(crate) use {list_attribute_setters, read_setters, run_setters, table_setters};
