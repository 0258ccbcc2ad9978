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

pub mod estimate;
pub mod forecast;
pub mod import_table;
pub mod options;
pub(crate) mod run;
pub mod shell_commands;
pub mod survey;
pub mod target;
