//! The look-up API over HTTP, without a socket.
//!
//! [`App::router`] maps requests to responses. The same router runs behind
//! [`listen`](crate::commands::serve::listen) as `hashferry serve`, in an AWS Lambda
//! function, and in tests. `reads` reads the table in batches, with a cache; `access`
//! checks API keys; `router` and `circl` define the routes; `openapi` describes them.
//!
//! # Invariants
//!
//! * **A failed look-up is an error, never unknown.** Otherwise a list of unknown hashes
//!   could contain hashes that were not read.
//! * **No API key is stored or logged,** only its digest and the name of its owner.
//! * **Without keys, only this machine is served:** the server listens on loopback
//!   addresses, and the Host of a request must be one. So a web page cannot reach it by a
//!   DNS name that resolves to this machine.
//! * **Everything is limited:** connections, heads, bodies (each and in total), pending
//!   hashes, and the time of each.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::commands::serve::access::AccessControl;
use crate::commands::serve::body_budget::BodyBudget;
use crate::commands::serve::metrics::Metrics;
use crate::commands::serve::openapi;
use crate::commands::serve::options::Options;
use crate::commands::serve::pending::ReadOptions;
use crate::commands::serve::reads::Reads;
use crate::dynamodb::client::operation::PreparedOperation;
use crate::dynamodb::describe_table;
use crate::flow::backoff::Backoff;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, RateLimiter};
use crate::list::matchmeta::normalizer::Normalizer;
use crate::pipeline::contents::case_detection::CaseDetector;
use crate::pipeline::contents::settings::{KeyOptions, SettingSyntax};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// The API of one table. Cheap to clone; the table reader ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct App(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) table: String,
    pub(super) algorithm: Algorithm,
    pub(super) normalizer: Normalizer,
    pub(super) request_timeout: Duration,
    pub(super) access: AccessControl,
    pub(super) reads: Reads,
    rate_limiter: Arc<RateLimiter>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) body_budget: BodyBudget,
    pub(super) openapi: Bytes,
    /// True after the warning that items were written with other path rules.
    pub(super) has_warned_of_rules: AtomicBool,
    _reader: AbortOnDropHandle<()>,
}

/// Algorithm, path rules and reads of the table.
struct TableSetup {
    algorithm: Algorithm,
    normalizer: Normalizer,
    reads: Reads,
}

impl App {
    /// Inspects the table and starts its reader; `gate` controls access. Must be called in a
    /// Tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the table does not exist, a permission is denied, or the
    /// algorithm of the table's hashes is unknown.
    pub(crate) async fn start(aws: &Aws, options: Options, gate: AccessControl) -> Result<App> {
        let name = &options.table;
        let table = match describe_table::describe_table(aws, name, None).await {
            Err(e) if e.kind() == ErrorKind::Denied => {
                describe_table::assume_table(e, name, options.key.clone(), options.algorithm)?
            }
            described => described?,
        };
        let key = &table.schema.partition;
        let look = crate::pipeline::contents::scan::inspect(aws, name, key).await?;
        look.log(&table, true);
        let settings = SettingSyntax::FlagsOrEnvironment;
        let given = KeyOptions {
            algorithm: options.algorithm,
            key: options.key.as_ref(),
            syntax: settings,
        };
        let algorithm = look.algorithm_for_table(&table, given)?.ok_or_else(|| {
            Error::usage(format!(
                "the key {} of table {name} is not named like a hash algorithm",
                key.name
            ))
            .with_hint("give the algorithm of its hashes, such as --hash sha256")
        })?;
        let normalizer = look.normalizer(&options.rules, settings)?;
        let case = look.case(options.case, settings)?;
        let questions = CaseDetector::new(
            name,
            &table.schema,
            algorithm,
            case,
            &options.sort_key,
            settings,
        )?;
        let operation = PreparedOperation::new(aws, "BatchGetItem", name)?;
        let rate_limiter = options
            .rate
            .rate_limiter(table.read_capacity(), None)
            .for_reads();
        let read_options = ReadOptions {
            concurrency: options.concurrency,
            consistent: options.consistent,
            cache_ttl: options.cache_ttl,
            cache_entries: options.cache_entries,
        };
        let (rate_limiter, metrics) = (Arc::new(rate_limiter), Arc::new(Metrics::default()));
        metrics.update(|c| c.read_units += look.consumed_rcu);
        let (reads, asker) = Reads::new(
            operation,
            questions,
            rate_limiter.clone(),
            metrics.clone(),
            read_options,
            Backoff::new(fastrand::Rng::new()),
        );
        let (aws, described, following) = (aws.clone(), name.clone(), rate_limiter.clone());
        let asking = tokio::spawn(async move {
            let describe = || async {
                let table = describe_table::describe_table(&aws, &described, None).await?;
                Ok(table.read_capacity())
            };
            tokio::select! {
                never = asker.run() => match never {},
                never = following.follow_table(CAPACITY_INTERVAL, describe) => match never {},
            }
        });
        let answers = TableSetup {
            algorithm,
            normalizer,
            reads,
        };
        Ok(App::from_parts(
            answers,
            options,
            gate,
            rate_limiter,
            metrics,
            asking,
        ))
    }

    fn from_parts(
        answers: TableSetup,
        options: Options,
        gate: AccessControl,
        rate_limiter: Arc<RateLimiter>,
        metrics: Arc<Metrics>,
        asking: tokio::task::JoinHandle<()>,
    ) -> App {
        let TableSetup {
            algorithm,
            normalizer,
            reads,
        } = answers;
        let openapi = openapi::openapi_document(algorithm, &normalizer, gate.requires_keys());
        App(Arc::new(Inner {
            table: options.table,
            algorithm,
            normalizer,
            request_timeout: options.request_timeout,
            access: gate,
            reads,
            rate_limiter,
            metrics,
            body_budget: BodyBudget::default(),
            openapi: Bytes::from(openapi.to_string()),
            has_warned_of_rules: AtomicBool::new(false),
            _reader: AbortOnDropHandle::new(asking),
        }))
    }

    /// The algorithm of the table's hashes.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// The target rate in RCU/s; `None` if unlimited.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.0.rate_limiter.rate()
    }

    /// Reloads the file of API keys if it changed, or always if `anyway`.
    pub(crate) fn reload_keys(&self, anyway: bool) {
        self.0.access.reload(anyway);
    }

    /// True if requests need an API key.
    pub(crate) fn requires_keys(&self) -> bool {
        self.0.access.requires_keys()
    }
}

#[cfg(test)]
mod tests;
