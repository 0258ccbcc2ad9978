//! The command `hashferry plan`: estimates lines, WCU, time and cost before an ingest.
//!
//! Bottom-up:
//!
//! * `options`: the caller's options;
//! * `estimate`: numbers with their confidence intervals;
//! * `target`: the table for the items, with its indexes and replicas;
//! * `survey`: the contents of the sources, counted or estimated;
//! * `import_table`: the list in the input format of ImportTable;
//! * `shell_commands`: the commands that carry out a plan;
//! * `forecast`: the routes into the table, each with its time and its cost;
//! * `run`: the survey of the sources, and the forecast.

pub(crate) mod estimate;
pub(crate) mod forecast;
pub(crate) mod import_table;
pub(crate) mod options;
pub(crate) mod run;
pub(crate) mod shell_commands;
pub(crate) mod survey;
pub(crate) mod target;
