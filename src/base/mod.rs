//! The ground floor: types and helpers that every other folder uses.
//!
//! Nothing here knows of AWS, of lists or of commands. Bottom-up:
//!
//! - [`printable`]: text from outside, made safe to show
//! - [`error`]: the error of the whole program: what failed, why, and what to do
//! - [`hash`]: hash algorithms and hash values
//! - [`hash_prefix`]: an algorithm's name before the digits of a hash
//! - [`algorithm_counts`]: a number for each algorithm
//! - [`row_attributes`]: attributes that an item takes from its row
//! - [`record`]: a hash with its place in a list, and why a line has none
//! - [`human`]: durations, numbers and times for people
//! - [`shutdown`]: a request to stop, polite or forced
//! - [`run_lock`]: one run at a time
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
