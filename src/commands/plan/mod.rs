//! TODO

pub mod estimate;
pub mod forecast;
pub mod import_table;
pub mod options;
pub mod shell_commands;
pub mod survey;
