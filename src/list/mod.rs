//! TODO

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
pub mod prefetch;
#[cfg(feature = "rds")]
pub mod rds;
pub mod rewriting;
pub mod shape;
