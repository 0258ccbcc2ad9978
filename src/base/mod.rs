//! TODO

pub mod algorithm_counts;
pub mod error;
pub mod hash;
pub mod hash_prefix;
pub mod human;
pub mod printable;
pub mod record;
pub mod row_attributes;
pub mod run_lock;
pub mod shutdown;
pub mod state_file;
