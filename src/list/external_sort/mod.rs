//! An external merge sort of hashes, each kept once.
//!
//! Bottom-up:
//!
//! - [`run`]: a sorted temporary file.
//! - [`merge`]: several runs in one order.
//! - [`sorter`]: the buffer that runs are cut from, and the reading of the result.

pub mod merge;
pub mod run;
pub mod sorter;
