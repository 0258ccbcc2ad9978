//! An external merge sort of hashes, each kept once.
//!
//! Bottom-up:
//!
//! - [`run`]: a sorted temporary file.
//! - [`merge`]: several runs in one order.
//! - [`sorter`]: the buffer that runs are cut from, and the reading of the result.

pub(crate) mod merge;
pub(crate) mod run;
pub(crate) mod sorter;
