//! TODO

pub mod algorithm;
pub mod detect;
pub mod encoding;
pub mod external_sort;
pub mod format;
pub mod identity;
pub mod json_arrays;
pub mod lines;
pub mod manifest;
pub mod matchmeta;
pub mod objects;
pub mod open;
pub mod opened;
pub mod prefetch;
#[cfg(feature = "rds")]
pub mod rds;
pub mod reopen;
pub mod rewrite;
pub mod rewriting;
pub mod shape;
pub mod zip_members;
