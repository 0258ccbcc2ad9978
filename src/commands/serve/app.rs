//! The look-up API over HTTP: whether a table knows a hash, or a path.
//!
//! [`App`] is the API without a socket: [`App::router`] takes requests and gives
//! answers, so that the same runs behind [`listen`] as `hashferry serve`, in an AWS
//! Lambda function, and in tests. `reads` asks the table, batched and remembered;
//! [`keys`] says who may ask; `router` and `circl` are the routes, the latter those of
//! CIRCL hashlookup for clients that know them; `openapi` describes them.
//!
//! # What always holds
//!
//! * **An answer says what the table said.** What could not be found out is an error,
//!   never unknown: a list of hashes of which some were not read is no list of unknown
//!   ones.
//! * **No key is kept or logged,** only its digest and the name of its owner.
//! * **Without keys only this machine is served:** loopback addresses are listened at,
//!   and a request must name one, so that a page of elsewhere cannot ask by a name of
//!   its own that leads here.
//! * **Everything is bounded:** connections, heads, bodies and all of them together,
//!   hashes that are waited for, the time of each.

#[cfg(test)]
mod tests;

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case};
use crate::commands::serve::api_keys::Gate;
use crate::commands::serve::body_budget::Bodies;
use crate::commands::serve::metrics::Metrics;
use crate::commands::serve::reads::{ReadOptions, Reads};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::client::operation::RawOperation;
use crate::dynamodb::item::KeyAttribute;
use crate::dynamodb::table;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, Pace};
use crate::flow::rate_setting::Rate;
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::Normalizer;
use crate::pipeline::contents::either_case::EitherCase;
use crate::pipeline::contents::settings::{Given, Settings};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How long a request may take.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Hashes or paths of one request, at most.
pub const MAX_ASKED: usize = 1000;

/// How long answers of the table are remembered, unless that is said.
pub const CACHE_TTL: Duration = Duration::from_secs(60);

/// How many of them.
pub const CACHE_ENTRIES: u64 = 100_000;

/// What an [`App`] is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The table's name.
    pub table: String,
    /// The algorithm of its hashes; without one, what its key's name says.
    pub algorithm: Option<Algorithm>,
    /// Its key, where it may not be described.
    pub key: Option<KeyAttribute>,
    /// Case of text keys. Default: as a look at the table shows, else upper.
    pub case: Option<Case>,
    /// Among these the value of its sort key, where it has one.
    pub sort: Vec<Attribute>,
    /// How paths are normalised. What is left open, the table's items show.
    pub rules: GivenRules,
    /// Read capacity units a second.
    pub rate: Rate,
    /// BatchGetItem calls in flight.
    pub concurrency: Concurrency,
    /// Whether reads are strongly consistent.
    pub consistent: bool,
    /// How long answers of the table are remembered; zero: not at all.
    pub cache_ttl: Duration,
    /// How many, an item of more than 1 KiB counting as several.
    pub cache_entries: u64,
    /// How long a request may take, its body not counted.
    pub request_limit: Duration,
}

impl Options {
    /// What is usual, for `table`.
    pub fn new(table: impl Into<String>) -> Options {
        Options {
            table: table.into(),
            algorithm: None,
            key: None,
            case: None,
            sort: Vec::new(),
            rules: GivenRules::default(),
            rate: Rate::Auto,
            concurrency: Concurrency::Auto,
            consistent: false,
            cache_ttl: CACHE_TTL,
            cache_entries: CACHE_ENTRIES,
            request_limit: REQUEST_LIMIT,
        }
    }
}

/// The API of one table. Cheap to clone; what asks the table ends with the last clone.
#[derive(Debug, Clone)]
pub struct App(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) table: String,
    pub(super) algorithm: Algorithm,
    pub(super) normalizer: Normalizer,
    pub(super) request_limit: Duration,
    pub(super) gate: Gate,
    pub(super) reads: Reads,
    pace: Arc<Pace>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) bodies: Bodies,
    pub(super) openapi: Bytes,
    /// It was said that items tell of other rules.
    pub(super) warned_of_rules: AtomicBool,
    _asking: AbortOnDropHandle<()>,
}

