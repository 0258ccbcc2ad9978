//! The command `hashferry verify`: compares a list with a table.
//!
//! The command reads the list by the stages of an ingest and may draw a sample of it. It
//! looks for each hash in the table and compares its attributes. It writes nothing.
//!
//! Its files, from the bottom up:
//!
//! * [`finding`]: a hash that is missing or different;
//! * [`counts`]: the counters; each line is in exactly one of them;
//! * [`report`]: the result, as JSON and as text;
//! * [`order`]: findings, restored to the order of the list;
//! * [`checker`]: sends the keys, and handles the responses;
//! * [`options`]: the options of a run, and the handle that watches it;
//! * [`run`]: the run, from DescribeTable to the report.

pub(crate) mod checker;
pub(crate) mod counts;
pub(crate) mod finding;
pub(crate) mod options;
pub(crate) mod order;
pub(crate) mod report;
pub(crate) mod run;
