//! Import of a hash list into a table, and refresh from an old list to a new one.
//!
//! From the top down:
//!
//! - `run`: a run from its preparation to its report;
//! - `finish`: outcome, report and final checkpoint;
//! - `ordered`: records written in the order of their hashes;
//! - `difference`: difference of two lists, and the check of its size;
//! - `ordered_lists`: lists sorted on disk, or read side by side;
//! - `outcome_batcher`: outcomes of lines that need no write;
//! - `announce`: plan of the run, for observers and for the log;
//! - `prepare`: preparation before the first write;
//! - `resume`: start position of a resumed run;
//! - `checkpointing`: saves of the checkpoint during the run;
//! - `rate`: capacity of the table, and raising it;
//! - `sink`: destination of batches;
//! - `options`: the builder of a run, and the run that it builds;
//! - `watch`: live counters and plan of a run;
//! - `settings`: mode of the checkpoint, and settings of a refresh.

pub(crate) mod announce;
pub(crate) mod checkpointing;
pub(crate) mod difference;
pub(crate) mod finish;
pub(crate) mod options;
pub(crate) mod ordered;
pub(crate) mod ordered_lists;
pub(crate) mod outcome_batcher;
pub(crate) mod prepare;
pub(crate) mod rate;
pub(crate) mod resume;
pub(crate) mod run;
#[cfg(test)]
mod scenarios;
pub(crate) mod settings;
pub(crate) mod sink;
pub(crate) mod watch;
