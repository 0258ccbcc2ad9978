//! TODO

pub mod backoff;
pub mod capacity;
pub mod concurrency;
pub mod probe;
pub mod rate_controller;
pub mod rate_limiter;
pub mod rate_setting;
pub mod retry_queue;
pub mod token_bucket;
pub mod waiting;
