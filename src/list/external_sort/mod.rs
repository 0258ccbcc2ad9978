//! External merge sort of hashes, without duplicates.
//!
//! Bottom-up:
//!
//! - [`run`]: a sorted temporary file.
//! - [`merge`]: several runs, merged into one.
//! - [`sorter`]: the buffer that is written as runs, and the reader of the result.

pub(crate) mod merge;
pub(crate) mod run;
pub(crate) mod sorter;
