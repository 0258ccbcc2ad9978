//! The stages between a list and a table: reading, keeping the books, writing.
//!
//! From the input to the end:
//!
//! - `contents`: what a table holds already, before the first write or question;
//! - `fitting`: a list and its table, by algorithm and case;
//! - `reader`: source, text, lines, records;
//! - `window`, `dedup`: the hashes that are repeats;
//! - `sample`: a sample of a list that is read once;
//! - `diff`: records in order, and the difference of two lists;
//! - `write_loop`: batches to DynamoDB, until each item is acknowledged;
//! - `writer`: what an answer to a batch means;
//! - `progress`: the books, the low-water mark, the checkpoint;
//! - `rejects`: rejected lines;
//! - `useful`: a list without one hash is a failure;
//! - `report`, `summary`: the account of a run, as JSON and for a person;
//! - `outage`: a model of a table that accepts nothing, for tests.

pub(crate) mod contents;
pub(crate) mod dedup;
pub(crate) mod diff;
pub(crate) mod fitting;
#[cfg(test)]
pub(crate) mod outage;
pub(crate) mod progress;
pub(crate) mod reader;
pub(crate) mod rejects;
pub(crate) mod report;
pub(crate) mod sample;
pub(crate) mod summary;
pub(crate) mod useful;
pub(crate) mod window;
pub(crate) mod write_loop;
pub(crate) mod writer;
