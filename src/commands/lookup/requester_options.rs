//! Options of the requester.

use crate::flow::concurrency::Concurrency;
use std::time::Duration;

/// Options of a [`Requester`](crate::commands::lookup::requester::Requester).
#[derive(Debug, Clone)]
pub(super) struct RequesterOptions {
    /// Maximum number of calls in flight.
    pub(super) concurrency: Concurrency,
    /// Maximum number of hashes in a call.
    pub(super) max_keys: usize,
    /// Minimum cost of a hash: in RCU, or in calls of an API.
    pub(super) min_key_cost: f64,
    /// Maximum number of failed tries of a hash; then its answer is an error. `None` if a
    /// hash is retried until the run gives up.
    pub(super) max_tries: Option<u32>,
    /// Maximum time without a reply.
    pub(super) give_up_after: Duration,
    /// Name of the backend for messages: `table sha256`, `https://…`.
    pub(super) target: String,
}
