//! Flow control: the rate, the number and the order of calls to a table.
//!
//! These parts are pure or nearly so: instants are arguments, and no AWS type appears.
//! The commands connect them to DynamoDB. From the table's capacity to the next batch:
//!
//! - [`capacity`]: the capacity of a table, and what a call consumes of it
//! - [`token_bucket`]: units that may be spent now
//! - [`rate_controller`]: described capacity and observed throttling → a rate
//! - [`probe`]: the size of the next call while a table accepts nothing
//! - [`rate_limiter`]: the bucket and the controller of a run, together
//! - [`rate_setting`]: the rate that a person asks for
//! - [`concurrency`]: the number of calls in flight
//! - [`backoff`]: the wait before a call is sent again
//! - [`retry_queue`]: records to write, fresh or returned, composed into batches
//! - [`waiting`]: keys to read, fresh or returned, composed into batches

pub(crate) mod backoff;
pub(crate) mod capacity;
pub(crate) mod concurrency;
pub(crate) mod probe;
pub(crate) mod rate_controller;
pub(crate) mod rate_limiter;
pub(crate) mod rate_setting;
pub(crate) mod retry_queue;
pub(crate) mod token_bucket;
pub(crate) mod waiting;
