//! Stages between a list and a table: reading, counting, writing.
//!
//! In the order of a run:
//!
//! - `contents`: inspection of a table before the first write or look-up;
//! - `list_settings`: algorithm and key case of a list and its table;
//! - `reader`: source, text, lines, records;
//! - `window`, `dedup`: detection of duplicates;
//! - `sample`: a random sample of a list that is read once;
//! - `diff`: records in order, and the difference of two lists;
//! - `writer`: handling of the response to a batch;
//! - `progress`: line counts, watermark, checkpoint;
//! - `rejects`: rejected lines;
//! - `list_check`: the error for a list without a single hash;
//! - `summary_lines`: lines that the summaries of all commands share;
//! - `report`, `summary`: the report of a run, as JSON and for people;
//! - `outage`: a model of a table that accepts nothing, for tests.

pub(crate) mod contents;
pub(crate) mod dedup;
pub(crate) mod diff;
pub(crate) mod list_check;
pub(crate) mod list_settings;
#[cfg(test)]
pub(crate) mod outage;
pub(crate) mod progress;
pub(crate) mod reader;
pub(crate) mod rejects;
pub(crate) mod report;
pub(crate) mod sample;
pub(crate) mod summary;
pub(crate) mod summary_lines;
pub(crate) mod window;
pub(crate) mod writer;
