//! The import of a hash list into a table, and the refresh from an old list to a new one.
//!
//! From the top down:
//!
//! - `run`: a run from its preparation to its report;
//! - `finish`: its outcome, its report, its last checkpoint;
//! - `ordered`: records written in the order of their hashes;
//! - `difference`: the difference of two lists, and whether it may be made;
//! - `ordered_lists`: lists sorted on disk, or read side by side;
//! - `settle`: lines that are settled without a write;
//! - `announce`: the plan, for those who watch and for the log;
//! - `prepare`: everything that must be known before the first write;
//! - `resume`: the place where an earlier run ended;
//! - `checkpointing`: the checkpoint, kept while the run goes on;
//! - `rate`: the capacity of the table, and raising it;
//! - `sink`: the destination of batches;
//! - `options`: the builder of a run, and the run that it builds;
//! - `watch`: the counters and the plan of a run that is under way;
//! - `settings`: the place of the checkpoint, and what a refresh does.

pub(crate) mod announce;
pub(crate) mod checkpointing;
pub(crate) mod difference;
pub(crate) mod finish;
pub(crate) mod options;
pub(crate) mod ordered;
pub(crate) mod ordered_lists;
pub(crate) mod prepare;
pub(crate) mod rate;
pub(crate) mod resume;
pub(crate) mod run;
#[cfg(test)]
mod scenarios;
pub(crate) mod settings;
pub(crate) mod settle;
pub(crate) mod sink;
pub(crate) mod watch;
