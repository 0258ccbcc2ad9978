//! The command `hashferry verify`: compares a list with a table.
//!
//! The list is read by the stages of an ingest. A sample of it is drawn where one is
//! asked for. Each hash is looked for in the table, and its attributes are compared.
//! Nothing is written.
//!
//! Its files, from the bottom up:
//!
//! * [`finding`]: a hash that is missing or different;
//! * [`counts`]: the counters, each line in exactly one column;
//! * [`report`]: the result, as JSON and as text;
//! * [`order`]: findings back in the order of the list;
//! * [`checker`]: what an answer to a batch of keys means;
//! * [`check_loop`]: the send loop, from records to answered keys;
//! * [`options`]: the settings of a run, and its handle to watch;
//! * [`run`]: the run, from the first look at the table to the report.

pub(crate) mod check_loop;
pub(crate) mod checker;
pub(crate) mod counts;
pub(crate) mod finding;
pub(crate) mod options;
pub(crate) mod order;
pub(crate) mod report;
pub(crate) mod run;
