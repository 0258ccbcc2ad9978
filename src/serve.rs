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

mod answer;
mod bodies;
mod circl;
#[cfg(feature = "lambda")]
pub mod function;
pub mod keys;
pub mod listen;
mod metrics;
mod openapi;
mod reads;
mod router;
#[cfg(test)]
mod tests;

use crate::algorithm::{Algorithm, Case};
use crate::ask::whole::WholeTemplate;
use crate::attribute::Attribute;
use crate::aws::Aws;
use crate::aws::operation::RawOperation;
use crate::aws::table;
use crate::backoff::Backoff;
use crate::concurrency::Concurrency;
use crate::error::{Error, ErrorKind, Result};
use crate::item::{KeyAttribute, KeyType};
use crate::matchmeta::Normalizer;
use crate::pace::{CAPACITY_INTERVAL, Pace};
use crate::rate::Rate;
use crate::useful;
use bodies::Bodies;
use bytes::Bytes;
use keys::Gate;
use metrics::Metrics;
use reads::{ReadOptions, Reads};
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
    /// Case of text keys.
    pub case: Case,
    /// Among these the value of its sort key, where it has one.
    pub sort: Vec<Attribute>,
    /// How paths are made comparable.
    pub normalizer: Normalizer,
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
            case: Case::Upper,
            sort: Vec::new(),
            normalizer: Normalizer::default(),
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
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: String,
    algorithm: Algorithm,
    normalizer: Normalizer,
    request_limit: Duration,
    gate: Gate,
    reads: Reads,
    pace: Arc<Pace>,
    metrics: Arc<Metrics>,
    bodies: Bodies,
    openapi: Bytes,
    /// It was said that items tell of other rules.
    warned_of_rules: AtomicBool,
    _asking: AbortOnDropHandle<()>,
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
        let key = &table.schema.partition.name;
        useful::key_fits(name, key, options.algorithm, options.key.as_ref())?;
        let named = || Algorithm::from_name(key);
        let algorithm = options.algorithm.or_else(named).ok_or_else(|| {
            Error::usage(format!(
                "the key of table {name} is named {key}, which is no hash algorithm's name"
            ))
            .hint("say of which algorithm its hashes are: --hash sha256")
        })?;
        let template =
            WholeTemplate::new(name, &table.schema, algorithm, options.case, &options.sort)?;
        let operation = RawOperation::new(aws, "BatchGetItem", name)?;
        let pace = options.rate.pace(table.read_capacity(), None).of_reads();
        let read_options = ReadOptions {
            concurrency: options.concurrency,
            consistent: options.consistent,
            cache_ttl: options.cache_ttl,
            cache_entries: options.cache_entries,
            case: (table.schema.partition.kind == KeyType::S).then_some(options.case),
        };
        let (pace, metrics) = (Arc::new(pace), Arc::new(Metrics::default()));
        let (reads, asker) = Reads::new(
            operation,
            template,
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
        Ok(App::of(
            algorithm, options, gate, reads, pace, metrics, asking,
        ))
    }

    fn of(
        algorithm: Algorithm,
        options: Options,
        gate: Gate,
        reads: Reads,
        pace: Arc<Pace>,
        metrics: Arc<Metrics>,
        asking: tokio::task::JoinHandle<()>,
    ) -> App {
        let openapi = openapi::document(algorithm, &options.normalizer, gate.wants_keys());
        App(Arc::new(Inner {
            table: options.table,
            algorithm,
            normalizer: options.normalizer,
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
        router::router(self.clone())
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
