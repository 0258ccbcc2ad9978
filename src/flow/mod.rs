//! Flow control: the rate, concurrency and order of calls to a table.
//!
//! Most of these parts are pure: instants are arguments, and no AWS type appears. The
//! commands connect them to DynamoDB. From the table's capacity to the next batch:
//!
//! - [`capacity`]: the capacity of a table, and the capacity that a call consumes
//! - [`token_bucket`]: units that may be spent now
//! - [`rate_controller`]: described capacity and observed throttling → a rate
//! - [`probe`]: the size of the next call while a table throttles every call
//! - [`rate_limiter`]: the bucket and the controller of a run
//! - [`rate_setting`]: the rate that the user sets
//! - [`concurrency`]: the number of calls in flight
//! - [`backoff`]: the wait before a retry
//! - [`retry_queue`]: new and unprocessed items, composed into batches
//! - [`key_batch`]: the keys of one read call
//! - [`dispatcher`]: the one loop that composes, pays for, sends and retries calls

pub(crate) mod backoff;
pub(crate) mod capacity;
pub(crate) mod concurrency;
pub(crate) mod dispatcher;
pub(crate) mod key_batch;
pub(crate) mod probe;
pub(crate) mod rate_controller;
pub(crate) mod rate_limiter;
pub(crate) mod rate_setting;
pub(crate) mod retry_queue;
pub(crate) mod token_bucket;
