//! The look-up API over HTTP: whether a table knows a hash, or a path.
//!
//! [`App`] is the API without a socket: [`App::router`] takes requests and gives
//! answers, so that the same runs behind [`listen`](crate::commands::serve::listen) as `hashferry serve`, in an AWS
//! Lambda function, and in tests. `reads` asks the table, batched and remembered;
//! `access` says who may ask; `router` and `circl` are the routes, the latter those of
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

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::commands::serve::access::Gate;
use crate::commands::serve::body_budget::Bodies;
use crate::commands::serve::metrics::Metrics;
use crate::commands::serve::openapi;
use crate::commands::serve::options::Options;
use crate::commands::serve::pending::ReadOptions;
use crate::commands::serve::reads::Reads;
use crate::dynamodb::client::operation::RawOperation;
use crate::dynamodb::describe_table;
use crate::flow::backoff::Backoff;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, Pace};
use crate::list::matchmeta::normalizer::Normalizer;
use crate::pipeline::contents::either_case::EitherCase;
use crate::pipeline::contents::settings::{Given, Settings};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// The API of one table. Cheap to clone; what asks the table ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct App(pub(super) Arc<Inner>);

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
    pub(crate) async fn start(aws: &Aws, options: Options, gate: Gate) -> Result<App> {
        let name = &options.table;
        let table = match describe_table::describe(aws, name, None).await {
            Err(e) if e.kind() == ErrorKind::Denied => {
                describe_table::assumed(e, name, options.key.clone(), options.algorithm)?
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
                let table = describe_table::describe(&aws, &described, None).await?;
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
        let openapi = openapi::document(algorithm, &normalizer, gate.wants_keys());
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

    /// The algorithm of the table's hashes.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// The read units a second aimed at; nothing when there is no limit.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.0.pace.rate()
    }

    /// Reads the file of API keys again, where it has changed or `anyway`.
    pub(crate) fn reread_keys(&self, anyway: bool) {
        self.0.gate.reread(anyway);
    }

    /// Whether a key is needed to ask.
    pub(crate) fn wants_keys(&self) -> bool {
        self.0.gate.wants_keys()
    }
}

#[cfg(test)]
mod tests;
