//! Plan: what a list will take, in lines, write units, time and money.
//!
//! Bottom-up:
//!
//! * `options`: what the caller sets;
//! * `estimate`: numbers with the interval that they are in;
//! * `target`: the table that the items are written into, and its copies;
//! * `survey`: what the sources hold, counted or estimated;
//! * `import_table`: the form that ImportTable takes the list in;
//! * `shell_commands`: the commands that do what a plan proposes;
//! * `forecast`: the ways into the table, each with its time and its cost;
//! * `run`: the survey of the sources, and the forecast.

pub(crate) mod estimate;
pub(crate) mod forecast;
pub(crate) mod import_table;
pub(crate) mod options;
pub(crate) mod run;
pub(crate) mod shell_commands;
pub(crate) mod survey;
pub(crate) mod target;
