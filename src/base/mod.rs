//! Base types and helpers, used by every other folder.
//!
//! Nothing here depends on AWS, lists or commands. Bottom-up:
//!
//! - [`printable`]: text from outside, made safe to show
//! - [`error`]: the error type: message, hint and cause
//! - [`hash`]: hash algorithms and hash values
//! - [`hash_prefix`]: the algorithm's name before the digits of a hash
//! - [`algorithm_counts`]: counters by algorithm
//! - [`row_attributes`]: attributes of an item from its row
//! - [`record`]: a hash with its position in a list, and reasons for rejected lines
//! - [`human`]: durations, numbers and times in text
//! - [`shutdown`]: a request to stop, graceful or forced
//! - [`run_lock`]: a lock that allows one run at a time
//! - [`state_file`]: small files that survive a crash

pub(crate) mod algorithm_counts;
pub(crate) mod error;
pub(crate) mod hash;
pub(crate) mod hash_prefix;
pub(crate) mod human;
pub(crate) mod printable;
pub(crate) mod record;
pub(crate) mod row_attributes;
pub(crate) mod run_lock;
pub(crate) mod shutdown;
pub(crate) mod state_file;