/// What hashes and paths are answered from.
struct Answers {
    algorithm: Algorithm,
    normalizer: Normalizer,
    reads: Reads,
}

impl App {
    /// Looks at the table and begins to ask it; `gate` says who may have it asked.
    /// Belongs into a runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when there is no such table or permission, or nothing says
    /// of which algorithm its hashes are.
    pub async fn start(aws: &Aws, options: Options, gate: Gate) -> Result<App> {
        let name = &options.table;
        let table = match table::describe(aws, name, None).await {
            Err(e) if e.kind() == ErrorKind::Denied => {
                table::assumed(e, name, options.key.clone(), options.algorithm)?
            }
            described => described?,
        };
        let key = &table.schema.partition;
        let look = crate::pipeline::contents::scan::look(aws, name, key).await?;
        look.say(&table, true);
        let settings = Settings::FlagsOrEnvironment;
        let given = Given {
            algorithm: options.algorithm,
            key: options.key.as_ref(),
            settings,
        };
        let algorithm = look.algorithm_of_table(&table, given)?.ok_or_else(|| {
            Error::usage(format!(
                "the key of table {name} is named {}, which is no hash algorithm's name",
                key.name
            ))
            .hint("say of which algorithm its hashes are: --hash sha256")
        })?;
        let normalizer = look.rules(&options.rules, settings)?;
        let case = look.case(options.case, settings)?;
        let questions = EitherCase::new(
            name,
            &table.schema,
            algorithm,
            case,
            &options.sort,
            settings,
        )?;
        let operation = RawOperation::new(aws, "BatchGetItem", name)?;
        let pace = options.rate.pace(table.read_capacity(), None).of_reads();
        let read_options = ReadOptions {
            concurrency: options.concurrency,
            consistent: options.consistent,
            cache_ttl: options.cache_ttl,
            cache_entries: options.cache_entries,
        };
        let (pace, metrics) = (Arc::new(pace), Arc::new(Metrics::default()));
        metrics.update(|c| c.read_units += look.read_units);
        let (reads, asker) = Reads::new(
            operation,
            questions,
            pace.clone(),
            metrics.clone(),
            read_options,
            Backoff::new(fastrand::Rng::new()),
        );
        let (aws, described, following) = (aws.clone(), name.clone(), pace.clone());
        let asking = tokio::spawn(async move {
            let describe = || async {
                let table = table::describe(&aws, &described, None).await?;
                Ok(table.read_capacity())
            };
            tokio::select! {
                never = asker.run() => match never {},
                never = following.follow(CAPACITY_INTERVAL, describe) => match never {},
            }
        });
        let answers = Answers {
            algorithm,
            normalizer,
            reads,
        };
        Ok(App::of(answers, options, gate, pace, metrics, asking))
    }

    fn of(
        answers: Answers,
        options: Options,
        gate: Gate,
        pace: Arc<Pace>,
        metrics: Arc<Metrics>,
        asking: tokio::task::JoinHandle<()>,
    ) -> App {
        let Answers {
            algorithm,
            normalizer,
            reads,
        } = answers;
        let openapi =
            crate::commands::serve::openapi::document(algorithm, &normalizer, gate.wants_keys());
        App(Arc::new(Inner {
            table: options.table,
            algorithm,
            normalizer,
            request_limit: options.request_limit,
            gate,
            reads,
            pace,
            metrics,
            bodies: Bodies::default(),
            openapi: Bytes::from(openapi.to_string()),
            warned_of_rules: AtomicBool::new(false),
            _asking: AbortOnDropHandle::new(asking),
        }))
    }

    /// The routes. See the [module](self).
    pub fn router(&self) -> axum::Router {
        crate::commands::serve::router::router(self.clone())
    }

    /// The algorithm of the table's hashes.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// The read units a second aimed at; nothing when there is no limit.
    pub fn rate(&self) -> Option<f64> {
        self.0.pace.rate()
    }

    /// Reads the file of API keys again, where it has changed or `anyway`.
    pub fn reread_keys(&self, anyway: bool) {
        self.0.gate.reread(anyway);
    }

    /// Whether a key is needed to ask.
    pub fn wants_keys(&self) -> bool {
        self.0.gate.wants_keys()
    }
}
